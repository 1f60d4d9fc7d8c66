"""The consensus filter: a row is kept where two sides name the same first error (arXiv 2501.07301, section
3.1).

The sides are the policy's rollouts and the judges, unless `fusion.consensus` names two others. A row that the
filter cannot be applied to is kept, and says why.
"""

from collections.abc import Sequence

from pipeline.fusion.first_error import JUDGE, ROLLOUTS, SIDES, named_by, side_of
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
    """Whether both sides name the same first error, and which way they agree or differ.

    Reasons: agree_error, agree_clean, disagree_position, disagree_existence, and judge_unparsed or
    mc_incomplete where a judge or rollouts leave the first error open. Kept, unfiltered, are solutions nobody
    judged (an empty reason), of problems without a gold answer (no_gold), those whose policy was never rolled
    out from a step (judge_only), unless their graded answer alone settles it and agrees, and those on which
    only one side of another pair voted (one_sided).
    """
    kinds = [side_of(name, sources) for name in pair]
    sides = [named_by(name, n_steps, votes, sources, threshold) for name in pair]
    judged = [side.voted for side, kind in zip(sides, kinds, strict=True) if kind != ROLLOUTS]
    if judged and not any(judged):
        return True, ""
    if not has_gold and ROLLOUTS in kinds:
        return True, "no_gold"
    first, second = (side.first for side in sides)
    silent = [kind for side, kind in zip(sides, kinds, strict=True) if not side.voted]
    # Without any rollout a right answer still says that there is no error, and may agree; nothing can differ.
    if silent and (first is None or first != second):
        return True, "judge_only" if silent == [ROLLOUTS] and JUDGE in kinds else "one_sided"
    open_sides = [kind for side, kind in zip(sides, kinds, strict=True) if side.first is None]
    if first is None or second is None:
        return False, _OPEN[open_sides[0]]
    return compare(first, second)


def compare(one: int, other: int) -> tuple[bool, str]:
    """Whether two first errors (-1 for none) are the same, and how they agree or differ."""
    if one == other:
        return True, "agree_clean" if one == -1 else "agree_error"
    return False, "disagree_existence" if -1 in (one, other) else "disagree_position"
