"""What a verifier is given and what it answers: the three-valued protocol every verifier keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, overload

from schemas.records import Problem
from schemas.sources import Sources
from verifiers.claims.parsed import ParsedText, ParsedTexts, parsed_text

# `abstains` is no weak `fails`: it adds no vote, so that what cannot be checked never counts against a step.
Verdict = Literal["holds", "fails", "abstains"]


class StepContext:
    """One step with everything before it. Two are equal that have the same problem and steps."""

    __slots__ = ("_parsed", "_steps", "count", "problem", "whole")

    def __init__(
        self,
        problem: Problem,
        steps: tuple[str, ...],
        parsed_texts: tuple[ParsedText, ...] = (),
        whole: ParsedTexts | None = None,
        *,
        count: int | None = None,
    ) -> None:
        self.problem = problem
        self.count = len(steps) if count is None else count
        """How many steps there are up to and including the one to check; `steps` may hold more."""
        self.whole = whole
        """The texts of the whole solution, later steps included, for tables that all its contexts share.
        Whoever reads one counts only what stands before the step."""
        self._steps = steps
        self._parsed = parsed_texts or tuple(map(parsed_text, (problem.text, *self.steps)))

    # Cut out when asked for: few verifiers look further back than some steps, and to copy all of 10,000 for
    # each step would take the square of their number.
    @property
    def steps(self) -> tuple[str, ...]:
        """The solution's step texts up to and including the one to check, which is the last."""
        return self._steps[: self.count]

    @property
    def parsed_texts(self) -> tuple[ParsedText, ...]:
        """The problem's text and each step, with what verifiers have found in them."""
        return self._parsed[: self.count + 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepContext) and (self.problem, self.steps) == (other.problem, other.steps)

    def __hash__(self) -> int:
        return hash((self.problem, self.steps))

    def __repr__(self) -> str:
        return f"StepContext(problem={self.problem!r}, steps={self.steps!r})"

    @property
    def shared(self) -> ParsedTexts:
        """The texts whose tables this context may use."""
        return self.whole or ParsedTexts(self.parsed_texts)

    @property
    def step(self) -> str:
        """The text of the step to check."""
        return self._steps[self.count - 1]

    @property
    def parsed(self) -> ParsedText:
        """The step to check; `context.parsed.once(claims_of)` are the relations that it states."""
        return self._parsed[self.count]

    @property
    def parsed_problem(self) -> ParsedText:
        """The problem's text."""
        return self._parsed[0]

    @property
    def parsed_before(self) -> tuple[ParsedText, ...]:
        """The problem's text and the steps before the one to check."""
        return self._parsed[: self.count]

    def recent(self, most: int) -> tuple[ParsedText, ...]:
        """The last so many steps before the one to check, the problem's text left out."""
        return self._parsed[max(1, self.count - most) : self.count]


class Contexts(Sequence[StepContext]):
    """A context for each step of a solution; see `contexts_of`.

    Each is made when it is asked for, and holds no copy of the steps: 10,000 copies would hold 50 million
    references.
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
        return StepContext(self._problem, self._steps, self._parsed, self._whole, count=count)

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
