"""Similar steps of a state's rollouts share one value (PRM-guided GFlowNets, arXiv 2504.19981, section 3).

k rollouts of one prefix end in k outcomes; steps that say the same at the same place, after the same earlier
groups, pool theirs, and every step of every rollout gets a value without a further sample. Three things
differ from the paper: a mixed group has its own share of right outcomes, not its parent's; steps are compared
only after the same earlier groups; and the order of the rollouts changes nothing. Two steps that are merged
by mistake bias the value, and no count shows it; a higher `tau` merges fewer.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from fractions import Fraction
from typing import Any

from pipeline.inputs.segment import Cuts
from pipeline.methods.counts import Count, grade_of
from pipeline.methods.stored import Run
from pipeline.methods.tree import MOST_STEPS, is_own, pieces
from schemas.derive import SimilaritySettings
from schemas.records import Rollout

# `-3`, `1,234.5`, `.5`, `3/4`. A minus after a word or bracket, as in `x-3`, is an operation and no sign.
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}])-)?(?:\d{1,30}(?:,\d{3}){0,6}(?:\.\d{1,30})?|\.\d{1,30})(?: ?/ ?[1-9]\d{0,30})?"
)
# `= 12.` and `= $12`; not the 12 of `= 12 + 3` or `= 12 (`, which is not the result yet.
_RESULT = re.compile(rf"= ?\$? ?({_NUMBER.pattern})(?! ?[-+*/^(\\\d.]\d*[ \d(])")
"""A number after `=` that no further calculation follows; a full stop may."""
_LONGEST = 1000
"""Characters of a step that are still compared; longer ones match only themselves."""
# 0.333333 and 1/3 are one result; 0.33 and 1/3 are two, since a rounded step is another step.
_CLOSE = Fraction(1, 1_000_000)


@dataclass(frozen=True)
class Group:
    """Steps of several rollouts taken as one, under the text of the first of them."""

    prefix: str
    step: str
    position: int
    """Steps after the state's prefix."""
    outcomes: Count
    parent: int
    """Index of the group of the step before; -1 at the state."""


@dataclass
class _Member:
    pieces: list[tuple[str, str]]
    grade: Count
    group: int = -1


@dataclass
class _Open:
    """A group while its position is read."""

    first: _Member
    members: list[_Member] = field(default_factory=list)


def is_alike(a: str, b: str, tau: float) -> bool:
    """Whether two steps say the same: equal results, and strings similar to the ratio `tau`.

    The numbers compared are those after `=` where both have one, else the last of each; a wrong digit alone
    would hardly lower the ratio.
    """
    if a == b:
        return True
    if len(a) > _LONGEST or len(b) > _LONGEST or not _same_number(a, b):
        return False
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    # From cheap to dear: the first two are upper bounds, and most pairs fail them.
    return matcher.real_quick_ratio() >= tau and matcher.quick_ratio() >= tau and matcher.ratio() >= tau


def _same_number(a: str, b: str) -> bool:
    found = [_RESULT.findall(text) for text in (a, b)]
    if not all(found):
        found = [_NUMBER.findall(text) for text in (a, b)]
    if not all(found):
        return found[0] == found[1]  # neither has a number, or only one has
    x, y = (_value(numbers[-1]) for numbers in found)
    return abs(x - y) <= _CLOSE


def _value(number: str) -> Fraction:
    above, _, below = number.replace(",", "").partition("/")
    return Fraction(above.strip()) / Fraction(below.strip() or 1)


def groups(
    prefix: str, rollouts: Iterable[Rollout], settings: SimilaritySettings, cuts: Cuts = "\n"
) -> list[Group]:
    """Groups of the graded rollouts of one prefix, position by position.

    Members of a group without a right outcome and with at least `least` of them end there. `rollouts` may
    come in any order.
    """
    live = sorted(
        (
            _Member(pieces(r.text, cuts)[:MOST_STEPS], grade_of(r.outcome))
            for r in rollouts
            if r.outcome != "unknown"
        ),
        # Sorted, because groups are formed greedily: the first member of a group decides what it is compared
        # with.
        key=lambda member: (member.pieces, member.grade.correct),
    )
    found: list[Group] = []
    position = 0
    while live := [member for member in live if len(member.pieces) > position]:
        alive: list[_Member] = []
        for cluster in _clusters(live, position, settings.tau):
            outcomes = sum((member.grade for member in cluster.members), Count())
            before = prefix + "".join(piece for piece, _ in cluster.first.pieces[:position])
            step = cluster.first.pieces[position][1]
            found.append(Group(before, step, position, outcomes, cluster.first.group))
            # Enough failures and no success: later steps would only be pooled failures.
            if outcomes.correct or outcomes.n < settings.least:
                alive += cluster.members
            for member in cluster.members:
                member.group = len(found) - 1
        live, position = alive, position + 1
    return found


def _clusters(live: Sequence[_Member], position: int, tau: float) -> list[_Open]:
    """Greedily, each against the first of every group with the same context; the members come sorted."""
    by_context: dict[int, list[_Open]] = {}
    for member in live:
        step = member.pieces[position][1]
        candidates = by_context.setdefault(member.group, [])
        match = next((c for c in candidates if is_alike(c.first.pieces[position][1], step, tau)), None)
        if match is None:
            match = _Open(member)
            candidates.append(match)
        match.members.append(member)
    return [cluster for candidates in by_context.values() for cluster in candidates]


def value(group: Group, least: int) -> float | None:
    """Share of right outcomes; None for a small group without any: it may have been bad luck."""
    if group.outcomes.correct == 0 and group.outcomes.n < least:
        return None
    return group.outcomes.value


COLUMNS = {
    "prefix": "string",
    "text": "string",
    "evidence": "string",
    "state": "string",
    "position": "int32",
    "group": "int32",
    "parent": "int32",
    "correct": "int32",
    "n": "int32",
    "value": "float64",
}


def rows(run: Run, settings: SimilaritySettings) -> Iterator[dict[str, Any]]:
    """One row a group of every state that was rolled out. `state` is the prefix that was asked for, `group`
    and `parent` count within it; `evidence` is `grouped`, or `single` for one rollout alone."""
    for stored in run:
        states: dict[str, list[Rollout]] = {}
        for rollout in stored.rollouts:
            if is_own(rollout.purpose):
                states.setdefault(rollout.prefix, []).append(rollout)
        for state, drawn in sorted(states.items()):
            for index, group in enumerate(groups(state, drawn, settings, stored.prompt.cuts)):
                yield {
                    "problem_id": stored.finished.problem.id,
                    "prefix": group.prefix,
                    "text": group.step,
                    "evidence": "grouped" if group.outcomes.n > 1 else "single",
                    "state": state,
                    "position": group.position,
                    "group": index,
                    "parent": group.parent,
                    "correct": group.outcomes.correct,
                    "n": group.outcomes.n,
                    "value": value(group, settings.least),
                }
