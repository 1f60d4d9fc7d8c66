"""Relative progress: the paper's tables, in integers, and consensus with a judge."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods.counts import Count
from pipeline.methods.progress import consensus, first_error, interval, labels, ratio, rows
from pipeline.methods.stored import Run
from schemas.derive import ProgressSettings

COUNTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=2, max_size=8).map(
    lambda pairs: [Count(min(p), max(p)) for p in pairs]
)


def of(text: str) -> list[Count]:
    return [Count(*map(int, pair.split("/"))) for pair in text.split()]


@pytest.mark.parametrize(
    ("counts", "expected", "error"),
    [
        ("32/64 32/64 29/64 13/64 0/64 19/64", [1, 1, 0, 0, 0], 2),
        ("15/20 16/20 12/20 9/20 1/1", [1, 0, 0, 1], 1),
        ("5/20 10/20 8/20 6/20 1/1", [1, 1, 0, 1], 2),
        ("5/25 4/25", [1], -1),
        ("0/64 3/64 1/1", [None, None], None),
        ("4/8 0/0 4/8", [None, None], None),
        ("4/8 0/8 8/8 1/1", [0, 0, 0], 0),
    ],
)
def test_labels(counts: str, expected: list[int | None], error: int | None) -> None:
    assert labels(of(counts)) == expected
    assert first_error(labels(of(counts))) == error


def test_floats_would_miss_the_tie() -> None:
    assert not (4 / 25) / (5 / 25) >= 0.8
    assert ratio(*of("5/25 4/25")) == Fraction(4, 5)


def test_the_strictest_share() -> None:
    assert labels(of("32/64 32/64"), Fraction(1)) == [1]
    assert labels(of("32/64 31/64"), Fraction(1)) == [0]


def test_a_recovery_is_kept_and_not_credited() -> None:
    counts = of("32/64 0/64 19/64")
    assert labels(counts) == [0, 0]
    assert ratio(counts[1], counts[2]) is None


@given(COUNTS, st.integers(2, 5))
def test_more_of_the_same_draws_change_nothing(counts: list[Count], times: int) -> None:
    assert labels(counts) == labels([Count(times * c.correct, times * c.n) for c in counts])


@given(COUNTS, st.fractions(0, 1), st.fractions(0, 1))
def test_asking_more_never_makes_a_step_good(counts: list[Count], a: Fraction, b: Fraction) -> None:
    low, high = labels(counts, min(a, b)), labels(counts, max(a, b))
    assert all(not (x == 0 and y == 1) for x, y in zip(low, high, strict=True))


@pytest.mark.parametrize(
    ("found", "judged", "expected"),
    [
        ([1, 1, 0, 0], 2, ("keep", "agree_error")),
        ([1, 1, 1], -1, ("keep", "agree_clean")),
        ([1, 1, 0, 0], -1, ("drop", "disagree_existence")),
        ([1, 1, 0, 0], 1, ("drop", "disagree_position")),
        ([1, None, 0], 2, ("abstain", "mc_incomplete")),
        ([1, 1, 0], None, ("abstain", "judge_unparsed")),
    ],
)
def test_consensus(found: list[int | None], judged: int | None, expected: tuple[str, str]) -> None:
    assert consensus(found, judged) == expected


def test_the_interval_holds_the_ratio_and_narrows() -> None:
    few, many = interval(*of("16/32 16/32")), interval(*of("160/320 160/320"))
    assert few[0] is not None
    assert few[0] < many[0] < 1 < many[1] < few[1]  # type: ignore[operator]
    assert few[0] == pytest.approx(1 / few[1])  # type: ignore[operator]
    assert interval(*of("4/8 0/8")) == (None, None)


def test_rows_of_a_run(run: Run) -> None:
    found = list(rows(run, ProgressSettings()))
    assert {row["label"] for row in found} >= {0, 1}
    slips = [row for row in found if row["text"].endswith("bad")]
    assert slips
    assert {row["label"] for row in slips} == {0}
    assert {row["consensus"] for row in found} == {""}


def test_every_row_of_a_judged_run_is_kept_dropped_or_open(make_run: object) -> None:
    judge = {"kind": "judge", "prompts": ["embedded_review"], "votes": 2, "policy": {"kind": "simulated"}}
    annotate = [{"kind": "monte_carlo", "rollouts": 8}, judge]
    found = list(rows(make_run(3, annotate=annotate), ProgressSettings()))  # type: ignore[operator]
    reasons = {"agree_error", "agree_clean", "disagree_existence", "disagree_position"}
    for row in found:
        judged, measured = row["judged_first_error"], row["first_error"]
        expected = "abstain" if None in (judged, measured) else "keep" if judged == measured else "drop"
        assert row["consensus"] == expected
        assert (row["reason"] in reasons) == (expected != "abstain")
    assert len({row["consensus"] for row in found}) > 1
