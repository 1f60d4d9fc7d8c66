"""Steps whose words, signs and problem decide what they claim: `readings.jsonl`, ten or more of each kind.

`not_allowed` are verdicts of the last step that are wrong: `fails` where a reader must not refute, `abstains`
where it can decide.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Problem
from verifiers.base import contexts_of
from verifiers.review import review

ROWS: dict[str, list[dict[str, Any]]] = defaultdict(list)
for _line in (Path(__file__).parent / "readings.jsonl").read_text(encoding="utf-8").splitlines():
    _row = json.loads(_line)
    ROWS[_row["kind"]].append(_row)


@pytest.mark.parametrize("kind", ROWS)
def test_every_row_of_a_kind(kind):
    for row in ROWS[kind]:
        found = review(contexts_of(Problem(text=row["problem"]), row["steps"])[-1])
        assert found.verdict not in row["not_allowed"], (row, found.remarks)


@pytest.mark.parametrize(
    ("problem", "step"),
    [
        ("A problem.", "3 * 5 = 16"),
        ("Work modulo 7.", "3 * 5 = 2"),
        ("Let a # b = ab + a. Find 3 * 5.", "3 + 5 = 9"),
        ("Find the area of the triangle with base 8 and height 5.", "8 * 5 / 2 = 21"),
        ("Use 3.14 for pi.", "The area is π * 10^2 = 324."),
        ("A problem.", "7/3 = 2.43"),
        ("A problem.", "80 + 10% = 89"),
        ("A problem.", "$5 - 75 cents = $4.50"),
        ("A problem.", "3 feet = 35 inches"),
        ("A problem.", "2 cubic feet = 24 cubic inches"),
        ("A problem.", "20% of 50 is 12"),
        ("A problem.", "The number of pies that are not eaten is 20 - 13 = 6."),
        ("A problem.", "Guests who did not respond at all are 200 - 184 = 17."),
        ("A problem.", "They ran all around the two parks, 2 * 20 = 42 miles."),
        ("A problem.", "In the 5 rounds played they took 5 * 5 = 26 blocks."),
        ("A problem.", "He rode 16 times + 8 times = 27 times."),
        ("A problem.", "This will cost the store 7 * 4 = $22."),
        ("A problem.", "Week 1: 600 / 2 = 320"),
        ("A problem.", "Week 1:600/2=320"),
        ("A problem.", "They bought 10 + 5 = 35kgs."),
        ("A problem.", "C = (9 + 7 - 1) = (15 - 1)"),
        ("A problem.", "It burns from 1:00 PM to 5:00 PM, which is a total of 5 hours."),
        ("A problem.", r"$\binom{5}{2} = 20$"),
        ("A problem.", "gcd(8, 12) = 2"),
        ("A problem.", "|3 - 5| = 3"),
        ("A problem.", r"$\log_2 8 = 4$"),
        ("A problem.", r"$\tan 30^\circ = \sqrt{3}$"),
        ("A problem.", r"$\sum_{i=1}^{4} i = 11$"),
        ("A problem.", "1 + 2 + 3 + ... + 10 = 56"),
        ("A problem.", r"$17 \equiv 3 \pmod{5}$"),
        ("A problem.", r"$\frac{d}{dx} x^2 = 3x$"),
        ("A problem.", r"$R = (n+1)^2 = n^2 + 1$"),
        ("A problem.", r"A = \sqrt{24 \cdot 14 \cdot 7 \cdot 3} = \sqrt{6336} \approx 79.6"),
    ],
)
def test_false_claims_of_each_kind_are_refuted(problem, step):
    found = review(contexts_of(Problem(text=problem), [step])[-1])
    assert found.verdict == "fails", found.remarks


def test_a_definition_is_no_open_claim_and_a_solution_is():
    assert review(contexts_of(Problem(text="-"), ["A = 3*4 = 12"])[-1]).verdict == "holds"
    solved = ["2x + y = 7", "3 + 4 = 7, so x = 3"]
    assert review(contexts_of(Problem(text="-"), solved)[-1]).verdict == "abstains"
