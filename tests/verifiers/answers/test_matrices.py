"""Answers that are expressions of matrices: what they come to, and what is no matrix."""

import pytest

from verifiers.answers.grade import grade


def pm(*rows: str, kind: str = "pmatrix") -> str:
    return rf"\begin{{{kind}}} " + r" \\ ".join(rows) + rf" \end{{{kind}}}"


A = pm("1 & 2", "3 & 4")


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        (pm("2", "4"), f"2{pm('1', '2')}", True),
        (pm("2", "4"), f"{pm('1', '2')} + {pm('1', '2')}", True),
        (pm("2", "4"), f"{pm('1', '2')} - {pm('1', '2')}", False),
        (pm("7 & 10", "15 & 22"), f"{A} {A}", True),
        (pm("7 & 10", "15 & 22"), f"{A}^2", True),
        (pm("7 & 10", "15 & 22"), rf"{A} \cdot {A}", True),
        (pm("7 & 10", "15 & 23"), f"{A}^{{2}}", False),
        (pm("1 & 3", "2 & 4"), f"{A}^T", True),
        (pm("1 & 3", "2 & 4"), rf"{A}^{{\top}}", True),
        (pm("-2 & 1", "3/2 & -1/2"), f"{A}^{{-1}}", True),
        (pm("-2 & 1", "3/2 & 1/2"), f"{A}^{{-1}}", False),
        (pm("1/2", "1"), f"{pm('1', '2')}/2", True),
        (pm("x", "2x"), f"x {pm('1', '2')}", True),
        (f"M{pm('1', '0')}", f"M{pm('1', '0', kind='bmatrix')}", True),
        ("-2", f"{pm('1 & 2', '3 & 4', kind='vmatrix')}", True),
        ("-2", rf"\left|{pm('1 & 2', '3 & 4', kind='matrix')}\right|", True),
        (A, r"\left(\begin{array}{cc} 1 & 2 \\[2mm] 3 & 4 \end{array}\right)", True),
        (A, r"\begin{array}{cc} 1 & 2 \\ \hline 3 & 4 \end{array}", True),
        (pm("1", "2"), f"1/2 {pm('2', '4')}", True),
        (pm("1", "2"), f"-1/2 {pm('2', '4')}", False),
        ("3/2", f"1/2 {pm('1 & 2', '3 & 9', kind='vmatrix')}", True),
        (pm("-3", "6", "-3"), rf"{pm('1', '2', '3')} \times {pm('4', '5', '6')}", True),
        ("32", rf"{pm('1', '2', '3')} \times {pm('4', '5', '6')}", False),
        ("32", rf"{pm('1', '2', '3')} \cdot {pm('4', '5', '6')}", True),
        # What stands in a power or before a factorial is computed, too; of a matrix there is none.
        ("8", f"2^{{{pm('1 & 2', '3 & 9', kind='vmatrix')}}}", True),
        (f"2^{{{pm('2', kind='vmatrix')}}}", f"2^{{{pm('3', kind='vmatrix')}}}", False),
        (f"{pm('2', kind='vmatrix')}!", f"{pm('3', kind='vmatrix')}!", False),
        (f"e^{{{A}}}", f"e^{{{pm('1 & 2', '3 & 5')}}}", None),
        (rf"{A}\%", rf"{pm('1 & 2', '3 & 5')}\%", None),
        (pm("3", "6"), f"7//2 {pm('1', '2')}", None),
        # Shapes that do not fit, rows of unlike length, words, symbols that may pass for ours.
        (A, f"{A} + {pm('1', '2')}", None),
        (A, pm("1 & 2", "3"), None),
        (A, f"and {A}", None),
        (A, f"Z_m0 {A}", None),
        (A, f"{A}^{{999999999}}", None),
    ],
)
def test_an_expression_of_matrices_is_what_it_comes_to(gold: str, answer: str, verdict: bool | None) -> None:
    assert grade(gold, answer, "expression").verdict is verdict


@pytest.mark.parametrize(
    "answer",
    [
        A * 60,
        A + "^9" * 60,
        pm(*["1 & " * 90 + "1"]),
        pm(*["x + y & x - y"] * 2) + "^3" * 9,
        pm(*["1"] * 400),
    ],
)
def test_hostile_matrices_take_no_time(answer: str, own_seconds) -> None:
    assert grade(A, answer, "expression").verdict is not True
    assert own_seconds() < 2
