"""Answers that once got a wrong verdict: spellings of one answer that were refuted, others that were
confirmed."""

import pytest

from schemas.records import AnswerKind
from verifiers.answers.grade import extract_answer, same_answer


@pytest.mark.parametrize(
    ("gold", "answer", "kind", "allowed"),
    [
        ("12\\!,345", "12345", "expression", {True}),
        ("1234567", "1,234\\,567", "expression", {True}),
        ("1,23,456", "123456", "number", {True, None}),
        ("15", "5!!", "expression", {True, None}),
        ("2 3/4", "2-3/4", "expression", {False, None}),
        ("33\\frac13\\%", "100/3 %", "expression", {True, None}),
        ("f(1)=2", "f(2)=1", "expression", {False, None}),
        ("1:2:3", "1:3:2", "expression", {False, None}),
        ("3:30", "3/30", "expression", {False, None}),
    ],
)
def test_numbers_and_expressions(gold: str, answer: str, kind: AnswerKind, allowed: set[bool | None]) -> None:
    assert same_answer(gold, answer, kind) in allowed


@pytest.mark.parametrize("answer", ["except (C)", "(C) is wrong", "the answer is not (C)", "C is incorrect"])
def test_a_choice_that_is_denied_is_not_chosen(answer: str) -> None:
    assert same_answer("C", answer, "choice") is None


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("True", "Yes", None),
        ("True", "no", False),
        ("Unknown", "Uncertain", None),
        ("Unknown", "False", False),
        ("No", "no, yes", None),
        ("Yes", "Yes they do not", None),
        ("Monday", "Mon", None),
        ("UK", "United Kingdom", None),
        ("color", "colour", None),
        ("New York", "new-york", None),
        ("café", "cafe", None),
        ("even", "neither", None),
        ("19:30", "7:30 PM", True),
        ("7:30", "7:30 PM", None),
        ("7:05", "7:5", None),
        ("Jan 5", "January 5", True),
        ("2 apples", "3 apples", False),
        ("Tuesday", "Thursday", False),
        ("Tom", "Tim", False),
    ],
)
def test_words_that_may_be_the_same_refute_nothing(gold: str, answer: str, verdict: bool | None) -> None:
    assert same_answer(gold, answer, "text") is verdict


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("(a) $\\boxed{1}$ (b) $\\boxed{2}$", "1, 2"),
        ("\\boxed{42}\nThe student's answer is 41.", "42"),
        ("\\boxed{42}\nA common wrong answer is 41.", "42"),
        ("\\boxed{42}\nSo Tom's answer was 40 too small.", "42"),
        ("Answer:\n\n- 42", "42"),
        ("Answer:\n1. 42", "42"),
        ("Answer:\n\n-42", "-42"),
        ("Answer:\n1.42", "1.42"),
    ],
)
def test_which_answer_is_stated(solution: str, answer: str) -> None:
    assert extract_answer(solution) == answer
