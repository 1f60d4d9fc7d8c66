"""Fusion: votes of sources that differ in what they see and in how often they err become one label a step.

`trust` gives the probability that a step and all before it are right. A probability alone makes
no label: it holds the chance of an error that any step has before anyone has looked at it. A label needs a
vote that bears it out.

- Right: a yes on that step, or a success of rollouts after it or after a later step, or a right final answer:
  a solution that still reaches the answer has not lost it before.
- Wrong: a no on that very step; a refutation says nothing of the steps before or after it. Rollouts say no
  when they are enough: where even a state that succeeds every other time would seldom give so few successes.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from pipeline.fusion.chain import Floats
from pipeline.fusion.first_error import pooled
from pipeline.fusion.trust import Model, posteriors
from schemas.config import FusionConfig
from schemas.records import Candidate, StepLabel, Vote
from schemas.sources import Kind, Sources, declared

_WRONG = "the final answer is wrong"
Fused = tuple[tuple[StepLabel, ...], int | None]
"""Labels of one solution, and its first error (-1 for none, None when not established)."""


def fuse(candidates: Sequence[Candidate], model: Model, config: FusionConfig) -> list[Fused]:
    """Labels of solutions with their votes.

    A step's p is the probability that it and all before it are right, so it never rises along a solution; it
    is None where no vote bears on the step. A label needs one on every step before it, too. Steps after an
    established first error get none.
    """
    chances = posteriors([(len(one.solution.steps), one.votes) for one in candidates], model)
    return [
        _labels(one.votes, found, model.sources, config)
        for one, found in zip(candidates, chances, strict=True)
    ]


class _Said(NamedTuple):
    """A vote, and what it is evidence of."""

    vote: Vote
    kind: Kind
    by: str


def _labels(votes: Sequence[Vote], chances: Floats, sources: Sources, config: FusionConfig) -> Fused:
    # P(no step up to here is the first error). The last entry of `chances` is "no error" and belongs to no
    # step.
    right = 1 - np.cumsum(chances)[:-1]
    said = [_Said(vote, one.kind, one.by) for vote in votes if (one := declared(sources, vote.source))]
    counts, speaking, reaching = (
        pooled(votes, sources),
        list(filter(_speaks, said)),
        list(filter(_reaches, said)),
    )
    labels: list[StepLabel] = []
    first_error: int | None = -1 if len(right) else None
    for step, p in enumerate(np.clip(right, 0.0, 1.0)):
        mine = [one for one in speaking if one.vote.step == step]
        after = [one for one in reaching if one.vote.step >= step]
        label, reason = _decide(float(p), mine, after, labels, config)
        # The first step that is not labelled right decides: wrong makes it the first error, no label leaves
        # it open.
        if label != 1 and first_error == -1:
            first_error = step if label == 0 else None
        low, high = _interval(*counts.get(step, (0, 0)))
        labels.append(
            StepLabel(
                label=label,
                p=round(float(p), 6) if mine or after else None,
                rate_low=low,
                rate_high=high,
                decided_by=_deciders(mine, after) if label is not None else "",
                reason=reason,
            )
        )
    return tuple(labels), first_error


def _speaks(said: _Said) -> bool:
    """Whether a vote says something of its own step. A search's p alone does not: it stands on steps that no
    rollout has passed, too."""
    return said.vote.p is not None and (said.kind != "search" or said.vote.n > 0)


def _reaches(said: _Said) -> bool:
    """Whether a vote shows that the answer is still in reach after its step, and so was after every step
    before. One success shows it; who only thinks so must think it likelier than not."""
    vote = said.vote
    if vote.p is None or vote.asks != "solvable":
        return False
    # A judge's opinion that the answer is in reach is no proof of it; a single successful rollout is.
    if said.kind in ("judge", "check"):
        return _share(vote) > 0.5
    return vote.correct > 0 if vote.n or said.kind == "search" else vote.p > 0


def _share(vote: Vote) -> float:
    return vote.correct / vote.n if vote.n else vote.p or 0.0


def _affirms(said: _Said) -> bool:
    return _reaches(said) or (said.vote.asks == "valid" and _share(said.vote) > 0.5)


def _decide(
    p: float,
    mine: Sequence[_Said],
    after: Sequence[_Said],
    earlier: Sequence[StepLabel],
    config: FusionConfig,
) -> tuple[int | None, str]:
    """A step's label with the reason why it is wrong, or why it has none.

    `mine` are the votes that speak of the step, `after` those that reach the answer from it or a later one.
    """
    # What is right after a mistake has no agreed meaning; PRM800K ends there, and Math-Shepherd calls all of
    # it wrong.
    if any(label.label == 0 for label in earlier):
        return None, "after the first error"
    if not mine and not after:
        return None, "no source voted on this step"
    # Between the two thresholds neither label would be right often enough: the step stays without one.
    if config.reject < p < config.accept:
        return None, f"undecided: {config.reject} < p < {config.accept}"
    # A label speaks of a step and all before it; while an earlier one is open, nobody knows that.
    if any(label.label is None for label in earlier):
        return None, "an earlier step is open"
    if p >= config.accept:
        borne_out = after or any(map(_affirms, mine))
        return (1, "") if borne_out else (None, "no vote says that this step is right")
    against = _against(mine, config.reject)
    return (0, against[0]) if against else (None, "no vote on this step is enough to call it wrong")


def _against(mine: Sequence[_Said], reject: float) -> list[str]:
    """What the votes on a step say against it, what has a reason first. Rollouts of one policy speak as one,
    and only where such counts have a chance of `reject` at most at a success rate of one half."""
    said: list[tuple[bool, str, str]] = []
    rolled: dict[str, list[Vote]] = {}
    for vote, kind, by in mine:
        if kind == "rollouts":
            rolled.setdefault(by, []).append(vote)
        # A low score of the whole solution says that something is wrong, and not that this step is.
        elif kind != "score" and _share(vote) <= 0.5:
            counted = f"{vote.correct} of {vote.n} say yes"
            said.append((not vote.why, vote.source, vote.why or (_WRONG if kind == "grade" else counted)))
    for votes in rolled.values():
        correct, n = sum(vote.correct for vote in votes), sum(vote.n for vote in votes)
        # With `reject` = 0.1: 0 of 3 have a chance of 0.125 at one half, and say nothing; 0 of 4 have 0.07,
        # and say no.
        if n and _at_most(correct, n) <= reject:
            names = "+".join(sorted({vote.source for vote in votes}))
            said.append((True, names, f"{correct} of {n} say yes"))
    return [f"{name}: {why}" for _, name, why in sorted(said)]


def _at_most(correct: int, n: int) -> float:
    """The chance of `correct` successes or fewer in `n` tries that each succeed with chance one half (normal,
    with continuity correction: off by .01 at most)."""
    return NormalDist(n / 2, math.sqrt(n) / 2).cdf(correct + 0.5)


def _deciders(mine: Sequence[_Said], after: Sequence[_Said]) -> str:
    """The sources with a vote on the step; where none of them says yes, those too that reach the answer from
    later steps."""
    implied = [] if any(map(_affirms, mine)) else after
    return "+".join(sorted({one.vote.source for one in (*mine, *implied)}))


def _interval(correct: int, n: int) -> tuple[float | None, float | None]:
    """95% Wilson interval of the success rate after the step, where it was rolled out."""
    if n == 0:
        return None, None
    # Wilson's interval and not the plain one, which is empty at 0 of n and at n of n.
    z2 = 1.96**2
    centre = (correct + z2 / 2) / (n + z2)
    spread = 1.96 / (n + z2) * math.sqrt(correct * (n - correct) / n + z2 / 4)
    return round(max(0.0, centre - spread), 4), round(min(1.0, centre + spread), 4)
