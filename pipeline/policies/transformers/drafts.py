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
        places: Numbers | None = None
        for size, after in self._after.items():
            mine = after[_hash(tails[:, -size:])].astype(np.int64)
            if places is None:
                places, known = mine, self._is_after(mine, tails[:, -size:])
            else:
                places, known = np.where(known, places, mine), known | self._is_after(mine, tails[:, -size:])
        assert places is not None
        return self._texts[(places[:, None] + np.arange(count)) % _TEXTS].astype(np.int64)

    def _is_after(self, places: Numbers, contexts: Numbers) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Whether a context does stand before its place: two may have one hash."""
        before = np.arange(-contexts.shape[1], 0)
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
            self._texts[places[:, None] + before] == contexts
        ).all(1)
        return found


def _hash(contexts: Numbers) -> Numbers:
    found: Numbers = (contexts @ _FACTORS[: contexts.shape[1]] >> 30) & (_TABLE - 1)
    return found
