"""A vote whose probability contradicts its counts is refused when it is given, and read when it is old."""

from typing import Any

import pytest

from schemas.errors import UserError
from schemas.records import Vote
from schemas.sources import POLICY, Source, check_source, check_votes, judge_source, rollout_source

SOURCES = {
    **judge_source("judge"),
    **check_source("check"),
    **rollout_source("rolled"),
    "search": Source(kind="search", asks="solvable", by=POLICY),
}


def vote(source: str, p: float | None, correct: int = 0, n: int = 0) -> Vote:
    return Vote(step=0, source=source, asks=SOURCES[source].asks, p=p, correct=correct, n=n)


@pytest.mark.parametrize(
    "given",
    [
        ("judge", 0.75, 3, 4),
        ("judge", 0.33, 1, 3),  # rounded to two digits
        ("judge", 0.2),  # one sample
        ("judge", None, 1, 4),
        ("check", 1.0, 1, 1),
        ("check", 0.0),
        ("rolled", 0.5, 4, 8),
        ("rolled", None),
        ("search", 0.9, 0, 4),  # its p comes from all its rollouts, not from those at this step
        ("search", 0.9),
    ],
)
def test_what_agrees_is_taken(given: tuple[Any, ...]) -> None:
    check_votes([vote(*given)], SOURCES, 1, "annotator 'x'")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("judge", 1.0, 0, 1), "'judge' on step 0 says p=1, but correct=0 of n=1 is 0: make p = correct / n"),
        (("judge", 0.5, 1, 3), "says p=0.5, but correct=1 of n=3 is 0.333"),
        (("check", 0.0, 1, 1), "says p=0, but correct=1 of n=1 is 1"),
        (("rolled", 0.9, 1, 8), "says p=0.9, but correct=1 of n=8 is 0.125"),
        (("rolled", 0.9), "says p=0.9 without counts, and rollouts are weighed by their counts"),
    ],
)
def test_what_contradicts_itself_is_refused(given: tuple[Any, ...], said: str) -> None:
    old = vote(*given)  # the record itself takes it: rows of earlier versions may hold such a vote
    with pytest.raises(UserError, match=f"^annotator 'x': a vote of .*{said}"):
        check_votes([old], SOURCES, 1, "annotator 'x'")


def test_a_second_vote_on_a_step_is_refused() -> None:
    with pytest.raises(UserError, match="^annotator 'x': two votes of 'judge' on step 0"):
        check_votes([vote("judge", 0.5), vote("judge", 0.5)], SOURCES, 1, "annotator 'x'")
