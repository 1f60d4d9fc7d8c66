"""Which columns hold the problem and its gold answer: found by common names, named, or refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.problems import check_problems, load_problems
from schemas.config import problems_config
from schemas.errors import UserError
from schemas.records import Problem, Quarantined

Rows = list[dict[str, Any]]
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "P"}]


def load(folder: Path, rows: Rows, **changes: Any) -> tuple[list[Problem | Quarantined], str]:
    """What rows become, and the line that says what was taken."""
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = problems_config(path=str(path), **changes)
    return list(load_problems(config)), "; ".join(check_problems(config))


def pairs(found: list[Problem | Quarantined]) -> list[tuple[str, tuple[str, ...]]]:
    assert not [item for item in found if isinstance(item, Quarantined)]
    return [(item.text, item.golds) for item in found if isinstance(item, Problem)]


@pytest.mark.parametrize(
    ("row", "taken"),
    [
        ({"text": "P", "answer": "1"}, "text from `text`, answer from `answer`"),
        ({"problem": "P", "answer": 1}, "text from `problem`, answer from `answer`"),
        ({"Question": "P", "Final_Answer": "1"}, "text from `Question`, answer from `Final_Answer`"),
        ({"prompt": "P", "target": "1", "n": 3}, "text from `prompt`, answer from `target`"),
        ({"query": "P", "gold": 1}, "text from `query`, answer from `gold`"),
        ({"QUERY": "P", "ground_truth": ["1"]}, "text from `QUERY`, answer from `ground_truth`"),
        ({"problem": "P", "gold_answer": "1"}, "text from `problem`, answer from `gold_answer`"),
        ({"question": "P", "answer": "so\n#### 1"}, "from `question`, answer from `answer` after `####`"),
        ({"problem": "P", "solution": "so $\\boxed{1}$."}, "answer from `solution` in its box"),
        ({"problem": "P", "solution": "so\n#### 1"}, "answer from `solution` after `####`"),
        ({"problem": "P", "solution": "it is one", "answer": "1"}, "answer from `answer`"),
        ({"problem": "P", "solution": "\\boxed{1}", "answer": "1.0"}, "answer from `answer`"),
        ({"problem": "P", "question": "P", "answer": "1"}, "text from `problem`, answer from `answer`"),
        ({"text": None, "question": "P", "answer": "1"}, "text from `question`, answer from `answer`"),
        ({"question": {"id": 3}, "text": "P", "answer": "1"}, "text from `text`, answer from `answer`"),
        ({"answer": "1", "final_answer": 1, "text": "P"}, "text from `text`, answer from `answer`"),
        ({"prompt": CHAT, "answer": "1"}, "text from `prompt` (the user's message), answer from `answer`"),
    ],
)
def test_common_columns_are_found_and_named(tmp_path: Path, row: dict[str, Any], taken: str) -> None:
    found, said = load(tmp_path, [row])
    assert [text for text, _ in pairs(found)] == ["P"]
    assert [golds[0].removesuffix(".0") for _, golds in pairs(found)] == ["1"]
    assert said.startswith("problems: text from `")
    assert said.endswith(taken)


def test_without_a_gold_column_the_run_says_what_follows(tmp_path: Path) -> None:
    found, said = load(tmp_path, [{"problem": "P", "solution": "no mark", "n": 1}])
    assert pairs(found) == [("P", ())]
    assert "no column with gold answers (problem, solution, n): nothing will be rolled out" in said
    assert 'fields = {answer = "..."}' in said


def test_a_nested_gold_column_is_named(tmp_path: Path) -> None:
    _, said = load(tmp_path, [{"problem": "P", "reward_model": {"style": "rule", "ground_truth": "4"}}])
    assert 'fields = {answer = "reward_model.ground_truth"} under [problems]' in said


BOTH = [{"problem": "a", "question": "b", "answer": 1, "gold": 1}]


@pytest.mark.parametrize(
    ("rows", "changes", "said"),
    [
        (
            [{"foo": "x", "answer": 1}],
            {},
            "no column with the problem's text: expected one of problem, question, prompt, text, query; "
            'it has foo, answer: write fields = {text = "foo"} under [problems]',
        ),
        (
            [{"answer": "5", "foo": "x"}],
            {},
            "[problems], with the column that holds it (`stepmint init` and `label`: --text foo)",
        ),
        # Rows of several files.
        (
            [{"problem": "a"}, {"question": "b"}],
            {},
            "they differ ('a' and no value): write fields",
        ),
        (BOTH, {}, "both 'problem' and 'question' could hold the problem, and they differ ('a' and 'b')"),
        (BOTH, {}, 'write fields = {text = "problem"} or fields = {text = "question"} under [problems]'),
        ([{"Text": "a", "text": "b"}], {}, "both 'Text' and 'text' could hold the problem"),
        ([{"text": "a", "gold": 1, "target": 2}], {}, "both 'gold' and 'target' could hold the gold answer"),
        ([{"text": "a", "gold": [1, 3], "target": 2}], {}, "they differ ('1' or '3' and '2')"),
        ([{"text": "a", "gold": 1}, {"text": "b", "target": 2}], {}, 'write fields = {answer = "gold"} or'),
        ([{"text": "a", "answer": 1, "solution": "\\boxed{2}"}], {}, "'answer' and 'solution' could hold"),
        ([{"text": "a"}], {"fields": {"anwser": "text"}}, "unknown field 'anwser'; known: text, answer,"),
        (
            [{"text": "a"}],
            {"fields": {"answer": "solution"}},
            "no column 'solution', which [problems] fields names for answer; it has text",
        ),
        ([{"text": "a"}], {"mapping": "gsm8k"}, "no column 'question', which mapping = \"gsm8k\" reads"),
        ([{"problem": "a"}], {"mapping": "math"}, "no column 'solution', which mapping = \"math\" reads"),
    ],
)
def test_what_cannot_be_told_is_one_line_with_the_remedy(
    tmp_path: Path, rows: Rows, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, rows, **changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="a.jsonl|fields"):
        check_problems(problems_config(path=str(tmp_path / "a.jsonl"), **changes))


def test_the_remedy_of_a_doubt_is_accepted(tmp_path: Path) -> None:
    for column, text in (("problem", "a"), ("question", "b")):
        found, said = load(tmp_path, BOTH, fields={"text": column})
        assert pairs(found) == [(text, ("1",))]
        assert f"text from `{column}`" in said


@pytest.mark.parametrize(
    ("mapping", "row"),
    [
        ("gsm8k", {"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2", "text": "no", "gold": "no"}),
        ("math", {"problem": "What is 1 + 1?", "solution": "It is $\\boxed{2}$.", "answer": "no"}),
    ],
)
def test_a_mapping_wins_over_common_columns_and_keeps_the_solution(
    tmp_path: Path, mapping: str, row: dict[str, Any]
) -> None:
    (item,), said = load(tmp_path, [row], mapping=mapping)
    assert isinstance(item, Problem)
    column = {"gsm8k": "answer", "math": "solution"}[mapping]
    assert (item.text, item.golds, item.reference) == ("What is 1 + 1?", ("2",), row[column])
    assert item.answer_kind == "number"
    assert f"answer from `{column}`" in said
    renamed = {{"question": "Q", "problem": "Q"}.get(name, name): value for name, value in row.items()}
    (other,), _ = load(tmp_path, [renamed], mapping=mapping, fields={"text": "Q"})
    assert isinstance(other, Problem)
    assert other.id == item.id


def test_named_fields_win_over_a_mapping_and_read_the_same_marks(tmp_path: Path) -> None:
    row = {"question": "Q", "answer": "so\n#### 2", "short": "3", "long": "hence \\boxed{4}"}
    for fields, mapping, gold in [
        ({"answer": "short"}, "gsm8k", "3"),
        ({"answer": "short"}, "plain", "3"),
        ({"answer": "long"}, "plain", "4"),
        ({"reference": "long"}, "gsm8k", "4"),
    ]:
        found, _ = load(tmp_path, [row], fields=fields, mapping=mapping)
        assert pairs(found) == [("Q", (gold,))]


def test_a_solution_without_its_mark_is_set_aside(tmp_path: Path) -> None:
    rows = [{"question": f"Q{i}", "answer": f"so\n#### {i}"} for i in range(3)]
    rows.append({"question": "Q", "answer": "I do not know"})
    found, _ = load(tmp_path, rows)
    assert [item.answer for item in found if isinstance(item, Problem)] == ["0", "1", "2"]
    bad = [(item.row, item.field, item.reason) for item in found if isinstance(item, Quarantined)]
    assert bad == [(4, "answer", "no answer found: expected a solution that ends in `#### answer`")]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "a chat with 2 user messages"),
        ([{"role": "assistant", "content": "a"}], "a chat with 0 user messages"),
        ([{"role": "user", "content": None}], "a chat with 1 user messages, expected one, with a text"),
        (["P"], "expected the problem's text, found list"),
        ("  ", "expected the problem's text, found str"),
        (None, "no value, expected the problem's text; the row has answer, prompt"),
    ],
)
def test_a_cell_that_holds_no_problem_is_set_aside(tmp_path: Path, cell: object, reason: str) -> None:
    rows = [{"prompt": "good", "answer": "1"}, {"prompt": cell, "answer": "1"}]
    found, _ = load(tmp_path, rows)
    (bad,) = [item for item in found if isinstance(item, Quarantined)]
    assert (bad.row, bad.field) == (2, "prompt")
    assert reason in bad.reason


def test_several_accepted_answers_are_kept_in_their_order(tmp_path: Path) -> None:
    rows = [{"text": "a", "answer": ["4", 5, "4", None]}, {"text": "b", "answer": ["4"]}]
    rows += [{"text": "c", "answer": ["four", "vier"]}, {"text": "d", "answer": ["4", "four"]}]
    found, _ = load(tmp_path, rows)
    assert [golds for _, golds in pairs(found)] == [("4", "5"), ("4",), ("four", "vier"), ("4", "four")]
    kinds = [item.answer_kind for item in found if isinstance(item, Problem)]
    assert kinds == ["number", "number", "text", "expression"]


def test_a_nested_column_of_parquet_is_named_with_a_dot(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "P"}], "reward_model": {"ground_truth": "34", "style": "x"}}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    config = problems_config(path=str(tmp_path / "a.parquet"), fields={"answer": "reward_model.ground_truth"})
    assert pairs(list(load_problems(config))) == [("P", ("34",))]
    with pytest.raises(UserError, match=r"no column 'reward_model\.gold'"):
        check_problems(
            problems_config(path=str(tmp_path / "a.parquet"), fields={"answer": "reward_model.gold"})
        )
