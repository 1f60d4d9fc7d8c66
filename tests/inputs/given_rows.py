"""Rows that hold solutions, and what is read of them."""

import json
from pathlib import Path
from typing import Any

from pipeline.inputs.formats import STEP_TAG
from pipeline.inputs.given import Item, load_given, reading_of
from schemas.config import RunConfig
from schemas.records import Candidate, GoldLabels

Row = dict[str, Any]


def config(path: object, *, beside: bool = False, **changes: Any) -> RunConfig:
    asked = {"kind": "given", **changes.pop("propose", {})}
    propose: Any = [asked, {"kind": "sample"}] if beside else asked
    problems = {"path": str(path), **changes}
    return RunConfig.model_validate({"name": "r", "problems": problems, "propose": propose})


def items(asked: RunConfig) -> list[Item]:
    reading = reading_of(asked)
    assert reading is not None
    return list(load_given(asked.problems, reading))


def read(folder: Path, rows: list[Row], **changes: Any) -> list[Item]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return items(config(path, **changes))


def candidates(found: list[Item]) -> list[Candidate]:
    return [one for one in found if isinstance(one, Candidate)]


def labels(*signs: int | None, first: int | None, by: str = "") -> GoldLabels:
    return GoldLabels.model_validate({"labels": signs, "first_error": first, "by": by})


SHEPHERD = {
    "input": f"Q Step 1: a {STEP_TAG}\nStep 2: b {STEP_TAG}",
    "label": "Q Step 1: a +\nStep 2: b -",
    "task": "GSM8K",
}
PRMBENCH = {
    "original_question": "O",
    "modified_question": "Q",
    "question": "O",
    "original_process": ["x"],
    "modified_process": ["a", "b", "c"],
    "error_steps": [2, 3],
}
