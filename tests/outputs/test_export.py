"""Exported rows have the shape of real files of each format, and never turn silence into a wrong step."""

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.outputs.export import (
    FORMATS,
    STEP_TAG,
    export,
    format_named,
    to_math_shepherd,
    to_prm800k,
    to_processbench,
    to_trl,
)
from pipeline.prm.evaluate import load_gold
from schemas.errors import UserError
from schemas.records import LabelledSolution, PolicyIdentity, Problem, Solution, Step, StepLabel

DATA = Path(os.environ.get("STEPMINT_DATA", "../shared/data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="STEPMINT_DATA is not there")
CLEAN, WRONG, OPEN = (1, 1, 1), (1, 0, None), (1, None, None)


def row(labels: tuple[int | None, ...], first_error: int | None, *, text: str = "say") -> LabelledSolution:
    texts = [f"{text} {index}" for index in range(len(labels))]
    starts = [sum(len(t) + 1 for t in texts[:index]) for index in range(len(texts))]
    steps = tuple(Step(text=t, start=s, end=s + len(t)) for t, s in zip(texts, starts, strict=True))
    problem = Problem(text="What is 6*7?", answer="42")
    solution = Solution(
        problem_id=problem.id,
        text="\n".join(texts),
        steps=steps,
        answer="42",
        outcome="correct" if first_error == -1 else "incorrect",
        policy=PolicyIdentity(kind="k", model="m"),
    )
    found = tuple(StepLabel(label=label) for label in labels)  # type: ignore[arg-type]
    return LabelledSolution(problem=problem, solution=solution, labels=found, first_error=first_error)


@pytest.mark.parametrize(
    ("labels", "first_error", "expected"),
    [
        (CLEAN, -1, [True, True, True]),
        (WRONG, 1, [True, False]),
        (OPEN, None, [True]),
        ((None, None), None, None),
        ((0, None), 0, [False]),
    ],
)
def test_trl_ends_where_labels_end(
    labels: tuple[int | None, ...], first_error: int | None, expected: list[bool] | None
) -> None:
    found = to_trl(row(labels, first_error))
    assert (found and found["labels"]) == expected
    assert found is None or len(found["completions"]) == len(found["labels"])


@pytest.mark.parametrize(
    ("labels", "first_error", "signs"),
    [(CLEAN, -1, "+++"), (WRONG, 1, "+--"), ((0, None), 0, "--"), (OPEN, None, None)],
)
def test_math_shepherd_signs(
    labels: tuple[int | None, ...], first_error: int | None, signs: str | None
) -> None:
    found = to_math_shepherd(row(labels, first_error))
    assert (found and "".join(line[-1] for line in found["label"].split("\n"))) == signs


def test_math_shepherd_leaves_out_what_holds_its_tag() -> None:
    assert to_math_shepherd(row(CLEAN, -1, text=f"a {STEP_TAG}")) is None


@pytest.mark.parametrize(
    ("labels", "first_error", "ratings", "finish"),
    [
        (CLEAN, -1, [1, 1, 1], "solution"),
        (WRONG, 1, [1, -1], "found_error"),
        (OPEN, None, [1, None, None], "give_up"),
    ],
)
def test_prm800k_ratings(
    labels: tuple[int | None, ...], first_error: int | None, ratings: list[int | None], finish: str
) -> None:
    found = to_prm800k(row(labels, first_error))
    assert found is not None
    assert [step["completions"][0]["rating"] for step in found["label"]["steps"]] == ratings
    assert found["label"]["finish_reason"] == finish


def test_processbench_keeps_the_index_and_leaves_out_the_undecided(tmp_path: Path) -> None:
    assert to_processbench(row(OPEN, None)) is None
    out = tmp_path / "rows.jsonl"
    with out.open("w") as file:
        counts = export([row(CLEAN, -1), row(WRONG, 1), row(OPEN, None)], to_processbench, file)
    assert counts == {"written": 2, "left_out": 1}
    assert [gold.first_error for gold in load_gold(out)] == [-1, 1]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_line_is_json_in_utf8(name: str) -> None:
    out = io.StringIO()
    export([row(WRONG, 1, text="α \u2028 \\frac{1}{2}")], FORMATS[name], out)
    assert json.loads(out.getvalue())


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of a module in the working folder that makes formats of its own."""
    name = f"outside_format_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(
        "def good(row):\n"
        "    return None if row.first_error is None else {'wrong': row.first_error}\n"
        "def empty(row):\n    return {}\n"
        "def breaks(row):\n    return {'x': row.nothing}\n"
        "def listed(row):\n    return [row.first_error]\n"
        "def held(row):\n    return {'row': row.problem}\n"
        "def nan(row):\n    return {'p': float('nan')}\n"
        "def deep(row):\n    x = []\n    x.append(x)\n    return {'x': x}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return name


def test_a_format_of_an_outsider_is_written_as_ours_are(outside: str) -> None:
    rows, out = [row(CLEAN, -1), row(WRONG, 1), row(OPEN, None)], io.StringIO()
    assert export(rows, format_named(f"{outside}:good"), out) == {"written": 2, "left_out": 1}
    assert out.getvalue() == '{"wrong": -1}\n{"wrong": 1}\n'
    assert export(rows, format_named(f"{outside}:empty"), io.StringIO()) == {"written": 3, "left_out": 0}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("breaks", r"AttributeError: .*'nothing' \(.*outside_format_.*\.py, line 6\)"),
        ("listed", "returned list, expected a dict or None"),
        ("held", "returned what is not JSON: Object of type Problem"),
        ("nan", "returned what is not JSON"),
        ("deep", "returned what is not JSON: Circular reference"),
    ],
)
def test_what_an_outsiders_format_does_wrong_is_said_of_the_row(
    outside: str, function: str, said: str
) -> None:
    bad = row(WRONG, 1)
    with pytest.raises(UserError) as caught:
        export([bad], format_named(f"{outside}:{function}"), io.StringIO())
    assert re.fullmatch(
        f"format '{outside}:{function}': solution {bad.solution.id} of problem {bad.problem.id}: {said}.*",
        str(caught.value),
    )


def test_a_format_that_nobody_has_is_refused_by_the_names_there_are() -> None:
    with pytest.raises(UserError, match=r"'csv': neither one of trl, .* nor package\.module:function"):
        format_named("csv")


def shape(value: Any) -> Any:
    """Keys and types, without values; the union over a list's items."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value)


def samples(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def row_of(steps: list[str], first_error: int | None, problem: str = "What is 6*7?") -> LabelledSolution:
    posed = Problem(text=problem, answer="42")
    solution = Solution(
        problem_id=posed.id,
        text="-",
        steps=tuple(Step(text=text, start=0, end=len(text)) for text in steps),
        policy=PolicyIdentity(kind="k", model="m"),
    )
    right = len(steps) if first_error in (-1, None) else first_error
    labels = tuple(
        StepLabel(label=None if first_error is None or index > right else int(index < right))
        for index in range(len(steps))
    )
    return LabelledSolution(problem=posed, solution=solution, labels=labels, first_error=first_error)


TEXTS = st.one_of(
    st.sampled_from(
        (
            "Step 1: Add", "**Step 2:** 3 + 4 = 7 +", "### Step 3. two\n\nlines", "step 4) a -", "1. one",
            "Step 1: Step 2: b", "Step 1 is to add", "a\r\nStep 9: b", "x\u2028y\x85z", '{"label": null}',
            "</s><|im_end|>",
        )
    ),
    st.text(max_size=30),
).filter(lambda text: bool(text.strip()) and STEP_TAG not in text)  # fmt: skip


@given(st.lists(TEXTS, min_size=1, max_size=5), st.data())
def test_math_shepherd_is_taken_apart_again(steps: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(-1, len(steps) - 1))
    item = row_of(steps, first, "What is\n6*7?")
    found = to_math_shepherd(item)
    assert found is not None
    for text in (found["input"], found["label"]):
        assert text.splitlines() == text.split("\n")
        assert len(text.split("\n")) == len(steps)
    lines = found["input"].removeprefix("What is 6*7? ").split("\n")
    texts = [
        line.removeprefix(f"Step {number}: ").removesuffix(f" {STEP_TAG}")
        for number, line in enumerate(lines, 1)
    ]
    for text, step in zip(texts, steps, strict=True):
        assert "".join(step.split()).endswith("".join(text.split()))
        assert not re.match(r"\W*step \d+:", text, re.IGNORECASE)
    signs = [line[-1] for line in found["label"].split("\n")]
    assert signs == ["+" if first < 0 or index < first else "-" for index in range(len(steps))]
    assert to_math_shepherd(row_of(texts, first)) == found


@pytest.mark.parametrize(
    "step", ["Step 1: add", "**Step 1:** add", "### Step 1. add", "Step 1: Step 1: add", "step 1) add"]
)
def test_math_shepherd_numbers_once(step: str) -> None:
    found = to_math_shepherd(row_of([step], -1))
    assert found is not None
    assert found["label"] == "What is 6*7? Step 1: add +"


@pytest.mark.parametrize("name", sorted(FORMATS))
@given(steps=st.lists(TEXTS, max_size=3), data=st.data())
def test_every_row_is_one_line_for_every_reader(name: str, steps: list[str], data: st.DataObject) -> None:
    first = data.draw(st.one_of(st.none(), st.integers(-1, len(steps) - 1)))
    out = io.StringIO()
    counts = export([row_of(steps, first)], FORMATS[name], out)
    lines = out.getvalue().splitlines()
    assert len(lines) == counts["written"]
    assert all(isinstance(json.loads(line), dict) for line in lines)
    if name == "trl" and lines:
        assert json.loads(lines[0])["completions"] == steps[: len(json.loads(lines[0])["labels"])]
    if name == "processbench" and lines:
        assert json.loads(lines[0])["steps"] == steps


@needs_data
def test_processbench_has_the_shape_of_the_real_file() -> None:
    real = samples(DATA / "processbench" / "gsm8k_part.jsonl")[0]
    assert shape(to_processbench(row(WRONG, 1))) == shape(real)


@needs_data
def test_prm800k_has_the_shape_of_a_real_row() -> None:
    found, real = to_prm800k(row(CLEAN, -1)), samples(DATA / "format_samples" / "samples_prm800k.jsonl")[0]
    assert shape(found) == shape(real)


@needs_data
def test_math_shepherd_rewrites_a_real_row_letter_by_letter() -> None:
    """A real row, taken apart and exported again, is the same row."""
    for real in samples(DATA / "format_samples" / "samples_math-shepherd.jsonl"):
        question, _, rest = real["input"].partition(" Step 1: ")
        pieces = [piece.split(": ", 1)[-1].removesuffix(f" {STEP_TAG}") for piece in rest.split("\nStep ")]
        signs = [
            line[-1] for line in real["label"].split("\n") if line.startswith("Step") or " Step 1: " in line
        ]
        first = signs.index("-") if "-" in signs else -1
        if len(signs) != len(pieces) or (first >= 0 and "+" in signs[first:]):
            continue  # steps of several lines, or a good step after a bad one, which we never say
        labels = [StepLabel(label=1 if sign == "+" else 0) for sign in signs]
        problem = Problem(text=question, source={"dataset": real["task"]})
        steps = tuple(Step(text=piece, start=0, end=len(piece)) for piece in pieces)
        solution = Solution(
            problem_id=problem.id, text=rest, steps=steps, policy=PolicyIdentity(kind="k", model="m")
        )
        item = LabelledSolution(problem=problem, solution=solution, labels=tuple(labels), first_error=first)
        assert to_math_shepherd(item) == real
