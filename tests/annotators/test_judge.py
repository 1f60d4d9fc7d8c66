"""What a judge's reply says, and how replies become votes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotators.judge import votes_of as votes_of_readings
from pipeline.annotators.verdicts import Reading
from pipeline.fusion.first_error import first_error_of
from schemas.records import Vote


def votes_of(verdicts: list[int | None], n_steps: int, source: str) -> list[Vote]:
    return votes_of_readings([Reading(verdict) for verdict in verdicts], n_steps, source)


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
