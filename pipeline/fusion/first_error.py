"""The first error of a solution by one source, or one kind of source, alone, without fitting anything: by
rollouts, as Math-Shepherd and OmegaPRM label; by judges; by verifiers.

Labels, the consensus filter, reports and benchmarks all take the first error by rollouts from `measured`.
Each rule is written once, for many solutions in columns; the functions of one solution call it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.fusion.ballots import Ballots, Bools, Floats, Ints, ballots_of
from schemas.records import Vote
from schemas.sources import POLICY, Source, Sources, declared

ROLLOUTS, JUDGE, CHECK = SIDES = ("rollouts", "judge", "check")
"""Names of all sources of a kind together: the rollouts and searches of the run's policy, judges of steps,
and verifiers."""
OPEN = -2
"""In arrays of first errors: the side leaves it open. -1 is no error."""


class Named(NamedTuple):
    """What one side says of a solution."""

    first: int | None
    """The first error, -1 for none; None where the side leaves it open."""
    spoken: int
    """Steps, from the first on, that it speaks for."""
    voted: bool
    """Whether there is anything of it that could be compared with another side."""


class AllNamed(NamedTuple):
    """What one side says of many solutions: the fields of `Named`, first errors with `OPEN` for None."""

    first: Ints
    spoken: Ints
    voted: Bools

    def of(self, solution: int) -> Named:
        """What it says of one of them."""
        return Named(_or_none(self.first[solution]), int(self.spoken[solution]), bool(self.voted[solution]))


def pooled(ballots: Ballots) -> tuple[Floats, Floats]:
    """Of every cell the right rollouts of the policy, and all that could be read. All its sources together;
    those of another policy stay apart."""
    mine = ballots.heard & ballots.of(lambda one: one.by == POLICY) & (ballots.n > 0)
    return _by_cell(ballots, mine, ballots.correct), _by_cell(ballots, mine, ballots.n)


def _by_cell(ballots: Ballots, mine: Bools, values: Ints | Floats) -> Floats:
    return np.asarray(np.bincount(ballots.cell[mine], values[mine], int(ballots.starts[-1])), float)


def _voted(ballots: Ballots, mine: Bools) -> Bools:
    found = np.zeros(len(ballots.n_steps), bool)
    found[ballots.solution[mine]] = True
    return found


def _first(ballots: Ballots, cells: Bools) -> Ints:
    """Of every solution the first step with a mark, or `n_steps`."""
    found = ballots.n_steps.copy()
    np.minimum.at(found, ballots.owner[cells], ballots.place[cells])
    return found


def measured(
    n_steps: int, votes: Sequence[Vote], sources: Sources, threshold: float = 0.0
) -> tuple[int | None, int]:
    """The first error by the policy's rollouts, and how many steps, from the first on, they speak for; see
    `all_measured`."""
    first, spoken = all_measured(ballots_of([(n_steps, votes)], sources), threshold)
    return _or_none(first[0]), int(spoken[0])


def all_measured(ballots: Ballots, threshold: float = 0.0) -> tuple[Ints, Ints]:
    """The first errors by the policy's rollouts, and how many steps, from the first on, they speak for.

    A step is wrong when its share of right rollouts is at most `threshold` and the step before it was
    measured and is not (the first step needs none before it). A success speaks for every step before it, and
    a right answer for all of them. The first error is -1 where there is none, and open where the steps left
    out leave it open. (Math-Shepherd's hard estimate, arXiv 2312.08935, and OmegaPRM's search, arXiv
    2406.06592, which leaves steps out.)
    """
    grade = np.full(len(ballots.n_steps), np.nan)
    graded = ballots.speaks & ballots.of(lambda one: one.kind == "grade")
    # The first grade of several: in an assignment of equal places the last one stays.
    grade[ballots.solution[graded][::-1]] = ballots.p[graded][::-1]
    known, sound = _sound(ballots, threshold)
    # A wrong final answer: the last step cannot be sound, so an error lies somewhere.
    failed = ~np.isnan(grade) & (ballots.n_steps > 0)
    last = ballots.starts[1:][failed] - 1
    known[last], sound[last] = True, False
    before = np.concatenate([[True], (known & sound)[:-1]])[: len(sound)]
    # Without a success right before it, the error may lie in a step between that was not rolled out.
    wrong = _first(ballots, known & ~sound & ((ballots.place == 0) | before))
    alive = np.full(len(ballots.n_steps), -1)
    np.maximum.at(alive, ballots.owner[known & sound], ballots.place[known & sound])
    is_wrong = wrong < ballots.n_steps
    ended = np.where(alive == ballots.n_steps - 1, -1, OPEN)
    first = np.where(grade == 1, -1, np.where(is_wrong, wrong, ended))
    spoken = np.where(grade == 1, ballots.n_steps, np.where(is_wrong, wrong, alive) + 1)
    return first, spoken


def _sound(ballots: Ballots, threshold: float) -> tuple[Bools, Bools]:
    """Which cells were measured, and whether they still lead to the answer. A search's posterior weighs its
    own counts better than a threshold does, so it decides where no other rollouts were drawn."""
    own = ballots.heard & ballots.of(lambda one: one.by == POLICY)
    searched = own & ballots.of(lambda one: one.kind == "search")
    known, sound = np.zeros((2, int(ballots.starts[-1])), bool)
    known[ballots.cell[searched]] = True
    sound[ballots.cell[searched]] = ballots.p[searched] >= 0.5
    others = ballots.cell[own & ~searched & (ballots.n > 0)]
    correct, n = pooled(ballots)
    known[others], sound[others] = True, correct[others] / n[others] > threshold
    return known, sound


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
    """The first error of one solution by one source alone, or by all of a kind; see `all_named`."""
    return all_named(who, ballots_of([(n_steps, votes)], sources), threshold).of(0)


def all_named(who: str, ballots: Ballots, threshold: float = 0.0) -> AllNamed:
    """The first errors by one source alone, or by all of a kind (`SIDES`).

    Rollouts always come with the grade of the answer, which is a finished rollout. A verifier names the first
    step that it refutes; when it refutes none it has not said that all are right, because it reads only
    a part of what a step says. So it leaves the first error open.
    """
    side = side_of(who, ballots.sources)
    mine = _votes_of(who, ballots)
    if side == JUDGE:
        first, voted = all_judged(ballots.where(mine))
        spoken = np.where(first == OPEN, 0, np.where(first == -1, ballots.n_steps, first + 1))
        return AllNamed(first, spoken, voted)
    if side == CHECK:
        refuted = np.zeros(int(ballots.starts[-1]), bool)
        refuted[ballots.cell[mine & ballots.speaks & (ballots.p < 0.5)]] = True
        first = _first(ballots, refuted)
        voted = first < ballots.n_steps
        return AllNamed(np.where(voted, first, OPEN), np.zeros_like(first), voted)
    grades = ballots.of(lambda one: one.kind == "grade")
    # Whose rollouts they are matters only beside those of others: alone, a prover's are read as the policy's.
    alone = ballots.sources
    if who not in SIDES:
        alone = {**alone, who: _as_the_policys(declared(alone, who))}
    return AllNamed(
        *all_measured(ballots.where(mine | grades, alone), threshold), _voted(ballots, mine & ~grades)
    )


def _votes_of(who: str, ballots: Ballots) -> Bools:
    if who not in SIDES:
        return np.array([name == who for name in ballots.names], bool)[ballots.source]
    if who == ROLLOUTS:
        return ballots.of(lambda one: one.by == POLICY)
    return ballots.of(lambda one: one.kind == who and one.asks == "valid")


def _as_the_policys(one: Source) -> Source:
    return one.model_copy(update={"by": POLICY}) if one.by else one


def judged_first_error(n_steps: int, votes: Sequence[Vote], sources: Sources) -> tuple[int | None, bool]:
    """The first error of one solution by all judges, and whether anyone judged; see `all_judged`."""
    first, voted = all_judged(ballots_of([(n_steps, votes)], sources))
    return _or_none(first[0]), bool(voted[0])


def all_judged(ballots: Ballots) -> tuple[Ints, Bools]:
    """The first errors that all judges' replies together name (open: none can be read), and whether anyone
    judged. Who says how likely the answer is to be reached names no error."""
    judged = ballots.of(lambda one: one.kind == "judge" and one.asks == "valid")
    replies = ballots.where(judged)
    correct, n = _replies(replies)
    every = replies.of(lambda one: one.every_step)
    counted, correct, n = _until_first_errors(replies, every, correct, n)
    yes, all_of_them = _by_cell(replies, counted, correct), _by_cell(replies, counted, n)
    return _most_named(replies, yes, all_of_them - yes), _voted(ballots, judged)


def _until_first_errors(ballots: Ballots, every: Bools, correct: Ints, n: Ints) -> tuple[Bools, Ints, Ints]:
    """The replies as those of judges who stop at the first error: all replies of one that speaks of `every`
    step name the first step that most of them call wrong. Which votes count, and their counts."""
    said = every & ballots.speaks
    # One judge on one solution.
    group = ballots.solution * max(len(ballots.names), 1) + ballots.source
    size = len(ballots.n_steps) * max(len(ballots.names), 1)
    first, most = np.full(size, np.iinfo(np.int64).max), np.zeros(size, np.int64)
    wrong = said & _calls_wrong(correct, n)
    np.minimum.at(first, group[wrong], ballots.step[wrong])
    np.maximum.at(most, group[said], n[said])
    first, most = first[group], most[group]
    counted = ~every | (said & (ballots.step <= first))
    yes = np.where(ballots.step == first, 0, most)
    return counted, np.where(every, yes, correct), np.where(every, most, n)


def _calls_wrong(correct: Ints, n: Ints, least: float = 0.5) -> Bools:
    return np.asarray((n > 0) & (n - correct >= np.maximum(least * n, 1)))


def wrong_steps(votes: Sequence[Vote], least: float = 0.5) -> set[int]:
    """The steps that at least this share of one judge's replies call wrong: above 0 their union, by default
    the majority, at 1 their intersection (CAPO, arXiv 2508.02298)."""
    said = [vote for vote in votes if vote.p is not None]
    correct, n = _counts_of(said)
    wrong = _calls_wrong(correct, n, least)
    return {vote.step for vote, is_wrong in zip(said, wrong, strict=True) if is_wrong}


def _replies(ballots: Ballots) -> tuple[Ints, Ints]:
    """Replies that said yes, and all. A judge without counts is one reply, which says what is likelier."""
    alone = ballots.speaks & (ballots.n == 0)
    correct = np.where(alone, np.nan_to_num(ballots.p) > 0.5, ballots.correct)
    return correct, np.where(alone, 1, ballots.n)


def _counts_of(votes: Sequence[Vote]) -> tuple[Ints, Ints]:
    """`_replies` of votes as records."""
    alone = [vote.p is not None and not vote.n for vote in votes]
    correct = [int((v.p or 0) > 0.5) if one else v.correct for v, one in zip(votes, alone, strict=True)]
    n = [1 if one else vote.n for vote, one in zip(votes, alone, strict=True)]
    return np.array(correct, np.int64), np.array(n, np.int64)


def first_error_of(votes: Sequence[Vote], n_steps: int) -> int | None:
    """The most common first error among the replies of one judge; the earliest of equals, None without any
    reply."""
    same = Source(kind="judge", asks="valid")
    ballots = ballots_of([(n_steps, votes)], {vote.source: same for vote in votes})
    everything = np.ones(len(ballots.step), bool)
    yes = _by_cell(ballots, everything, ballots.correct)
    return _or_none(_most_named(ballots, yes, _by_cell(ballots, everything, ballots.n) - yes)[0])


def _most_named(ballots: Ballots, yes: Floats, no: Floats) -> Ints:
    """The most common first error among replies, by how many of them say yes and no to every cell. A reply
    says no to one step only, the first error; so the noes of a step count the replies that name it. Replies
    that say yes to the last step name no error."""
    clean, has_steps = np.zeros(len(ballots.n_steps)), ballots.n_steps > 0
    clean[has_steps] = yes[ballots.starts[1:][has_steps] - 1]
    best = clean.copy()
    np.maximum.at(best, ballots.owner, no)
    # The earliest of equals: training masks what follows a first error, so a later one would train on
    # doubtful steps as right ones.
    first = _first(ballots, no == best[ballots.owner])
    return np.where(best == 0, OPEN, np.where(first < ballots.n_steps, first, -1))


def _or_none(first: int) -> int | None:
    return None if first == OPEN else int(first)
