"""Whole solutions are reviewed in order, whatever the number of workers."""

from pipeline.solutions import Written
from pipeline.verify import verify

SOLUTIONS = [
    Written("a", "Tom has 14 apples and gets 5.", ("14 + 5 = 19", "19 * 2 = 39")),
    Written("b", " ", ("So it is.", "1 + 1 = 2"), 1),
] * 5


def test_a_result_for_every_step_that_is_the_rows_own():
    found = list(verify(SOLUTIONS[:2]))
    assert [(line["id"], line["step"], line["verdict"]) for line in found] == [
        ("a", 0, "holds"),
        ("a", 1, "fails"),
        ("b", 1, "holds"),
    ]
    (finding,) = found[1]["findings"]
    assert finding == {
        "span": [0, 11],
        "claim": "19 * 2 = 39",
        "verdict": "fails",
        "reason": "19 * 2 is 38, not 39",
        "by": "arithmetic",
    }


def test_workers_change_nothing():
    assert list(verify(SOLUTIONS, workers=2)) == list(verify(SOLUTIONS))
