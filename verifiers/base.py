"""What a verifier is given and what it answers: the three-valued protocol every verifier keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, overload

from schemas.records import Problem
from schemas.sources import Sources
from verifiers.claims.parsed import ParsedText, ParsedTexts, parsed_text

# `abstains` is no weak `fails`: it adds no vote, so that what cannot be checked never counts against a step.
Verdict = Literal["holds", "fails", "abstains"]


@dataclass(frozen=True)
class StepContext:
    """One step with everything before it."""

    problem: Problem
    steps: tuple[str, ...]
    """The solution's step texts up to and including the one to check, which is the last."""
    parsed_texts: tuple[ParsedText, ...] = field(default=(), repr=False, compare=False)
    """The problem's text and each step, with what verifiers have found in them."""
    whole: ParsedTexts | None = field(default=None, repr=False, compare=False)
    """The texts of the whole solution, later steps included, for tables that all its contexts share.
    Whoever reads one counts only what stands before the step."""

    def __post_init__(self) -> None:
        if not self.parsed_texts:
            parsed = tuple(map(parsed_text, (self.problem.text, *self.steps)))
            object.__setattr__(self, "parsed_texts", parsed)  # a frozen class sets its own fields like this

    @property
    def shared(self) -> ParsedTexts:
        """The texts whose tables this context may use."""
        return self.whole or ParsedTexts(self.parsed_texts)

    @property
    def step(self) -> str:
        """The text of the step to check."""
        return self.steps[-1]

    @property
    def parsed(self) -> ParsedText:
        """The step to check; `context.parsed.once(claims_of)` are the relations that it states."""
        return self.parsed_texts[-1]

    @property
    def parsed_before(self) -> tuple[ParsedText, ...]:
        """The problem's text and the steps before the one to check."""
        return self.parsed_texts[:-1]

    def recent(self, count: int) -> tuple[ParsedText, ...]:
        """The last so many steps before the one to check, the problem's text left out."""
        end = len(self.parsed_texts) - 1
        return self.parsed_texts[max(1, end - count) : end]


class Contexts(Sequence[StepContext]):
    """A context for each step of a solution; see `contexts_of`.

    Each is made when it is asked for: all those of 10,000 steps at once would hold 50 million references.
    """

    def __init__(self, problem: Problem, steps: Sequence[str]) -> None:
        self._problem, self._steps = problem, tuple(steps)
        self._parsed = tuple(map(parsed_text, (problem.text, *steps)))
        self._whole = ParsedTexts(self._parsed)

    def __len__(self) -> int:
        return len(self._steps)

    @overload
    def __getitem__(self, index: int) -> StepContext: ...

    @overload
    def __getitem__(self, index: slice) -> list[StepContext]: ...

    def __getitem__(self, index: int | slice) -> StepContext | list[StepContext]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"no step {index} of {len(self)}")
        count = index % len(self) + 1
        return StepContext(self._problem, self._steps[:count], self._parsed[: count + 1], self._whole)

    def __iter__(self) -> Iterator[StepContext]:
        return (self[at] for at in range(len(self)))


def contexts_of(problem: Problem, steps: Sequence[str]) -> Contexts:
    """A context for each step of a solution, to be handed to all verifiers.

    They share what is found in the steps, however long the solution is: n steps are read n times, and not n
    times n. A single context shares it, too, while the steps are among those read of late.
    """
    return Contexts(problem, steps)


@dataclass(frozen=True)
class Finding:
    """A verdict with its reason. `holds` speaks only for what was checked, never for the whole step."""

    verdict: Verdict
    reason: str
    evidence: str = ""


# A protocol and no base class: an outsider's verifier needs these three names and no import of ours.
class Verifier(Protocol):
    """Checks steps without a model. `name` is the source its votes carry."""

    @property
    def name(self) -> str:
        """The source that its votes carry."""
        ...

    @property
    def sources(self) -> Sources:
        """Its one source, of its name: `schemas.sources.check_source(name)`."""
        ...

    def check(self, context: StepContext) -> Finding:
        """Never raises on any text; what cannot be decided abstains."""
        ...
