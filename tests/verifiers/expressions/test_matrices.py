"""Reading matrices: entries, shapes, and what is no matrix."""

import pytest

from verifiers.expressions.matrices import read_matrix, shown
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Refused


@pytest.mark.parametrize(
    ("latex", "rows"),
    [
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", [["1", "2"], ["3", "4"]]),
        (r"\begin{bmatrix}x\\ \frac{1}{2}\end{bmatrix}", [["x"], ["(1)/(2)"]]),
        (r"\begin{array}{cc} 1 & -2 \\[1mm] 3 & 4 \\ \end{array}", [["1", "-2"], ["3", "4"]]),
    ],
)
def test_rows_of_expressions(latex: str, rows: list[list[str]]) -> None:
    assert read_matrix(latex).rows == tuple(tuple(map(parse, row)) for row in rows)


@pytest.mark.parametrize(
    "latex",
    [
        r"\begin{pmatrix} 1 & 2 \\ 3 \end{pmatrix}",
        r"\begin{pmatrix} 1 \end{bmatrix}",
        r"\begin{pmatrix} one & 2 \end{pmatrix}",
        r"\begin{pmatrix} \end{pmatrix}",
        r"\begin{pmatrix} \vdots & 2 \end{pmatrix}",
        r"\begin{pmatrix} 1 \end{pmatrix} + 1",
        r"\begin{pmatrix}" + r"1 \\" * 7 + r"\end{pmatrix}",
        "(1, 2)",
    ],
)
def test_what_is_no_matrix_is_refused(latex: str) -> None:
    with pytest.raises(Refused):
        read_matrix(latex)


def test_each_matrix_of_a_text_is_a_symbol() -> None:
    seen = shown(r"2 \begin{pmatrix} 1 \end{pmatrix} = \det \begin{pmatrix} 2 \end{pmatrix}")
    assert seen.text.split() == ["2", "Z_m0", "=", "Z_d1"]
    assert seen.matrices["Z_d1"].rows == ((parse("2"),),)
