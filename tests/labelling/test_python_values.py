"""Whatever a program holds is read as a problem or a solution, or refused with its place."""

from typing import Any

import pytest

from pipeline.labelling.python_values import read_given, read_written
from schemas.errors import UserError
from schemas.records import GoldLabels, LabelledSolution, PolicyIdentity, Problem, Solution, Step, StepLabel

TEXT = "2 + 3 = 5.\nSo it is 5.\n#### 5"
PROBLEM = Problem(text="What is 2 + 3?", answer="5", answer_kind="number")
SOLUTION = Solution(
    problem_id=PROBLEM.id,
    text=TEXT,
    steps=(
        Step(text="2 + 3 = 5.", start=0, end=10),
        Step(text="So it is 5.\n#### 5", start=11, end=len(TEXT)),
    ),
    answer="5",
    policy=PolicyIdentity(kind="k", model="m"),
)


@pytest.mark.parametrize(
    ("item", "answer", "kind"),
    [
        ("What is 2 + 3?", None, "expression"),
        (PROBLEM, "5", "number"),
        ({"problem": "What is 2 + 3?"}, None, "expression"),
        ({"question": "What is 2 + 3?", "gold": 5}, "5", "number"),
        ({"text": "What is 2 + 3?", "answer": "five"}, "five", "text"),
        ({"text": "What is 2 + 3?", "answer": "5", "answer_kind": "choice"}, "5", "choice"),
        ({"question": "What is 2 + 3?", "answer": "2 + 3 = 5.\n#### 5", "level": 3}, "5", "number"),
        ({"problem": PROBLEM}, "5", "number"),
    ],
)
def test_problems(item: Any, answer: str | None, kind: str) -> None:
    [(problem, candidate, _)] = read_given([item])
    assert (problem.text, problem.answer, problem.answer_kind) == ("What is 2 + 3?", answer, kind)
    assert candidate is None


@pytest.mark.parametrize(
    "item",
    [
        {"problem": "What is 2 + 3?", "answer": "5", "solution": TEXT},
        {"problem": "What is 2 + 3?", "answer": "5", "steps": ["2 + 3 = 5.", "So it is 5.\n#### 5"]},
        {"problem": PROBLEM, "solution": SOLUTION},
        (PROBLEM, SOLUTION),
        (PROBLEM, TEXT),
        ({"question": "What is 2 + 3?", "answer": 5}, ["2 + 3 = 5.", "So it is 5.\n#### 5"]),
        LabelledSolution(problem=PROBLEM, solution=SOLUTION, labels=(StepLabel(), StepLabel())),
    ],
)
def test_the_steps_of_solutions_are_where_they_say(item: Any) -> None:
    [(problem, candidate, _)] = read_given([item])
    assert candidate is not None
    solution = candidate.solution
    assert (solution.answer, solution.problem_id) == ("5", problem.id)
    assert solution.step_texts() == SOLUTION.step_texts()
    assert [solution.text[step.start : step.end] for step in solution.steps] == solution.step_texts()


def test_a_text_is_split_as_the_prompt_says() -> None:
    [(_, split, _), (_, joined, _)] = read_given([("p", "a\n\nb\nc"), ("p", ["a", "b\nc"])], "\n\n")
    assert split is not None
    assert split == joined


def test_a_row_may_hold_several_solutions_and_their_labels() -> None:
    rows = [{"problem": "p", "steps": ["a", "b"], "label": 1}, {"problem": "q", "responses": ["a", "b"]}]
    found = list(read_given(rows))
    assert [(one.problem.text, one.place) for one in found] == [("p", 0), ("q", 1), ("q", 1)]
    assert found[0].candidate is not None
    assert found[0].candidate.gold == GoldLabels(labels=(1, 0), first_error=1, by="processbench")


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("What?", "problems: expected a list, found one str: put it in brackets"),
        ({"problem": "p"}, "found one dict"),
        (["p", 3], r"problems\[1\]: expected a text, a dict .*; found int '3'"),
        ([""], r"problems\[0\]: expected a text"),
        ([{"probelm": "p"}], r"no problem: expected one of problem, .*; found probelm"),
        ([{"problem": "p", "answer": True}], r"problems\[0\]: answer: .*truth value"),
        ([{"problem": "p", "answer_kind": "novel"}], r"problems\[0\]: answer_kind: "),
        ([{"problem": 7}], r"problems\[0\]: text: "),
        ([SOLUTION], r"give the pair \(problem, solution\)"),
        ([("another problem", SOLUTION)], r"the solution is one of problem \w+, not \w+"),
        ([("p", [])], "solution: expected a text, a list of texts, or a Solution; found list"),
        ([("p", ["a", " "])], "solution: step 1 .from 0. is empty"),
        ([("p", "\n")], "solution: it has no step"),
        (
            [{"problem": "p", "steps": ["a"], "label": 1}],
            r"\[0\]: solution: the first wrong step is 1",
        ),
        ([("p", 3)], "solution: expected a text"),
    ],
)
def test_what_cannot_be_read_is_named(items: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        list(read_given(items))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (TEXT, ("0", " ", 2)),
        (SOLUTION, (SOLUTION.id, " ", 2)),
        ({"problem": "p", "steps": ["a", "b", "c"], "id": "x"}, ("x", "p", 3)),
        ({"question": "p", "answer": "a\nb"}, ("0", "p", 2)),
        (("p", TEXT), (None, "p", 2)),
        ((PROBLEM, SOLUTION), (SOLUTION.id, PROBLEM.text, 2)),
    ],
)
def test_solutions_to_verify(item: Any, expected: tuple[str | None, str, int]) -> None:
    [found] = read_written([item])
    assert (expected[0] or found.id, found.problem, len(found.steps)) == (found.id, *expected[1:])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"problem": "p"}, r"solutions\[0\]: no steps: expected `steps`"),
        (PROBLEM, r"solutions\[0\]: a problem without a solution"),
        (7, r"expected a text"),
    ],
)
def test_what_cannot_be_verified_is_named(item: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        list(read_written([item]))
