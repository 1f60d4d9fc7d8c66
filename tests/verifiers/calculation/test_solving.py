"""Equations solved along a solution: what follows holds, what does not fails, the rest is silent."""

from fractions import Fraction

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.solving import check_solving, polynomial
from verifiers.expressions.parser import parse

PROBLEM = Problem(text="A problem.")


def verdicts(*steps):
    return [checked.verdict for checked in check_solving(StepContext(PROBLEM, steps)).values()]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["2x + 1 = 7, so x = 3."], ["holds"]),
        (["2x + 1 = 7, so x = 4."], ["fails"]),
        (["We have 2x + 1 = 7.", "Subtracting 1 gives 2x = 6."], ["holds"]),
        (["We have 2x + 1 = 7.", "Subtracting 1 gives 2x = 8."], ["fails"]),
        (["2x = 8.", "So x = 4."], ["holds"]),
        (["x^2 = 9.", "So x = 3."], ["abstains"]),
        (["x^2 = 9.", "So x = 4."], ["fails"]),
        (["x^2 - 9 = 0.", "So 2x^2 = 18."], ["holds"]),
        (["3p/2 = 6, therefore p = 4"], ["holds"]),
        ([r"\[ \frac{18a}{11} = 162 \]", r"Hence \(a = 99\)."], ["holds"]),
    ],
)
def test_a_chain_of_equations(steps, expected):
    assert verdicts(*steps) == expected


@pytest.mark.parametrize(
    "steps",
    [
        ["2x + 1 = 7.", "x = 4."],
        ["2x + 1 = 7.", "If x = 4 then we are done, so x = 4."],
        ["2x + 1 = 7.", "Let x = 4, so x = 4."],
        ["f(2) = 3.", "So f(3) = 5."],
        ["So x = 3.", "So x = 4."],
        ["For m = 3 we get 4n = 12.", "For m = 4 we get 4n = 28, so n = 7."],
        ["2x + 1 = y.", "So x = 4."],
        ["Solving 3x = 6, we find x = 2.", "Solving 2x - 4 = 8, we get x = 6."],
        ["2x ≈ 7.", "So x = 4."],
    ],
)
def test_another_scope_is_never_refuted(steps):
    assert "fails" not in verdicts(*steps)


@pytest.mark.parametrize(
    ("text", "coefficients"),
    [
        ("2x + 1", [1, 2]),
        ("(x + 1)^2 - x^2", [1, 2]),
        ("x(x - 1)/2", [0, Fraction(-1, 2), Fraction(1, 2)]),
        ("x^5", None),
        ("1/x", None),
        ("sqrt(x)", None),
        ("x + y", None),
        ("9^9^9 * x", None),
        ("sqrt(4) * x", [0, 2]),
    ],
)
def test_polynomials(text, coefficients):
    assert polynomial(parse(text), "x") == coefficients
