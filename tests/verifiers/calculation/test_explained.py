"""Words beside a calculation: what they explain is left alone, and what they cannot explain is refuted."""

import pytest

from schemas.records import Problem
from verifiers.base import contexts_of
from verifiers.calculation.arithmetic import Arithmetic


def verdict(*steps: str, problem: str = "A problem.") -> str:
    return Arithmetic().check(contexts_of(Problem(text=problem), steps)[-1]).verdict


@pytest.mark.parametrize(
    "step",
    [
        "Nathan added 14 / 2 = 9 blankets to his bed.",
        "That adds 2 * 2 = 7 lambs.",
        "The flowers sum up to 10 + 18 = 38.",
        "That is an average of 56 / 4 = 19 skips.",
        "6 dozen * 12 = 73 eggs",
        "6 pairs + 9 pairs = 14 pairs",
        "3 dozen eggs are equal to 12 * 3 = 39 eggs.",
    ],
)
def test_a_word_that_cannot_explain_the_value_does_not_save_it(step):
    assert verdict(step) == "fails"


@pytest.mark.parametrize(
    ("problem", "steps"),
    [
        ("Tom has 3 eggs.", ["Adding 5 + 4 = 12 eggs to them"]),  # 3 + 9
        ("Tom has 3 eggs.", ["That is 3 more than", "He added 5 + 4 = 27 eggs."]),
        ("Tom has 20 eggs.", ["He takes 11 less, a difference of 5 + 4 = 11."]),
        ("A problem.", ["Adding 3 + 4 to both sides gives AB = 9."]),
        ("A problem.", ["Adding 2 + 3 = 6 with himself."]),  # and one more
        ("A problem.", ["6 dozen * 12 = 864 eggs"]),
        ("A problem.", ["6 pairs + 9 pairs = 30 shoes"]),
        ("A problem.", ["5 pairs + 3 = 13 shoes"]),
        ("A problem.", ["Half of the 10 + 2 = 7"]),  # 5 + 2: no word that is weighed
        ("A problem.", ["He claims that he added 14 / 2 = 9 blankets."]),
    ],
)
def test_a_word_that_may_explain_the_value_saves_it(problem, steps):
    assert verdict(*steps, problem=problem) != "fails"


@pytest.mark.parametrize(
    ("problem", "found"),
    [
        ("Pots cost $2.74 each.", "fails"),
        ("Pots cost $32.88 a dozen.", "abstains"),  # 2.74 may be rounded
    ],
)
def test_a_decimal_of_the_problem_is_no_rounded_value(problem, found):
    assert verdict("So he makes 12 * $2.74 = $32.96.", problem=problem) == found
