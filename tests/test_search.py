"""Choosing among samples: aggregation, ties, and answers that are missing."""

import pytest

from pipeline.search import best_of_n, majority_vote, overall, weighted_vote

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
