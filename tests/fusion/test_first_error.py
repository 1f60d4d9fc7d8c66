"""First errors by rollouts and by judges, and the filter that wants them to agree."""

import numpy as np
import pytest

from pipeline.annotators.judge import votes_of
from pipeline.annotators.verdicts import Reading
from pipeline.fusion.ballots import ballots_of
from pipeline.fusion.consensus import consensus
from pipeline.fusion.first_error import measured, pooled
from schemas.records import Vote
from schemas.sources import EARLIER


def rolled(rates: list[float | None], k: int = 8, source: str = "monte_carlo") -> list[Vote]:
    return [
        Vote(
            step=i,
            source=source,
            asks="solvable",
            p=r,
            correct=round((r or 0) * k),
            n=k if r is not None else 0,
        )
        for i, r in enumerate(rates)
    ]


def grade(step: int, is_right: bool | None) -> Vote:
    p, known = (None, 0) if is_right is None else (float(is_right), 1)
    return Vote(step=step, source="answer", asks="solvable", p=p, n=known, correct=int(is_right or 0))


def search(p: list[float | None], *, right: bool = False) -> list[Vote]:
    """Votes of a search on all steps but the last, and the grade."""
    votes = [Vote(step=i, source="bisection", asks="solvable", p=x) for i, x in enumerate(p)]
    return [*votes, grade(len(p), right)]


@pytest.mark.parametrize(
    ("rates", "judge", "threshold", "kept", "reason"),
    [
        ([1, 0.75, 0.5, 0, 0.25], 3, 0, True, "agree_error"),
        ([1, 0.75, 0.5, 0, 0.25], 2, 0, False, "disagree_position"),
        ([1, 0.75, 0.5, 0, 0.25], -1, 0, False, "disagree_existence"),
        ([1, 0.75, 0.125], -1, 0, True, "agree_clean"),
        ([1, 0.75, 0.125], -1, 0.125, False, "disagree_existence"),
        ([0, 0.5], 0, 0, True, "agree_error"),
        ([1, 0.5], None, 0, False, "judge_unparsed"),
        ([1, None, 0.5], -1, 0, True, "agree_clean"),
        ([1, None, 0], 2, 0, False, "mc_incomplete"),
        ([1, 0.5, None], -1, 0, False, "mc_incomplete"),
    ],
)
def test_consensus(
    rates: list[float | None], judge: int | None, threshold: float, kept: bool, reason: str
) -> None:
    votes = [*rolled(rates), *votes_of([Reading(judge)], len(rates), "judge:x")]
    assert consensus(len(rates), votes, EARLIER, threshold) == (kept, reason)


@pytest.mark.parametrize(
    ("rates", "answer", "expected"),
    [
        ([0.5, 0, None, None], False, (1, 2)),
        ([0.5, 0.5, None], None, (None, 2)),
        ([None, None, 0.5, None, 0], False, (None, 3)),
        ([None, 0, None, 0.5, 0], False, (4, 5)),
        ([None, 0, 0, None], False, (None, 0)),
        ([None, 0.5], False, (2, 3)),
        ([0, 0.5], None, (0, 1)),
        ([None, 0, 0], True, (-1, 4)),
        ([None, None, 0.5], False, (3, 4)),
        ([], False, (0, 1)),
        ([], True, (-1, 1)),
    ],
)
def test_a_success_speaks_for_the_steps_before_it_and_a_failure_after_a_gap_for_none(
    rates: list[float | None], answer: bool | None, expected: tuple[int | None, int]
) -> None:
    """The last step, after those that were rolled out, is answered by the grade."""
    n_steps = len(rates) + 1
    assert measured(n_steps, [*rolled(rates), grade(len(rates), answer)], EARLIER) == expected


def counted(n_steps: int, votes: list[Vote]) -> tuple[list[float], list[float]]:
    correct, n = pooled(ballots_of([(n_steps, votes)], EARLIER))
    return correct.tolist(), n.tolist()


def test_counts_of_one_policy_are_pooled_and_those_of_another_are_not() -> None:
    """One success in twelve of the same policy is a success; eight of the prover's are not the policy's."""
    votes = [*rolled([1, 0], 8), *rolled([0.5, 0.25], 4, "scan"), *rolled([1, 1], 8, "prover")]
    assert counted(3, votes) == ([10, 1, 0], [12, 12, 0])
    assert measured(3, [*votes, grade(2, False)], EARLIER) == (2, 3)
    assert measured(3, [*rolled([1, 0]), *rolled([1, 1], 8, "prover"), grade(2, False)], EARLIER) == (1, 2)


def test_a_rollout_that_a_search_has_counted_is_not_counted_again() -> None:
    found = Vote(step=0, source="bisection", asks="solvable", p=0.9, correct=5, n=9)
    assert counted(1, [found, *rolled([0.5], 8, "omegaprm")]) == ([5], [9])
    assert counted(1, [found, *rolled([0.5], 8)]) == ([9], [17])
    silent = found.model_copy(update={"p": None, "correct": 0, "n": 0})
    assert counted(1, [silent, *rolled([0.5], 8, "omegaprm")]) == ([4], [8])


@pytest.mark.parametrize(
    ("p", "right", "first"),
    [([0.9, 0.4, 0.1], False, 1), ([0.9, 0.8, 0.7], False, 3), ([None, None, None], False, None),
     ([None, None, None], True, -1), ([0.2, 0.1, 0.1], False, 0)],
)  # fmt: skip
def test_the_first_error_of_a_search(p: list[float | None], right: bool, first: int | None) -> None:
    assert measured(4, search(p, right=right), EARLIER)[0] == first


def test_what_the_filter_cannot_be_applied_to_is_kept_and_says_why() -> None:
    assert consensus(2, rolled([1, 0]), EARLIER) == (True, ""), "nobody judged"
    judged = votes_of([Reading(1)], 3, "judge:x")
    assert consensus(3, [*judged, grade(2, False)], EARLIER) == (True, "judge_only")
    assert consensus(3, [*judged, grade(2, True)], EARLIER) == (True, "judge_only")
    assert consensus(3, judged, EARLIER) == (True, "judge_only")
    clean = votes_of([Reading(-1)], 3, "judge:x")
    assert consensus(3, [*clean, grade(2, True)], EARLIER) == (True, "agree_clean")
    silent = rolled([None, None])
    assert consensus(3, [*silent, *judged, grade(2, None)], EARLIER, has_gold=False) == (True, "no_gold")
    assert consensus(3, [*silent, *judged, grade(2, None)], EARLIER) == (False, "mc_incomplete")
    other = rolled([1, 1], 8, "prover")
    assert consensus(3, [*other, *judged, grade(2, False)], EARLIER) == (True, "judge_only")


def test_consensus_precision_in_simulation() -> None:
    """Independent sources: P(kept) = .5675 and precision .9868 for a = .7, m = .8, eight steps."""
    rng = np.random.default_rng(0)
    n, steps, kept, hits = 2_000, 8, 0, 0
    others = {t: [x for x in range(-1, steps) if x != t] for t in range(-1, steps)}
    for truth in rng.integers(-1, steps, n):
        judge, rolls = (
            int(truth) if rng.random() < a else int(rng.choice(others[int(truth)])) for a in (0.7, 0.8)
        )
        rates = [float(rolls == -1 or step < rolls) for step in range(steps - 1)]
        votes = [
            *rolled(list(rates)),
            grade(steps - 1, rolls == -1),
            *votes_of([Reading(judge)], steps, "judge:x"),
        ]
        agree, _ = consensus(steps, votes, EARLIER)
        kept += agree
        hits += agree and judge == truth
    assert kept / n == pytest.approx(0.5675, abs=0.03)
    assert hits / kept == pytest.approx(0.9868, abs=0.01)


@pytest.mark.parametrize(
    ("chances", "kept", "reason"),
    [
        ([0.9, 0.05, 0.9], True, "agree_error"),
        ([0.9, 0.05, 0.05], True, "agree_error"),
        ([0.05, 0.9, 0.9], False, "disagree_position"),
        ([0.9, 0.8, 0.7], False, "disagree_existence"),
        ([None, None, None], False, "judge_unparsed"),
    ],
)
def test_a_judge_without_counts_is_one_reply(chances: list[float | None], kept: bool, reason: str) -> None:
    """As in the rest of fusion; it was taken for one whose replies all failed, and the row was dropped."""
    judge = [Vote(step=i, source="judge:x", asks="valid", p=p) for i, p in enumerate(chances)]
    assert consensus(3, [*rolled([1, 0]), grade(2, False), *judge], EARLIER) == (kept, reason)
