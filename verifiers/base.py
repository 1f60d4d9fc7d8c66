"""What a verifier is given and what it answers: the three-valued protocol every verifier keeps."""

from dataclasses import dataclass
from typing import Literal, Protocol

from schemas.records import Problem
from schemas.sources import Sources

Verdict = Literal["holds", "fails", "abstains"]


@dataclass(frozen=True)
class StepContext:
    """One step with everything before it."""

    problem: Problem
    steps: tuple[str, ...]
    """The solution's step texts up to and including the one to check, which is the last."""

    @property
    def step(self) -> str:
        """The text of the step to check."""
        return self.steps[-1]


@dataclass(frozen=True)
class Finding:
    """A verdict with its reason. `holds` speaks only for what was checked, never for the whole step."""

    verdict: Verdict
    reason: str
    evidence: str = ""


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
