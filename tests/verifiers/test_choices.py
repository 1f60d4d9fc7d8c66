"""Choices and answers in words: what names no choice, or says more than can be compared, decides nothing."""

import pytest

from verifiers.answer import grade

SAME, OTHER, DOUBT = {True}, {False}, {None}
NOT_OTHER, NOT_SAME = SAME | DOUBT, OTHER | DOUBT


@pytest.mark.parametrize(
    ("gold", "answer", "kind", "allowed"),
    [
        ("C", "(C)", "choice", SAME),
        ("C", "C)", "choice", SAME),
        ("C", "\uff08C\uff09", "choice", SAME),
        ("C", "C.", "choice", SAME),
        ("C", "C: 12", "choice", SAME),
        ("C", "C) 12", "choice", SAME),
        ("C", r"\text{C}", "choice", SAME),
        ("C", r"\textbf{(C)}", "choice", SAME),
        ("C", r"\textbf{(C) }12", "choice", SAME),
        ("C", "D. 12", "choice", OTHER),
        ("C", "The answer is C", "choice", SAME),
        ("C", "Option (C)", "choice", SAME),
        ("C", "**C**", "choice", SAME),
        ("C", "c", "choice", SAME),
        ("C", "B or C", "choice", NOT_SAME),
        ("C", "A, C", "choice", NOT_SAME),
        ("A", "A dog", "choice", DOUBT),
        ("B", "twelve apples", "choice", DOUBT),
        ("C", "C because x", "choice", SAME),
        ("C", "none", "choice", DOUBT),
        ("(C)", "C", "choice", SAME),
        ("C. 12", "C", "choice", SAME),
        ("C", "C - 12 apples", "choice", SAME),
        ("C", "choice C: 12", "choice", SAME),
        ("C", "I think C", "choice", NOT_OTHER),
        ("C", "$C$", "choice", SAME),
        ("C", r"\boxed{C}", "choice", SAME),
        ("E", "E", "choice", SAME),
        ("A", "Answer: A", "choice", SAME),
        ("A", "a) 5", "choice", SAME),
        ("A", "all of them", "choice", DOUBT),
        ("D", "Dogs", "choice", DOUBT),
        ("B", "Both", "choice", DOUBT),
        ("C", "C. A and B", "choice", NOT_OTHER),
        ("B", "[B]", "choice", SAME),
        ("B", "B\\", "choice", NOT_OTHER),
        ("B", "Option B is correct", "choice", SAME),
        ("C", "12 (C)", "choice", NOT_OTHER),
        ("Yes", "yes", "text", SAME),
        ("Yes", "No", "text", OTHER),
        ("Yes", "No, it is not", "text", OTHER),
        ("No", "No, it is not", "text", SAME),
        ("No", "Yes.", "text", OTHER),
        ("Yes", "It depends", "text", DOUBT),
        ("Yes", "12", "text", DOUBT),
        ("True", "False", "text", OTHER),
        ("No", "No idea", "text", DOUBT),
        ("Paris", "London", "text", OTHER),
        ("Paris", "the city of Paris", "text", NOT_OTHER),
        ("Paris", "I do not know", "text", DOUBT),
        ("Yes", "Yes - it is", "text", SAME),
        ("No", "Not sure", "text", DOUBT),
        ("Yes", "**Yes**", "text", SAME),
        ("Yes", r"\text{Yes}", "text", SAME),
        ("Unknown", "True", "text", OTHER),
        ("True", "Unknown", "text", NOT_SAME),
        ("Monday", "monday.", "text", SAME),
        ("even", "odd", "text", OTHER),
        (r"\text{Yes}", "No", "expression", OTHER),
        (r"\text{odd}", "even", "expression", OTHER),
        (r"\text{(C)}", "C", "expression", SAME),
        (r"\text{C}", "(C)", "expression", SAME),
        (r"\text{(C)}", r"\text{(D)}", "expression", NOT_SAME),
        ("A, B", "B, A", "text", NOT_OTHER),
    ],
)
def test_choices_and_words(gold, answer, kind, allowed):
    assert grade(gold, answer, kind) in allowed
    assert {grade(gold, answer, kind), grade(answer, gold, kind)} != {True, False}
