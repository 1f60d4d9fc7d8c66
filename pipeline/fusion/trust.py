"""How often each source errs, learnt from the run itself, and the probability of every first error.

Every solution hides the index K of its first error, or none. Each source has its own way of voting before, at
and after K (`chain`); these ways and the hazards (the chance that the next step is the first
error, and that the last one is) are fitted by expectation maximisation over the run, from pseudo-counts that
fix which state means what. The posterior of K is exact. Sources are taken as independent, given K.

A search (`bisection`) votes with a posterior of K already, from a flat prior and from rollouts alone:
differences of its p give back the likelihood of every K, which enters as it is, unfitted and capped. Its
rollouts do not tell an error in the last step, which the grade answers, from none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from pipeline.fusion.chain import AT, BEFORE, CAP, LEVELS, SURE, Floats, Mixture, Walk, emissions, states
from pipeline.fusion.first_error import heard
from schemas.manifest import Trust
from schemas.records import Vote
from schemas.sources import Sources, declared

Item = tuple[int, Sequence[Vote]]
"""A solution as the fit sees it: its number of steps, and its votes."""
Tables = tuple[Floats, ...]
"""A source's distributions, or its pseudo-counts: one table of a `Mixture`, the four of a `Walk`."""
_CELLS = 1 << 16
"""Steps in a batch, padding included: what bounds the memory."""

_REPLIES: Tables = (
    np.array(
        [
            [0.5, 0.5, 0.5, 0.5, 1.0, 2.0, 4.0, 6.0],
            [4.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 2.0],
        ]
    ),
)
"""Pseudo-counts of a judge: right steps are called right more often than wrong ones, and that is all."""
_SCORED: Tables = (np.stack([_REPLIES[0][0], _REPLIES[0][1], _REPLIES[0][1]]),)
"""Of a score of the whole solution, which stands on the last step: an error before that step lowers it as
much as one in it."""
_CHECKED: Tables = (np.array([[0.02, 40.0], [5.0, 5.0], [5.0, 5.0]]),)
"""Of a verifier: it hardly ever refutes a right step, and says little by letting one pass."""
_GRADED: Tables = (np.array([[1.0, 2000.0], [8.0, 2.0], [8.0, 2.0]]),)
"""Of the graded answer: a wrong one means an error somewhere, which no run may unlearn."""
_ROLLED: Tables = (
    np.array([0.3, *[1.0] * (len(LEVELS) - 1)]),
    np.array([0.1, 0.3, 2.0, 10.0, 6.0]),
    np.array([16.0, 0.8, 0.4, 0.4, 0.2]),
    np.array([10.0, 0.3]),
)
"""Of rollouts: a right step keeps what success there was, a wrong one loses it, and little comes back."""


_WALK = "rollouts:"
"""Before the name of a policy: its pooled rollouts, among the names of the other sources."""


def _is_walk(name: str) -> bool:
    return name.startswith(_WALK)


def _declared(sources: Sources) -> set[str]:
    """The names of all sources that are fitted, pooled rollouts by whose they are."""
    fitted = {name: source for name, source in sources.items() if source.kind != "search"}
    return {_WALK + source.by if source.by else name for name, source in fitted.items()}


def _prior(name: str, sources: Sources) -> Tables:
    if _is_walk(name):
        return _ROLLED
    priors = {"grade": _GRADED, "check": _CHECKED, "score": _SCORED}
    return priors.get(declared(sources, name).kind, _REPLIES)


def _levels(name: str, sources: Sources) -> Floats:
    if _is_walk(name):
        return LEVELS
    return SURE if declared(sources, name).kind in ("check", "grade") else LEVELS


def counts_of(votes: Sequence[Vote], sources: Sources) -> dict[str, dict[int, tuple[float, float]]]:
    """What fusion reads: (c, n) by source and step; of rollouts, pooled, by whose they are. A vote without
    counts is one sample, with its p for c. A search is read by `located`."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for vote in heard(votes, sources):
        source = declared(sources, vote.source)
        if vote.p is None or source.kind == "search":
            continue
        steps = found.setdefault(_WALK + source.by if source.by else vote.source, {})
        correct, n = steps.get(vote.step, (0.0, 0.0))
        # An outsider's source may give a probability without samples: it weighs as one sample, never as
        # certainty.
        more = (vote.correct, vote.n) if vote.n else (vote.p, 1)
        steps[vote.step] = correct + more[0], n + more[1]
    return found


def located(n_steps: int, votes: Sequence[Vote], sources: Sources) -> Floats:
    """Log-likelihood of K = 0, ..., n_steps - 1 and of no error under the searches' rollouts: shape
    (n_steps + 1,), of each search at most 0 and at least -6. Zeros without one, and of one that says nothing
    of a step."""
    found: dict[str, dict[int, float]] = {}
    for vote in votes:
        if declared(sources, vote.source).kind == "search" and vote.p is not None:
            found.setdefault(vote.source, {})[vote.step] = vote.p
    return sum((_located(n_steps, sound) for sound in found.values()), np.zeros(n_steps + 1))


def _located(n_steps: int, sound: Mapping[int, float]) -> Floats:
    """Of one search, whose p are `sound`, by step."""
    if sound.keys() != set(range(n_steps - 1)):
        return np.zeros(n_steps + 1)
    # p falls along the solution by exactly the chance that each step is the first error.
    chances = -np.diff([1.0, *(sound[step] for step in range(n_steps - 1)), 0.0])
    # "No error" gets the last step's likelihood: rollouts start before the last step, so they cannot tell the
    # two apart.
    logs = np.log(np.maximum([*chances, chances[-1]], 1e-9))
    return np.asarray(np.maximum(logs - logs.max(), -CAP))


class Batch:
    """Solutions side by side, padded to the longest of them."""

    def __init__(self, items: Sequence[Item], sources: Sources) -> None:
        self.n_steps = np.array([n_steps for n_steps, _ in items])
        shape = len(items), int(self.n_steps.max())
        self.searched = np.zeros((shape[0], shape[1] + 1))
        counts: dict[str, Floats] = {}
        for row, (n_steps, votes) in enumerate(items):
            found = located(n_steps, votes, sources)
            self.searched[row, :n_steps], self.searched[row, -1] = found[:-1], found[-1]
            for name, steps in counts_of(votes, sources).items():
                table = counts.setdefault(name, np.zeros((2, *shape)))
                for step, pair in steps.items():
                    if step < n_steps:
                        table[:, row, step] = pair
        self.seen = {name: emissions(c, n, _levels(name, sources)) for name, (c, n) in sorted(counts.items())}
        """Emissions of every source, shape (B, T, levels)."""


def batches(items: Iterable[Item], sources: Sources) -> Iterator[Batch]:
    """Batches of solutions of about equal length."""
    waiting: list[Item] = []
    # By length, so that padding to the longest solution of a batch wastes little.
    for item in sorted(items, key=lambda item: item[0]):
        if waiting and (len(waiting) + 1) * item[0] > _CELLS:
            yield Batch(waiting, sources)
            waiting = []
        waiting.append(item)
    if waiting:
        yield Batch(waiting, sources)


@dataclass(frozen=True)
class Model:
    """Hazards and each source's distributions. A source it does not know has those of its pseudo-counts."""

    hazard: float
    last_hazard: float
    tables: dict[str, Tables]
    sources: Sources
    """What each source's votes are evidence of."""

    @cached_property
    def _made(self) -> dict[str, Mixture | Walk]:
        return {}

    def source(self, name: str) -> Mixture | Walk:
        """How a source votes."""
        if name not in self._made:
            tables = self.tables.get(name) or _normal(_prior(name, self.sources))
            if _is_walk(name):
                start, right, wrong, lost = tables
                self._made[name] = Walk(start, right, wrong, lost, self.hazard)
            else:
                self._made[name] = Mixture(tables[0])
        return self._made[name]

    def chances(self, batch: Batch) -> Floats:
        """P(K = 0), ..., P(K = T - 1), P(no error) of each solution: shape (B, T + 1), rows sum to 1."""
        step, last = np.arange(batch.searched.shape[1] - 1), batch.n_steps[:, None] - 1
        # The last step has a hazard of its own, since it goes wrong more or less often than inner steps do.
        hazards = np.where(step < last, self.hazard, self.last_hazard)
        # Clipped, since a hazard of 0 or 1 would forbid an error for good, whatever the votes say.
        hazards = np.where(step <= last, np.clip(hazards, 1e-6, 1 - 1e-6), 0)
        survived = np.cumsum(np.log1p(-hazards), 1)
        logs = np.concatenate([np.zeros((len(hazards), 1)), survived], 1) + batch.searched
        logs[:, :-1] += np.log(hazards, out=np.full_like(hazards, -np.inf), where=hazards > 0)
        for name, seen in batch.seen.items():
            logs += self.source(name).logs(seen)
        weights = np.exp(logs - logs.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True))

    def learnt(self, made: Sequence[Batch]) -> "Model":
        """One round of expectation maximisation."""
        # Pseudo-counts of the hazards: one first error in seven steps, to start from. They weigh as much as
        # one solution, so the run's own counts soon outweigh them.
        at, before = np.ones(2), np.full(2, 6.0)  # inner steps, the last one
        counts = {name: [table.copy() for table in _prior(name, self.sources)] for name in self.tables}
        for batch in made:
            chances = self.chances(batch)
            state, last = states(chances), batch.n_steps[:, None] - 1
            step = np.arange(state.shape[1])
            for total, which in ((at, AT), (before, BEFORE)):
                total += state[step < last, which].sum(), state[step == last, which].sum()
            for name, seen in batch.seen.items():
                for table, more in zip(counts[name], self.source(name).expected(seen, chances), strict=True):
                    table += more
        hazard, last_hazard = (float(share) for share in at / (at + before))
        return Model(
            hazard, last_hazard, {name: _normal(tables) for name, tables in counts.items()}, self.sources
        )


def _normal(tables: Sequence[Floats]) -> Tables:
    return tuple(table / table.sum(-1, keepdims=True) for table in tables)


def fit(solutions: Iterable[Item], sources: Sources, *, rounds: int = 50) -> Trust:
    """Fit hazards and sources to many solutions. Their order changes nothing but the last digits."""
    items = [item for item in solutions if item[0]]
    made = list(batches(items, sources))
    # Those that say nothing in these solutions may speak in others: their pseudo-counts are their tables.
    names = sorted({name for batch in made for name in batch.seen} | _declared(sources))
    model = Model(0.15, 0.15, {name: _normal(_prior(name, sources)) for name in names}, sources)
    for _ in range(rounds):
        old, model = model, model.learnt(made)
        # Well below the five digits that are stored.
        if max(abs(model.hazard - old.hazard), abs(model.last_hazard - old.last_hazard)) < 1e-6:
            break
    return _trust_of(model, len(items))


def _trust_of(model: Model, n_solutions: int) -> Trust:
    tables = {
        # Rounded, so that the last digits, which depend on the processor, do not change the manifest.
        name: [np.round(row, 5).tolist() for table in tables for row in np.atleast_2d(table)]
        for name, tables in model.tables.items()
    }
    return Trust(
        hazard=round(model.hazard, 5),
        last_hazard=round(model.last_hazard, 5),
        levels=LEVELS.tolist(),
        tables={name: rows for name, rows in tables.items() if not _is_walk(name)},
        rollouts={name.removeprefix(_WALK): rows for name, rows in tables.items() if _is_walk(name)},
        n_solutions=n_solutions,
    )


def model_of(trust: Trust, sources: Sources) -> Model:
    """What a manifest's trust says, to compute with."""
    mixtures = {name: _normal([np.array(rows)]) for name, rows in trust.tables.items()}
    walks = {_WALK + name: _normal([np.array(row) for row in rows]) for name, rows in trust.rollouts.items()}
    last = trust.hazard if trust.last_hazard is None else trust.last_hazard
    return Model(trust.hazard, last, mixtures | walks, sources)


def posteriors(items: Sequence[Item], model: Model) -> list[Floats]:
    """Of each solution P(K = 0), ..., P(K = n_steps - 1), P(no error): shape (n_steps + 1,), sums to 1.

    Without votes this is the prior h(1-h)^k, with the last step's own hazard.
    """
    order = [place for place in sorted(range(len(items)), key=lambda i: items[i][0]) if items[place][0]]
    made = batches((items[place] for place in order), model.sources)
    rows = chain.from_iterable(map(model.chances, made))
    found = [np.ones(1)] * len(items)
    for place, row in zip(order, rows, strict=True):
        found[place] = np.append(row[: items[place][0]], row[-1])
    return found
