"""Where the first error of a wrong solution lies: noisy bisection with a posterior.

Plain bisection takes one batch without a success as proof. Here, K is the index of the first wrong step, and
every rollout updates a probability for each K. A prefix that ends before K is taken to succeed at the rate
p ** (share of steps left), where p is the success rate of the bare problem: every step is as hard as the
next. A prefix that holds step K hardly ever succeeds. p is unknown and integrated out, so a row of failures
means little on a hard problem and much on an easy one. The next rollouts start where they are expected to
tell most about K per token. (Noisy bisection with a posterior: Horstein 1963; the unknown rate and the price
per token are ours.)
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_GRID = 24
_RATES = np.sin(np.pi * (np.arange(_GRID) + 0.5) / (2 * _GRID)) ** 2
"""Success rates of the bare problem. Equal weights on these nodes are Jeffreys' prior, Beta(1/2, 1/2)."""
_OVERHEAD = 0.02
"""What a rollout costs besides the text still to be written, as a share of a whole solution."""


class Probe(NamedTuple):
    """A prefix, by its number of steps, and what rolling out from it is worth."""

    length: int
    gain: float
    """Expected information about K from one rollout, in nats, per whole solution's worth of tokens."""


class Location:
    """The posterior of K, the 0-based first wrong step of a wrong solution of `n_steps` steps.

    `recover` is the success rate of unsound prefixes. Where the policy repairs its errors more often than
    that, errors are found late, if at all.
    """

    def __init__(self, n_steps: int, *, recover: float = 0.003) -> None:
        lengths, first = np.arange(n_steps), np.arange(n_steps)
        left = 1 - lengths / n_steps
        sound = _RATES ** left[:, None]
        # Axes: length of the prefix, rate of the bare problem, K.
        rates = np.where(lengths[:, None, None] <= first, sound[:, :, None], recover)
        # A rate of exactly 0 or 1 would turn one odd rollout into certainty, and its logarithm into infinity.
        self._rates = np.clip(rates, 1e-6, 1 - 1e-6)
        self._hits, self._misses = np.log(self._rates), np.log1p(-self._rates)
        self._scores = np.zeros(rates.shape[1:])
        self._open = np.ones(n_steps, bool)
        self._left = left
        self.n_steps = n_steps

    def observe(self, correct: int, n: int, *, drawn: int, length: int | None = None) -> None:
        """Take in `n` graded rollouts, `correct` of them right, from the prefix of `drawn` steps.

        Those that then repeat the solution's own next steps pass through the longer prefix of `length`. They
        speak for that one; but if an error lies in what they repeated, they also were failures of the
        shorter one. Without this a policy that always makes the same mistake would tell nothing.
        """
        through = drawn if length is None else length
        misses = np.where(np.arange(self.n_steps) < through, self._misses[drawn], self._misses[through])
        self._scores = self._scores + correct * self._hits[through] + (n - correct) * misses

    def refute(self, step: int) -> None:
        """Rule out every K after `step`, which was shown to be wrong."""
        self._open[step + 1 :] = False

    def chances(self) -> Floats:
        """P(K = 0), ..., P(K = n_steps - 1) from a flat prior over what is not refuted."""
        return np.asarray(self._weights(self._open).sum(0))

    def measured(self) -> Floats:
        """The same by rollouts alone, as if nothing had been refuted."""
        return np.asarray(self._weights(np.ones_like(self._open)).sum(0))

    def best_probes(self, n: int, left: Floats | None = None) -> list[Probe]:
        """The `n` prefixes, or fewer, whose next rollouts say most per token, the best first. `left`: the
        share of the solution after each prefix, shape (n_steps,). The bare problem and the finished solution
        are never probed."""
        weights = self._weights(self._open)
        before = weights.sum(0)
        hit = (weights * self._rates).sum(1)
        gains = _entropy(before) - _expected_entropy(hit) - _expected_entropy(before - hit)
        gains = gains / ((self._left if left is None else left) + _OVERHEAD)
        # The bare problem's rate is known from the proposals; rolling it out again tells nothing about K.
        gains[0] = -math.inf
        # Stable, so that equal gains are taken in the order of the solution.
        best = np.argsort(-gains, kind="stable")[:n]
        return [Probe(int(length), float(gains[length])) for length in best if length]

    def _weights(self, allowed: NDArray[np.bool_]) -> Floats:
        scores = np.where(allowed, self._scores, -math.inf)
        weights = np.exp(scores - scores.max())
        return np.asarray(weights / weights.sum())


def _entropy(chances: Floats) -> float:
    return float(-(chances * np.log(np.maximum(chances, 1e-300))).sum())


def _expected_entropy(joint: Floats) -> Floats:
    """Entropy over the last axis once an outcome is seen, times the outcome's chance (the axis' sum)."""
    total = joint.sum(-1)
    shares = joint / np.maximum(total, 1e-300)[..., None]
    return np.asarray(-(joint * np.log(np.maximum(shares, 1e-300))).sum(-1))
