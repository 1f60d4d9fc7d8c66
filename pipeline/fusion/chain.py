"""The likelihood of counts, c right of n, for every place K that a solution's first error may have.

What share of a source's samples says yes is not known, but taken to be one of a few levels; given the level,
counts are binomial. So 0 of 1 weighs far less than 0 of 8. There are two ways in which a solution's levels
come about:

- `Mixture`, for judges, verifiers and the graded answer: every step draws a level of its own, from one
  distribution before K, one at K and one after it.
- `Walk`, for rollouts: the level after a step follows from the level after the step before it. Of a hard
  problem few rollouts succeed from the first step on, and that is no error; an error shows in how the level
  moves. A step that was not rolled out passes its level on unseen, so what was left out needs no guess.

Both give the log-likelihood of every K exactly, in time linear in the number of steps, and the expected
counts that one round of expectation maximisation needs. Arrays hold B solutions, padded to T steps.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = np.array([0.002, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999])
"""Shares of yes among a judge's replies or of successes among rollouts. The lowest is "lost": what succeeds
there is luck, or a repaired error. The highest is as near to 1: with .985 no single reply could ever say more
than that 1.5% of right steps are called wrong."""
SURE = np.array([0.0, 1.0])
"""The levels of what says no or yes once and for all: a verifier, or the graded answer."""
CAP = 6.0
"""The most that one vote may move the log-odds between two K: no source is an oracle."""
BEFORE, AT, AFTER = 0, 1, 2


def emissions(correct: Floats, n: Floats, levels: Floats) -> Floats:
    """Likelihood of `correct` of `n` at each level, as a share of the largest, and e^-6 at least.

    The levels are the last axis of the result, after those of the counts. Where n is 0 all are 1.
    """
    rates = np.minimum(np.maximum(levels, 1e-4), 1 - 1e-4)
    logs = correct[..., None] * np.log(rates) + (n - correct)[..., None] * np.log1p(-rates)
    return np.asarray(np.exp(np.maximum(logs - logs.max(-1, keepdims=True), -CAP)))


def says_something(seen: Floats) -> NDArray[np.bool_]:
    """Where emissions tell one level from another."""
    # Level by level: numpy's `min` over so short an axis takes five times as long.
    return np.asarray(np.logical_or.reduce([seen[..., level] < 1 for level in range(seen.shape[-1])]))


def _times(left: Floats, right: Floats) -> Floats:
    """`left @ right` for a `left` of three axes: as one product, since numpy makes one a solution."""
    return np.asarray((left.reshape(-1, left.shape[-1]) @ right).reshape(*left.shape[:-1], -1))


@dataclass(frozen=True)
class Mixture:
    """A source without memory. `levels`: P(level | before, at, after K), shape (3, levels)."""

    levels: Floats

    def logs(self, seen: Floats) -> Floats:
        """log P(votes | K) for K = 0, ..., T - 1 and for no error, shape (B, T + 1)."""
        steps = np.log(_times(seen, self.levels.T))
        none = np.zeros((len(seen), 1))
        before = np.concatenate([none, np.cumsum(steps[..., BEFORE], 1)], 1)
        after = np.concatenate([np.cumsum(steps[:, ::-1, AFTER], 1)[:, ::-1], none], 1)
        before[:, :-1] += steps[..., AT] + after[:, 1:]
        return np.asarray(before)

    def expected(self, seen: Floats, chances: Floats) -> tuple[Floats, ...]:
        """Expected number of votes of each level before, at and after K, given P(K), shape (B, T + 1)."""
        share = states(chances) * says_something(seen)[..., None] / _times(seen, self.levels.T)
        return (np.asarray(self.levels * (share.reshape(-1, 3).T @ seen.reshape(-1, seen.shape[-1]))),)


def states(chances: Floats) -> Floats:
    """P(a step lies before, at, after K), shape (B, T, 3), from P(K), shape (B, T + 1). Rows may be weighted:
    they sum to what the chances sum to."""
    at = chances[:, :-1]
    reached = np.cumsum(at, 1)
    return np.stack([chances.sum(1, keepdims=True) - reached, at, reached - at], -1)


def _kinds(n: int) -> tuple[Floats, Floats]:
    """Where each kind of move leads to from each level: shapes (5, n, n), from all levels but the lowest, and
    (2, n, n), from the lowest."""
    moves, lost = np.zeros((5, n, n)), np.zeros((2, n, n))
    for level in range(1, n):
        lower, higher = range(1, level - 1), range(level + 1, n)
        moves[0, level, 0] = 1  # lost
        moves[1, level, lower or [level - 1]] = 1  # fell by two or more
        moves[2, level, level - 1] = 1  # slipped by one
        moves[3, level, level] = 1  # stayed
        moves[4, level, higher or [level]] = 0.5 ** np.arange(len(higher) or 1)  # rose
    moves /= np.maximum(moves.sum(-1, keepdims=True), 1e-300)
    lost[0, 0, 0], lost[1, 0, 1:] = 1, 1 / (n - 1)  # stayed lost, came back
    return moves, lost


_MOVES, _LOST = _kinds(len(LEVELS))


@dataclass(frozen=True)
class Walk:
    """Rollouts of one policy. After K other steps go wrong as they do before it, with chance `hazard`."""

    start: Floats
    """P(level of the bare problem)."""
    right: Floats
    """How a right step moves a level that is not lost: P(lost, fell, slipped, stayed, rose)."""
    wrong: Floats
    """How a wrong step moves it."""
    lost: Floats
    """What any step makes of a lost level: P(stayed, came back)."""
    hazard: float

    @cached_property
    def moves(self) -> Floats:
        """P(next level | level) before, at and after K, shape (3, levels, levels)."""
        right, wrong = np.tensordot(np.stack([self.right, self.wrong]), _MOVES, 1) + np.tensordot(
            self.lost, _LOST, 1
        )
        return np.stack([right, wrong, (1 - self.hazard) * right + self.hazard * wrong])

    def logs(self, seen: Floats) -> Floats:
        """log P(counts | K) for K = 0, ..., T - 1 and for no error, shape (B, T + 1)."""
        passes = self._passes(seen)
        none = np.zeros((1, seen.shape[0]))
        logs = np.concatenate([none, np.cumsum(np.log(passes.c), 0)])
        later = np.cumsum(np.log(passes.d[:0:-1]), 0)[::-1]
        logs[:-1] += np.log(passes.at) + later
        return np.ascontiguousarray(logs.T)

    def _passes(self, seen: Floats) -> "_Passes":
        """Both passes; those of the solutions last asked for are kept, since `expected` follows `logs`."""
        if not self._last or self._last[0].asked is not seen:
            self._last[:] = [self._passed(seen)]
        return self._last[0]

    @cached_property
    def _last(self) -> "list[_Passes]":
        return []

    def _passed(self, seen: Floats) -> "_Passes":
        # Steps first: each turn of the loops then reads and writes one piece of memory.
        steps = np.ascontiguousarray(seen.swapaxes(0, 1))
        length, batch, levels = steps.shape
        a, b = np.empty((length + 1, batch, levels)), np.ones((length, batch, levels))
        c, d = np.empty((length, batch)), np.ones((length + 1, batch))
        before, after = self.moves[BEFORE], np.ascontiguousarray(self.moves[AFTER].T)
        a[0] = self.start
        for t in range(length):
            reached = (a[t] @ before) * steps[t]
            c[t] = reached.sum(1)
            a[t + 1] = reached / c[t][:, None]
        for t in range(length - 1, 0, -1):
            follows = (steps[t] * b[t]) @ after
            d[t] = follows.max(1)
            b[t - 1] = follows / d[t][:, None]
        broken = _times(a[:-1], self.moves[AT])
        return _Passes(seen, steps, a, b, c, d, broken, (broken * steps * b).sum(-1))

    def expected(self, seen: Floats, chances: Floats) -> tuple[Floats, ...]:
        """Expected counts of `start`, `right`, `wrong` and `lost`, given P(K), shape (B, T + 1).

        Moves after the last step that was rolled out are not counted: nothing was seen of them.
        """
        passes = self._passes(seen)
        steps, a, b, c, d = passes.steps, passes.a, passes.b, passes.c, passes.d
        length, batch, levels = steps.shape
        told = np.logical_or.accumulate(says_something(steps)[::-1], 0)[::-1, :, None]
        at = chances.T[:-1] / passes.at
        counts = np.zeros_like(self.moves)
        v = np.repeat(chances[:, -1:], levels, 1)  # times a: P(level after t steps, and K is not among them)
        for t in range(length - 1, -1, -1):
            stays = steps[t] * v / c[t][:, None]
            breaks = steps[t] * b[t] * at[t][:, None]
            before = (a[t] * told[t]).T
            counts[BEFORE] += before @ stays
            counts[AT] += before @ breaks
            v = stays @ self.moves[BEFORE].T + breaks @ self.moves[AT].T
        u = np.zeros((batch, levels))  # times b: P(level after t steps, and K is among them)
        for t in range(length):
            follows = u / d[t][:, None]
            counts[AFTER] += (follows * told[t]).T @ (steps[t] * b[t])
            u = (follows @ self.moves[AFTER] + passes.broken[t] * at[t][:, None]) * steps[t]
        right = counts[BEFORE] + (1 - self.hazard) * counts[AFTER]
        wrong = counts[AT] + self.hazard * counts[AFTER]
        return (
            np.asarray(self.start * (v * told[0]).sum(0)),
            np.asarray(self.right * np.einsum("ij,kij->k", right, _MOVES)),
            np.asarray(self.wrong * np.einsum("ij,kij->k", wrong, _MOVES)),
            np.asarray(self.lost * np.einsum("ij,kij->k", right + wrong, _LOST)),
        )


class _Passes(NamedTuple):
    """What the passes forward and backward over a batch's steps found; the first axis are the steps."""

    asked: Floats
    """The emissions they are of, shape (B, T, levels)."""
    steps: Floats
    """The same, shape (T, B, levels)."""
    a: Floats
    """P(level after t steps | their counts, all before K), shape (T + 1, B, levels)."""
    b: Floats
    """The likelihood of all later counts after K, scaled, shape (T, B, levels)."""
    c: Floats
    """P(counts after step t | those before it, all before K), shape (T, B)."""
    d: Floats
    """The scale of `b`, shape (T + 1, B)."""
    broken: Floats
    """P(level after a step that is K | the counts before it), shape (T, B, levels)."""
    at: Floats
    """The likelihood of the counts from each step on, were it K, shape (T, B)."""
