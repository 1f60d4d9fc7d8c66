"""Choosing among samples: aggregation, ties, and answers that are missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prm import selection as search
from pipeline.prm.selection import best_of_n, majority_vote, overall, weighted_vote

SCORES = [[0.9, 0.9, 0.5], [0.7, 0.7, 0.7], [0.1, 0.9, 0.9]]


@pytest.mark.parametrize(("how", "chosen"), [("min", "b"), ("product", "a"), ("last", "c")])
def test_each_aggregation_chooses_by_its_own_rule(how: str, chosen: str) -> None:
    assert best_of_n("abc", SCORES, how) == chosen


def test_the_first_of_equals_is_chosen() -> None:
    assert best_of_n("ab", [[0.5], [0.5]]) == "a"


def test_a_candidate_without_scores_loses_to_any_that_has_them() -> None:
    assert best_of_n("ab", [[], [0.0]]) == "b"
    assert best_of_n("a", [[]]) == "a"


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no candidates"):
        best_of_n([], [])
    with pytest.raises(ValueError, match="argument"):
        best_of_n("ab", [[0.5]])


def test_product_is_the_chance_that_every_step_is_right() -> None:
    assert overall([0.5, 0.5], "product") == 0.25


@pytest.mark.parametrize(
    ("answers", "index"),
    [
        (["7", "8", "8"], 1),
        (["7", "8"], 0),
        (["7", " 8", "8. "], 1),
        (["Tall", "fair", "tall"], 0),
        ([None, None, "7"], 2),
        (["2", "1/2", "0.5"], 1),
        (["2", "\\frac{1}{2}", "2", "0.5", "1/2"], 1),
        (["2", "12,345", "12{,}345"], 1),
        (["x+2", "x+1", "1+x"], 1),
        (["B", "(C)", "C. 12 apples"], 1),
        (["3", "5 1/2", "51/2"], 0),
        (["", " ", "7", "7.0"], 2),
        ([None, None], None),
        ([], None),
    ],
)
def test_majority(answers: list[str | None], index: int | None) -> None:
    assert majority_vote(answers) == index


def test_weights_overrule_numbers() -> None:
    assert weighted_vote(["7", "8", "8"], [0.9, 0.3, 0.4]) == 0
    assert weighted_vote(["7", "8", "8"], [0.6, 0.3, 0.4]) == 1
    assert weighted_vote([None, "8"], [1.0, 0.0]) == 1


def test_a_vote_over_many_answers_grades_a_bounded_number_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    graded = []
    monkeypatch.setattr(search, "same_answer", lambda *pair: graded.append(pair))
    answers = [f"unknown thing {index}" for index in range(500)]
    assert majority_vote([*answers, answers[-1]]) == 499
    assert len(graded) < 1000


@given(st.lists(st.sampled_from(["1/2", "0.5", "0.50", "2", "x+1", None, "{"]), max_size=6))
def test_votes_never_depend_on_how_an_answer_is_written(answers: list[str | None]) -> None:
    plain = ["1/2" if answer in ("0.5", "0.50") else answer for answer in answers]
    assert majority_vote(answers) == majority_vote(plain)
