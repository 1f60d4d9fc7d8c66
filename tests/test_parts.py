"""Figures are quoted on a half of the problems that one function draws, with their intervals and counts."""

import json

import pytest

from benchmarks import __main__ as benches
from benchmarks import corpora
from benchmarks.parts import is_kept
from benchmarks.segmenting import part_of
from benchmarks.shares import share, wilson

TEXTS = [f"Tom has {n} pens. How many has he?" for n in range(400)]


def test_the_parts_are_halves_that_never_move() -> None:
    assert [is_kept(text) for text in ("", "a", "What is 2 + 3?", "\ud800")] == [True, False, False, True]
    assert 160 < sum(map(is_kept, TEXTS)) < 240
    assert all(part_of(text) == ("kept" if is_kept(text) else "work") for text in TEXTS)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "?"},
        {"problem": "?"},
        {"instruction": "?"},
        {"context": "?", "question": "else"},
        {"input": "?"},
        {"candidates": [{"problem": {"question": "?"}}]},
        {"premises": ["?"]},
    ],
)
def test_a_rows_problem(row: dict[str, object]) -> None:
    assert corpora._problem_of(row) == "?"


def test_rows_of_a_part(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "DATA", tmp_path)
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"question": text}) for text in TEXTS))

    def texts() -> list[str]:
        return [row["question"] for row in corpora.rows("a.jsonl")]

    with corpora.only("kept"):
        kept = texts()
    with corpora.only("work"):
        work = texts()
    with corpora.only("all"):
        assert texts() == TEXTS
    assert texts() == TEXTS
    assert kept == list(filter(is_kept, TEXTS))
    assert sorted(kept + work) == sorted(TEXTS)


def test_a_bench_is_run_on_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def bench() -> dict[str, object]:
        """What it measures."""
        return {**share(len(corpora._chosen), 4), "unit": "x", "baseline": 0}

    monkeypatch.setitem(benches.BENCHES, "verifiers.humans", bench)

    def of(part: str) -> list[tuple[str, float]]:
        return [(line["part"], line["value"]) for line in benches._lines("verifiers.humans", part)]

    assert of("both") == [("kept", 0.25), ("work", 0.25)]
    assert of("kept") == [("kept", 0.25)]
    assert of("all") == [("all", 0.5)]


def test_shares_have_wilsons_interval() -> None:
    assert share(1, 40) == {"value": 0.025, "interval": [0.004427, 0.1288], "k": 1, "n": 40}
    assert share(0, 10, per=100)["interval"] == [0.0, 27.75]
    assert share(0, 0) == {"value": 0.0, "interval": [0.0, 1.0], "k": 0, "n": 0}
    assert wilson(10, 10)[1] == pytest.approx(1.0)
