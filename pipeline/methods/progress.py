"""Relative progress: a step's success rate as a share of the one before it (GenPRM, arXiv 2504.00891,
section 3.2), and its consensus with a judge (section 3.4).

All comparisons are of integers: as floats (4/25) / (5/25) falls short of 0.8. The label is relative: a step
that keeps nine tenths of a tiny success rate is good, and one that falls from 1.0 to 0.7 is not. Both states
must be measured with the same policy; GenPRM's own first ratio mixes two.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from pipeline.fusion.consensus import compare
from pipeline.fusion.first_error import judged_first_error
from pipeline.methods.counts import Count
from pipeline.methods.stored import Run
from schemas.derive import ProgressSettings

PAPER = Fraction(4, 5)
"""The share a good step must keep (epsilon = 0.8)."""
# 97.5% point of the normal distribution: 95% lie between minus and plus this.
_Z = 1.96


def labels(counts: Sequence[Count], least: Fraction = PAPER) -> list[int | None]:
    """1 where a step keeps at least the share `least` of the success rate, else 0.

    `counts` are before the first step and after each one. Once a step has brought the rate to 0 all later
    ones are 0, recovered rollouts or not. None where a count is missing, and where the rate was 0 before any
    step could have caused it.
    """
    found: list[int | None] = []
    # `fallen`: a step brought the rate to 0. `hopeless`: it was 0 before any step was taken, so that no step
    # is to blame and none can be labelled.
    fallen = hopeless = False
    for before, after in zip(counts, counts[1:], strict=False):
        if fallen:
            found.append(0)
        elif hopeless or not before.n or not after.n:
            found.append(None)
        elif before.correct == 0:
            hopeless = True
            found.append(None)
        else:
            # after/before >= least, multiplied out to integers: 4/25 over 5/25 is 4/5 exactly, but 0.79999 as
            # floats.
            kept = least.denominator * after.correct * before.n >= least.numerator * before.correct * after.n
            found.append(int(kept))
            fallen = after.correct == 0
    return found


def ratio(before: Count, after: Count) -> Fraction | None:
    """After's success rate over before's, exactly; None where it is not defined."""
    if not before.correct or not after.n:
        return None
    return Fraction(after.correct * before.n, before.correct * after.n)


def interval(before: Count, after: Count) -> tuple[float | None, float | None]:
    """95% interval of the ratio, by the delta method on its logarithm; None where either count is 0."""
    exact = ratio(before, after)
    if not exact:
        return None, None
    # A ratio is skewed and cannot be below 0; its logarithm is nearly normal, so the interval is made there.
    spread = math.exp(_Z * log_error(before, after))
    return float(exact) / spread, float(exact) * spread


def log_error(before: Count, after: Count) -> float:
    """Standard error of the logarithm of the ratio: sqrt of (1 - p) / c summed over both sides."""
    return math.sqrt(sum(1 / c.correct - 1 / c.n for c in (before, after)))


def first_error(found: Sequence[int | None]) -> int | None:
    """0-based index of the first step labelled 0, -1 for none; None when a step before it has no label."""
    for step, label in enumerate(found):
        if label is None:
            return None
        if label == 0:
            return step
    return -1


def consensus(found: Sequence[int | None], judged: int | None) -> tuple[str, str]:
    """`keep`, `drop` or `abstain`, and why.

    A judge that names step k has said yes to the steps before it, no to k and nothing about the rest; so both
    agree on every step either has judged exactly when they name the same first error. What is kept ends with
    that step.
    """
    measured = first_error(found)
    if measured is None or judged is None:
        return "abstain", "mc_incomplete" if measured is None else "judge_unparsed"
    agree, reason = compare(measured, judged)
    return ("keep" if agree else "drop"), reason


COLUMNS = {
    "solution_id": "string",
    "step": "int32",
    "text": "string",
    "correct_before": "int32",
    "n_before": "int32",
    "correct": "int32",
    "n": "int32",
    "n_failed": "int32",
    "ratio": "float64",
    "ratio_low": "float64",
    "ratio_high": "float64",
    "label": "int8",
    "first_error": "int32",
    "judged_first_error": "int32",
    "consensus": "string",
    "reason": "string",
}


def rows(run: Run, settings: ProgressSettings) -> Iterator[dict[str, Any]]:
    """One row a step; `consensus` is empty where nobody judged."""
    least = Fraction(settings.least)
    for stored in run:
        for candidate in stored.finished.candidates:
            solution, counts = candidate.solution, stored.along(candidate.solution)
            found = labels(counts, least)
            judged, anyone = judged_first_error(len(solution.steps), candidate.votes, run.sources)
            verdict, reason = consensus(found, judged) if anyone else ("", "")
            for step, label in enumerate(found):
                before, after = counts[step], counts[step + 1]
                low, high = interval(before, after)
                exact = ratio(before, after)
                yield {
                    "problem_id": solution.problem_id,
                    "solution_id": solution.id,
                    "step": step,
                    "text": solution.steps[step].text,
                    "correct_before": before.correct,
                    "n_before": before.n,
                    "correct": after.correct,
                    "n": after.n,
                    "n_failed": after.n_failed,
                    "ratio": None if exact is None else float(exact),
                    "ratio_low": low,
                    "ratio_high": high,
                    "label": label,
                    "first_error": first_error(found),
                    "judged_first_error": judged,
                    "consensus": verdict,
                    "reason": reason,
                }
