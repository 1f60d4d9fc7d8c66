"""The first error of a solution by one source, or one kind of source, alone, without fitting anything: by
rollouts, as Math-Shepherd and OmegaPRM label; by judges; by verifiers.

Labels, the consensus filter, reports and benchmarks all take the first error by rollouts from `measured`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from schemas.records import Vote
from schemas.sources import POLICY, Source, Sources, declared

ROLLOUTS, JUDGE, CHECK = SIDES = ("rollouts", "judge", "check")
"""Names of all sources of a kind together: the rollouts and searches of the run's policy, judges of steps,
and verifiers."""


class Named(NamedTuple):
    """What one side says of a solution."""

    first: int | None
    """The first error, -1 for none; None where the side leaves it open."""
    spoken: int
    """Steps, from the first on, that it speaks for."""
    voted: bool
    """Whether there is anything of it that could be compared with another side."""


def heard(votes: Sequence[Vote], sources: Sources) -> list[Vote]:
    """The votes that say something; of those whose rollouts a search has counted too, only the search's."""
    # A search's vote holds the rollouts of the sources it `includes` already; counting both would make one
    # piece of evidence look like two.
    said = [vote for vote in votes if vote.p is not None]
    counted = {name for vote in said for name in declared(sources, vote.source).includes}
    return [vote for vote in said if vote.source not in counted]


def pooled(votes: Sequence[Vote], sources: Sources) -> dict[int, tuple[int, int]]:
    """Right rollouts of the policy, and all that could be read, by the step they start after. All its sources
    together; those of another policy stay apart."""
    counts: dict[int, tuple[int, int]] = {}
    for vote in heard(votes, sources):
        if declared(sources, vote.source).by == POLICY and vote.n:
            correct, n = counts.get(vote.step, (0, 0))
            counts[vote.step] = correct + vote.correct, n + vote.n
    return counts


def measured(
    n_steps: int, votes: Sequence[Vote], sources: Sources, threshold: float = 0.0
) -> tuple[int | None, int]:
    """The first error by the policy's rollouts, and how many steps, from the first on, they speak for.

    A step is wrong when its share of right rollouts is at most `threshold` and the step before it was
    measured and is not (the first step needs none before it). A success speaks for every step before it, and
    a right answer for all of them. The first error is -1 where there is none, and None where the steps left
    out leave it open. (Math-Shepherd's hard estimate, arXiv 2312.08935, and OmegaPRM's search, arXiv
    2406.06592, which leaves steps out.)
    """
    graded = (v.p for v in votes if declared(sources, v.source).kind == "grade" and v.p is not None)
    grade = next(graded, None)
    if grade == 1:
        return -1, n_steps
    sound = _sound(votes, sources, threshold)
    # A wrong final answer: the last step cannot be sound, so an error lies somewhere.
    if grade is not None:
        sound[n_steps - 1] = False
    for step in sorted(sound):
        # Without a success right before it, the error may lie in a step between that was not rolled out.
        if not sound[step] and (step == 0 or sound.get(step - 1)):
            return step, step + 1
    alive = max((step for step, is_sound in sound.items() if is_sound), default=-1)
    return (-1 if alive == n_steps - 1 else None), alive + 1


def _sound(votes: Sequence[Vote], sources: Sources, threshold: float) -> dict[int, bool]:
    """Whether each measured step still leads to the answer. A search's posterior weighs its own counts better
    than a threshold does, so it decides where no other rollouts were drawn."""
    own = [(v, one.kind) for v in heard(votes, sources) if (one := declared(sources, v.source)).by == POLICY]
    sound = {v.step: v.p >= 0.5 for v, kind in own if kind == "search" and v.p is not None}
    others = {v.step for v, kind in own if kind == "rollouts" and v.n}
    counts = pooled(votes, sources)
    return sound | {step: counts[step][0] / counts[step][1] > threshold for step in others}


def side_of(who: str, sources: Sources) -> str:
    """The kind that a source votes like, one of `SIDES`; empty for one that names no first error: the grade
    of the answer, and a judge of how likely the answer is to be reached."""
    if who in SIDES:
        return who
    one = declared(sources, who)
    if one.by:
        return ROLLOUTS
    return one.kind if one.kind in (JUDGE, CHECK) and one.asks == "valid" else ""


def named_by(
    who: str, n_steps: int, votes: Sequence[Vote], sources: Sources, threshold: float = 0.0
) -> Named:
    """The first error by one source alone, or by all of a kind (`SIDES`).

    Rollouts always come with the grade of the answer, which is a finished rollout. A verifier names the first
    step that it refutes; when it refutes none it has not said that all are right, because it reads only
    a part of what a step says. So it leaves the first error open.
    """
    side = side_of(who, sources)
    mine = [
        vote for vote in votes if (vote.source == who if who not in SIDES else _is_of(vote, who, sources))
    ]
    if side == JUDGE:
        first, voted = judged_first_error(n_steps, mine, sources)
        return Named(first, 0 if first is None else _reach(first, n_steps), voted)
    if side == CHECK:
        refuted = [vote.step for vote in mine if vote.p is not None and vote.p < 0.5]
        return Named(min(refuted, default=None), 0, bool(refuted))
    grades = [vote for vote in votes if declared(sources, vote.source).kind == "grade"]
    # Whose rollouts they are matters only beside those of others: alone, a prover's are read as the policy's.
    alone = sources if who in SIDES else {**sources, who: _as_the_policys(declared(sources, who))}
    own = [vote for vote in mine if vote not in grades]
    first, spoken = measured(n_steps, [*own, *grades], alone, threshold)
    return Named(first, spoken, bool(own))


def _is_of(vote: Vote, side: str, sources: Sources) -> bool:
    one = declared(sources, vote.source)
    return one.by == POLICY if side == ROLLOUTS else one.kind == side and one.asks == "valid"


def _as_the_policys(one: Source) -> Source:
    return one.model_copy(update={"by": POLICY}) if one.by else one


def _reach(first: int, n_steps: int) -> int:
    return n_steps if first == -1 else first + 1


def judged_first_error(n_steps: int, votes: Sequence[Vote], sources: Sources) -> tuple[int | None, bool]:
    """The first error that all judges' replies together name (None: none can be read), and whether anyone
    judged. Who says how likely the answer is to be reached names no error."""
    judged = [
        (v, one.every_step)
        for v in votes
        if (one := declared(sources, v.source)).kind == "judge" and one.asks == "valid"
    ]
    by_step: dict[int, Vote] = {}
    for vote in chain((v for v, every in judged if not every), _first_errors(judged, n_steps)):
        old = by_step.get(vote.step)
        correct, n = _replies(vote)
        correct, n = (correct + old.correct, n + old.n) if old else (correct, n)
        by_step[vote.step] = vote.model_copy(update={"correct": correct, "n": n})
    return first_error_of(list(by_step.values()), n_steps), bool(judged)


def _first_errors(judged: Sequence[tuple[Vote, bool]], n_steps: int) -> Iterator[Vote]:
    """The votes of judges who speak of every step, as those of judges who stop at the first error: all
    replies of one name the first step that most of them call wrong."""
    by_source: dict[str, list[Vote]] = {}
    for vote, every in judged:
        if every and vote.p is not None:
            by_source.setdefault(vote.source, []).append(vote)
    for votes in by_source.values():
        first = min(wrong_steps(votes), default=n_steps)
        n = max(_replies(vote)[1] for vote in votes)
        for vote in votes:
            if vote.step <= first:
                yield vote.model_copy(update={"correct": 0 if vote.step == first else n, "n": n})


def wrong_steps(votes: Sequence[Vote], least: float = 0.5) -> set[int]:
    """The steps that at least this share of one judge's replies call wrong: above 0 their union, by default
    the majority, at 1 their intersection (CAPO, arXiv 2508.02298)."""
    counted = [(vote.step, *_replies(vote)) for vote in votes if vote.p is not None]
    return {step for step, correct, n in counted if n and n - correct >= max(least * n, 1)}


def _replies(vote: Vote) -> tuple[int, int]:
    """Replies that said yes, and all. A judge without counts is one reply, which says what is likelier."""
    if vote.n or vote.p is None:
        return vote.correct, vote.n
    return int(vote.p > 0.5), 1


def first_error_of(votes: Sequence[Vote], n_steps: int) -> int | None:
    """The most common first error among the replies of one judge; the earliest of equals, None without any
    reply."""
    if not votes:
        return None
    # A reply says no to one step only, the first error; so the noes per step count the replies that name it.
    # Replies that say yes to the last step name no error.
    named = Counter({vote.step: vote.n - vote.correct for vote in votes})
    named[-1] = sum(vote.correct for vote in votes if vote.step == n_steps - 1)
    best = max(named.values())
    if best == 0:
        return None
    return min(
        (step for step, count in named.items() if count == best),
        # The earliest of equals: training masks what follows a first error, so a later one would train on
        # doubtful steps as right ones.
        key=lambda step: n_steps if step < 0 else step,
    )
