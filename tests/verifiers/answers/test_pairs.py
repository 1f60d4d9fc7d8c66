"""Pairs of answers as gold answers and chat models spell them, English and Chinese, graded both ways."""

import json
from pathlib import Path

import pytest

from verifiers.answers.grade import grade

ROWS = [json.loads(line) for line in Path(__file__).with_name("pairs.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['gold']} | {row['answer']}")
def test_both_ways_round(row) -> None:
    for gold, answer in ((row["gold"], row["answer"]), (row["answer"], row["gold"])):
        found = grade(gold, answer, row["kind"])
        assert found.verdict in row["allowed"], found.reason


def test_both_verdicts_are_asked_for() -> None:
    asked = [verdict for row in ROWS for verdict in row["allowed"]]
    assert min(asked.count(True), asked.count(False)) > len(ROWS) / 5
