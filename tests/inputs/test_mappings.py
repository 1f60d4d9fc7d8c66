"""Rows of GSM8K and MATH as problems, and where a problem says that it came from."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.problems import load_problems
from schemas.config import parse_config
from schemas.records import Problem, Quarantined


def load(path: Path, **settings: Any) -> list[Problem | Quarantined]:
    problems = {"source": "jsonl", "path": str(path), **settings}
    return list(load_problems(parse_config({"name": "r", "problems": problems}, "run.toml").problems))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1000)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


GSM8K = {
    "question": "Natalia sold 48 clips in April and half as many in May. How many together?",
    "answer": "She sold 48/2 = <<48/2=24>>24 in May.\nTogether 48+24 = <<48+24=72>>72.\n#### 72",
}
MATH = {
    "problem": "What is $\\frac{1}{2} + \\frac{1}{3}$? Not $\\boxed{2/5}$.",
    "solution": "$\\frac{3}{6} + \\frac{2}{6} = \\boxed{\\frac{5}{6}}$.",
    "level": "Level 1",
}


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
@pytest.mark.parametrize(
    ("mapping", "row", "text", "reference", "answer", "kind"),
    [
        ("gsm8k", GSM8K, GSM8K["question"], GSM8K["answer"], "72", "number"),
        ("math", MATH, MATH["problem"], MATH["solution"], "\\frac{5}{6}", "expression"),
    ],
    ids=["gsm8k", "math"],
)
def test_each_column_becomes_its_field(
    tmp_path: Path,
    name: str,
    mapping: str,
    row: dict[str, str],
    text: str,
    reference: str,
    answer: str,
    kind: str,
) -> None:
    """Problem and solution both hold a box in MATH: only the solution's is the answer."""
    (found,) = load(write(tmp_path / name, [row]), mapping=mapping)
    assert isinstance(found, Problem)
    assert (found.text, found.reference, found.answer, found.answer_kind) == (text, reference, answer, kind)


@pytest.mark.parametrize(
    ("mapping", "row", "field", "reason"),
    [
        ("gsm8k", {**GSM8K, "answer": "It is 72."}, "answer", "a solution that ends in `#### answer`"),
        ("math", {**MATH, "solution": "It is 5/6."}, "solution", "a solution that ends in a \\boxed{answer}"),
        ("math", {**MATH, "solution": None}, "solution", "a solution that ends in a \\boxed{answer}"),
    ],
)
def test_a_row_without_an_answer_is_set_aside_by_its_column(
    tmp_path: Path, mapping: str, row: dict[str, Any], field: str, reason: str
) -> None:
    good = GSM8K if mapping == "gsm8k" else MATH
    _, found = load(write(tmp_path / "a.jsonl", [good, row]), mapping=mapping)
    assert isinstance(found, Quarantined)
    assert (found.row, found.field) == (2, field)
    assert reason in found.reason


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_every_row_of_every_batch_is_read_and_says_where_it_stood(tmp_path: Path, name: str) -> None:
    """More rows than Parquet is read at once, in row groups of another size; rows are counted from 0."""
    rows = [{"text": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(2500)]
    found = load(write(tmp_path / name, rows))
    assert len(found) == 2500
    assert all(isinstance(one, Problem) for one in found)
    assert [(one.text, one.answer) for one in found if isinstance(one, Problem)] == [
        (row["text"], row["answer"]) for row in rows
    ]
    assert [one.source.row for one in found if isinstance(one, Problem)] == list(range(2500))
    assert {one.source.dataset for one in found if isinstance(one, Problem)} == {name}
