"""How often each source errs, learnt from the run itself, and the probability of every first error.

Every solution hides the index K of its first error, or none. Each source has its own way of voting before, at
and after K (`chain`); these ways and the hazards (the chance that the next step is the first
error, and that the last one is) are fitted by expectation maximisation over the run, from pseudo-counts that
fix which state means what. The posterior of K is exact. Sources are taken as independent, given K.

An opinion (a judge, a score) cannot be calibrated from itself: if it calls a tenth of the steps wrong, they
may be errors or false alarms, and its votes fit both alike. So its habits are learnt from a solution only as
far as the other sources tell of K there (`_told`). A lone judge keeps those of its pseudo-counts, a good
judge's. The hazards are first fitted without opinions: else a judge that always says no would prove itself.

A search (`bisection`) votes with a posterior of K already, from a flat prior and from rollouts alone:
differences of its p give back the likelihood of every K, which enters as it is, unfitted and capped. Its
rollouts do not tell an error in the last step, which the grade answers, from none.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline.fusion.ballots import Ballots, Bools, Floats, Ints, Item, ballots_of
from pipeline.fusion.chain import (
    AT,
    BEFORE,
    CAP,
    LEVELS,
    SURE,
    Mixture,
    Walk,
    emissions,
    says_something,
    states,
)
from schemas.manifest import Trust
from schemas.sources import Sources, declared

Tables = tuple[Floats, ...]
"""A source's distributions, or its pseudo-counts: one table of a `Mixture`, the four of a `Walk`."""
_CELLS = 1 << 16
"""Steps in a batch, padding included: what bounds the memory."""

_REPLIES: Tables = (
    np.array(
        [
            [0.009, 0.003, 0.003, 0.003, 0.003, 0.003, 0.006, 19.97],
            [6.5, 1.5, 0.5, 0.1875, 0.1875, 0.1875, 0.1875, 0.75],
            [1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 2.0],
        ]
    ),
)
"""Pseudo-counts of a judge: a single reply calls one right step in 500 wrong (2% of right solutions of eight
steps), and the first error wrong in 87 of 100 cases. So do the good judges of ProcessBench (arXiv 2412.06559,
table 3: o1-mini passes 92 to 98% of right solutions, and names 75 to 89% of first errors). Where nothing else
speaks, labels are as sure as that. 20 and 10 steps of which other sources tell all outweigh them."""
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


_FIRST_ROUNDS = 20
"""Rounds in which only the hazards are fitted: they settle to a few percent."""
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


def _is_opinion(name: str, sources: Sources) -> bool:
    return not _is_walk(name) and declared(sources, name).kind in ("judge", "score")


def _levels(name: str, sources: Sources) -> Floats:
    if _is_walk(name):
        return LEVELS
    return SURE if declared(sources, name).kind in ("check", "grade") else LEVELS


def _counts(ballots: Ballots, length: int) -> dict[str, Floats]:
    """What fusion reads, by source: (c, n) of every step, shape (2, B, T); of rollouts, pooled, by whose they
    are. A vote without counts is one sample, with its p for c. A search is read by `_located`."""
    groups = [
        _WALK + one.by if one.by else name for one, name in zip(ballots.declared, ballots.names, strict=True)
    ]
    read = ballots.heard & ballots.of(lambda one: one.kind != "search")
    # An outsider's source may give a probability without samples: it weighs as one sample, never as
    # certainty.
    counted = ballots.n > 0
    correct = np.where(counted, ballots.correct, ballots.p)
    n = np.where(counted, ballots.n, 1)
    at, shape = ballots.solution * length + ballots.step, (len(ballots.n_steps), length)
    found: dict[str, Floats] = {}
    for group in sorted(set(groups)):
        mine = read & np.array([one == group for one in groups], bool)[ballots.source]
        if mine.any():
            found[group] = np.stack(
                [
                    np.bincount(at[mine], values[mine], shape[0] * shape[1]).reshape(shape)
                    for values in (correct, n)
                ]
            )
    return found


def _located(ballots: Ballots, length: int) -> Floats:
    """Log-likelihood of K = 0, ..., T - 1 and of no error under the searches' rollouts: shape (B, T + 1), of
    each search at most 0 and at least -6. Zeros without one, and of one that says nothing of a step."""
    found = np.zeros((len(ballots.n_steps), length + 1))
    for place, one in enumerate(ballots.declared):
        if one.kind == "search":
            mine = ballots.speaks & (ballots.source == place)
            sound = np.full((len(found), length), np.nan)
            sound[ballots.solution[mine], ballots.step[mine]] = ballots.p[mine]
            found += _located_by(sound, ballots.n_steps)
    return found


def _located_by(sound: Floats, n_steps: Ints) -> Floats:
    """Of one search, whose p are `sound`, shape (B, T)."""
    batch, length = sound.shape
    step, last = np.arange(length), n_steps[:, None] - 1
    is_whole = ((step < last) == ~np.isnan(sound)).all(1) & (n_steps > 1)
    reached = np.concatenate([np.ones((batch, 1)), np.where(step < last, np.nan_to_num(sound), 0.0)], 1)
    # p falls along the solution by exactly the chance that each step is the first error.
    logs = np.log(np.maximum(-np.diff(reached), 1e-9))
    logs = np.where(step <= last, logs, -np.inf)
    logs = np.maximum(logs - logs.max(1, keepdims=True, initial=-700.0), -CAP)
    logs = np.where(step <= last, logs, 0.0)
    # "No error" gets the last step's likelihood: rollouts start before the last step, so they cannot tell the
    # two apart.
    none = np.take_along_axis(logs, np.maximum(last, 0), 1)
    return np.asarray(np.concatenate([logs, none], 1) * is_whole[:, None])


class Batch:
    """Solutions side by side, padded to the longest of them."""

    def __init__(self, ballots: Ballots) -> None:
        self.n_steps = ballots.n_steps
        length = int(self.n_steps.max())
        self.searched = _located(ballots, length)
        counts = _counts(ballots, length)
        levels = {name: _levels(name, ballots.sources) for name in counts}
        self.seen = {name: emissions(c, n, levels[name]) for name, (c, n) in counts.items()}
        """Emissions of every source, shape (B, T, levels)."""

    def speaks(self, names: Iterable[str]) -> Bools:
        """In which solutions a vote of these sources says something, shape (B,)."""
        found = np.zeros(len(self.n_steps), bool)
        for name in names:
            found |= says_something(self.seen[name]).any(1)
        return found

    def tells(self, names: Iterable[str], sources: Sources) -> Bools:
        """In which solutions searches or these sources say something of the first error, shape (B,). A
        verifier does so where it refutes: it lets most errors pass."""
        checks = {one for one in names if not _is_walk(one) and declared(sources, one).kind == "check"}
        found = self.searched.any(1) | self.speaks(set(names) - checks)
        for name in checks:
            found |= (self.seen[name][..., 1] < 1).any(1)
        return np.asarray(found)

    def checked(self, sources: Sources) -> "Batch":
        """The same solutions without opinions."""
        made = copy(self)
        made.seen = {name: seen for name, seen in self.seen.items() if not _is_opinion(name, sources)}
        return made


def batches(ballots: Ballots) -> Iterator[tuple[Ints, Batch]]:
    """Batches of solutions of about equal length, those without steps left out, and which they are."""
    # By length, so that padding to the longest solution of a batch wastes little.
    order = np.argsort(ballots.n_steps, kind="stable")
    order = order[ballots.n_steps[order] > 0]
    begin = 0
    for end, n_steps in enumerate(ballots.n_steps[order]):
        if end > begin and (end - begin + 1) * n_steps > _CELLS:
            yield order[begin:end], Batch(ballots.take(order[begin:end]))
            begin = end
    if begin < len(order):
        yield order[begin:], Batch(ballots.take(order[begin:]))


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
        return _shares(sum(self._said(batch).values(), self._unasked(batch) + batch.searched))

    def _said(self, batch: Batch) -> dict[str, Floats]:
        """log P(votes | K) of every source but searches, shape (B, T + 1)."""
        return {name: self.source(name).logs(seen) for name, seen in batch.seen.items()}

    def _unasked(self, batch: Batch) -> Floats:
        """log P(K) before any vote, shape (B, T + 1)."""
        step, last = np.arange(batch.searched.shape[1] - 1), batch.n_steps[:, None] - 1
        # The last step has a hazard of its own, since it goes wrong more or less often than inner steps do.
        hazards = np.where(step < last, self.hazard, self.last_hazard)
        # Clipped, since a hazard of 0 or 1 would forbid an error for good, whatever the votes say.
        hazards = np.where(step <= last, np.clip(hazards, 1e-6, 1 - 1e-6), 0)
        survived = np.cumsum(np.log1p(-hazards), 1)
        logs = np.concatenate([np.zeros((len(hazards), 1)), survived], 1)
        logs[:, :-1] += np.log(hazards, out=np.full_like(hazards, -np.inf), where=hazards > 0)
        return np.asarray(logs)

    def _told(self, batch: Batch, others: Sequence[Floats]) -> Floats:
        """How much of each solution counts for a source, by what the other sources say of K there: shape
        (B,), from 0 (nothing) to 1.

        It is 1 - exp(-d), d being the Kullback-Leibler divergence of their P(K) from that before any vote.
        Being a function of others' votes only, it biases no table. It grows with the square of what they say,
        as the information in weak evidence does: verifiers that refute nothing tell next to nothing.
        """
        prior = self._unasked(batch)
        sooner, later = _shares(prior), _shares(sum(others, prior + batch.searched))
        logs = np.log(np.maximum(later, 1e-300)) - np.log(np.maximum(sooner, 1e-300))
        return np.asarray(-np.expm1(-np.maximum((later * logs).sum(1), 0.0)))

    def learnt(self, made: Sequence[Batch], heard: Sequence[Batch] | None = None) -> "Model":
        """One round of expectation maximisation; with `heard`, K is told by these votes alone."""
        # Pseudo-counts of the hazards: one first error in seven steps, to start from. They weigh as much as
        # one solution, so the run's own counts soon outweigh them.
        at, before = np.ones(2), np.full(2, 6.0)  # inner steps, the last one
        counts = {name: [table.copy() for table in _prior(name, self.sources)] for name in self.tables}
        for batch, told_by in zip(made, heard or made, strict=True):
            said = self._said(told_by)
            chances = _shares(sum(said.values(), self._unasked(batch) + batch.searched))
            state, last = states(chances), batch.n_steps[:, None] - 1
            step = np.arange(state.shape[1])
            for total, which in ((at, AT), (before, BEFORE)):
                total += state[step < last, which].sum(), state[step == last, which].sum()
            for name, seen in batch.seen.items():
                told = np.ones(len(chances))
                if _is_opinion(name, self.sources):
                    told = self._told(batch, [logs for other, logs in said.items() if other != name])
                    # Each solution that it alone speaks of holds its table by one right step more: a few
                    # graded solutions must not decide for a thousand without an answer.
                    alone = batch.speaks([name]) & ~batch.tells(set(batch.seen) - {name}, self.sources)
                    for table, pseudo in zip(counts[name], _prior(name, self.sources), strict=True):
                        table += pseudo * alone.sum() / pseudo[BEFORE].sum()
                more = self.source(name).expected(seen, chances * told[:, None])
                for table, expected in zip(counts[name], more, strict=True):
                    table += expected
        hazard, last_hazard = (float(share) for share in at / (at + before))
        return Model(
            hazard, last_hazard, {name: _normal(tables) for name, tables in counts.items()}, self.sources
        )


def _shares(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _normal(tables: Sequence[Floats]) -> Tables:
    return tuple(table / table.sum(-1, keepdims=True) for table in tables)


def fit(solutions: Iterable[Item], sources: Sources, *, rounds: int = 50) -> Trust:
    """Fit hazards and sources to many solutions. Their order changes nothing but the last digits."""
    return fit_to(ballots_of(solutions, sources), rounds=rounds)


def fit_to(ballots: Ballots, *, rounds: int = 50) -> Trust:
    """`fit` to votes in columns."""
    sources = ballots.sources
    made = [batch for _, batch in batches(ballots)]
    # Those that say nothing in these solutions may speak in others: their pseudo-counts are their tables.
    names = sorted({name for batch in made for name in batch.seen} | _declared(sources))
    model = Model(0.15, 0.15, {name: _normal(_prior(name, sources)) for name in names}, sources)
    model = _begun(model, made)
    for _ in range(rounds):
        old, model = model, model.learnt(made)
        # Well below the five digits that are stored.
        if max(abs(model.hazard - old.hazard), abs(model.last_hazard - old.last_hazard)) < 1e-6:
            break
    return _trust_of(model, int((ballots.n_steps > 0).sum()))


def _begun(model: Model, made: Sequence[Batch]) -> Model:
    """Where the fit begins. Hazards come from the sources that are no opinions, taken as their pseudo-counts
    say; opinions begin with what they said of solutions that these sources tell of. The fit ends at the
    optimum next to where it begins, and next to a trusted judge that calls most steps wrong lies one in which
    most steps are wrong."""
    checked = [batch.checked(model.sources) for batch in made]
    # Of a few graded solutions among many that only a judge speaks of, too little is seen to begin with.
    told = np.concatenate([batch.tells(batch.seen, model.sources) for batch in checked] or [np.ones(0, bool)])
    if told.sum() < len(told) / 2 or not len(told):
        return model
    begun = model
    for _ in range(_FIRST_ROUNDS):
        begun = replace(begun.learnt(checked), tables=model.tables)
    return begun.learnt(made, checked)


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
    found = [np.ones(1)] * len(items)
    for solutions, chances in _chances(ballots_of(items, model.sources), model):
        for solution, row in zip(solutions, chances, strict=True):
            found[solution] = np.append(row[: items[solution][0]], row[-1])
    return found


def right_so_far(ballots: Ballots, model: Model) -> Floats:
    """Of every cell the probability that its step and all before it are right."""
    found = np.ones(ballots.starts[-1])
    for solutions, chances in _chances(ballots, model):
        # The last entry of `chances` is "no error" and belongs to no step.
        right = 1 - np.cumsum(chances[:, :-1], 1)
        n_steps, step = ballots.n_steps[solutions], np.arange(right.shape[1])
        cells = ballots.starts[solutions][:, None] + step
        is_step = step < n_steps[:, None]
        found[cells[is_step]] = right[is_step]
    return np.clip(found, 0.0, 1.0)


def _chances(ballots: Ballots, model: Model) -> Iterator[tuple[Ints, Floats]]:
    return ((solutions, model.chances(batch)) for solutions, batch in batches(ballots))
