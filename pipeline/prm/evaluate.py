"""Measure a PRM on three axes at once: does it find the first error, is it calibrated, does it select well.

Nothing is tuned on what is measured. The threshold is 0.5, because scores are calibrated on other problems.
The headline aggregation is the product: a score is P(step right, given that the steps before it are right),
so the product is P(the whole solution is right). Intervals are 95% bootstraps over problems, not over
samples. A figure that a file cannot give, for example since it holds right solutions only, is None, never 0.

scikit-learn's AUROC is the same within 2e-16, but it is 199 MB with SciPy, and where it is installed
transformers imports it: 6.2 s of processor time at each start instead of 3.7 (`python -m benchmarks
libraries.auroc`). Its Brier score refuses soft labels. SciPy's bootstrap gives the same intervals but none
for one problem, nor where a draw cannot be measured (`python -m benchmarks libraries.bootstrap`).
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.prm.intervals import RESAMPLES, Floats, bootstrap, harmonic, share
from pipeline.prm.selection import AGGREGATIONS, Aggregation, best_of_n, majority_vote, overall, weighted_vote
from schemas.errors import UserError

THRESHOLD = 0.5
HEADLINE: Aggregation = "product"
_SUBSETS = 20


class Scorer(Protocol):
    """Anything that scores steps."""

    def readable(self, problem: str, steps: Sequence[str]) -> bool:
        """Whether the solution can be scored: it has steps, none is empty, and all fit the model's length."""
        ...

    def score_many(self, items: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        """P(right) of every step of every solution."""
        ...


@dataclass(frozen=True)
class GoldSolution:
    """A solution whose first error is known; -1 when every step is right."""

    id: str
    problem: str
    steps: tuple[str, ...]
    first_error: int


@dataclass(frozen=True)
class Scored:
    """One graded sample for a problem; `right` is False also where no answer could be read."""

    problem: str
    steps: tuple[str, ...]
    answer: str | None
    right: bool


def load_gold(path: Path) -> list[GoldSolution]:
    """Solutions of a JSONL file (also .gz) with ProcessBench's fields `id, problem, steps, label`.

    UserError naming file, line and what is wrong.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = data.decode("utf-8").split("\n")
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from None
    found: list[GoldSolution] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_gold(json.loads(line), number))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}:{number}: not a ProcessBench row: {error!r}") from None
    if not found:
        raise UserError(f"{path}: holds no row")
    return found


def _gold(row: Mapping[str, Any], number: int) -> GoldSolution:
    steps, label = row["steps"], row["label"]
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise ValueError("steps is not a list of texts")
    # `true` is a bool, which Python counts among the whole numbers: it would be read as step 1.
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
        raise ValueError(f"label {label!r} is no index into {len(steps)} steps, nor -1")
    return GoldSolution(
        id=str(row.get("id", number)),
        problem=str(row["problem"]),
        steps=tuple(steps),
        first_error=label,
    )


def predict(scores: Sequence[float], threshold: float = THRESHOLD) -> int:
    """Index of the first step that scores below the threshold, or -1."""
    return next((index for index, score in enumerate(scores) if score < threshold), -1)


def first_error_f1(predictions: Sequence[int | None], gold: Sequence[int]) -> dict[str, float | None]:
    """ProcessBench's accuracies and their harmonic mean (arXiv 2412.06559, section 3).

    A prediction of None, for a solution that could not be scored, counts as a miss. What needs solutions of a
    kind that is not there, with an error or without, is None.
    """
    pairs = list(zip(predictions, gold, strict=True))
    # Harmonic mean: a PRM that calls everything wrong, or everything right, gets 0 and not one half.
    acc_err = _mean([p == g for p, g in pairs if g != -1])
    acc_cor = _mean([p == g for p, g in pairs if g == -1])
    return {
        "acc_err": acc_err,
        "acc_cor": acc_cor,
        "f1": None if acc_err is None or acc_cor is None else float(harmonic(acc_err, acc_cor)),
        "within_one": _mean([p is not None and p != -1 and abs(p - g) <= 1 for p, g in pairs if g != -1]),
    }


def step_auroc(scores: ArrayLike, is_right: ArrayLike) -> float:
    """Chance that a right step outscores a wrong one, ties counting half; NaN when there is only one kind."""
    values, right = np.asarray(scores, dtype=np.float64), np.asarray(is_right, dtype=bool)
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    if not n_right or not n_wrong:
        return float("nan")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # 1-based; ties share their mean rank
    return float((ranks[right].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def brier(p: ArrayLike, targets: ArrayLike) -> float:
    """Mean squared difference of probability and truth."""
    return float(np.mean((np.asarray(p, dtype=np.float64) - np.asarray(targets, dtype=np.float64)) ** 2))


def ece(p: ArrayLike, targets: ArrayLike, *, n_bins: int = 10) -> float:
    """Expected calibration error over bins of equal width; 1.0 belongs to the last bin."""
    values = np.asarray(p, dtype=np.float64)
    return _ece(
        values, np.asarray(targets, dtype=np.float64), np.minimum((values * n_bins).astype(int), n_bins - 1)
    )


def ece_equal_mass(p: ArrayLike, targets: ArrayLike, *, n_bins: int = 15) -> float:
    """Expected calibration error over bins of equal counts; equal scores share a bin."""
    values = np.asarray(p, dtype=np.float64)
    # The rank of the first equal score, so that equal scores get one bin, however many there are.
    first = np.searchsorted(np.sort(values), values)
    return _ece(values, np.asarray(targets, dtype=np.float64), first * n_bins // max(1, len(values)))


def calibration(p: ArrayLike, targets: ArrayLike) -> dict[str, float]:
    """Brier score and both calibration errors."""
    return {"brier": brier(p, targets), "ece": ece(p, targets), "ece_equal_mass": ece_equal_mass(p, targets)}


def recovered_gap(mean_at_1: float, best: float, pass_at_n: float) -> float:
    """Share of the way from a random sample to an oracle; NaN when there is no way to go."""
    # 0 is no better than a random sample, 1 as good as knowing which samples are right.
    return (best - mean_at_1) / (pass_at_n - mean_at_1) if pass_at_n > mean_at_1 else float("nan")


def evaluate_prm(
    prm: Scorer, gold: Sequence[GoldSolution], groups: Sequence[Sequence[Scored]], *, seed: int = 0
) -> dict[str, Any]:
    """Localisation and calibration on `gold`, selection on `groups` (the samples of one problem each).

    Either may be empty, and its part is then left out. Figures with an interval come as `{value, low, high}`.
    """
    filled = [group for group in groups if group]
    items = [(item.problem, item.steps) for item in gold]
    scores = _score(prm, items + [(sample.problem, sample.steps) for group in filled for sample in group])
    found: dict[str, Any] = {}
    if gold:
        found.update(_localisation(gold, scores[: len(gold)], seed))
    if filled:
        found["best_of_n"] = _selection(filled, scores[len(gold) :], seed)
    return found


def _score(prm: Scorer, items: Sequence[tuple[str, tuple[str, ...]]]) -> list[list[float] | None]:
    """Scores, None for what the model cannot read. Equal items are read once.

    UserError when an answer is not one probability for every step.
    """
    readable = [item for item in dict.fromkeys(items) if prm.readable(*item)]
    known = dict(zip(readable, prm.score_many(readable), strict=True))
    for (problem, steps), scores in known.items():
        if len(scores) != len(steps) or not all(0 <= score <= 1 for score in scores):  # NaN is neither
            raise UserError(
                f"the scores of a solution of {problem[:60]!r} are not {len(steps)} probabilities: "
                f"{scores[:8]}"
            )
    return [known.get(item) for item in items]


def _localisation(
    gold: Sequence[GoldSolution], scores: Sequence[list[float] | None], seed: int
) -> dict[str, Any]:
    """Figures of the solutions that could be scored, and how many could not and why."""
    pairs = [(item, s) for item, s in zip(gold, scores, strict=True) if s is not None]
    labels = [item.first_error for item, _ in pairs]
    predictions = [predict(s) for _, s in pairs]
    by_problem = _groups([item.problem for item, _ in pairs])
    steps = [_judged(s, item.first_error) for item, s in pairs]
    counts = np.zeros((len(by_problem), 2, 2))  # per problem: (no error, error) x (hits, solutions)
    for row, members in enumerate(by_problem):
        for i in members:
            counts[row, int(labels[i] != -1)] += (predictions[i] == labels[i], 1)

    def f1(drawn: NDArray[np.int64]) -> float:
        (right, n_right), (wrong, n_wrong) = counts[drawn].sum(axis=0)
        return float(harmonic(share(wrong, n_wrong), share(right, n_right)))

    def pooled(drawn: NDArray[np.int64]) -> Floats:
        found = [steps[i] for problem in drawn for i in by_problem[problem]]
        return np.concatenate(found) if found else np.empty((0, 2))

    def auroc(drawn: NDArray[np.int64]) -> float:
        return step_auroc(*pooled(drawn).T)

    n, every = len(by_problem), pooled(np.arange(len(by_problem)))
    empty = sum(not item.steps or not all(map(str.strip, item.steps)) for item in gold)
    said = [None if s is None else predict(s) for s in scores]
    whole = first_error_f1(said, [item.first_error for item in gold])["f1"]
    never = bool(labels) and set(predictions) == {-1}
    return {
        "first_error": {
            "solutions": len(gold),
            "with_error": sum(item.first_error != -1 for item in gold),
            "too_long": len(gold) - len(pairs) - empty,
            "unreadable": empty,
            "measured_on": len(pairs),
            **({"note": f"never says wrong at {THRESHOLD:g}"} if never else {}),
            **first_error_f1(predictions, labels),
            "f1": bootstrap(n, f1, seed=seed),
            **({"f1_if_unread_are_misses": whole} if len(pairs) < len(gold) else {}),
            # A PRM that mostly blames the last step has learnt to grade answers, not steps.
            "lowest_is_last": _mean([s.index(min(s)) == len(s) - 1 for _, s in pairs]),
        },
        "auroc": bootstrap(n, auroc, seed=seed, resamples=RESAMPLES // 5),
        "calibration": {"steps": len(every), **(calibration(*every.T) if len(every) else {})},
    }


def _judged(scores: list[float], first_error: int) -> Floats:
    """(steps, 2) of score and truth up to the first error; what comes after it has no truth."""
    known = scores if first_error == -1 else scores[: first_error + 1]
    return np.array([(score, index != first_error) for index, score in enumerate(known)], dtype=np.float64)


def _selection(
    groups: Sequence[Sequence[Scored]], flat: Sequence[list[float] | None], seed: int
) -> dict[str, Any]:
    taken = iter([scores or [] for scores in flat])
    scores = [[next(taken) for _ in group] for group in groups]
    rows = [_choices(group, steps) for group, steps in zip(groups, scores, strict=True)]
    headline = f"prm_{HEADLINE}"
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    one, best, most = table["pass_at_1"], table[headline], table["pass_at_n"]

    def mean_of(values: Floats) -> dict[str, float | None]:
        return bootstrap(len(rows), lambda drawn: float(values[drawn].mean()), seed=seed)

    def gap(drawn: NDArray[np.int64]) -> float:
        return recovered_gap(one[drawn].mean(), best[drawn].mean(), most[drawn].mean())

    return {
        "problems": len(groups),
        "samples": max(map(len, groups)),
        "unscored": sum(s is None for s in flat),
        "headline": headline,
        **{name: mean_of(values) for name, values in table.items()},
        "gain": mean_of(best - one),
        "recovered_gap": bootstrap(len(rows), gap, seed=seed),
        "by_n": _by_n(groups, scores, np.random.default_rng(seed)),
    }


def _choices(group: Sequence[Scored], scores: Sequence[Sequence[float]]) -> dict[str, float]:
    """For one problem, whether each way to choose a sample chooses a right one."""
    answers = [sample.answer for sample in group]
    # A sample that could not be scored still has an answer, which votes with weight 0.
    weights = [overall(steps, HEADLINE) if steps else 0.0 for steps in scores]
    found = {
        "pass_at_1": float(np.mean([sample.right for sample in group])),
        "pass_at_n": float(any(sample.right for sample in group)),
        "majority": _right(group, majority_vote(answers)),
        "weighted_vote": _right(group, weighted_vote(answers, weights)),
    }
    for how in AGGREGATIONS:
        found[f"prm_{how}"] = float(best_of_n(group, scores, how).right)
    return found


def _by_n(
    groups: Sequence[Sequence[Scored]], scores: Sequence[Sequence[Sequence[float]]], rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """The same choices among n = 1, 2, 4, ... samples, each a mean over random subsets."""
    found: dict[str, dict[str, float]] = {}
    n = 1
    while n <= min(map(len, groups)):
        totals: dict[str, list[float]] = defaultdict(list)
        for group, steps in zip(groups, scores, strict=True):
            for _ in range(_SUBSETS if n < len(group) else 1):
                drawn = rng.choice(len(group), n, replace=False)
                chosen = _choices([group[i] for i in drawn], [steps[i] for i in drawn])
                for name, value in chosen.items():
                    # All samples can be drawn in one way only; it counts as often as the subsets do, so that
                    # problems weigh alike.
                    totals[name] += [value] * (1 if n < len(group) else _SUBSETS)
        found[str(n)] = {name: round(float(np.mean(values)), 4) for name, values in totals.items()}
        n *= 2
    return found


def _right(group: Sequence[Scored], index: int | None) -> float:
    return 0.0 if index is None else float(group[index].right)


def _groups(keys: Sequence[str]) -> list[list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        found[key].append(index)
    return list(found.values())


def _ece(p: Floats, targets: Floats, bins: NDArray[Any]) -> float:
    gaps = np.bincount(bins, weights=p - targets)
    return float(np.abs(gaps).sum() / len(p))


def _mean(values: Sequence[float]) -> float | None:
    """The mean, None of nothing."""
    return float(np.mean(values)) if values else None
