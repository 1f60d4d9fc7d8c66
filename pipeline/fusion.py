"""Fusion: votes of sources that differ in what they see and in how often they err become one label a step.

A chain model. Every solution hides the index K of its first error, or none. Before K a source sees right
steps, at K a wrong one, and after K whatever its habit is there; each source has one table of how it then
votes. The tables and the hazards (the chance that the next step is the first error, and that the last one
is) are fitted by expectation maximisation over the run itself, from pseudo-counts that fix which state
means what. The posterior of K is exact and linear in the number of steps.

Votes of a search for the first error (`bisection`) are a posterior of K already, from a flat prior and from
rollouts alone: differences of its p give back the likelihood of every K, which enters as it is, untabled and
capped. Its rollouts do not tell an error in the last step, which the grade answers, from none.

Other votes enter by bins and not as numbers, so nothing need be assumed about how rollouts scatter.
Rollouts are binned by how their success rate moves: of a hard problem it is low from the first step on, and
taken alone that looks like an early error (fitted so, the run's own errors were sought there). Dropping the
votes after an error instead of giving them a state of their own would favour early errors: each factor left
out is at most one.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.annotators import judge as judges
from pipeline.annotators.bisection import SOURCE as BISECTION
from pipeline.annotators.monte_carlo import ANSWER
from pipeline.annotators.monte_carlo import SOURCE as MONTE_CARLO
from pipeline.annotators.prover import SOURCE as PROVER
from pipeline.annotators.scan import SOURCE as SCAN
from pipeline.proposers.omegaprm import SOURCE as OMEGAPRM
from schemas.config import FusionConfig
from schemas.manifest import Trust
from schemas.records import Solution, StepLabel, Vote

Floats = NDArray[np.float64]
Binned = Sequence[tuple[Vote, int]]
"""Votes that say something, each with its bin."""

BEFORE, AT, AFTER = 0, 1, 2
_JUDGE = np.array([[1.0, 2.0, 4.0, 8.0], [8.0, 4.0, 2.0, 1.0], [3.0, 3.0, 2.0, 2.0]])
"""Pseudo-counts of a judge: right steps are called right more often than wrong ones, and that is all."""
_ROLLED = np.array([[0.5, 1.0, 2.0, 16.0], [8.0, 4.0, 4.0, 2.0], [0.5, 8.0, 1.0, 2.0]])
"""Pseudo-counts of rollouts: a wrong step loses what success there was, and little comes back."""
_LOST = 0.25
"""A success rate from here down to nothing is lost; a lower one may be nothing by chance."""
_HARD = np.array([[0.02, 0.0001, 0.0001, 40.0], [5.0, 0.0001, 0.0001, 5.0], [5.0, 0.0001, 0.0001, 5.0]])
"""Pseudo-counts of a verifier: it hardly ever refutes a right step, and says little by letting one pass."""
_GRADED = np.array([[1.0, 0.0001, 0.0001, 2000.0], [8.0, 0.0001, 0.0001, 2.0], [8.0, 0.0001, 0.0001, 2.0]])
"""Pseudo-counts of the graded answer: a wrong one means an error somewhere, which no run may unlearn."""
_CAP = 6.0
"""Most that one vote may move the log-odds: no source is an oracle."""
_SAMPLERS = (MONTE_CARLO, OMEGAPRM, SCAN)
"""Sources that roll out the policy itself; the rates of another, the prover, are never pooled with theirs."""


def binned(votes: Sequence[Vote]) -> Binned:
    """The votes that say something, each with its bin.

    No success at a step whose forerunner was not measured says nothing here: where it was lost is unknown,
    and the missing vote may be a failure, which must not turn a label.
    """
    previous: dict[tuple[str, int], float] = {}
    found: list[tuple[Vote, int]] = []
    for vote in sorted(votes, key=lambda vote: vote.step):
        if vote.p is None or vote.source == BISECTION:
            continue
        if not _is_rate(vote.source):
            found.append((vote, bin_of(vote.p)))
            continue
        before = previous.get((vote.source, vote.step - 1))
        previous[vote.source, vote.step] = vote.p
        if vote.p > 0 or vote.step == 0 or before is not None:
            found.append((vote, _movement(before, vote.p)))
    return found


def located(n_steps: int, votes: Sequence[Vote]) -> Floats:
    """Log-likelihood of K = 0, ..., n_steps - 1 and of no error under a search's rollouts: shape
    (n_steps + 1,), at most 0 and at least -6. Zeros without a search, or where it says nothing of a step."""
    sound = {vote.step: vote.p for vote in votes if vote.source == BISECTION and vote.p is not None}
    if len(sound) != n_steps - 1:
        return np.zeros(n_steps + 1)
    chances = -np.diff([1.0, *(sound[step] for step in range(n_steps - 1)), 0.0])
    logs = np.log(np.maximum([*chances, chances[-1]], 1e-9))
    return np.asarray(np.maximum(logs - logs.max(), -_CAP))


def _is_rate(source: str) -> bool:
    return source in (*_SAMPLERS, PROVER)


def _movement(previous: float | None, p: float) -> int:
    """Bin of a success rate that follows another on the same solution."""
    if p <= 0:
        return 0 if previous is not None and previous >= _LOST else 1
    return 2 if previous is not None and p < previous / 2 else 3


def bin_of(p: float) -> int:
    """Which bin a probability falls in."""
    if p <= 0:
        return 0
    if p >= 1:
        return 3
    return 1 if p <= 0.5 else 2


def _prior(source: str) -> Floats:
    if _is_rate(source):
        return _ROLLED
    if source == ANSWER:
        return _GRADED
    return _JUDGE if source.startswith(judges.PREFIX) else _HARD


def fit(solutions: Iterable[tuple[int, Sequence[Vote]]], *, rounds: int = 50) -> Trust:
    """Fit hazard and tables to (number of steps, votes) of many solutions. Deterministic in their order."""
    given = list(solutions)
    names = sorted({vote.source for _, votes in given for vote in votes} - {BISECTION})
    items = [(n_steps, binned(votes), located(n_steps, votes)) for n_steps, votes in given]
    tables = {name: _normal(_prior(name)) for name in names}
    hazard, last = 0.15, 0.15
    for _ in range(rounds):
        counts = {name: _prior(name).copy() for name in names}
        at_total, before_total = np.ones(2), np.full(2, 6.0)  # inner steps, the last one
        for n_steps, votes, searched in items:
            state = _states(_posterior(n_steps, votes, searched, hazard, tables, last))
            for row, total in ((AT, at_total), (BEFORE, before_total)):
                total += state[row, :-1].sum(), state[row, -1]
            for vote, at in votes:
                counts[vote.source][:, at] += state[:, vote.step]
        new, new_last = (float(x) for x in at_total / (at_total + before_total))
        tables = {name: _normal(count) for name, count in counts.items()}
        moved, hazard, last = max(abs(new - hazard), abs(new_last - last)), new, new_last
        if moved < 1e-6:
            break
    rounded = {name: [[round(float(x), 5) for x in row] for row in table] for name, table in tables.items()}
    return Trust(hazard=round(hazard, 5), last_hazard=round(last, 5), tables=rounded, n_solutions=len(items))


def _normal(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def posterior(
    n_steps: int,
    votes: Sequence[Vote],
    hazard: float,
    tables: dict[str, Floats],
    last_hazard: float | None = None,
) -> Floats:
    """P(K = 0), ..., P(K = n_steps - 1), P(no error): shape (n_steps + 1,), sums to 1.

    Without votes this is the prior h(1-h)^k, with the last step's own hazard where it is given.
    """
    return _posterior(n_steps, binned(votes), located(n_steps, votes), hazard, tables, last_hazard)


def _posterior(
    n_steps: int,
    votes: Binned,
    searched: Floats,
    hazard: float,
    tables: dict[str, Floats],
    last_hazard: float | None,
) -> Floats:
    seen = np.zeros((3, n_steps))  # log-likelihood of each step's votes in each state
    for vote, at in votes:
        table = tables.get(vote.source)
        if table is not None:
            logs = np.log(np.maximum(np.asarray(table)[:, at], 1e-9))
            seen[:, vote.step] += np.maximum(logs, logs.max() - _CAP)
    before = np.concatenate([[0.0], np.cumsum(seen[BEFORE])])
    after = np.concatenate([np.cumsum(seen[AFTER][::-1])[::-1], [0.0]])
    hazards = np.full(n_steps, hazard)
    hazards[-1] = hazard if last_hazard is None else last_hazard
    hazards = np.clip(hazards, 1e-6, 1 - 1e-6)
    survived = np.concatenate([[0.0], np.cumsum(np.log1p(-hazards))])
    scores = survived[:-1] + np.log(hazards) + before[:-1] + seen[AT] + after[1:]
    scores = np.append(scores, survived[-1] + before[-1]) + searched
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def _states(chances: Floats) -> Floats:
    """P(step is before / at / after the first error): shape (3, n_steps)."""
    at = chances[:-1]
    reached = np.cumsum(at)
    return np.stack([1 - reached, at, reached - at])


def fuse(
    solution: Solution, votes: Sequence[Vote], trust: Trust, config: FusionConfig
) -> tuple[tuple[StepLabel, ...], int | None]:
    """Labels of one solution, and its first error (-1 for none, None when not established).

    A step's p is the probability that it and all before it are right, so it never rises along a solution.
    Steps after an established first error get no label.
    """
    n_steps = len(solution.steps)
    tables = {name: np.array(table) for name, table in trust.tables.items()}
    right = 1 - np.cumsum(posterior(n_steps, votes, trust.hazard, tables, trust.last_hazard))[:-1]
    labels: list[StepLabel] = []
    first_error: int | None = -1
    for step, p in enumerate(np.clip(right, 0.0, 1.0)):
        mine = [vote for vote in votes if vote.step == step and vote.p is not None]
        label, reason = _decide(float(p), labels, config)
        if label != 1 and first_error == -1:
            first_error = step if label == 0 else None
        low, high = _interval(mine)
        labels.append(
            StepLabel(
                label=label,
                p=round(float(p), 6),
                low=low,
                high=high,
                decided_by="+".join(sorted({vote.source for vote in mine})) if label is not None else "",
                reason=reason or _refutation(mine, label),
            )
        )
    return tuple(labels), first_error


def _decide(p: float, earlier: Sequence[StepLabel], config: FusionConfig) -> "tuple[int | None, str]":
    if any(label.label == 0 for label in earlier):
        return None, "after the first error"
    if p >= config.accept:
        return 1, ""
    if p <= config.reject and all(label.label == 1 for label in earlier):
        return 0, ""
    return (
        None,
        f"undecided: {config.reject} < p < {config.accept}"
        if p > config.reject
        else "an earlier step is open",
    )


def _refutation(votes: Sequence[Vote], label: int | None) -> str:
    """Why a step was called wrong, in the words of the source that can say it best."""
    if label != 0:
        return ""
    against = sorted(
        (v for v in votes if v.p is not None and v.p <= 0.5), key=lambda v: (not v.why, v.source)
    )
    if not against:
        return "the votes on later steps point here"
    vote = against[0]
    return f"{vote.source}: {vote.why or f'{vote.correct} of {vote.n} say yes'}"


def _interval(votes: Sequence[Vote]) -> tuple[float | None, float | None]:
    """95% Wilson interval of the success rate after the step, where it was rolled out."""
    counted = [vote for vote in votes if vote.source in _SAMPLERS and vote.n]
    if not counted:
        return None, None
    correct, n = sum(v.correct for v in counted), sum(v.n for v in counted)
    z2 = 1.96**2
    centre, spread = (
        (correct + z2 / 2) / (n + z2),
        1.96 / (n + z2) * math.sqrt(correct * (n - correct) / n + z2 / 4),
    )
    return round(max(0.0, centre - spread), 4), round(min(1.0, centre + spread), 4)


def monte_carlo_first_error(n_steps: int, votes: Sequence[Vote], threshold: float = 0.0) -> int | None:
    """First step whose success rate is at most `threshold`, -1 for none (Math-Shepherd's hard estimate).
    Where a search ran instead, the first step that it finds more likely unsound than sound.

    None when a step needed for the answer has no readable rollouts.
    """
    rates = _searched(votes) or {v.step: v.p for v in votes if v.source in (*_SAMPLERS, ANSWER)}
    for step in range(n_steps):
        rate = rates.get(step)
        if rate is None:
            return None
        if rate <= threshold:
            return step
    return -1


def _searched(votes: Sequence[Vote]) -> dict[int, float | None]:
    """Whether each step is sound by a search, as 1 or 0, and the grade; nothing without a search."""
    if not any(vote.source == BISECTION for vote in votes):
        return {}
    graded = {vote.step: vote.p for vote in votes if vote.source == ANSWER}
    if 1.0 in graded.values():  # a right solution is its own success at every step
        return dict.fromkeys(range(max(graded) + 1), 1.0)
    said = {vote.step: vote.p for vote in votes if vote.source == BISECTION}
    return graded | {step: None if p is None else float(p >= 0.5) for step, p in said.items()}


def consensus(n_steps: int, votes: Sequence[Vote], threshold: float = 0.0) -> tuple[bool, str]:
    """Whether Monte Carlo and judge name the same first error, and which way they agree or differ.

    Reasons: agree_error, agree_clean, disagree_position, disagree_existence, judge_unparsed, mc_incomplete
    (arXiv 2501.07301, section 3.1). Several judge prompts are pooled. Solutions nobody judged are kept
    unfiltered.
    """
    named, anyone = judged_first_error(n_steps, votes)
    return compare(monte_carlo_first_error(n_steps, votes, threshold), named) if anyone else (True, "")


def judged_first_error(n_steps: int, votes: Sequence[Vote]) -> tuple[int | None, bool]:
    """The first error that all judges' replies together name (None: none can be read), and whether anyone
    judged."""
    judged = [vote for vote in votes if vote.source.startswith(judges.PREFIX)]
    return judges.first_error_of(_pooled(judged), n_steps), bool(judged)


def compare(measured: int | None, named: int | None) -> tuple[bool, str]:
    """Whether two first errors (-1 for none, None for unknown) are the same, and how they agree or differ."""
    if measured is None:
        return False, "mc_incomplete"
    if named is None:
        return False, "judge_unparsed"
    if measured == named:
        return True, "agree_clean" if measured == -1 else "agree_error"
    return False, "disagree_existence" if -1 in (measured, named) else "disagree_position"


def _pooled(votes: Sequence[Vote]) -> list[Vote]:
    by_step: dict[int, Vote] = {}
    for vote in votes:
        old = by_step.get(vote.step)
        correct, n = (vote.correct + old.correct, vote.n + old.n) if old else (vote.correct, vote.n)
        by_step[vote.step] = vote.model_copy(update={"correct": correct, "n": n})
    return list(by_step.values())
