"""Whole solutions are reviewed in order, whatever the number of workers."""

from itertools import count

from pipeline.inputs.solutions import Written
from pipeline.labelling.verify_files import verify

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


def test_more_chunks_than_are_under_way_keep_their_order():
    many = [Written(str(i), " ", (f"{i} + 1 = {i + 1}",)) for i in range(400)]
    assert [line["id"] for line in verify(many, workers=2)] == [str(i) for i in range(400)]


def test_a_reader_that_stops_early_is_not_made_to_wait_for_the_rest():
    endless = (Written(str(i), " ", ("1 + 1 = 2",)) for i in count())
    lines = verify(endless, workers=2)
    assert next(lines)["id"] == "0"
    lines.close()
