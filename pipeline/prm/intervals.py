"""Figures with their 95% intervals, by drawing problems with replacement (the bootstrap)."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Each end of a 95% interval then rests on 25 draws.
RESAMPLES = 1000

Floats = NDArray[np.float64]
Measure = Callable[[NDArray[np.int64]], float]


def bootstrap(
    n_problems: int, measure: Measure, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, float | None]:
    """`measure` of all problem indices, with its 95% interval over problems drawn with replacement.

    None for each of the three that cannot be measured.
    """
    if not n_problems:
        return {"value": None, "low": None, "high": None}
    draws = [measure(drawn) for drawn in _drawn(n_problems, seed, resamples)]
    return interval(measure(np.arange(n_problems)), np.asarray(draws))


def interval(value: float, draws: Floats) -> dict[str, float | None]:
    """A figure with its 95% interval, by the same figure of every resample."""
    # A draw may hold no wrong solution, and then has no F1; it is left out, not counted as 0.
    known = draws[np.isfinite(draws)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return {"value": _finite(value), "low": _finite(low), "high": _finite(high)}


def weights(n_problems: int, *, seed: int, resamples: int = RESAMPLES) -> Floats:
    """(resamples, problems): how often each draw of `bootstrap` holds each problem. For figures of sums over
    problems, which one product of matrices then gives for all draws."""
    drawn = [np.bincount(one, minlength=n_problems) for one in _drawn(n_problems, seed, resamples)]
    return np.asarray(drawn, dtype=np.float64)


def _drawn(n: int, seed: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, n, n) for _ in range(resamples))


def share(part: ArrayLike, whole: ArrayLike) -> Floats:
    """The ratio of two sums, NaN where there is nothing."""
    whole = np.asarray(whole, dtype=np.float64)
    found: Floats = np.asarray(part, dtype=np.float64) / np.where(whole == 0, np.nan, whole)
    return found


def harmonic(a: ArrayLike, b: ArrayLike) -> Floats:
    """The harmonic mean of two shares: 0 where both are 0, NaN where one is."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    found: Floats = 2 * a * b / np.where(a + b == 0, 1.0, a + b)
    return found


def _finite(value: float) -> float | None:
    """None for NaN, which JSON does not know."""
    return float(value) if np.isfinite(value) else None
