"""What a step says it rewrites: refuted where it cannot be the same, silent where more may have led there."""

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.rewriting import rewritings


def verdicts(*steps, problem="A problem."):
    return [checked.verdict for _, checked in rewritings(StepContext(Problem(text=problem), steps))]


@pytest.mark.parametrize(
    "steps",
    [
        [r"So $2k^2 = 9 - \frac{225}{49}$.", r"Which simplifies to $2k^2 = \frac{196}{49}$."],
        [r"$d^2 = \frac{95}{4} \cdot \frac{9}{15}$", r"$d^2 = \frac{19}{4}$"],
        ["We have $c = 216 - (-6)(-3)^2$.", "Simplifying, we have $c = 216 - 54$."],
        [
            r"So $R = PN = (450 - 5n)(500 + 10n)$.",
            "Expanding this equation gives: $R = 225000 + 4000n - 50n^2$",
        ],
        ["This gives $a + (b + 5) + c = 93$, which simplifies to $a + b + c = 98$."],
        [r"\[ (a + b)(a - b) = 7 \]", r"Expanding the left side, we get \[ a^2 + b^2 = 7 \]"],
        ["$x^2 + 5x + 6 = 0$.", "Factoring gives $(x + 2)(x + 4) = 0$."],
        ["We get $2x + 6 = 10$. Subtracting $6$ from both sides gives $2x = 16$."],
        [r"\[ 3x = 12 \implies x = 5 \]"],
        [r"So $\frac{x}{6} + 8 = \frac{x}{3}$.", "If we solve for $x$ in that equation, we get $x = 24$."],
        ["$3x = 12$", "$x = 5$"],
        ["Let's simplify this to $3x = 12$.", "That simplifies to $x = 5$."],
        ["$2x + 1 = 7$ implies that $x = 4$."],
        [r"Combine like terms: \begin{align*} x^2 + 3x^2 + 1 &= (1 + 3)x^2 + 1 \\ &= 5x^2 + 1 \end{align*}"],
        [r"Expanding, we get $S = (x + 1)^2 = x^2 + 1$."],
        [r"So $S = (x + 1)^2 = (x + 1)(x + 1) = x^2 + 1$."],
        [r"$6x \sqrt{7 \cdot 7 \cdot 5}$ simplifies to $6x\sqrt{35}$."],
        [r"$\sqrt{9 + \frac{34}{4}}$ simplifies to $\sqrt{\frac{81}{4}}$."],
    ],
)
def test_refuted(steps):
    assert verdicts(*steps) == ["fails"]


@pytest.mark.parametrize(
    "steps",
    [
        [r"So $2k^2 = 9 - \frac{225}{49}$.", r"Which simplifies to $2k^2 = \frac{216}{49}$."],
        ["We have $c = 216 - (-6)(-3)^2$.", "Simplifying, we have $c = 216 + 54$."],
        ["$R = (450 - 5n)(500 + 10n)$.", "Expanding this gives: $R = 225000 + 2000n - 50n^2$"],
        ["$x^2 + 5x + 6 = 0$.", "Factoring gives $(x + 2)(x + 3) = 0$."],
        ["$x^2 = 4x$, so $x = 4$."],  # a root was lost: no calculation is wrong
        [r"\[ 3x = 10 \implies x = 3.33 \]"],
        [r"$x = \frac{10}{3}$.", r"So $x = 3.33$."],
    ],
)
def test_right_or_rounded(steps):
    assert verdicts(*steps) == []


@pytest.mark.parametrize(
    "steps",
    [
        ["So $m^2 = 4$ or $m^2 = 9$.", "That means $m = 2$ or $m = 3$."],  # one of several
        ["Since $a = 3 + 4$, we can simplify this as $b = 5$."],  # a reason stands between
        ["Let $A = 3 + 4$. For the second triangle, $A = 9$."],  # another one
        [r"\[ x = 1 + 2, \quad x = 4 - 6 \]"],  # a list
        [r"$x = 1 + \sqrt{2}$, $x = 3$"],
        ["We have $x + y = 5$ and $x + y = 6$."],  # two lines that do not meet
        ["$y = 2x + 1$.", "Using the other line, we get $y = 2x + 5$."],
        ["$a + b = 7$.", "Substituting $b = 2$ gives $a = 9$."],
        ["$x + 1 = 5$.", "If $x = 7$, we stop."],
        [r"$7^2 + 1 = 50$.", r"So $50 \equiv 1 \pmod 7$, which simplifies to $x = 1$."],
        ["It is wrong that $2x = 4$, so $x = 3$."],
        ["Is $2x = 4$, so $x = 3$?"],
        ["We distribute the $3$ and get: $a + b = 11$."],
        ["Let's simplify that: $3^4$ divided by $4^4$."],
        ["The $3x^2$ and the $-3x^2$ cancel, which leaves $x^3$."],
        [r"$x = \frac{5 \pm 1}{2}$, so $x = 7$."],
        ["The radius is the same: $r^2 = (h - 2)^2 + k^2 = (h - 4)^2 + k^2$."],
        [r"It is equal to $9a - 1$ divided by $a$, which simplifies to $9 - \frac{1}{a}$."],
        ["If $x - y = 2$, then $x + y = 36$, expanding leads to $x^2 - y^2 = 72$."],
        ["The other is $x^2 + 5x - 6 = 0$.", "Solving $x^2 + 5x + 6 = 0$, we find two roots."],
        ["First, $x^2 = 4$.", "If we simplify $x^2 = 9$, nothing changes."],
        [r"$A = f(3) + 1$. So $A = 5$."],
        [r"$\sqrt{8} x = 4$. Simplifying gives $2\sqrt{2} x = 4$."],
        [r"$2 \cdot 1.57 x = 5$. So $x = 2$."],
    ],
)
def test_what_may_have_led_elsewhere_is_left_alone(steps):
    assert verdicts(*steps) == []


@pytest.mark.parametrize(
    ("problem", "steps"),
    [
        # The link is an equation to solve, or true for the values that the symbols have.
        ("Let $x^2 = 2$.", [r"So $S = (x + 1)^2 = 2x + 3$."]),
        ("Let $a^2 = b^2$ and $ab = 3$.", [r"We get $a = \frac{3}{b} = b$."]),
        ("Let $x + y = 1$.", ["$S = (x + y)^2 + x = 1 + x + y - y$, so $T = x(x + y) = x$."]),
        ("Suppose that $x < 0$.", [r"So $S = \sqrt{x^2} = -x$."]),
        ("Compute it modulo $7$.", ["$S = (x + 1)^2 + 7 = x^2 + 2x + 1$."]),
        ("Work in base $7$.", ["$S = 5 + 4$. So $S = 12$."]),
        ("Let $a * b$ denote the operation $a * b = ab + 1$.", ["$S = 2 * 3$. So $S = 7$."]),
    ],
)
def test_conventions_and_constraints_of_the_problem(problem, steps):
    assert verdicts(*steps, problem=problem) == []


def test_a_definition_binds_no_other_symbol():
    steps = ["The price is $P = 450 - 5n$.", "Expanding, $R = (450 - 5n)(500 + 10n) = 225000 - 50n^2$."]
    assert verdicts(*steps) == ["fails"]
    assert verdicts("We know that $n^2 = 4n$.", *steps) == []
