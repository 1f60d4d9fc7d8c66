"""What a judge's reply says, and how replies become votes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotators.judge import first_error_of, read_verdict, votes_of


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (r"\boxed{-1}", -1),
        (r"\boxed{\text{2}}", 2),
        (r"\boxed{3.0}", None),
        (r"\boxed{paragraph_4}", 4),
        (r"first \boxed{1}, no: \boxed{2}", 2),
        (r"\boxed{5}", None),  # there is no step 5 of 5
        (r"\boxed{-2}", None),
        (r"\boxed{", None),
        (r"\boxed{" + "9" * 5000 + "}", None),
        ("1: a right\nFirst error: none", -1),
        ("First error: 3", 2),
        ("First error: 0", None),
        ("First error: 6", None),
        (" right right wrong", 2),
        (" right right right right right", -1),
        (" right right", None),  # silence about the rest is not assent
        ("", None),
        ("wrongly righteous", None),
    ],
)
def test_verdicts(reply: str, verdict: int | None) -> None:
    assert read_verdict(reply, 5) == verdict


def test_a_megabyte_of_braces_is_read_at_once() -> None:
    assert read_verdict("\\boxed{" + "{" * 1_000_000, 5) is None


def test_votes_keep_what_replies_said() -> None:
    votes = votes_of([2, 2, -1, None], 4, "judge:x")
    assert [(v.correct, v.n) for v in votes] == [(3, 3), (3, 3), (1, 3), (1, 1)]
    assert {v.n_failed for v in votes} == {1}
    assert [v.p for v in votes] == [1, 1, pytest.approx(1 / 3), 1]


def test_steps_after_every_named_error_abstain() -> None:
    assert [v.p for v in votes_of([0, 0], 2, "judge:x")] == [0, None]


@pytest.mark.parametrize(
    ("verdicts", "first"),
    [
        ([2, 2, -1], 2),
        ([2, 2, -1, -1], 2),
        ([3, 1], 1),
        ([-1], -1),
        ([None, None], None),
        ([2, 2, 3, None], 2),
    ],
)
def test_the_most_common_first_error_wins_and_the_earliest_of_equals(
    verdicts: list[int | None], first: int | None
) -> None:
    assert first_error_of(votes_of(verdicts, 4, "judge:x"), 4) == first


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=9))
def test_counts_lose_nothing(verdicts: list[int]) -> None:
    votes = votes_of(verdicts, 6, "judge:x")
    assert [v.n - v.correct for v in votes] == [verdicts.count(step) for step in range(6)]
    assert votes[-1].correct == verdicts.count(-1)
