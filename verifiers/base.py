"""What a verifier is given and what it answers: the three-valued protocol every verifier keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from schemas.records import Problem
from schemas.sources import Sources
from verifiers.claims.parsed import ParsedText, parsed_text

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

    def __post_init__(self) -> None:
        if not self.parsed_texts:
            parsed = tuple(map(parsed_text, (self.problem.text, *self.steps)))
            object.__setattr__(self, "parsed_texts", parsed)  # a frozen class sets its own fields like this

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


def contexts_of(problem: Problem, steps: Sequence[str]) -> list[StepContext]:
    """A context for each step of a solution, to be handed to all verifiers.

    They share what is found in the steps, however long the solution is: n steps are read n times, and not n
    times n. A single context shares it, too, while the steps are among those read of late.
    """
    parsed = tuple(map(parsed_text, (problem.text, *steps)))
    return [
        StepContext(problem, tuple(steps[:count]), parsed[: count + 1]) for count in range(1, len(steps) + 1)
    ]


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
