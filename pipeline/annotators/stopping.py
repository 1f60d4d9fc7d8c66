"""How many rollouts are enough: sequential tests of a success rate, valid however often one looks.

The hard question is on which side of an indifference zone (`low`, `high`) the success rate lies. The
sequential probability ratio test answers it (Wald 1945), here with the bounds log(1/error), which keep each
of the two errors below what was asked for; Wald's own, log((1 - error)/error), keep only their sum. With
`low` = 0 one success settles it, and n failures bound the miss: (1 - high)^n <= error. The soft question is
the rate itself, to within a width; the mixture confidence sequence covers it at every n at once (Robbins
1970; the Beta(1/2, 1/2) mixture is that of Howard et al., arXiv 1810.08240, section 3).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

Answer = Literal["yes", "no", "open"]
# Rates that 10,000 rollouts do not tell apart are a mistake in the configuration.
_FAR = 10_000


def likelihood_ratio(correct: int, n: int, *, low: float, high: float) -> float:
    """Log of P(counts | rate = high) / P(counts | rate = low); infinite after a success when `low` is 0."""
    if correct and low == 0:
        return math.inf
    wins = correct * (math.log(high) - math.log(low)) if correct else 0.0
    return wins + (n - correct) * (math.log1p(-high) - math.log1p(-low))


def ratio_test(correct: int, n: int, *, low: float, high: float, error: float) -> Answer:
    """Whether the success rate is `high` or more (`yes`), or `low` or less (`no`), each wrong with chance
    `error` at most."""
    ratio, bound = likelihood_ratio(correct, n, low=low, high=high), -math.log(error)
    return "yes" if ratio >= bound else "no" if ratio <= -bound else "open"


def least_to_decide(correct: int, n: int, *, low: float, high: float, error: float) -> int:
    """The fewest further rollouts after which the test could be over, if all of them went one way."""
    found = _fewest(
        correct, n, lambda c, m: ratio_test(c, m, low=low, high=high, error=error) != "open", _FAR
    )
    if found is None:
        raise ValueError(f"no number of rollouts tells {low} from {high}")
    return found


def is_known(correct: int, n: int, *, width: float, error: float) -> bool:
    """Whether the success rate is known to within `width`: it lies in an interval no wider, wrong with chance
    `error` at most."""
    low, high = confidence_sequence(correct, n, error)
    return high - low <= width


def least_to_know(correct: int, n: int, *, width: float, error: float, most: int) -> int:
    """The fewest further rollouts after which the rate could be known to within `width`; `most` where more
    are needed."""
    return _fewest(correct, n, lambda c, m: is_known(c, m, width=width, error=error), most) or most


def _fewest(correct: int, n: int, is_over: Callable[[int, int], bool], most: int) -> int | None:
    for more in range(1, most + 1):
        if is_over(correct, n + more) or is_over(correct + more, n + more):
            return more
    return None


def most_to_miss(*, high: float, error: float) -> int:
    """Failures in a row after which a success rate of `high` or more is ruled out, when `low` is 0."""
    return math.ceil(math.log(error) / math.log1p(-high))


@lru_cache(maxsize=65_536)
def confidence_sequence(correct: int, n: int, error: float) -> tuple[float, float]:
    """An interval that holds the true rate at every n at once with chance 1 - `error`.

    {p : B(c + 1/2, n - c + 1/2) / B(1/2, 1/2) <= p^c (1-p)^(n-c) / error}.
    """
    if n == 0:
        return 0.0, 1.0
    wealth = _log_beta(correct + 0.5, n - correct + 0.5) - _log_beta(0.5, 0.5)

    def is_inside(p: float) -> bool:
        return wealth - _log_power(p, correct) - _log_power(1 - p, n - correct) < -math.log(error)

    rate = correct / n  # where the likelihood peaks, so it is inside
    return _edge(is_inside, rate, 0.0), _edge(is_inside, rate, 1.0)


def _edge(is_inside: Callable[[float], bool], start: float, end: float) -> float:
    if is_inside(end):
        return end
    # Each round halves the gap: after 50 the edge is exact to the precision of a float.
    for _ in range(50):
        middle = (start + end) / 2
        start, end = (middle, end) if is_inside(middle) else (start, middle)
    return start


def _log_power(base: float, exponent: float) -> float:
    return exponent * math.log(base) if base > 0 else 0.0 if exponent == 0 else -math.inf


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
