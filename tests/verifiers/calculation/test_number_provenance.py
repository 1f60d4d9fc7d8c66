"""Numbers are traced to the problem, an earlier step, the step's own results, or common knowledge."""

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.number_provenance import orphans

PROBLEM = Problem(
    text="Tom has 14 apples, 35% more pears, twenty-five plums and a dozen figs. He pays $1,234."
)


def found(*steps):
    return [orphan.text for orphan in orphans(StepContext(PROBLEM, steps))]


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [
        (["14 + 8 = 22"], ["8"]),
        (["14 * 2 = 28"], []),
        (["14 + 14 = 28", "28 + 87 = 115"], ["87"]),
        (["14 * 0.35 = 4.9 and 14 * 1.35 = 18.9, which leaves 65%"], []),
        (["25 + 12 = 37 and 1234 / 2 = 617"], []),
        (["There are 60 minutes in an hour, so 14 * 60 = 840."], []),
        (["8. 14 apples"], []),
        (["In week 8 he has 14 apples"], []),
        (["He has 77 apples"], ["77"]),
        (["14 + 14 = 28, so he has 28."], []),
        (["9" * 9000], []),
    ],
)
def test_numbers_from_nowhere(steps, numbers):
    assert found(*steps) == numbers


def test_spans():
    step = r"So \(\frac{14}{89}\)"
    (orphan,) = orphans(StepContext(PROBLEM, (step,)))
    assert step[slice(*orphan.span)] == "89"
