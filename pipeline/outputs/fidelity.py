"""How labels agree with gold labels: those of people that came with the solutions, or the exact truth of the
embedded problems. One table for every source alone, all sources of a kind, the consensus, and fusion.

First errors are measured as ProcessBench does (arXiv 2412.06559, section 3): the share of wrong solutions
whose first error is named exactly, the share of right solutions that are called right, and their harmonic
mean. What is left open counts against, so a source that seldom decides has a low figure, however right it is;
`coverage` stands beside it. Steps without a gold label (PRM800K's neutral ones, those after ProcessBench's
first error) count nowhere.

Rows are read once. Kept are sums for each problem, and of more than `_PLACES` problems those of as many
groups, so memory does not grow with a run. Intervals are 95% bootstraps over problems (or groups), with a
fixed seed.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pipeline.fusion.ballots import ballots_of
from pipeline.fusion.consensus import AGREED, Pair, pair_of
from pipeline.fusion.first_error import CHECK, SIDES, Named, all_named, side_of
from pipeline.prm.intervals import Floats, harmonic, interval, share, weights
from pipeline.storage.files import batches
from schemas.config import FusionConfig
from schemas.records import GoldLabels, LabelledSolution, Vote, first_error_labels
from schemas.sources import Sources, declared

Figures = dict[str, Any]
Truth = Callable[[LabelledSolution], GoldLabels | None]
"""The gold labels of a row; None where it has none."""

_PLACES = 2000
"""Problems whose sums are kept apart. The interval of a share hardly depends on how many groups it is drawn
from once there are hundreds."""
_DATASETS = 20
"""Datasets with a table of their own, the first ones; a field of a user's rows may have a million values."""
_AT_ONCE = 512
"""Rows whose first errors are named together."""
_BINS = 10
"""Of equal width, as in `pipeline.prm.evaluate.ece`."""
CONSENSUS, FUSED = "consensus", "fused"


class Said(NamedTuple):
    """What one arm says of a solution."""

    first: int | None
    """The first error, -1 for none; None where it is left open."""
    labels: Sequence[int | None]
    """1 right, 0 wrong, None no label; one for each step."""
    p: Mapping[int, float]
    """Probability by step, where the arm gives one."""
    so_far: bool
    """Whether p says that the step and every one before it are right, and not the step alone."""


_GOLD = ("wrong", "right", "wrong_steps", "steps", "solutions")
"""Sums of the gold labels themselves: wrong and right solutions, wrong steps, steps with a label, rows."""
_ARM = (
    "found", "clean", "named", "decided", "decided_wrong", "step_hits", "steps_called_wrong",
    "steps_labelled", "p_steps", "p_squares",
)  # fmt: skip
"""Sums of what an arm says of them; after these stand the gaps of p and truth in each of `_BINS` bins."""
_WIDTH = len(_ARM) + _BINS
_G, _A = ({name: at for at, name in enumerate(names)} for names in (_GOLD, _ARM))


@dataclass
class _Sums:
    """The sums of one dataset: a row a problem, by arm; of the gold labels under an empty name."""

    places: dict[str, int] = field(default_factory=dict)
    by_arm: dict[str, Floats] = field(default_factory=dict)

    def place(self, problem: str) -> int:
        """The row of a problem, of its own or of its group."""
        if len(self.places) < _PLACES:
            return self.places.setdefault(problem, len(self.places))
        return self.places.get(problem, zlib.crc32(problem.encode()) % _PLACES)

    def add(self, name: str, place: int, sums: Floats) -> None:
        """Add to an arm's row; the memory of rows that are never written is never taken."""
        if name not in self.by_arm:
            self.by_arm[name] = np.zeros((_PLACES, len(sums)))
        self.by_arm[name][place] += sums

    def of(self, name: str) -> Floats:
        """An arm's rows; zeros where it never spoke."""
        n = len(self.places)
        return self.by_arm[name][:n] if name in self.by_arm else np.zeros((n, _WIDTH))


class Tally:
    """Sums over rows, by dataset and problem."""

    def __init__(self, sources: Sources, fusion: FusionConfig) -> None:
        self.sources, self.fusion = sources, fusion
        self.by: Counter[str] = Counter()
        """Who gave the gold labels, and of how many solutions."""
        self.without = 0
        """Rows without gold labels."""
        self._datasets: dict[str, _Sums] = {}
        self._seen: set[str] = set()

    def add(self, rows: Iterable[tuple[LabelledSolution, GoldLabels | None]]) -> None:
        """Count rows with their gold labels. First errors are named for some hundred of them at once."""
        for some in batches(rows, _AT_ONCE):
            told = [(row, gold) for row, gold in some if gold is not None and _says_something(gold)]
            self.without += len(some) - len(told)
            arms = _arms([row for row, _ in told], self.sources, self.fusion)
            for (row, gold), said in zip(told, arms, strict=True):
                self._add(row, gold, said)

    def _add(self, row: LabelledSolution, gold: GoldLabels, arms: Sequence[tuple[str, Said]]) -> None:
        self.by[gold.by or "unnamed"] += 1
        self._seen |= {vote.source for vote in row.votes} | ({CONSENSUS} if row.consensus else set())
        name = row.problem.source.dataset or "unnamed"
        known = name in self._datasets or len(self._datasets) < _DATASETS
        sums = self._datasets.setdefault(name if known else "others", _Sums())
        place = sums.place(row.problem.id)
        sums.add("", place, _gold_sums(gold))
        for arm, said in arms:
            sums.add(arm, place, _arm_sums(said, gold))

    def figures(self, *, seed: int = 0) -> Figures:
        """All that was counted; empty where no row had gold labels."""
        if not self.by:
            return {}
        found: Figures = {
            "by": dict(sorted(self.by.items())),
            "without": self.without,
            **self._table(list(self._datasets.values()), seed),
        }
        if len(self._datasets) > 1:
            found["by_dataset"] = {
                name: self._table([sums], seed) for name, sums in sorted(self._datasets.items())
            }
        return found

    def _table(self, datasets: Sequence[_Sums], seed: int) -> Figures:
        def rows(name: str) -> Floats:
            return _folded(np.concatenate([sums.of(name) for sums in datasets]))

        gold = rows("")
        draws = weights(len(gold), seed=seed)
        counts = {name: int(gold[:, at].sum()) for name, at in _G.items()}
        arms = {name: _figures_of(gold, rows(name), draws) for name in self._names()}
        return {"problems": sum(len(sums.places) for sums in datasets), **counts, "arms": arms}

    def _names(self) -> list[str]:
        """The arms of the table: whoever voted, all of a kind where several of it did, and what is made of
        them."""
        voted = sorted(self._seen - {CONSENSUS})
        sides = [side_of(name, self.sources) for name in voted]
        several = [side for side in SIDES if sides.count(side) > 1]
        return [*voted, *several, *([CONSENSUS] if CONSENSUS in self._seen else []), FUSED]


def _folded(rows: Floats) -> Floats:
    """The same sums in `_PLACES` rows at most."""
    found = np.zeros((min(len(rows), _PLACES), rows.shape[1]))
    np.add.at(found, np.arange(len(rows)) % _PLACES, rows)
    return found


def fidelity(
    rows: Iterable[LabelledSolution],
    sources: Sources,
    fusion: FusionConfig,
    truth: Truth = lambda row: row.gold,
    *,
    seed: int = 0,
) -> Figures:
    """The figures of rows against their gold labels, those that came with them unless `truth` gives others;
    empty where no row has any."""
    tally = Tally(sources, fusion)
    tally.add((row, truth(row)) for row in rows)
    return tally.figures(seed=seed)


def _says_something(gold: GoldLabels) -> bool:
    return gold.first_error is not None or any(label is not None for label in gold.labels)


def _arms(
    rows: Sequence[LabelledSolution], sources: Sources, fusion: FusionConfig
) -> Iterator[list[tuple[str, Said]]]:
    """What every arm says of each row."""
    ballots = ballots_of([(len(row.labels), row.votes) for row in rows], sources)
    pair = pair_of(fusion.consensus)
    wanted = {*ballots.names, *SIDES, *(pair or ())[:1]}
    named = {who: all_named(who, ballots, fusion.threshold) for who in wanted if _names(who, sources)}
    sides = {who: side_of(who, sources) for who in ballots.names}
    for place, row in enumerate(rows):
        mine = {who: found.of(place) for who, found in named.items()}
        yield list(_arms_of(row, mine, sources, pair, sides))


def _names(who: str, sources: Sources) -> bool:
    """Whether an arm names first errors. A judge of whether the answer is in reach does not."""
    return bool(side_of(who, sources)) or declared(sources, who).kind == "grade"


def _arms_of(
    row: LabelledSolution,
    named: Mapping[str, Named],
    sources: Sources,
    pair: Pair | None,
    sides: Mapping[str, str],
) -> Iterator[tuple[str, Said]]:
    by: dict[str, list[Vote]] = {}
    for vote in row.votes:
        by.setdefault(vote.source, []).append(vote)
        if (side := sides[vote.source]) not in ("", vote.source):
            by.setdefault(side, []).append(vote)
    for who in (*sorted({vote.source for vote in row.votes}), *SIDES):
        yield who, _alone(who, len(row.labels), by.get(who, []), named.get(who), sources)
    if pair is not None and row.consensus:
        # Rows that the filter could not be applied to are kept, but nobody has agreed on them.
        first = named[pair[0]].first if row.consensus in AGREED else None
        yield CONSENSUS, Said(first, _implied(first, 0, len(row.labels)), {}, so_far=True)
    p = {step: label.p for step, label in enumerate(row.labels) if label.p is not None}
    yield FUSED, Said(row.first_error, [label.label for label in row.labels], p, so_far=True)


def _alone(who: str, n: int, mine: Sequence[Vote], named: Named | None, sources: Sources) -> Said:
    """What a source, or all of a kind, says of `n` steps without the others."""
    side = side_of(who, sources)
    own = None if who in SIDES else declared(sources, who)
    # Several sources of a kind have no one p.
    p = {vote.step: vote.p for vote in mine if own is not None and vote.p is not None}
    so_far = own is not None and own.asks == "solvable"
    if named is None:
        return Said(None, [None] * n, p, so_far)
    labels = _checked(mine, n) if side == CHECK else _implied(named.first, named.spoken, n)
    return Said(named.first, labels, p, so_far)


def _checked(votes: Sequence[Vote], n_steps: int) -> list[int | None]:
    """A verifier's own labels: it may hold or refute any step, whatever it says of those before."""
    labels: list[int | None] = [None] * n_steps
    # In the order of p, so that a refutation is written last.
    for vote in sorted((vote for vote in votes if vote.p is not None), key=lambda vote: -(vote.p or 0.0)):
        labels[vote.step] = int((vote.p or 0.0) >= 0.5)
    return labels


def _implied(first: int | None, spoken: int, n_steps: int) -> list[int | None]:
    """The labels that a first error implies: right before it, nothing after it. Where it is open, the steps
    that were spoken for are right."""
    if first is None:
        return [1 if step < spoken else None for step in range(n_steps)]
    return list(first_error_labels(first, n_steps))


def _gold_sums(gold: GoldLabels) -> Floats:
    found = np.zeros(len(_GOLD))
    found[_G["wrong"]] = gold.first_error is not None and gold.first_error != -1
    found[_G["right"]] = gold.first_error == -1
    found[_G["wrong_steps"]] = sum(label == 0 for label in gold.labels)
    found[_G["steps"]] = sum(label is not None for label in gold.labels)
    found[_G["solutions"]] = 1
    return found


def _arm_sums(said: Said, gold: GoldLabels) -> Floats:
    found = [0.0] * _WIDTH  # numbers of Python, to which it adds three times as fast as to an array's
    if said.first is not None and gold.first_error is not None:
        is_wrong, hit = gold.first_error != -1, said.first == gold.first_error
        found[_A["found"]], found[_A["clean"]] = hit and is_wrong, hit and not is_wrong
        found[_A["named"]], found[_A["decided"]], found[_A["decided_wrong"]] = said.first != -1, 1, is_wrong
    failed = False
    for step, (mine, theirs) in enumerate(zip(said.labels, gold.labels, strict=True)):
        if theirs is None:
            continue
        failed = failed or theirs == 0
        found[_A["steps_labelled"]] += mine is not None
        found[_A["steps_called_wrong"]] += mine == 0
        found[_A["step_hits"]] += mine == theirs == 0
        if (p := said.p.get(step)) is not None:
            target = float(not failed) if said.so_far else float(theirs)
            found[_A["p_steps"]] += 1
            found[_A["p_squares"]] += (p - target) ** 2
            found[len(_ARM) + min(int(p * _BINS), _BINS - 1)] += p - target
    return np.array(found, float)


Columns = Mapping[str, Any]
"""Sums by name: numbers, or arrays with one for each resample."""


def _columns(sums: Floats) -> Columns:
    """The last axis of sums by name; `gaps` are the absolute gaps of all bins together."""
    named = {name: sums[..., at] for at, name in enumerate((*_GOLD, *_ARM))}
    return {**named, "gaps": np.abs(sums[..., -_BINS:]).sum(axis=-1)}


_HEADLINES: Mapping[str, Callable[[Columns], Any]] = {
    "coverage": lambda c: share(c["decided"], c["wrong"] + c["right"]),
    "f1": lambda c: harmonic(share(c["found"], c["wrong"]), share(c["clean"], c["right"])),
    "label_f1": lambda c: share(2 * c["found"], c["named"] + c["wrong"]),
    "step_precision": lambda c: share(c["step_hits"], c["steps_called_wrong"]),
    "step_recall": lambda c: share(c["step_hits"], c["wrong_steps"]),
    "brier": lambda c: share(c["p_squares"], c["p_steps"]),
    "ece": lambda c: share(c["gaps"], c["p_steps"]),
}
"""Figures with an interval. `f1` is ProcessBench's; `label_f1` that of the class "first error, at this very
step", in which a right solution called right is neither hit nor miss."""
_PLAIN: Mapping[str, Callable[[Columns], Any]] = {
    "acc_err": lambda c: share(c["found"], c["wrong"]),
    "acc_cor": lambda c: share(c["clean"], c["right"]),
    "precision": lambda c: share(c["found"], c["named"]),
    "label_f1_decided": lambda c: share(2 * c["found"], c["named"] + c["decided_wrong"]),
    "exact": lambda c: share(c["found"] + c["clean"], c["decided"]),
}
"""Figures without one: of the first errors that it names, and of the solutions that it decides, how many are
right."""
_COUNTS = ("decided", "named", "steps_labelled", "steps_called_wrong", "step_hits", "p_steps")


def _figures_of(gold: Floats, arm: Floats, draws: Floats) -> Figures:
    """The figures of one arm, by its sums and those of the gold labels, a row a problem."""
    both = np.concatenate([gold, arm], axis=1)
    whole, drawn = _columns(both.sum(axis=0)), _columns(draws @ both)
    return {
        **{name: int(whole[name]) for name in _COUNTS},
        **{name: interval(figure(whole), figure(drawn)) for name, figure in _HEADLINES.items()},
        **_plain(whole),
    }


def _plain(whole: Columns) -> Figures:
    values = {name: float(figure(whole)) for name, figure in _PLAIN.items()}
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()}


def first_errors(pairs: Iterable[tuple[int | None, int]]) -> Figures:
    """The figures of first errors alone, without intervals: each that was named (None where it was left open)
    with the true one."""
    total = np.zeros(len(_GOLD) + _WIDTH)
    for said, truth in pairs:
        gold = GoldLabels(labels=(), first_error=truth)
        total += np.concatenate([_gold_sums(gold), _arm_sums(Said(said, (), {}, so_far=True), gold)])
    whole = _columns(total)
    f1 = float(_HEADLINES["label_f1"](whole))
    return {
        "solutions": int(whole["solutions"]),
        "decided": int(whole["decided"]),
        "label_f1": round(f1, 4) if np.isfinite(f1) else None,
        **_plain(whole),
    }
