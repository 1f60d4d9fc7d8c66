"""Solutions are read from everybody's rows; a bad row is named by file, line and remedy."""

import gzip
import json
import re

import pytest

from pipeline.inputs.rows import Unreadable
from pipeline.inputs.solutions import Written, read_row, read_solutions, written
from schemas.errors import UserError

PRM800K = {
    "question": {"problem": "Q", "ground_truth_answer": "1"},
    "label": {
        "steps": [
            {"completions": [{"text": "a"}, {"text": "b"}], "human_completion": None, "chosen_completion": 1},
            {"completions": None, "human_completion": {"text": "c"}, "chosen_completion": None},
            {"completions": [{"text": "d"}], "human_completion": None, "chosen_completion": None},
        ]
    },
}


ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q"}]
SHARED = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "a\nb"}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": "p-1", "problem": "Q", "steps": ["a", "b"], "label": -1}, Written("p-1", "Q", ("a", "b"))),
        ({"question": "Q", "answer": "a\nb\n#### 3"}, Written("1", "Q", ("a", "b\n#### 3"))),
        (PRM800K, Written("1", "Q", ("b", "c", "d"))),
        ({"instruction": "Q", "responses": ["a"], "next_response": "b"}, Written("1", "Q", ("a", "b"), 1)),
        ({"steps": ["a"]}, Written("1", " ", ("a",))),
        ({"problem": "Q", "solution": "a"}, Written("1", "Q", ("a",))),
        ({"messages": [*ASKED, {"role": "assistant", "content": "a"}]}, Written("1", "Q", ("a",))),
        ({"conversations": json.dumps(SHARED)}, Written("1", "Q", ("a", "b"))),
        # The reference solution that NuminaMath's rows have, too, is the same text.
        ({"problem": "Q", "solution": "a", "messages": ASKED}, Written("1", "Q", ("a",))),
    ],
)
def test_formats(tmp_path, row, expected):
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n\n")
    assert list(read_solutions(path)) == [expected]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no row"),
        ("{}", "rows.jsonl:1: no steps: expected `steps`"),
        ('{"steps": ["a"]}\n[1]', "rows.jsonl:2: a row is an object, not list"),
        ("{", "rows.jsonl:1: not valid JSON"),
        ("[" * 100_000, "rows.jsonl: neither JSON lines nor a JSON list"),
        ('{"id": ' + "1" * 5000 + "}", "rows.jsonl:1: not valid JSON: an integer of 5,000 digits"),
        ('{"problem": "Q", "steps": [1]}', "rows.jsonl:1: steps: element 0 (from 0) is no solution"),
    ],
)
def test_bad_files(tmp_path, text, said):
    path = tmp_path / "rows.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)):
        list(read_solutions(path))


def test_labels_that_cannot_be_read_keep_no_steps_from_being_verified(tmp_path):
    row = {"modified_question": "Q", "modified_process": ["a", "b"], "error_steps": [9]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert list(read_solutions(tmp_path / "rows.jsonl")) == [Written("1", "Q", ("a", "b"))]


@pytest.mark.parametrize("name", ["", "talk"])
def test_a_chat_with_no_one_question_and_answer_is_no_solution(name: str) -> None:
    answer = {"role": "assistant", "content": "a"}
    for chat in (ASKED, [*ASKED, answer, ASKED[1], answer], [*ASKED, {**answer, "content": " "}]):
        found = read_row({name or "messages": chat}, name).solutions
        assert isinstance(found, Unreadable)
        assert "expected a chat of one question and one answer, found" in found.why
    named = read_row({"talk": [*ASKED, answer], "labels": [0], "is_correct": False}, "talk")
    assert (named.problem["problem"], [one.text for one in named.solutions]) == ("Q", ["a"])
    assert (named.solutions[0].outcome, named.solutions[0].marks) == ("incorrect", {"labels": [0]})


def test_not_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as text"):
        list(read_solutions(path))
    with pytest.raises(UserError, match="no such file"):
        list(read_solutions(tmp_path / "missing"))


def test_lists_and_tables(tmp_path):
    rows = [{"id": "1", "problem": "Q", "solution": "a"}, {"id": "2", "problem": "Q", "solution": "a\nb"}]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(rows, indent=1), encoding="utf-8")
    (tmp_path / "a.csv").write_text('\ufeffid,problem,solution\n1,Q,a\n2,Q,"a\nb"\n', encoding="utf-8")
    for name in ("a.json", "a.csv"):
        assert [written.steps for written in read_solutions(tmp_path / name)] == [("a",), ("a", "b")]


def test_what_a_model_thought_is_no_step() -> None:
    text = "<think>2 + 3 = 6\n</think>\n2 + 3 = 5\nSo 5."
    assert next(written({"solution": text}, "here", "1")).steps == ("2 + 3 = 5", "So 5.")
    assert next(written({"solution": text.replace("</think>", "")}, "here", "1")).steps == ()
