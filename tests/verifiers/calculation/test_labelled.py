"""One label's calculation and its value, with and without line breaks; and labels that say something else."""

import pytest

from verifiers.calculation.arithmetic import check_claim
from verifiers.calculation.labelled import labelled
from verifiers.claims.parsed import ParsedText


def verdicts(text: str) -> list[str]:
    checked = [check_claim(claim) for claim in labelled(ParsedText(text))]
    return [one.verdict for one in checked if one]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Number of boys = 87 - 43\nNumber of boys = 44", "holds"),
        ("Number of boys = 87 - 43\nNumber of boys = 45", "fails"),
        ("Distance = Start - Way Distance left = 180 - 135 Distance left = 55 miles Therefore, he", "fails"),
        ("Weight of comic books = 30/4 Weight of comic books = 6.5 pounds", "fails"),
        ("- Total cost = $3 * 4\n- Total cost = $12.", "holds"),
        ("The cost of all = 2 * Cost of one Cost of all = 2 * $33 Cost of all = $68", "fails"),
        ("Boxes = 1245 pounds / 10 pounds\nBoxes = 124", "abstains"),  # rounded down
        ("Total time = 2 hours + 30 minutes\nTotal time = 150 minutes", "abstains"),
        ("Share of red = 3 / 4\nShare of red = 75%", "holds"),
    ],
)
def test_the_second_line_tells_the_value_of_the_first(text, verdict):
    assert verdicts(text) == [verdict]


@pytest.mark.parametrize(
    "text",
    [
        "Number of boys = 87 - 43\nNumber of girls = 45",  # another label
        "Number of boys = 87 - 43\nIf number of boys = 45",
        "Total cost = $3 * 4\nTotal cost = $13 + 2",  # computed on
        "Number of pens = 3\nNumber of pens = 4",  # told anew, and computed nowhere
        "n = 8 / 2\nn = 5",  # a symbol, which algebra reads
        "It takes 2 hours + 90 minutes = 4 hours + 120 minutes = 6 hours",  # a unit is no label
        "Half of them = 3 * 4\nHalf of them = 6 dozen * 2",
        "A = B = C = D",
        "=" * 50,
    ],
)
def test_other_lines_are_left_alone(text):
    assert "fails" not in verdicts(text)
