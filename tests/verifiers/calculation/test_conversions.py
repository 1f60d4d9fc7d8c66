"""Units: what converts, or is a rate's, and what explains no difference."""

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.arithmetic import Arithmetic


def verdict(step: str) -> str:
    return Arithmetic().check(StepContext(Problem(text="-"), (step,))).verdict


@pytest.mark.parametrize(
    "step",
    [
        "80 minutes/day - 6 days/week = 480 minutes/week",
        "25 days + 8 hours/day = 200 hours",
        "$320 / $20/hr = 26 hours",
        "216 / $18 per hour = 14 hours",
        "3 feet + 6 inches = 41 inches",
        "First, 60% - 40% = 24%",
        "100% + 10% = 90%",
        "2/3 = 70%",
    ],
)
def test_units_do_not_save_what_they_do_not_convert(step):
    assert verdict(step) == "fails"


@pytest.mark.parametrize(
    "step",
    [
        "3 feet + 6 inches = 42 inches",
        "3 feet - 6 inches = 2.5 feet",
        "He has 2 years + 3 months = 27 months",
        "3 weeks + 2 days = 23 days",
        "30 + 30 minutes = 1 hour",
        "60 * 2 per minute = 2 hours",
        "42 * 5/6 daps = 42 baps",
        "$5 - 75 cents = $4.25",
        "1 hour + 30 minutes + 15 minutes + 15 minutes = 2 hours",
        "2/3 = 67%",
        "2/3 = 66.7%",
        "1/3 = 34%",
    ],
)
def test_units_that_convert_save_a_claim(step):
    assert verdict(step) != "fails"


def test_a_percentage_is_rounded_to_the_digits_it_shows():
    assert verdict("2/3 = 67%") == "holds"
    assert verdict("1/3 = 34%") == "abstains"
