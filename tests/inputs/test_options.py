"""Options of a multiple choice: the model sees them, and the gold answer is one of their letters."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.inputs.golds import lettered
from pipeline.inputs.problems import load_problems
from pipeline.inputs.rows import Unreadable
from pipeline.sampling.roller import outcome_of
from schemas.config import problems_config
from schemas.records import Problem, Quarantined

AQUA = Path(os.environ.get("STEPMINT_DATA", "../shared/data")) / "aqua" / "dev.jsonl"
FIELDS = {"text": "question", "options": "options", "answer": "correct"}


def load(folder: Path, *rows: dict[str, Any]) -> list[Problem | Quarantined]:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(load_problems(problems_config(source="jsonl", path=str(path), fields=FIELDS)))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["A)32", "B)6"], "A)32\nB)6"),
        (["(A) 32", "(B) 6"], "(A) 32\n(B) 6"),
        (["32", "6"], "A) 32\nB) 6"),
        (["A bird", "B)6"], "A) A bird\nB) B)6"),
        ({"label": ["A", "B"], "text": ["32", "6"]}, "A) 32\nB) 6"),
    ],
)
def test_options_stand_below_the_problem_with_their_letters(options: Any, shown: str, tmp_path: Path) -> None:
    (problem,) = load(tmp_path, {"question": "Which?", "options": options, "correct": "B"})
    assert isinstance(problem, Problem)
    assert (problem.text, problem.answer_kind) == (f"Which?\n{shown}", "choice")


@pytest.mark.parametrize(
    ("options", "golds", "said"),
    [
        (None, ("A",), "a list of options, found NoneType"),
        ("A or B", ("A",), "a list of options, found str"),
        (["1", ""], ("A",), "a list of options"),
        (["1"], ("A",), "1 options, expected 2 to 10"),
        (["1"] * 11, ("A",), "11 options"),
        (["1", "2"], ("1",), "gold answer is '1', expected one of the letters AB"),
        (["1", "2"], ("C",), "letters AB"),
        (["red", "blue"], ("blue",), "letters AB"),
    ],
)
def test_a_row_whose_answer_is_no_letter_of_its_options_is_bad(
    options: Any, golds: tuple[str, ...], said: str
) -> None:
    found = lettered(options, golds)
    assert isinstance(found, Unreadable)
    assert said in found.why


def test_a_bad_row_names_the_column_and_costs_nothing_else(tmp_path: Path) -> None:
    good = {"question": "Which?", "options": ["1", "2"], "correct": "B"}
    bad, problem = load(tmp_path, {**good, "correct": 1}, good)
    assert isinstance(problem, Problem)
    assert isinstance(bad, Quarantined)
    assert (bad.row, bad.field) == (1, "options")


@pytest.mark.skipif(not AQUA.is_file(), reason="STEPMINT_DATA is not there")
def test_every_problem_of_aqua_is_read_and_graded_by_its_letter() -> None:
    found = list(load_problems(problems_config(source="jsonl", path=str(AQUA), fields=FIELDS)))
    problems = [item for item in found if isinstance(item, Problem)]
    assert len(problems) == 254
    for problem in problems:
        assert [line[:2] for line in problem.text.splitlines()[-5:]] == ["A)", "B)", "C)", "D)", "E)"]
        other = "ABCDE"[("ABCDE".index(str(problem.answer)) + 1) % 5]
        assert outcome_of(problem, f"So it is this.\n\\boxed{{{problem.answer}}}") == "correct"
        assert outcome_of(problem, f"So it is this.\nThe answer is ({other}).") == "incorrect"
