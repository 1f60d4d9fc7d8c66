"""Records of what `stepmint plan` predicts for a run, and of how that compares with what the run took."""

from typing import Literal

from schemas.records import Record


class Range(Record):
    """A prediction, and the interval that should hold the outcome in nine of ten runs."""

    value: float
    low: float
    high: float


class Plan(Record):
    """What a run takes from its first problem to its last, those already done included."""

    config_digest: str
    origin: Literal["pilot", "pass_rate"]
    """Measured on the run's first problems, or simulated from a stated pass rate."""
    problems: int
    sampled: int
    """Problems behind the prediction."""
    assumed: dict[str, float] = {}
    """What was stated instead of measured."""
    calls: Range
    """Requests to the policies; one may ask for several completions."""
    completions: Range
    tokens: Range
    """Generated tokens; prompts are not counted."""
    purposes: dict[str, float] = {}
    """Tokens by what they are for."""
    dearest: int
    """Tokens of the dearest problem sampled: what `budget.per_problem` is measured against."""
    tokens_per_second: float | None = None
    gpu_hours: Range | None = None
    """Hours of the machine that ran the pilot, or that the stated speed belongs to."""
    cost: Range | None = None
    """In the currency of the stated price."""
    reached: Range | None = None
    """Problems that `budget.run` reaches for; null without one."""


class Forecast(Record):
    """What some problems take. Calls are requests to the policies, completions what they asked for."""

    problems: int
    calls: float
    completions: float
    tokens: float
    gpu_hours: float | None = None
    """Null where no speed was measured or stated."""


class PlanReport(Record):
    """What was predicted for the problems of a dataset, and what they took."""

    origin: Literal["pilot", "pass_rate"]
    predicted: Forecast
    actual: Forecast
    ratio: dict[str, float]
    """Actual by predicted: 1 for a perfect prediction, 2 where it took twice as much."""


def compare(plan: Plan | None, actual: Forecast) -> PlanReport | None:
    """A plan scaled to the problems that were done, beside what these took; None without a plan or
    problems."""
    if plan is None or not actual.problems or not plan.problems:
        return None
    # A run that was stopped by its budget did only some of the planned problems.
    part = actual.problems / plan.problems
    predicted = Forecast(
        problems=actual.problems,
        calls=round(plan.calls.value * part, 1),
        completions=round(plan.completions.value * part, 1),
        tokens=round(plan.tokens.value * part, 1),
        gpu_hours=plan.gpu_hours.value * part if plan.gpu_hours else None,
    )
    ratio = {}
    for name in ("calls", "completions", "tokens", "gpu_hours"):
        expected, found = getattr(predicted, name), getattr(actual, name)
        if expected and found is not None:
            ratio[name] = round(found / expected, 4)
    return PlanReport(origin=plan.origin, predicted=predicted, actual=actual, ratio=ratio)
