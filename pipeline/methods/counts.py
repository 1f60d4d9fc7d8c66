"""Counts of graded draws: the one thing every derived value rests on."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.sampling.counted import counts
from schemas.records import Outcome, Rollout


@dataclass(frozen=True)
class Count:
    """Draws that were correct, draws that could be graded, and draws that could not (they count for neither
    side)."""

    correct: int = 0
    n: int = 0
    n_failed: int = 0

    def __post_init__(self) -> None:
        # A count that breaks this comes from adding things that do not belong together; better to stop than
        # to label.
        if not 0 <= self.correct <= self.n:
            raise ValueError(f"correct={self.correct} of n={self.n}")

    def __add__(self, other: "Count") -> "Count":
        return Count(self.correct + other.correct, self.n + other.n, self.n_failed + other.n_failed)

    @property
    def value(self) -> float | None:
        """The share of graded draws that are correct; None without any: nothing is known, not failure."""
        return self.correct / self.n if self.n else None


def count(rollouts: Iterable[Rollout]) -> Count:
    """The count of some rollouts."""
    return Count(*counts(list(rollouts)))


def grade_of(outcome: Outcome) -> Count:
    """One graded solution as a count of one."""
    match outcome:
        case "unknown":
            return Count(n_failed=1)
        case known:
            return Count(int(known == "correct"), 1)
