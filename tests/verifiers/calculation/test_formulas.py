"""Formulas between their delimiters: chains, products of letters, and what is not understood."""

import pytest

from verifiers.calculation.formulas import formulas
from verifiers.claims.parsed import ParsedText
from verifiers.expressions.tree import names


def read(text):
    return formulas(ParsedText(text))


def sides(text):
    return [[side.text for side in formula.sides] for formula in read(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"So $x + 1 = 3$.", [["x+1", "3"]]),
        (r"\(a = b = c\) and \[ d \]", [["a", "b", "c"], ["d"]]),
        (r"\[ 2x = 4 \Rightarrow x = 2 \]", [["2x", "4"], ["x", "2"]]),
        (r"\begin{align*} y &= 2 + 3 \\ &= 5 \end{align*}", [["y", "2+3", "5"]]),
        (r"\[ x = 1, \quad y = 2 \]", [["x", "1"], ["y", "2"]]),
        (r"$x = \boxed{\frac{1}{2}}$.", [["x", r"\frac{1}{2}"]]),
        ("It costs 5.", []),
        (r"$x = 1 and then \(y = 2\)", []),  # the delimiters do not pair
        (r"\$5 and \$6 are $x$", [["x"]]),
    ],
)
def test_statements(text, expected):
    assert sides(text) == expected


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("$4xy$", "xy"),
        ("$ab^2cd + 2a$", "abcd"),
        (r"$\sqrt{x} + \log_2 8$", "x"),
        (r"$n(n + 1)$", "n"),
    ],
)
def test_letters_side_by_side_are_products(text, symbols):
    (formula,) = read(text)
    assert formula.sides[0].tree is not None
    assert names(formula.sides[0].tree) == set(symbols)


@pytest.mark.parametrize(
    "text",
    [
        "$f(x)$",
        "$P(A)$",
        "$x(2)$",  # a value of a function of time, or a product
        "$AB + 1$",
        "$5 cm$",
        r"$5 \text{ apples}$",
        r"$\mathbf{v} + 1$",
        r"$3 \pm 1$",
        r"$30^\circ$",
        "$17 mod 5$",
        r"$x'$",
        "$101_2$",
        r"$0.\overline{3}$",
        r"$\begin{pmatrix} 1 \\ 2 \end{pmatrix}$",
        "$e^x$",
        "$2 + 3i$",
        "$10%$",
        r"$2\frac{1}{2}x^{y}'$",
    ],
)
def test_what_may_mean_something_else_is_not_read(text):
    assert all(side.tree is None for formula in read(text) for side in formula.sides)


def test_a_text_with_too_many_formulas_is_left_alone():
    assert not read("$x = 1$ " * 70)
    assert len(read("$x = 1$ " * 50)) == 50


@pytest.mark.parametrize(
    "text", [r"\[" * 3000, "$" * 5001, r"\begin{align}" * 500, "$" + "(" * 4000 + "$", r"$\frac" * 900]
)
def test_hostile_delimiters(text):
    assert all(side.tree is None for formula in read(text) for side in formula.sides)
