"""Progress advantages of a prover: Q after a step less Q before it (PAV, arXiv 2410.08146, section 3).

Q is the success rate of the prover's rollouts, taken to best-of-K where asked for; K > 1 widens differences
between poor states and flattens those between good ones. With the policy as its own prover and K = 1 the
advantage adds nothing to the outcome in policy gradients. It measures progress, not soundness: a sound step
that leads to a harder state has a negative advantage.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.methods.counts import Count
from pipeline.methods.stored import Run
from schemas.config import ProverConfig
from schemas.derive import AdvantageSettings
from schemas.sources import POLICY


@dataclass(frozen=True)
class Advantage:
    """One step's advantage in [-1, 1]; None where a count on either side is missing."""

    q_before: float | None
    q_after: float | None
    value: float | None
    se: float | None
    """Standard error; the two sides are drawn apart, so their variances add."""


def estimate(count: Count, k: int) -> float | None:
    """Unbiased best-of-k success from counts: 1 - C(n - c, k) / C(n, k).

    None without graded draws and when k exceeds n: no unbiased estimate exists then.
    """
    if count.n < max(k, 1):
        return None
    # Of all ways to choose k of the n draws, the share that holds at least one success. Raising the success
    # rate to a power, 1 - (1 - c/n)^k, would be biased for small n.
    return 1 - math.comb(count.n - count.correct, k) / math.comb(count.n, k)


def variance(count: Count, k: int) -> float:
    """Of the estimate, by the delta method: (k (1 - p)^(k - 1))^2 p (1 - p) / n.

    With no success, or nothing but successes, p is taken half a draw off the edge: eight of eight are no
    certainty.
    """
    p = min(max(count.correct, 0.5), count.n - 0.5) / count.n
    return float((k * (1 - p) ** (k - 1)) ** 2 * p * (1 - p) / count.n)


def advantages(counts: Sequence[Count], k: int = 1) -> list[Advantage]:
    """Advantages of every step. `counts` are before the first step and after each one.

    The last count is the graded solution's: one draw that is exactly right or wrong, whatever k is. A missing
    count gives None on both its sides, never 0.
    """
    last = len(counts) - 1
    states: list[tuple[float, float] | None] = []
    for index, count in enumerate(counts):
        # Best-of-k of a finished solution is the solution itself.
        power = 1 if index == last else k
        q = estimate(count, power)
        # The solution's own grade is no estimate.
        states.append(None if q is None else (q, 0.0 if index == last else variance(count, k)))
    found = []
    for before, after in zip(states, states[1:], strict=False):
        known = before is not None and after is not None
        found.append(
            Advantage(
                q_before=before[0] if before else None,
                q_after=after[0] if after else None,
                value=after[0] - before[0] if known and before and after else None,
                se=math.sqrt(before[1] + after[1]) if known and before and after else None,
            )
        )
    return found


def hard(advantage: Advantage, z: float = 2.0) -> int | None:
    """1 or -1 where the advantage stands `z` standard errors off 0, 0 where it does not, None if unknown."""
    if advantage.value is None or advantage.se is None:
        return None
    return 0 if abs(advantage.value) <= z * advantage.se else int(math.copysign(1, advantage.value))


def first_pit(counts: Sequence[Count], high: float = 0.5) -> int | None:
    """0-based step after which Q is 0 for the first time, once an earlier state had Q >= `high`.

    None when there is no such step, or a count before it is missing, so that it could be another.
    """
    seen_high = False
    for index, count in enumerate(counts):
        value = count.value
        if value is None:
            return None
        # A fall to 0 from a low rate may be chance; from `high` it is a pit that the paper points out.
        if value == 0 and seen_high:
            return index - 1
        seen_high = seen_high or value >= high
    return None


def effective(q: float | None, advantage: float | None, alpha: float) -> float | None:
    """Effective reward Q + alpha A. Q is the policy's own: its state's success rate, or the outcome."""
    return None if q is None or advantage is None else q + alpha * advantage


COLUMNS = {
    "solution_id": "string",
    "step": "int32",
    "text": "string",
    "prover": "string",
    "best_of": "int32",
    "correct_before": "int32",
    "n_before": "int32",
    "correct": "int32",
    "n": "int32",
    "n_failed": "int32",
    "q_before": "float64",
    "q_after": "float64",
    "advantage": "float64",
    "se": "float64",
    "effective": "float64",
    "hard": "int8",
    "first_pit": "bool",
}


def rows(run: Run, settings: AdvantageSettings) -> Iterator[dict[str, Any]]:
    """One row a step. The prover is the run's first; without one the policy is its own."""
    by, name = POLICY, run.config.policy.model
    # One file holds one prover's values; those of two would look comparable and are not.
    for prover in run.config.annotators(ProverConfig)[:1]:
        by, name = prover.owner, prover.policy.model
    for stored in run:
        for candidate in stored.finished.candidates:
            counts = stored.along(candidate.solution, by)
            own = stored.along(candidate.solution)
            pit = first_pit(counts, settings.high)
            for step, found in enumerate(advantages(counts, settings.best_of)):
                before, after = counts[step], counts[step + 1]
                yield {
                    "problem_id": candidate.solution.problem_id,
                    "solution_id": candidate.solution.id,
                    "step": step,
                    "text": candidate.solution.steps[step].text,
                    "prover": name,
                    "best_of": settings.best_of,
                    "correct_before": before.correct,
                    "n_before": before.n,
                    "correct": after.correct,
                    "n": after.n,
                    "n_failed": after.n_failed,
                    "q_before": found.q_before,
                    "q_after": found.q_after,
                    "advantage": found.value,
                    "se": found.se,
                    "effective": effective(own[step + 1].value, found.value, settings.alpha),
                    "hard": hard(found, settings.z),
                    "first_pit": step == pit,
                }
