"""Equations between matrices: a table of steps and verdicts, a third of them adversarial."""

import time

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.algebra import Algebra
from verifiers.calculation.matrices import check_matrices


def pm(*rows: str, kind: str = "pmatrix") -> str:
    return rf"\begin{{{kind}}} " + r" \\ ".join(rows) + rf" \end{{{kind}}}"


def verdicts(step: str, *before: str, problem: str = "") -> list[str]:
    context = StepContext(Problem(text=problem or "p"), (*before, step))
    return [checked.verdict for _, checked in check_matrices(context)]


A, B = pm("1 & 2", "3 & 4"), pm("0 & 1", "1 & 0")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (f"${A} + {B} = {pm('1 & 3', '4 & 4')}$.", ["holds"]),
        (f"${A} + {B} = {pm('1 & 3', '4 & 5')}$.", ["fails"]),
        (f"${A} {B} = {pm('2 & 1', '4 & 3')}$", ["holds"]),
        # The product in the other order.
        (f"${A} {B} = {pm('3 & 4', '1 & 2')}$", ["fails"]),
        (rf"\[2 {A} - \frac{{1}}{{2}} {B} = {pm('2 & 7/2', '11/2 & 8')}\]", ["holds"]),
        (rf"$\det {A} = -2$ and $\det\left({B}\right) = 1$", ["holds", "fails"]),
        (rf"$\left| {pm('1 & 2', '3 & 4')} \right| = 1 \cdot 4 - 2 \cdot 3 = -2$", ["holds"]),
        (f"${pm('1 & 2', '3 & 4', kind='vmatrix')} = -2$", ["holds"]),
        (rf"$\left({A}\right)^{{-1}} = {pm('-2 & 1', '3/2 & -1/2')}$", ["holds"]),
        (rf"${A}^{{-1}} = {pm('-2 & 1', '3/2 & 1/2')}$", ["fails"]),
        (rf"${A}^T = {pm('1 & 3', '2 & 4')}$, ${A}^\top = {A}$", ["holds", "fails"]),
        (rf"${pm('1', '2', '3')} \cdot {pm('4', '5', '6')} = 32$", ["holds"]),
        (rf"${pm('1', '2', '3')} \cdot {pm('4', '5', '6')} = 31$", ["fails"]),
        (rf"${pm('1', '2', '3')} \times {pm('4', '5', '6')} = {pm('-3', '6', '-3')}$", ["holds"]),
        (rf"${pm('1', '2', '3')} \times {pm('4', '5', '6')} = {pm('3', '-6', '3')}$", ["fails"]),
        (rf"$\left\| {pm('3', '4')} \right\| = \sqrt{{3^2 + 4^2}} = 5$", ["holds"]),
        (f"${pm('x & 1', '0 & x')}^2 = {pm('x^2 & 2x', '0 & x^2')}$", ["holds"]),
        # With symbols an entry that differs may be what is solved.
        (f"${pm('a', 'b')} = {pm('2', '1')}$", ["abstains"]),
        (f"${A} {pm('x', 'y')} = {pm('1', '0')}$", ["abstains"]),
        # ... but not where it can have no solution.
        (f"${pm('1 & a', '0 & 1')} {pm('1', '4')} = {pm('1 + 4a', '5')}$", ["fails"]),
        (rf"${pm('0.5', '0.333')} = \frac{{1}}{{6}} {pm('3', '2')}$", ["holds"]),
        (rf"${pm('0.5', '0.4')} = \frac{{1}}{{6}} {pm('3', '2')}$", ["abstains"]),
        # Elimination written with equals signs, another shape, an unknown matrix, a rejected equation.
        (f"${A} = {pm('1 & 2', '0 & -2')}$", ["abstains"]),
        (f"${A} {pm('1', '1')} = {pm('3 & 7')}$", ["abstains"]),
        (f"$M {A} = {A}$", ["abstains"]),
        (f"${A} {B} = {pm('3 & 4', '1 & 2')}$ is not true.", ["abstains"]),
        (f"Suppose ${A} {B} = {A}$.", ["abstains"]),
        (rf"$\mathbf{{u}} {A} = {A}$", ["abstains"]),
        (f"${pm('1', '2')} {pm('1', '2')} = 5$", ["abstains"]),
        # Powers and factorials are computed as all else is, with `\\times` between numbers a product.
        (rf"$2^{{2 \times 3}} {pm('1', '2')} = {pm('64', '128')}$", ["holds"]),
        (rf"${A}^{{1 \times 2}} = {pm('7 & 10', '15 & 22')}$", ["holds"]),
        (rf"$(2 \times 3)! {pm('1', '2')} = {pm('720', '1440')}$", ["holds"]),
        (rf"$2^{{{pm('1 & 2', '3 & 9', kind='vmatrix')}}} = 8$", ["holds"]),
        (rf"$2^{{{pm('1 & 2', '3 & 9', kind='vmatrix')}}} = 9$", ["fails"]),
        (f"$e^{{{A}}} = {A}$", ["abstains"]),
        (f"${A}! = {A}!$", ["abstains"]),
        # A half of the determinant, or one over twice of it.
        (f"$1/2 {pm('1 & 2', '3 & 9', kind='vmatrix')} = 3/2$", ["abstains"]),
        (rf"$\frac{{1}}{{2(3)}} {pm('6', '12')} = {pm('1', '2')}$", ["holds"]),
        # Not equations.
        (rf"${A} \to {B}$", []),
        (rf"${A} \neq {B}$", []),
        ("no matrix = 3", []),
        (rf"$\begin{{pmatrix}} 1 & 2 \\ 3 \end{{pmatrix}} = {A}$", []),
        (rf"$\begin{{pmatrix}} 1 & 2 = {A}$", []),
    ],
)
def test_equations_between_matrices(step: str, expected: list[str]) -> None:
    assert verdicts(step) == expected


def test_a_chain_over_lines_is_read_link_by_link() -> None:
    first = f"{A} {pm('1', '1')} &= {pm('1 + 2', '3 + 4')}"
    step = rf"\begin{{align*}} {first} \\ &= {pm('3', '7')} \end{{align*}}"
    assert verdicts(step) == ["holds", "holds"]
    assert verdicts(step.replace(pm("3", "7"), pm("3", "8"))) == ["holds", "fails"]


def test_a_matrix_may_be_called_by_a_letter_while_it_keeps_its_meaning() -> None:
    let = rf"Let $\mathbf{{A}} = {A}$."
    square = pm("7 & 10", "15 & 22")
    assert verdicts(rf"$\mathbf{{A}}^2 = {square}$", let) == ["holds"]
    assert verdicts(rf"$\mathbf{{A}}^2 = {A}$", problem=let) == ["fails"]
    assert verdicts(rf"$\mathbf{{A}}^2 = {A}$", let, rf"Now let $\mathbf{{A}} = {B}$.") == ["abstains"]


def test_the_algebra_verifier_speaks_for_matrices() -> None:
    assert Algebra().check(StepContext(Problem(text="p"), (f"${A} {B} = {A}$",))).verdict == "fails"


@pytest.mark.parametrize(
    "step",
    [
        r"$\begin{pmatrix}" * 400,
        rf"${A}^{{999999999}} = {A}$",
        rf"${pm('a & b', 'c & d')}^{{3}} {pm('a & b', 'c & d')}^{{3}} {pm('a & b', 'c & d')}^{{3}} = {A}$",
        "$" + A * 60 + f" = {A}$",
        "$" + f"{pm(*['9^9^9 & 1'] * 2)} " * 9 + f"= {A}$",
        "$" + pm(*[" & ".join("abcdef")] * 6) + f"^{{-1}} = {A}$",
        "=" * 4000 + A,
        r"\\" * 2000 + A + " = ",
        rf"$Z_m0 = {A}$",
    ],
)
def test_hostile_matrices_are_quick_and_refute_nothing(step: str) -> None:
    start = time.process_time()
    assert "fails" not in verdicts(step)
    assert time.process_time() - start < 2
