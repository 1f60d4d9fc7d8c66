"""The consensus filter: a row is kept where two sides name the same first error (arXiv 2501.07301, section
3.1).

The sides are the policy's rollouts and the judges, unless `fusion.consensus` names two others. A row that the
filter cannot be applied to is kept, and says why.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.fusion.ballots import Ballots, Bools, ballots_of
from pipeline.fusion.first_error import JUDGE, OPEN, ROLLOUTS, SIDES, all_named, side_of
from schemas.errors import UserError
from schemas.records import Vote
from schemas.sources import Sources

Pair = tuple[str, str]
USUAL: Pair = (ROLLOUTS, JUDGE)
AGREED = ("agree_error", "agree_clean")
# A verifier that refutes nothing has not voted, so no check is ever open.
_OPEN = {ROLLOUTS: "mc_incomplete", JUDGE: "judge_unparsed"}


def pair_of(setting: bool | Pair) -> Pair | None:
    """The two sides that `fusion.consensus` wants to agree; None where nothing is filtered."""
    return (USUAL if setting else None) if isinstance(setting, bool) else setting


def check_pair(setting: bool | Pair, sources: Sources) -> None:
    """UserError where `fusion.consensus` names a source that the run does not have, or one that names no
    first error."""
    can = [name for name in sources if side_of(name, sources)]
    pair = pair_of(setting) or ()
    for name in pair:
        if name not in (*SIDES, *can):
            why = "names no first error" if name in sources else "is no source of this run"
            raise UserError(
                f"fusion.consensus: {name!r} {why}: name two of {', '.join([*can, ''])}"
                f"or {', '.join(SIDES)} for all of a kind"
            )
    for name in pair:
        if name not in SIDES and (side := side_of(name, sources)) in pair:
            raise UserError(
                f"fusion.consensus: {name!r} is one of {side!r}, so it would agree with itself: name two "
                "sources or two kinds"
            )


def consensus(
    n_steps: int,
    votes: Sequence[Vote],
    sources: Sources,
    threshold: float = 0.0,
    *,
    has_gold: bool = True,
    pair: Pair = USUAL,
) -> tuple[bool, str]:
    """Whether both sides name the same first error of one solution, and which way they agree or differ; see
    `all_compared`."""
    ballots = ballots_of([(n_steps, votes)], sources)
    (kept,), (how,) = all_compared(ballots, threshold, has_gold=np.array([has_gold]), pair=pair)
    return bool(kept), how


def all_compared(
    ballots: Ballots, threshold: float = 0.0, *, has_gold: Bools, pair: Pair = USUAL
) -> tuple[Bools, list[str]]:
    """Of every solution, whether both sides name the same first error, and which way they agree or differ.

    Reasons: agree_error, agree_clean, disagree_position, disagree_existence, and judge_unparsed or
    mc_incomplete where a judge or rollouts leave the first error open. Kept, unfiltered, are solutions nobody
    judged (an empty reason), of problems without a gold answer (no_gold), those whose policy was never rolled
    out from a step (judge_only), unless their graded answer alone settles it and agrees, and those on which
    only one side of another pair voted (one_sided).
    """
    kinds = [side_of(name, ballots.sources) for name in pair]
    one, other = (all_named(name, ballots, threshold) for name in pair)
    everything = np.ones(len(ballots.n_steps), bool)
    judges = [side.voted for side, kind in zip((one, other), kinds, strict=True) if kind != ROLLOUTS]
    is_judged = np.any(judges, axis=0) if judges else everything
    silent_first, silent_second = ~one.voted, ~other.voted
    only_judges = JUDGE in kinds and ROLLOUTS in kinds
    unrolled = silent_first if kinds[0] == ROLLOUTS else silent_second
    unjudged = silent_second if kinds[0] == ROLLOUTS else silent_first
    same, opens = one.first == other.first, (one.first == OPEN, other.first == OPEN)
    # Without any rollout a right answer still says that there is no error, and may agree; nothing can differ.
    nothing = (silent_first | silent_second) & (opens[0] | ~same)
    clean = (one.first == -1) | (other.first == -1)
    # In the order in which they decide; "" is kept unfiltered.
    cases: list[tuple[Bools, str, bool]] = [
        (~is_judged, "", True),
        (everything & (ROLLOUTS in kinds) & ~has_gold, "no_gold", True),
        (nothing & only_judges & unrolled & ~unjudged, "judge_only", True),
        (nothing, "one_sided", True),
        (opens[0], _OPEN.get(kinds[0], ""), False),
        (opens[1], _OPEN.get(kinds[1], ""), False),
        (same & clean, "agree_clean", True),
        (same, "agree_error", True),
        (clean, "disagree_existence", False),
        (everything, "disagree_position", False),
    ]
    case = np.argmax([holds for holds, _, _ in cases], axis=0)
    kept = np.array([keeps for _, _, keeps in cases])[case]
    return kept, [cases[place][1] for place in case]


def compare(one: int, other: int) -> tuple[bool, str]:
    """Whether two first errors (-1 for none) are the same, and how they agree or differ."""
    if one == other:
        return True, "agree_clean" if one == -1 else "agree_error"
    return False, "disagree_existence" if -1 in (one, other) else "disagree_position"
