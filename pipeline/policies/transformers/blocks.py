"""Memory for the keys and values of what is in flight, in blocks of some columns.

A sequence takes a block when it needs one, and gives its blocks back when it is over. The blocks in use are
always the first ones: the last of them fill the gaps. So attention computes over them as they lie, without
copying them together, and memory follows what is in flight. Stores of full length for every row would take a
hundred times a small model's weights, and attention would compute as many columns for each row as the longest
has.
"""

import mmap
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 32
"""Columns of a block. Half a block a sequence is empty; blocks of 16 are multiplied half as fast."""
_LEAST = 64  # blocks of the smallest store
# Free blocks that keep their memory. A few are soon written again, and the kernel would clear their pages.
_SPARE = 16

Numbers = NDArray[np.int64]


class Blocks:
    """A tensor (blocks, heads, BLOCK, size) of keys or values; only its first blocks are in use.

    What is past them takes no memory on a CPU: a page has none before it is written, and those past the
    blocks in use are given back. Unwritten places are zeros: a masked column that held NaN would still spoil
    a sum.
    """

    def __init__(self, like: Tensor) -> None:
        self._map: mmap.mmap | None = None
        self._touched = 0
        """Blocks that may have been written since their memory was given back."""
        self.all = like.new_zeros(0, like.shape[1], BLOCK, like.shape[3])

    def fit(self, count: int) -> None:
        """Make room for `count` blocks in use, and give back the memory of many others."""
        if count > len(self.all):
            self._grow(max(_LEAST, 2 * len(self.all), count))
        if self._map is not None and self._touched > count + max(_SPARE, count // 8):
            each = self.all[0].nbytes
            start, end = -(-count * each // mmap.PAGESIZE) * mmap.PAGESIZE, self._touched * each
            if start < end:
                self._map.madvise(mmap.MADV_DONTNEED, start, end - start)
            self._touched = count
        self._touched = max(self._touched, count)

    def _grow(self, size: int) -> None:
        old = self.all[: self._touched]
        shape = (size, *old.shape[1:])
        if old.device.type == "cpu" and hasattr(mmap, "MADV_DONTNEED"):
            n_bytes = size * old.shape[1:].numel() * old.element_size()
            self._map = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self.all = torch.frombuffer(self._map, dtype=old.dtype).view(shape)
        else:
            self.all = old.new_zeros(shape)
        self.all[: len(old)] = old


@dataclass(eq=False)
class Pool:
    """The blocks of all prompts, or of what all rows added: whose they are, and their keys and values in
    every layer."""

    layers: list[tuple[Blocks, Blocks]] = field(default_factory=list)
    owners: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    """Prompt or row that has the block."""
    places: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    """Which of its owner's blocks this is, from 0 on."""

    @property
    def count(self) -> int:
        """Blocks in use."""
        return len(self.owners)

    def take(self, owners: Numbers, places: Numbers) -> slice:
        """Give a new block to each of `owners`; returns which blocks these are."""
        new = slice(self.count, self.count + len(owners))
        self.owners = np.concatenate([self.owners, owners])
        self.places = np.concatenate([self.places, places])
        self._fit()
        return new

    def drop(self, renamed: Numbers) -> None:
        """Owner i is now called `renamed[i]`; below 0 it is over, and its blocks fall free."""
        owners, places = renamed[self.owners], self.places
        gone = np.flatnonzero(owners < 0)
        source, target = gaps(self.count, gone)
        owners[target], places[target] = owners[source], places[source]
        keep = self.count - len(gone)
        self.owners, self.places = owners[:keep], places[:keep]
        if len(gone):
            for blocks in (each for layer in self.layers for each in layer):
                blocks.all[target] = blocks.all[source]
            self._fit()

    def _fit(self) -> None:
        for blocks in (each for layer in self.layers for each in layer):
            blocks.fit(self.count)


def gaps(count: int, gone: Numbers) -> tuple[Numbers, Numbers]:
    """(from, to): how the last of `count` things fill the places of those that are gone."""
    keep = count - len(gone)
    return np.setdiff1d(np.arange(keep, count), gone), gone[gone < keep]
