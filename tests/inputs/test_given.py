"""Solutions that come with the problem rows: whose they are, which rows are bad, and what is said of them."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.formats import Found
from pipeline.inputs.given import check_given, reading_of
from pipeline.inputs.rows import Unreadable
from pipeline.inputs.solutions import solution_of
from schemas.config import RunConfig, load_config
from schemas.errors import UserError
from schemas.records import Problem, Quarantined
from tests.inputs.given_rows import PRMBENCH, SHEPHERD, Row, candidates, config, read


def test_a_solution_never_becomes_its_own_gold_answer(tmp_path: Path) -> None:
    boxed = {"problem": "Q", "solution": "so it is \\boxed{7}"}
    assert [one.answer for one in read(tmp_path, [boxed]) if isinstance(one, Problem)] == [None]
    [problem, _] = read(tmp_path, [{**boxed, "answer": "5"}])
    assert isinstance(problem, Problem)
    assert problem.answer == "5"
    # The mapping says that `solution` is the reference: then it is no solution to label.
    found = read(tmp_path, [{**boxed, "response": "r"}], mapping="math")
    assert [one.answer for one in found if isinstance(one, Problem)] == ["7"]
    assert [one.solution.text for one in candidates(found)] == ["r"]


def test_rows_about_one_problem_are_one_problem(tmp_path: Path) -> None:
    rows = [
        {"problem": "Q", "answer": "1", "solution": "a"},
        {"problem": "R", "answer": "1", "solution": "a"},
        {"problem": "Q", "answer": "1", "solution": "b"},
        {"problem": "Q", "solution": "c"},  # says no answer: it joins the problem of its text
        {"problem": "Q", "answer": "2", "solution": "d"},  # another answer: only one of the two can be right
    ]
    found = read(tmp_path, rows)
    problems = [one for one in found if isinstance(one, Problem)]
    assert [(one.text, one.answer) for one in problems] == [("Q", "1"), ("R", "1"), ("Q", "2")]
    by = Counter(one.solution.problem_id for one in candidates(found))
    assert [by[one.id] for one in problems] == [3, 1, 1]
    # A limit counts problems, and ends before the first row of another.
    assert len(candidates(read(tmp_path, rows, limit=2))) == 4


BAD: list[tuple[Row, str]] = [
    ({"problem": "Q"}, "no steps: expected `steps`"),
    ({"problem": "Q", "steps": ["a", " "]}, "step 1 (from 0) is empty"),
    ({"problem": "Q", "steps": ["a"], "label": 1}, "the first wrong step is 1, expected -1 to 0"),
    ({"problem": "Q", "solution": "a\nb", "labels": [1]}, "1 labels for 2 steps: give the steps as a list"),
    ({"problem": "Q", "steps": ["a"], "labels": ["maybe"]}, "labels: expected true, false, 1, 0"),
    ({**PRMBENCH, "error_steps": [4]}, "error_steps: the wrong steps hold 4, expected 1 to 3"),
    ({**SHEPHERD, "label": "Q Step 1: a +"}, "in place of the tag of step 2"),
    ({"problem": "Q", "responses": [3]}, "responses: element 0 (from 0) is no solution"),
    ({"problem": "Q", "steps": "a\nb"}, "steps: expected a text or a list of texts"),
    ({"problem": "Q", "solution": "\ud800"}, "string"),
    ({"problem": "", "solution": "a"}, "expected the problem's text"),
]


@pytest.mark.parametrize(("row", "why"), BAD)
def test_a_bad_row_costs_one_row(tmp_path: Path, row: Row, why: str) -> None:
    good = {"problem": "good", "solution": "fine"}
    found = read(tmp_path, [row, good])
    [bad] = [one for one in found if isinstance(one, Quarantined)]
    assert why in bad.reason
    assert bad.row == 1
    assert [one.solution.text for one in candidates(found)] == ["fine"]


def test_of_a_list_only_the_bad_solution_is_lost(tmp_path: Path) -> None:
    found = read(tmp_path, [{"problem": "Q", "responses": ["a", "", "b"]}])
    assert [one.solution.text for one in candidates(found)] == ["a", "b"]
    [bad] = [one for one in found if isinstance(one, Quarantined)]
    assert "element 1 (from 0) is no solution" in bad.reason


def test_a_row_without_a_solution_is_a_problem_for_other_proposers(tmp_path: Path) -> None:
    rows = [{"problem": "Q", "solution": "a"}, {"problem": "R"}]
    found = read(tmp_path, rows, beside=True)
    assert [one.text for one in found if isinstance(one, Problem)] == ["Q", "R"]
    assert not [one for one in found if isinstance(one, Quarantined)]


def test_a_column_may_be_named(tmp_path: Path) -> None:
    row = {"problem": "Q", "my_steps": ["a", "b"], "solution": "the reference"}
    [one] = candidates(read(tmp_path, [row], propose={"column": "my_steps"}))
    assert one.solution.step_texts() == ["a", "b"]
    found = read(tmp_path, [{"problem": "Q", "said": ["a", "b"]}], propose={"column": "said"})
    assert [one.solution.text for one in candidates(found)] == ["a", "b"]


def test_what_cannot_be_used_is_said_before_a_run(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"problem": "Q"}\n')
    asked = config(path)
    reading = reading_of(asked)
    assert reading is not None
    with pytest.raises(UserError, match="no usable problem; the first of 1 bad rows: .*no steps"):
        check_given(asked.problems, reading)
    path.write_text('{"problem": "Q", "responses": ["a", "b"]}\n')
    [said] = check_given(asked.problems, reading)
    assert said.endswith("2 given solutions in the first 1 rows")
    with pytest.raises(UserError, match="these problems are generated: name a file with `path`"):
        reading_of(RunConfig.model_validate({"name": "r", "propose": {"kind": "given"}}))


@given(
    st.lists(st.text("ab \n.", min_size=1).filter(lambda text: bool(text.strip())), min_size=1),
    st.sampled_from(["\n", "\n\n", ". "]),
)
def test_steps_of_a_list_stay_whole_and_their_places_give_them_back(steps: list[str], separator: str) -> None:
    solution = solution_of(Found(tuple(steps)), "p", separator)
    assert not isinstance(solution, Unreadable)
    assert solution.step_texts() == steps
    assert [solution.text[step.start : step.end] for step in solution.steps] == steps


def test_a_number_in_a_column_called_result_is_no_verdict(tmp_path: Path) -> None:
    [one] = candidates(read(tmp_path, [{"problem": "Q", "solution": "a", "result": 1}]))
    assert one.solution.outcome == "unknown"


def test_the_ready_run_file_is_given_its_solutions() -> None:
    asked = load_config(Path(__file__).parents[2] / "configs" / "given-processbench.toml")
    assert not asked.asks_policy
    assert asked.policies().keys() == {"judge.policy"}
    assert reading_of(asked) is not None
