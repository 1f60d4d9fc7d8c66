"""Every format of rows with solutions gives its steps, its labels and its outcomes; every row is counted."""

import os
from pathlib import Path

import pytest

from pipeline.inputs.given import Item
from pipeline.inputs.solutions import read_solutions
from pipeline.outputs.export import FORMATS
from schemas.arrow import to_row
from schemas.records import (
    Candidate,
    GoldLabels,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Quarantined,
    Solution,
    Step,
    StepLabel,
)
from tests.inputs.given_rows import PRMBENCH, SHEPHERD, Row, candidates, config, items, labels, read

DATA = Path(os.environ.get("STEPMINT_DATA", "nowhere"))


def rated(*ratings: int | None, finish: str = "solution") -> Row:
    steps = [
        {"completions": [{"text": f"s{k}", "rating": rating}], "chosen_completion": 0}
        for k, rating in enumerate(ratings)
    ]
    question = {"problem": "Q", "ground_truth_answer": "5"}
    return {"question": question, "label": {"steps": steps, "finish_reason": finish}}


FORMAT_ROWS: list[tuple[Row, list[str], GoldLabels | None]] = [
    (
        {"problem": "Q", "steps": ["a", "b", "c"], "label": 1},
        ["a", "b", "c"],
        labels(1, 0, None, first=1, by="processbench"),
    ),
    (
        {"problem": "Q", "steps": ["a", "b"], "label": -1},
        ["a", "b"],
        labels(1, 1, first=-1, by="processbench"),
    ),
    (rated(1, 0, 1), ["s0", "s1", "s2"], labels(1, None, 1, first=-1, by="prm800k")),
    (rated(1, 0, -1, finish="found_error"), ["s0", "s1", "s2"], labels(1, None, 0, first=2, by="prm800k")),
    (rated(1, 1, finish="give_up"), ["s0", "s1"], labels(1, 1, first=None, by="prm800k")),
    (
        {"instruction": "Q", "responses": ["a"], "next_response": "b", "rating": -1.0},
        ["a", "b"],
        labels(None, 0, first=None, by="prm800k"),
    ),
    (SHEPHERD, ["Step 1: a", "Step 2: b"], labels(1, 0, first=1, by="math_shepherd")),
    (PRMBENCH, ["a", "b", "c"], labels(1, 0, 0, first=1, by="prmbench")),
    ({"prompt": "Q", "completions": ["a", "b"], "labels": [True, False]}, ["a", "b"], labels(1, 0, first=1)),
    ({"problem": "Q", "steps": ["a", "b"], "labels": ["+", None]}, ["a", "b"], labels(1, None, first=None)),
    (
        {"problem": "Q", "steps": ["a", "b", "c"], "labels": [1, 0, -1]},
        ["a", "b", "c"],
        labels(1, None, 0, first=2),
    ),
    (
        {"problem": "Q", "solution": "a\nb\n#### 5", "first_error": 1},
        ["a", "b\n#### 5"],
        labels(1, 0, first=1),
    ),
    ({"question": "Q", "response": "a\nb", "solution": "the reference"}, ["a", "b"], None),
]


@pytest.mark.parametrize(("row", "steps", "gold"), FORMAT_ROWS)
def test_every_format_gives_its_steps_and_its_labels(
    tmp_path: Path, row: Row, steps: list[str], gold: GoldLabels | None
) -> None:
    problem, candidate = read(tmp_path, [row])
    assert isinstance(problem, Problem)
    assert isinstance(candidate, Candidate)
    assert problem.text == "Q"
    assert candidate.solution.problem_id == problem.id
    assert candidate.solution.step_texts() == steps
    assert candidate.gold == gold
    # `stepmint verify` reads the same rows by the same reader.
    assert [list(one.steps) for one in read_solutions(tmp_path / "rows.jsonl")] == [steps]


def test_our_own_rows_and_exports_come_back(tmp_path: Path) -> None:
    problem = Problem(text="Q", answer="5", answer_kind="number")
    text = "a; b\n#### 5"
    steps = (Step(text="a", start=0, end=1), Step(text="b\n#### 5", start=3, end=len(text)))
    who = PolicyIdentity(kind="server", model="qwen")
    solution = Solution(
        problem_id=problem.id, text=text, steps=steps, answer="5", outcome="correct", policy=who
    )
    row = LabelledSolution(
        problem=problem, solution=solution, labels=(StepLabel(label=1), StepLabel(label=0)), first_error=1
    )
    stored, candidate = read(tmp_path, [to_row(row)])
    assert isinstance(stored, Problem)
    assert isinstance(candidate, Candidate)
    assert (stored.id, stored.answer_kind) == (problem.id, "number")
    assert (candidate.solution.text, candidate.solution.steps) == (text, steps)  # not joined anew
    assert (candidate.solution.outcome, candidate.solution.policy.model) == ("correct", "qwen")
    assert candidate.gold == labels(1, 0, first=1, by="stepmint")
    for name, convert in FORMATS.items():
        if name != "math_shepherd":  # which puts each step on one line, with its number
            [again] = candidates(read(tmp_path, [convert(row) or {}]))
            assert (again.solution.step_texts(), again.gold and again.gold.first_error) == (
                ["a", "b\n#### 5"],
                1,
            )
    [again] = candidates(read(tmp_path, [FORMATS["math_shepherd"](row) or {}]))
    assert again.gold == labels(1, 0, first=1, by="math_shepherd")


MANY: list[tuple[Row, list[list[str]]]] = [
    ({"problem": "Q", "responses": ["a\nb", "c"]}, [["a", "b"], ["c"]]),
    ({"problem": "Q", "solutions": [["a", "b"], ["c\nd"]]}, [["a", "b"], ["c\nd"]]),
    ({"problem": "Q", "steps": [["a"], ["b", "c"]]}, [["a"], ["b", "c"]]),
    ({"problem": "Q", "completions": ["a", "b"]}, [["a"], ["b"]]),
    (
        {"problem": "Q", "candidates": [{"text": "a"}, {"steps": [{"text": "b"}, {"text": "c"}]}]},
        [["a"], ["b", "c"]],
    ),
    ({"candidates": [{"problem": {"question": "Q"}, "raw_text": "a"}]}, [["a"]]),
]


@pytest.mark.parametrize(("row", "steps"), MANY)
def test_a_row_may_hold_many_solutions(tmp_path: Path, row: Row, steps: list[list[str]]) -> None:
    found = read(tmp_path, [row])
    assert [one.text for one in found if isinstance(one, Problem)] == ["Q"]
    assert [one.solution.step_texts() for one in candidates(found)] == steps


@pytest.mark.parametrize("label", [1, "1", 1.0, "1.0"])
def test_a_column_of_numbers_with_a_gap_holds_decimals(tmp_path: Path, label: object) -> None:
    """Pandas writes the labels 1, null, -1 as 1.0, nan, -1.0: they would be lost without a word."""
    [found] = candidates(read(tmp_path, [{"problem": "Q", "steps": ["a", "b"], "label": label}]))
    assert found.gold is not None
    assert found.gold.first_error == 1


@pytest.mark.parametrize("label", [0.5, float("nan"), float("inf"), True, "1.5"])
def test_what_is_no_index_is_no_label(tmp_path: Path, label: object) -> None:
    [found] = candidates(read(tmp_path, [{"problem": "Q", "steps": ["a", "b"], "label": label}]))
    assert found.gold is None


@pytest.mark.parametrize(
    ("row", "why"),
    [
        # A row of TRL that lacks a label would be two solutions of one step.
        ({"prompt": "Q", "completions": ["a", "b"], "labels": [True]}, "2 texts and 1 labels"),
        ({"problem": "Q", "responses": ["a", "b"], "labels": [1, 1, 0]}, "2 texts and 3 labels"),
        # 2 is no rating, and would be taken for a neutral one.
        ({"problem": "Q", "steps": ["a", "b", "c"], "labels": [1, 2, -1]}, "labels: expected true"),
    ],
)
def test_labels_that_fit_nothing_are_refused(tmp_path: Path, row: Row, why: str) -> None:
    found = read(tmp_path, [row])
    assert not candidates(found)
    assert [why in one.reason for one in found if isinstance(one, Quarantined)] == [True]


def test_outcomes_and_writers_come_along(tmp_path: Path) -> None:
    rows = [
        {"problem": "Q", "steps": ["a"], "final_answer_correct": False, "generator": "gpt", "label": 0},
        {"problem": "R", "responses": ["a", "b", "c"], "score": [True, 0.0, 0.5], "model": "qwen"},
        {"problem": "S", "candidates": [{"text": "a", "is_correct": True, "model_name": "m"}]},
        {"problem": "T", "steps": [["a"], ["b"]], "labels": [True, False]},
        {"problem": "U", "steps": [["a"], ["b"]], "labels": [1, 0]},
        {"problem": "V", "response": "a", "is_correct": 1},
        # It may be how many are right.
        {"problem": "W", "response": "a", "correct": 1},
    ]
    said = [(one.solution.outcome, one.solution.policy.model) for one in candidates(read(tmp_path, rows))]
    assert said == [
        *[("incorrect", "gpt"), ("correct", "qwen"), ("incorrect", "qwen"), ("unknown", "qwen")],
        *[("correct", "m"), ("correct", ""), ("incorrect", "")],
        *[("correct", ""), ("incorrect", ""), ("correct", ""), ("unknown", "")],
    ]
    assert all(one.solution.policy.kind == "given" for one in candidates(read(tmp_path, rows)))


REAL: list[tuple[str, Row, tuple[int, int, int | None, int]]] = [
    ("processbench/gsm8k_part.jsonl", {}, (112, 124, 655, 0)),
    ("processbench/math_part.jsonl.gz", {}, (285, 297, 1942, 0)),
    ("prm800k/phase1_test_part.jsonl", {}, (32, 34, 668, 0)),
    ("format_samples/samples_math-shepherd.jsonl", {}, (7, 7, 25, 0)),
    ("format_samples/samples_prm800k.jsonl", {}, (4, 4, 31, 0)),
    ("prmbench/confidence_part.jsonl.gz", {}, (201, 215, 3090, 8)),
    ("prmbench/multi_solutions_part.jsonl", {}, (35, 39, 527, 0)),
    ("sampled_solutions/gsm8k_32_per_problem_part.jsonl.gz", {}, (150, 4800, 22494, 0)),
    ("sampled_solutions/qwen25_7b_olympiadbench200_8_per_problem_part.jsonl.gz", {}, (58, 464, 4913, 0)),
    (
        "gsm_plus/gsm8k_outputs_metamath_7b_part.jsonl",
        {"fields": {"text": "input", "answer": "gold"}},
        (396, 396, None, 0),
    ),
    ("prm800k/phase1_train_stepwise.jsonl.gz", {"limit": 40}, (40, 3181, 83094, 0)),
]


@pytest.mark.skipif(not DATA.is_dir(), reason="STEPMINT_DATA names no folder with real rows")
@pytest.mark.parametrize(("file", "changes", "counts"), REAL, ids=[file for file, *_ in REAL])
def test_no_real_row_is_dropped_without_a_word(
    file: str, changes: Row, counts: tuple[int, int, int | None, int]
) -> None:
    found = items(config(DATA / file, **changes))
    bad = [one for one in found if isinstance(one, Quarantined)]
    solutions = candidates(found)
    for one in solutions:
        assert [one.solution.text[s.start : s.end] for s in one.solution.steps] == one.solution.step_texts()
        assert one.gold is None or len(one.gold.labels) == len(one.solution.steps)
    steps = sum(len(one.solution.steps) for one in solutions)
    problems = sum(isinstance(one, Problem) for one in found)
    # Only where the rows have steps of their own: how a text is split is for the tests of the splitter.
    assert (problems, len(solutions), steps if counts[2] else None, len(bad)) == counts
    # The only real rows that are refused: PRMBench's that name steps beyond the last.
    assert all("error_steps: the wrong steps hold" in one.reason for one in bad)


def test_a_table_holds_lists_as_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        'problem,steps,label,is_correct\nQ,"[""a"", ""b""]",1,True\nR,"[""a"", ""b""",1,True\n',
        encoding="utf-8",
    )
    found = items(config(path))
    [one] = candidates(found)
    assert one.solution.step_texts() == ["a", "b"]
    assert (one.gold, one.solution.outcome) == (labels(1, 0, first=1, by="processbench"), "correct")
    [bad] = [one for one in found if isinstance(one, Quarantined)]
    assert "steps: expected a text or a list of texts" in bad.reason


def test_parquet_and_saved_datasets_are_read_as_lines_are(tmp_path: Path) -> None:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"problem": "Q", "steps": ["a", "b"], "label": 1}, {"problem": "R", "steps": ["c"], "label": -1}]
    lines = read(tmp_path, rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))

    def texts(found: list[Item]) -> list[tuple[str, GoldLabels | None]]:
        return [(one.solution.text, one.gold) for one in candidates(found)]

    for name in ("rows.parquet", "saved"):
        assert texts(items(config(tmp_path / name))) == texts(lines)
