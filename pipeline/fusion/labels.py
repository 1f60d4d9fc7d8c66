"""Fusion: votes of sources that differ in what they see and in how often they err become one label a step.

`trust` gives the probability that a step and all before it are right. A probability alone makes
no label: it holds the chance of an error that any step has before anyone has looked at it. A label needs a
vote that bears it out.

- Right: a yes on that step, or a success of rollouts after it or after a later step, or a right final answer:
  a solution that still reaches the answer has not lost it before.
  Where neither rollouts nor a graded answer speak of a solution, a step that a verifier refutes is not
  labelled right: opinions alone, which may all err in one way, do not overrule what was computed.
- Wrong: a no on that very step; a refutation says nothing of the steps before or after it. Rollouts say no
  when they are enough: where even a state that succeeds every other time would seldom give so few successes.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, cast

import numpy as np

from pipeline.fusion.ballots import Ballots, Bools, Floats, Ints, ballots_of
from pipeline.fusion.first_error import OPEN, pooled
from pipeline.fusion.trust import Model, right_so_far
from schemas.arrow_values import numbers
from schemas.config import FusionConfig
from schemas.records import Candidate, StepLabel

_WRONG = "the final answer is wrong"
_SILENT, _UNDECIDED, _BARE, _LITTLE, _DISPUTED, _RIGHT, _REFUTED = range(7)
"""What is decided of a step by its own votes; of the first five it stays open."""
Fused = tuple[tuple[StepLabel, ...], int | None]
"""Labels of one solution, and its first error (-1 for none, None when not established)."""
Rate = float | None


def fuse(candidates: Sequence[Candidate], model: Model, config: FusionConfig) -> list[Fused]:
    """Labels of solutions with their votes; see `fused`."""
    items = [(len(one.solution.steps), one.votes) for one in candidates]
    found = fused(ballots_of(items, model.sources), model, config)
    labels = iter(found.records())
    return [
        (tuple(next(labels) for _ in range(n_steps)), None if first == OPEN else int(first))
        for (n_steps, _), first in zip(items, found.first_error, strict=True)
    ]


@dataclass(frozen=True)
class Labels:
    """Labels in columns, an entry a cell (see `Ballots`), and the first errors, an entry a solution."""

    label: list[int | None]
    p: list[float | None]
    rate_low: list[Rate]
    rate_high: list[Rate]
    decided_by: list[str]
    reason: list[str]
    first_error: Ints
    """-1 for none, `OPEN` when not established."""

    def records(self) -> Iterator[StepLabel]:
        """The labels as records, step by step."""
        rows = zip(
            self.label, self.p, self.rate_low, self.rate_high, self.decided_by, self.reason, strict=True
        )
        for label, p, low, high, by, reason in rows:
            yield StepLabel(
                label=cast("Literal[0, 1] | None", label),
                p=p,
                rate_low=low,
                rate_high=high,
                decided_by=by,
                reason=reason,
            )


def fused(ballots: Ballots, model: Model, config: FusionConfig) -> Labels:
    """Labels of solutions with their votes.

    A step's p is the probability that it and all before it are right, so it never rises along a solution; it
    is None where no vote bears on the step. A label needs one on every step before it, too. Steps after an
    established first error get none.
    """
    right, said = right_so_far(ballots, model), _Said.of(ballots)
    refuted = _refuted(ballots, said, config.reject)
    own = np.full(len(right), _LITTLE)
    own[refuted] = _REFUTED
    high = right >= config.accept
    own[high] = _BARE
    own[high & (said.reached | said.affirmed)] = _RIGHT
    own[(own == _RIGHT) & _disputed(ballots, said)] = _DISPUTED
    # Between the two thresholds neither label would be right often enough: the step stays without one.
    own[(config.reject < right) & (right < config.accept)] = _UNDECIDED
    own[~said.mine & ~said.reached] = _SILENT
    # The first step that is not labelled right decides: wrong makes it the first error, no label leaves it
    # open.
    end = ballots.n_steps.copy()
    is_open = own != _RIGHT
    np.minimum.at(end, ballots.owner[is_open], ballots.place[is_open])
    reaches_end = end == ballots.n_steps
    at_end = ballots.starts[:-1] + np.where(reaches_end, 0, end)
    wrong = np.zeros(len(end), bool)
    wrong[~reaches_end] = own[at_end[~reaches_end]] == _REFUTED
    first = np.where(wrong, end, np.where(reaches_end & (ballots.n_steps > 0), -1, OPEN))
    distance = ballots.place - end[ballots.owner]
    label = np.where(distance < 0, 1, np.where((distance == 0) & wrong[ballots.owner], 0, OPEN))
    labelled = label != OPEN
    low, high_rate = _intervals(*pooled(ballots))
    return Labels(
        label=_optional(label.tolist(), labelled),
        # Python's rounding: numpy's differs in the last digit of one p in many.
        p=[
            round(p, 6) if bears else None
            for p, bears in zip(right.tolist(), said.mine | said.reached, strict=True)
        ],
        rate_low=low,
        rate_high=high_rate,
        decided_by=_deciders(ballots, said, labelled),
        reason=_reasons(ballots, said, own, distance, wrong, config),
        first_error=first,
    )


def _optional(values: list[int], known: Bools) -> list[int | None]:
    return [value if one else None for value, one in zip(values, known.tolist(), strict=True)]


@dataclass(frozen=True)
class _Said:
    """Which votes speak of their step and which reach the answer, and what they mean for the cells."""

    speaks: Bools
    """Whether a vote says something of its own step. A search's p alone does not: it stands on steps that no
    rollout has passed, too."""
    reaches: Bools
    """Whether a vote shows that the answer is still in reach after its step, and so was after every step
    before. One success shows it; who only thinks so must think it likelier than not."""
    mine: Bools
    """Cells with a vote that speaks of them."""
    affirmed: Bools
    """Cells with one that says yes."""
    reached: Bools
    """Cells from which, or from a later one, the answer is reached."""
    last: Ints
    """The last step that each source reaches the answer from, shape (solutions, sources); -1 for none."""

    @classmethod
    def of(cls, ballots: Ballots) -> "_Said":
        search = ballots.of(lambda one: one.kind == "search")
        opinion = ballots.of(lambda one: one.kind in ("judge", "check"))
        speaks = ballots.speaks & (~search | (ballots.n > 0))
        counted = np.where((ballots.n > 0) | search, ballots.correct > 0, np.nan_to_num(ballots.p) > 0)
        # A judge's opinion that the answer is in reach is no proof of it; a single successful rollout is.
        proves = np.where(opinion, ballots.share > 0.5, counted)
        reaches = ballots.speaks & ballots.solvable & proves
        affirms = speaks & (reaches | (~ballots.solvable & (ballots.share > 0.5)))
        mine, affirmed = _cells(ballots, speaks), _cells(ballots, affirms)
        last = np.full((len(ballots.n_steps), max(len(ballots.names), 1)), -1)
        np.maximum.at(last, (ballots.solution[reaches], ballots.source[reaches]), ballots.step[reaches])
        reached = ballots.place <= last.max(1)[ballots.owner]
        return cls(speaks, reaches, mine, affirmed, reached, last)


def _cells(ballots: Ballots, votes: Bools) -> Bools:
    """Cells with one of these votes."""
    found = np.zeros(int(ballots.starts[-1]), bool)
    found[ballots.cell[votes]] = True
    return found


def _refuted(ballots: Ballots, said: _Said, reject: float) -> Bools:
    """Cells with a vote against them. Rollouts of one policy speak as one, and only where such counts have a
    chance of `reject` at most at a success rate of one half."""
    found = _cells(ballots, _denies(ballots, said))
    for by in {one.by for one in ballots.declared if one.kind == "rollouts"}:
        correct, n = _rolled(ballots, said, by)
        found |= _each(lambda c, n: n > 0 and _at_most(c, n) <= reject, correct, n).astype(bool)
    return found


def _disputed(ballots: Ballots, said: _Said) -> Bools:
    """Cells that a verifier refutes, of solutions of which only verifiers and opinions speak. The fit cannot
    tell there whether the verifier errs or the opinions do."""
    refuted = _cells(ballots, _denies(ballots, said) & ballots.of(lambda one: one.kind == "check"))
    facts = said.speaks & ballots.of(lambda one: one.kind in ("rollouts", "search", "grade"))
    known = np.zeros(len(ballots.n_steps), bool)
    known[ballots.solution[facts]] = True
    return np.asarray(refuted & ~known[ballots.owner])


def _denies(ballots: Ballots, said: _Said) -> Bools:
    # A low score of the whole solution says that something is wrong, and not that this step is.
    others = ballots.of(lambda one: one.kind not in ("rollouts", "score"))
    return said.speaks & others & (ballots.share <= 0.5)


def _rolled(ballots: Ballots, said: _Said, by: str) -> tuple[Ints, Ints]:
    """Of every cell the right and all rollouts of one policy."""
    mine = said.speaks & ballots.of(lambda one: one.kind == "rollouts" and one.by == by)
    at, size = ballots.cell[mine], int(ballots.starts[-1])
    correct = np.bincount(at, ballots.correct[mine], size).astype(np.int64)
    return correct, np.bincount(at, ballots.n[mine], size).astype(np.int64)


def _each(
    function: Callable[[int, int], object], correct: Ints, n: Ints
) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    """A function of counts for every cell, called once for equal counts: there are few."""
    pairs, at = np.unique(np.stack([correct, n], 1), axis=0, return_inverse=True)
    values = np.empty(len(pairs), object)
    values[:] = [function(int(c), int(k)) for c, k in pairs]
    return values[at.reshape(-1)]


def _at_most(correct: int, n: int) -> float:
    """The chance of `correct` successes or fewer in `n` tries that each succeed with chance one half (normal,
    with continuity correction: off by .01 at most)."""
    # With `reject` = 0.1: 0 of 3 have a chance of 0.125 at one half, and say nothing; 0 of 4 have 0.07, and
    # say no.
    return NormalDist(n / 2, math.sqrt(n) / 2).cdf(correct + 0.5)


def _reasons(
    ballots: Ballots, said: _Said, own: Ints, distance: Ints, wrong: Bools, config: FusionConfig
) -> list[str]:
    """Why each step is wrong, or why it has no label; empty where it is right."""
    texts = {
        _SILENT: "no source voted on this step",
        _UNDECIDED: f"undecided: {config.reject} < p < {config.accept}",
        _BARE: "no vote says that this step is right",
        _LITTLE: "no vote on this step is enough to call it wrong",
        _DISPUTED: "a verifier refutes this step, and only opinions speak for it",
        _RIGHT: "",
        _REFUTED: "",
    }
    # A label speaks of a step and all before it; while an earlier one is open, nobody knows that. What is
    # right after a mistake has no agreed meaning: PRM800K ends there, and Math-Shepherd calls all wrong.
    after = np.where(wrong[ballots.owner], len(texts), len(texts) + 1)
    keeps = (distance <= 0) | (~wrong[ballots.owner] & (own <= _UNDECIDED))
    which = np.where(keeps, own, after)
    names = [*(texts[one] for one in range(len(texts))), "after the first error", "an earlier step is open"]
    found = [names[one] for one in which.tolist()]
    for cell, why in _against(ballots, said, np.flatnonzero((distance == 0) & wrong[ballots.owner]), config):
        found[cell] = why
    return found


def _against(ballots: Ballots, said: _Said, cells: Ints, config: FusionConfig) -> Iterator[tuple[int, str]]:
    """What the votes on some cells say against them: of each the first, what has a reason before others."""
    said_of: dict[int, list[tuple[bool, str, str]]] = defaultdict(list)
    wanted = np.zeros(int(ballots.starts[-1]), bool)
    wanted[cells] = True
    denied = np.flatnonzero(_denies(ballots, said) & wanted[ballots.cell])
    for vote, why in zip(denied.tolist(), ballots.why.take(numbers(denied)).to_pylist(), strict=True):
        one, name = ballots.declared[ballots.source[vote]], ballots.names[ballots.source[vote]]
        counted = f"{ballots.correct[vote]} of {ballots.n[vote]} say yes"
        text = why or (_WRONG if one.kind == "grade" else counted)
        said_of[int(ballots.cell[vote])].append((not why, name, text))
    for by in {one.by for one in ballots.declared if one.kind == "rollouts"}:
        correct, n = _rolled(ballots, said, by)
        speaks = said.speaks & ballots.of(lambda one, by=by: one.kind == "rollouts" and one.by == by)  # type: ignore[misc]
        names: dict[int, set[str]] = defaultdict(set)
        for vote in np.flatnonzero(speaks & wanted[ballots.cell]).tolist():
            names[int(ballots.cell[vote])].add(ballots.names[ballots.source[vote]])
        for cell, of_it in names.items():
            if n[cell] and _at_most(int(correct[cell]), int(n[cell])) <= config.reject:
                text = f"{correct[cell]} of {n[cell]} say yes"
                said_of[cell].append((True, "+".join(sorted(of_it)), text))
    for cell, found in said_of.items():
        _, name, why = min(found)
        yield cell, f"{name}: {why}"


def _deciders(ballots: Ballots, said: _Said, labelled: Bools) -> list[str]:
    """The sources with a vote on the step; where none of them says yes, those too that reach the answer from
    later steps. Empty without a label."""
    cells = np.flatnonzero(labelled)
    rank = np.cumsum(labelled) - 1
    found = np.zeros((len(cells), max(len(ballots.names), 1)), bool)
    mine = said.speaks & labelled[ballots.cell]
    found[rank[ballots.cell[mine]], ballots.source[mine]] = True
    implied = said.last[ballots.owner[cells]] >= ballots.place[cells][:, None]
    found |= implied & ~said.affirmed[cells][:, None]
    sets, which = np.unique(np.packbits(found, axis=1), axis=0, return_inverse=True)
    known = np.unpackbits(sets, axis=1)
    names = ["+".join(ballots.names[place] for place in np.flatnonzero(row)) for row in known]
    texts = [""] * len(labelled)
    for cell, one in zip(cells.tolist(), which.reshape(-1).tolist(), strict=True):
        texts[cell] = names[one]
    return texts


def _intervals(correct: Floats, n: Floats) -> tuple[list[Rate], list[Rate]]:
    """95% Wilson intervals of the success rates after the steps, where they were rolled out."""
    found = _each(_interval, correct.astype(np.int64), n.astype(np.int64)).tolist()
    return [low for low, _ in found], [high for _, high in found]


def _interval(correct: int, n: int) -> tuple[Rate, Rate]:
    if n == 0:
        return None, None
    # Wilson's interval and not the plain one, which is empty at 0 of n and at n of n.
    z2 = 1.96**2
    centre = (correct + z2 / 2) / (n + z2)
    spread = 1.96 / (n + z2) * math.sqrt(correct * (n - correct) / n + z2 / 4)
    return round(max(0.0, centre - spread), 4), round(min(1.0, centre + spread), 4)
