"""Claims in words: what is proved and refuted, and siblings of each form that must be left alone."""

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.arithmetic import Arithmetic
from verifiers.calculation.spoken import spoken
from verifiers.claims.parsed import ParsedText


def verdict(text: str) -> tuple[str, str]:
    found = Arithmetic().check(StepContext(Problem(text="-"), (text,)))
    return found.verdict, found.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Subtracting 3 from 10 leaves 6.", "10 - 3 is 7, not 6"),
        ("Adding 5 and 4 gives us 10 apples.", "5 + 4 is 9, not 10"),
        ("Multiplying 3 by 4 we get 13.", "3 * 4 is 12, not 13"),
        ("Dividing 20 by 4 gives 6.", "20 / 4 is 5, not 6"),
        ("The sum of 3 and 4 is 8.", "3 + 4 is 7, not 8"),
        ("The difference between 3 and 10 is 6.", "10 - 3 is 7, not 6"),
        ("The product of 3 and 4 is 13.", "3 * 4 is 12, not 13"),
        ("Half of 14 is 8.", "1/2 * 14 is 7, not 8"),
        ("A third of 9 pears is 4 pears, so he ate 4.", "1/3 * 9 is 3, not 4"),
        ("10 is twice as many as 4.", "2 * 4 is 8, not 10"),
        ("15 apples is 5 more than 11 apples.", "11 + 5 is 16, not 15"),
        ("Toys are whole, and 7.5 pounds is half a pound more than 15 pounds.", "15 + 1/2 is 15.5, not 7.5"),
        ("Mike has 21 points, which is less than 20.", "21 < 20 is false"),
        ("Since $5,125 is greater than $8,096, he buys jewelry.", "5125 > 8096 is false"),
    ],
)
def test_a_false_claim_is_refuted(text, reason):
    assert verdict(text) == ("fails", reason)


@pytest.mark.parametrize(
    "text",
    [
        "Subtracting 3 from 10 leaves 7.",
        "Half of the 14 apples is 7 apples.",
        "Adding 5 and 4 gives her 9 apples.",
        "8 is twice as many as 4.",
    ],
)
def test_a_true_calculation_holds(text):
    assert verdict(text)[0] == "holds"


@pytest.mark.parametrize(
    "text",
    [
        "Twice 21 is less than 20 plus 30.",  # what follows computes
        "So 3 + 21 is less than 20.",
        "Half of 21 is less than 20.",
        "If 21 is less than 20, he gets a point.",
        "Is 21 less than 20?",
        "It is not true that half of 14 is 8.",
        "5 feet is more than 50 inches.",  # other units
        "100 is more than 2 hours.",  # no unit: a hundred minutes
        "One and one-half of 20 is 30.",
        "3 less than 10 is 5 more than 4.",
        "10 pears is 20% more than 9 pears.",
        "Half of 15 is about 8.",
        "Adding 3 apples and 4 pears gives 8 apples.",
        "Adding 3 feet and 6 inches gives 42 inches.",
        "Subtracting 3 from twice 10 gives 17.",
        "Half of 14 is 8 less than 15.",
        "The sum of 3 and 4 is 8 less than 15.",
        "2 and 7 is more than 8.",
        "Suppose half of 14 is 8.",
        "He claims that half of 14 is 8.",
        "Half of 14 is 8: that would be wrong.",
        "Page 21 is less than 20.5 pages away, and so on",
    ],
)
def test_what_other_words_may_change_is_left_alone(text):
    assert verdict(text)[0] != "fails"


def test_that_one_number_is_more_than_another_proves_no_step():
    assert verdict("Mike has 21 points, which is more than 20.")[0] == "abstains"


def test_a_long_text_of_numbers_is_read_in_time_that_grows_with_it():
    assert spoken(ParsedText("21 is 3 of 4 than " * 400)) == ()
