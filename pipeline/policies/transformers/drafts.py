"""Guesses of what a row writes next, from what was read and written before it.

With few rows, a step of a small model costs about as much for several tokens of each row as for one. So the
step is also fed the tokens that are likely to come, and those that the model then draws itself count (prompt
lookup decoding, https://github.com/apoorvumang/prompt-lookup-decoding). The uniform number of each position
is fixed, so a wrong guess costs time and changes no completion. Rollouts of one problem repeat most of its
text and of each other, with other numbers in it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.policies.transformers.blocks import Numbers

# Tokens of context by which a text is found again, the best first. Long ones tell problems apart, short ones
# find the words that all solutions have in common.
_CONTEXTS = 10, 5, 3
TAIL = max(_CONTEXTS)
"""Last tokens of a row that a guess needs."""
_TEXTS = 1 << 18  # tokens that are remembered: some hundred texts of a problem and its solution
_TABLE = 1 << 19
# Most guesses of a row, and most tokens that a step with guesses is fed: all that they read takes memory.
_MOST, _FED = 15, 256
# Weight of the newest step in the average of right guesses: it is more where the step tried many, beside so
# many that are remembered. A full batch tries hundreds, and knows after a few steps what a step with wrong
# guesses, which takes as long as two, would cost it again and again.
_NEWEST, _REMEMBERED = 0.05, 500
_HOPE = 0.001  # what is added to it at a step without guesses, so that they are tried again
_SEED = np.random.Generator(np.random.Philox(key=0))
_FACTORS = _SEED.integers(1, 1 << 62, TAIL) | 1


class Drafts:
    """The texts of late, and where each context last stood in them."""

    def __init__(self) -> None:
        self._texts = np.zeros(_TEXTS, np.int32)
        self._end = 0
        self._after = {size: np.zeros(_TABLE, np.int32) for size in _CONTEXTS}
        """For each hash of a context, the place after it."""

    def learn(self, ids: Sequence[int]) -> None:
        """Remember a text; the oldest ones are forgotten."""
        new = np.array(ids[-_TEXTS:], np.int64)
        if self._end + len(new) > _TEXTS:
            self._end = 0
        start, self._end = self._end, self._end + len(new)
        self._texts[start : self._end] = new
        for size, after in self._after.items():
            if len(new) > size:
                found = _hash(sliding_window_view(new[:-1], size))
                after[found] = np.arange(start + size, start + len(new))

    def guess(self, tails: Numbers, count: int) -> Numbers:
        """`count` tokens for each row of `tails` (rows, TAIL); any tokens where nothing is known."""
        if not count:
            return np.zeros((len(tails), 0), np.int64)
        places, known = np.zeros(len(tails), np.int64), np.zeros(len(tails), np.bool_)
        for size, after in self._after.items():
            mine = after[_hash(tails[:, -size:])].astype(np.int64)
            places = np.where(known, places, mine)
            # Two contexts may have one hash.
            before = self._texts[mine[:, None] + np.arange(-size, 0)]
            known |= (before == tails[:, -size:]).all(1)
        found: Numbers = self._texts[(places[:, None] + np.arange(count)) % _TEXTS].astype(np.int64)
        return found


def guesses_worth(rows: int, luck: float, millions: float, blocks: int) -> int:
    """How many tokens of each row to guess, so that a step gives the most tokens for its time. `luck` is the
    chance that a guess is right if all before it are; `millions` of parameters has the model, and so many
    blocks the cache."""
    guesses = np.arange(max(1, min(_MOST + 1, _FED // rows)))
    tokens = np.cumsum(min(luck, 0.99) ** guesses)
    # Milliseconds: fixed, of reading the weights, of reading a block, of computing a token. They are those of
    # the embedded model on one core; how they compare matters, and not what they are.
    cost = 5 + 0.4 * millions + 0.028 * blocks + 0.12 * millions * rows * (1 + guesses)
    return int((tokens / cost).argmax())


def luck_after(luck: float, count: Numbers, width: int) -> float:
    """The running average of how many guesses were right, after a step of `width` tokens a row of which
    `count` hold."""
    if width == 1:
        return min(1.0, luck + _HOPE)
    right, tried = int((count - 1).sum()), int(np.minimum(count, width - 1).sum())
    return luck + max(_NEWEST, tried / (tried + _REMEMBERED)) * (right / tried - luck)


def _hash(contexts: Numbers) -> Numbers:
    found: Numbers = (contexts @ _FACTORS[: contexts.shape[1]] >> 30) & (_TABLE - 1)
    return found
