"""Numbers of the problem that a step copies wrongly, and numbers that it may have from elsewhere."""

import pytest

from schemas.records import Problem
from verifiers.base import StepContext, contexts_of
from verifiers.calculation.arithmetic import Arithmetic
from verifiers.calculation.restated import restated


def reasons(problem: str, *steps: str) -> list[str]:
    return [why for _, why in restated(contexts_of(Problem(text=problem), steps)[-1])]


MELONS = "A farm grew 120 melons. Ann found that 30% of the melons were ready for harvest, so she took them."
SHEEP = "Tula has twice as many sheep as Charles. Charles has 4 times as many sheep as Sue, who has 20."
BOXES = "A bridge can carry 5000 pounds. A truck with boxes, each weighing 15 pounds, weighs 3755."


@pytest.mark.parametrize(
    ("problem", "step", "really"),
    [
        (MELONS, "Ready melons: 20% of the 120 melons are ready for harvest.", "30%, not 20%"),
        (MELONS, "Since 20% of melons are ready for harvest, we multiply.", "30%, not 20%"),
        (
            SHEEP,
            "Since Tula has three times as many sheep as Charles, we go on.",
            "2 times, not 3 times",
        ),
        (SHEEP, "Charles has half as many sheep as Sue.", "4 times, not 0.5 times"),
        (BOXES, "Since each box weighs 11 pounds, we divide.", "15, not 11"),
        ("Jim has 13 fewer points than Mike, who has 21.", "Jim has 6 fewer points than Mike.", "13, not 6"),
    ],
)
def test_a_number_in_the_problems_own_words_must_be_its_number(problem, step, really):
    [why] = reasons(problem, step)
    assert why.endswith(f"the problem says {really}")
    found = Arithmetic().check(contexts_of(Problem(text=problem), [step])[-1])
    assert found.verdict == "fails"


@pytest.mark.parametrize("count", range(1, 6))
def test_a_context_alone_says_what_one_of_the_whole_solution_says(count):
    steps = (
        "We read the problem.",
        "Since 20% of melons are ready for harvest, we multiply.",
        "There are 20% more.",
        "Since 20% of melons are ready for harvest, we divide.",
        "Since 23% of melons are ready for harvest, we add.",
    )
    problem = Problem(text=MELONS)
    whole = restated(contexts_of(problem, steps)[count - 1])
    assert restated(StepContext(problem, steps[:count])) == whole
    # What a step repeats of another is that step's mistake.
    assert len(whole) == (count in {2, 5})


@pytest.mark.parametrize(
    ("problem", "steps"),
    [
        (MELONS, ["30% of the 120 melons are ready for harvest."]),
        (MELONS, ["70% of the melons are ready for harvest."]),  # 100 - 30: computed, for good or bad
        (MELONS, ["If 20% of the melons were ready for harvest, she would take 24."]),
        (MELONS, ["Say that 20% of the melons were ready for harvest."]),
        (MELONS, ["Are 20% of the melons ready for harvest?"]),
        (MELONS, ["It is not 20% of the melons that were ready for harvest."]),
        (MELONS, ["20% of the melons were not ready for harvest."]),
        (MELONS, ["20% of the pears are ready for harvest."]),  # other words
        (MELONS, ["20% of the melons are ready now for harvest."]),  # a later time
        (MELONS, ["The price fell by 20%.", "20% of the melons are ready for harvest."]),  # stated before
        (SHEEP, ["Tula has 4 times as many sheep as Sue."]),
        (
            SHEEP + " Later Tula has 3 times as many sheep as Sue.",
            ["Tula has 3 times as many sheep as Charles."],
        ),
        (BOXES, ["Since each box weighs 3740 pounds, we divide."]),  # 3755 - 15
        (BOXES, ["Each box weighs 15 * 2 = 31 pounds."]),  # a calculation
        ("Tom has 5 apples. He gets 3 bags with 4 apples in each.", ["Tom has 17 apples."]),
        ("Tom has 5 apples.", ["Tom has 9 apples."]),  # a count may change
        ("A problem.", ["20% of the melons are ready for harvest."]),
    ],
)
def test_a_number_that_may_come_from_elsewhere_is_left_alone(problem, steps):
    assert reasons(problem, *steps) == []
