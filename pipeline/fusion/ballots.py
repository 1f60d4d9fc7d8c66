"""Votes of many solutions in columns: what the fit, the posteriors, the labels and the consensus read.

One array an attribute, one entry a vote, in the order of the solutions. A million votes as records take a
gigabyte, and reading one attribute of each takes a second; as columns it takes a millisecond.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.arrow_values import numbers, numpy_of, scalar, texts
from schemas.records import Vote
from schemas.sources import Source, Sources, declared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Item = tuple[int, Sequence[Vote]]
"""A solution as fusion sees it: its number of steps, and its votes."""


@dataclass(frozen=True)
class Ballots:
    """Solutions with their votes. A step of a solution is a `cell`; cells stand one behind the other."""

    n_steps: Ints
    """Of every solution."""
    solution: Ints
    """Of every vote: the solution that it is on, ascending."""
    step: Ints
    source: Ints
    """Of every vote: the place of its source in `names`."""
    names: tuple[str, ...]
    """The sources that vote, sorted."""
    solvable: Bools
    """Whether a vote asks if the answer is still in reach."""
    p: Floats
    """NaN where a vote abstains."""
    correct: Ints
    n: Ints
    why: pa.Array
    sources: Sources
    """What each source's votes are evidence of."""

    @cached_property
    def declared(self) -> tuple[Source, ...]:
        """The declaration of each of `names`. UserError for one that nobody declared."""
        return tuple(declared(self.sources, name) for name in self.names)

    @cached_property
    def starts(self) -> Ints:
        """The first cell of every solution, and the number of cells: shape (solutions + 1,)."""
        return np.concatenate([[0], np.cumsum(self.n_steps)])

    @cached_property
    def cell(self) -> Ints:
        """Of every vote: the cell that it is on."""
        return np.asarray(self.starts[self.solution] + self.step)

    @cached_property
    def owner(self) -> Ints:
        """Of every cell: its solution."""
        return np.repeat(np.arange(len(self.n_steps)), self.n_steps)

    @cached_property
    def place(self) -> Ints:
        """Of every cell: its step."""
        return np.asarray(np.arange(self.starts[-1]) - self.starts[self.owner])

    @cached_property
    def speaks(self) -> Bools:
        """Whether a vote says something."""
        return ~np.isnan(self.p)

    @cached_property
    def heard(self) -> Bools:
        """Votes that say something; of those whose rollouts a search has counted too, only the search's."""
        # A search's vote holds the rollouts of the sources it `includes` already; counting both would make
        # one piece of evidence look like two.
        found = self.speaks.copy()
        for place, one in enumerate(self.declared):
            for name in set(one.includes) & set(self.names):
                searched = np.zeros(len(self.n_steps), bool)
                searched[self.solution[self.speaks & (self.source == place)]] = True
                found &= ~((self.source == self.names.index(name)) & searched[self.solution])
        return found

    @cached_property
    def share(self) -> Floats:
        """The share of yes: of the counts where there are any, else p."""
        return np.where(self.n > 0, self.correct / np.maximum(self.n, 1), np.nan_to_num(self.p))

    def of(self, holds: Callable[[Source], bool]) -> Bools:
        """Votes of the sources of which something holds."""
        return np.array([bool(holds(one)) for one in self.declared], bool)[self.source]

    def where(self, mask: Bools, sources: Sources | None = None) -> "Ballots":
        """The same solutions with some of their votes; with `sources`, under other declarations."""
        return replace(
            self,
            sources=self.sources if sources is None else sources,
            why=self.why.filter(numbers(mask)),
            **{name: getattr(self, name)[mask] for name in _OF_VOTES},
        )

    def take(self, solutions: Ints) -> "Ballots":
        """Some of the solutions, in the order given."""
        ends = np.searchsorted(self.solution, np.arange(len(self.n_steps) + 1))
        first, counts = ends[solutions], np.diff(ends)[solutions]
        at = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        found = {name: getattr(self, name)[at] for name in _OF_VOTES}
        found["solution"] = np.repeat(np.arange(len(solutions)), counts)
        return replace(self, n_steps=self.n_steps[solutions], why=self.why.take(numbers(at)), **found)


_OF_VOTES = ("solution", "step", "source", "solvable", "p", "correct", "n")


def ballots_of(items: Iterable[Item], sources: Sources) -> Ballots:
    """Solutions with their votes as records. A vote beyond the last step is left out."""
    known = list(items)
    votes = [[vote for vote in votes if vote.step < n_steps] for n_steps, votes in known]
    names = tuple(sorted({vote.source for vote in chain.from_iterable(votes)}))
    index = {name: place for place, name in enumerate(names)}
    every = list(chain.from_iterable(votes))
    return Ballots(
        n_steps=np.array([n_steps for n_steps, _ in known], np.int64),
        solution=np.repeat(np.arange(len(known)), [len(some) for some in votes]).astype(np.int64),
        step=np.array([vote.step for vote in every], np.int64),
        source=np.array([index[vote.source] for vote in every], np.int64),
        names=names,
        solvable=np.array([vote.asks == "solvable" for vote in every], bool),
        p=np.array([np.nan if vote.p is None else vote.p for vote in every], float),
        correct=np.array([vote.correct for vote in every], np.int64),
        n=np.array([vote.n for vote in every], np.int64),
        why=texts([vote.why for vote in every]),
        sources=sources,
    )


def ballots_in(n_steps: Ints, votes: pa.ListArray, sources: Sources) -> Ballots:
    """Solutions with their votes as a column of the dataset (`schemas.arrow`)."""
    flat = votes.flatten()

    def column(name: str) -> pa.Array:
        return pc.struct_field(flat, name)

    coded = column("source").dictionary_encode()
    order = np.argsort(found := coded.dictionary.to_pylist())
    counts = numpy_of(pc.list_value_length(votes))
    return Ballots(
        n_steps=n_steps,
        solution=np.repeat(np.arange(len(n_steps)), counts),
        step=numpy_of(column("step")).astype(np.int64),
        source=np.argsort(order)[numpy_of(coded.indices)].astype(np.int64),
        names=tuple(found[place] for place in order),
        solvable=numpy_of(pc.equal(column("asks"), scalar("solvable"))),
        p=numpy_of(column("p")),
        correct=numpy_of(column("correct")).astype(np.int64),
        n=numpy_of(column("n")).astype(np.int64),
        why=column("why"),
        sources=sources,
    )


def joined(parts: Sequence[Ballots], sources: Sources) -> Ballots:
    """The solutions of several `Ballots`, one behind the other."""
    names = tuple(sorted({name for part in parts for name in part.names}))
    if not parts:
        return ballots_of([], sources)
    found = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _OF_VOTES}
    sizes = np.cumsum([0, *(len(part.n_steps) for part in parts)])
    found["solution"] = np.concatenate(
        [part.solution + at for part, at in zip(parts, sizes[:-1], strict=True)]
    )
    places = [np.array([names.index(name) for name in part.names], np.int64) for part in parts]
    found["source"] = np.concatenate([at[part.source] for at, part in zip(places, parts, strict=True)])
    return Ballots(
        n_steps=np.concatenate([part.n_steps for part in parts]),
        names=names,
        why=pa.concat_arrays([part.why for part in parts]),
        sources=sources,
        **found,
    )
