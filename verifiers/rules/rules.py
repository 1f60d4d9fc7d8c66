"""Decides steps of tasks that have a rule, by computing anew what they say.

Each reader knows one kind of task or claim. It reads the problem and all steps once, in order, and speaks of
a step only where it has read the whole statement.
"""

from collections.abc import Callable

from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.calculation.checked import Checked, combine
from verifiers.rules import brackets, chances, dates, ordering, sorting, splits, swaps
from verifiers.rules.spoken import Judged, Texts

READERS: tuple[Callable[[Texts], Judged], ...] = (
    brackets.judged,
    sorting.judged,
    swaps.judged,
    ordering.judged,
    splits.judged,
    dates.judged,
    chances.judged,
)


class Rules:
    """Holds on what the task's rule gives, fails on what it excludes, abstains on what it does not read."""

    name = "rules"
    sources = check_source(name)

    def check(self, context: StepContext) -> Finding:
        """Check what the last step says of the task."""
        return combine(rule_claims(context), "no rule is known for what it says")


def rule_claims(context: StepContext) -> list[Checked]:
    """The verdicts on the last step's statements about the task."""
    shared, last = context.shared, context.count - 1
    return [checked for read in READERS for checked in shared.once(read)[last]]
