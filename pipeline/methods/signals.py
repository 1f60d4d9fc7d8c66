"""How likely a model finds the reference answer after every step: signals that cost forward passes only.

Information gain (IGPO), the likelihood of the answer in its several readings (arXiv 2602.03979), contrast
with wrong answers (CPMI), SPAE's step potential, and uPRM's first error by markers. They measure what the
policy believes and not what is true: a step that only narrows the search may lower them, and one that repeats
the answer raises them. So they are kept raw and are no votes; calibrate them on trusted steps first.

Answers are force-fed after a text that opens an answer slot, each time on a fresh prefix.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.policies.base import TokenLogprobs

SATURATED = 0.9
"""Potential above which a step counts as one that already has the answer (SPAE)."""


@dataclass(frozen=True)
class Likelihood:
    """A text's likelihood, from the log-probabilities of its tokens."""

    n_tokens: int
    log_prob: float
    """lp, the sum: the only reading that serves long answers too."""
    mean_log_prob: float
    """lp / tokens, natural logarithm."""
    product: float
    """exp(lp); vanishes for long answers (VeriFree)."""
    geometric: float
    """exp(lp / tokens), the p that IGPO differences."""
    arithmetic: float
    """Mean token probability (RLPR; SPAE's Acc)."""


def likelihood(logprobs: TokenLogprobs | None) -> Likelihood | None:
    """None where the text could not be scored or has no tokens."""
    if not logprobs:
        return None
    # fsum is exact: a sum of thousands of small logarithms would lose digits that `gains` looks at.
    total, n = math.fsum(logprobs), len(logprobs)
    arithmetic = math.fsum(map(math.exp, logprobs)) / n
    return Likelihood(n, total, total / n, math.exp(total), math.exp(total / n), arithmetic)


def gains(values: Sequence[float | None]) -> list[float | None]:
    """Change at every step; `values` begin before the first. None beside an unknown; else they telescope."""
    pairs = zip(values, values[1:], strict=False)
    return [None if a is None or b is None else b - a for a, b in pairs]


def jensen_bound(log_probs: Sequence[float]) -> float:
    """JEPO: log of the mean over chains of P(answer | chain); never below the mean of the logs."""
    # Taken out before exponentiation, since exp(-800) is 0 as a float.
    most = max(log_probs)
    return most + math.log(math.fsum(math.exp(lp - most) for lp in log_probs) / len(log_probs))


def contrast(gold: tuple[float, float], negatives: Sequence[tuple[float, float]]) -> float | None:
    """CPMI: rise of the gold answer's log-probability less the mean rise of wrong answers'.

    Pairs are (without steps, after them), all normalised by length or none. None without a wrong answer.
    """
    if not negatives:
        return None
    return (gold[1] - gold[0]) - math.fsum(after - before for before, after in negatives) / len(negatives)


def potential(accuracy: float, confidence: float) -> float:
    """SPAE's Phi = 1.5 Acc Conf + 0.5 Acc - Conf, in [-1, 1]: low where the policy is surely wrong."""
    return 1.5 * accuracy * confidence + 0.5 * accuracy - confidence


def saturation(potentials: Sequence[float | None]) -> list[int]:
    """C_t: earlier steps that were saturated; an unknown potential counts as none."""
    counts, seen = [], 0
    for phi in potentials:
        counts.append(seen)
        seen += phi is not None and phi > SATURATED
    return counts


def penalty(count: int, alpha: float = 0.5) -> float:
    """SPAE's factor on the advantage of a step after saturation: 1 - alpha (1 - exp(-C))."""
    return 1 - alpha * (1 - math.exp(-count))


def bonus(changes: Sequence[float]) -> list[float]:
    """SPAE's progress bonus: exp of the changes scaled to [0, 1], less its mean; 0 where all are equal."""
    low, high = min(changes, default=0.0), max(changes, default=0.0)
    # Nothing to scale by; SPAE's formula would divide by zero.
    if high == low:
        return [0.0] * len(changes)
    raised = [math.exp((change - low) / (high - low)) for change in changes]
    mean = math.fsum(raised) / len(raised)
    return [value - mean for value in raised]


def first_error_scores(ok: Sequence[float], wrong: Sequence[float]) -> list[float]:
    """uPRM's F (arXiv 2605.10158), for one solution alone: F(0), ..., F(n - 1), and last F(no error).

    F(e) is the log-probability of the marker "right" after every step before e, and of "wrong" after e.
    """
    before = [0.0, *itertools.accumulate(ok)]
    return [*(sure + no for sure, no in zip(before, wrong, strict=False)), before[-1]]


def posterior(scores: Sequence[float]) -> list[float]:
    """The scores' softmax: a distribution of the first error, no error being the last."""
    weights = [math.exp(score - max(scores)) for score in scores]
    return [weight / math.fsum(weights) for weight in weights]
