r"""Matrices in answers: their rows, sums and products as one matrix of expressions, determinants as a value.

`2\begin{pmatrix} 1 & 2 \end{pmatrix}` is read to the matrix of `2*1` and `2*2`. `encoded` writes a matrix as
`⟪1┃2╱3┃4⟫` first, so that what looks for commas and equals signs sees brackets around it. An entry is an
answer of its own, and is read as one; the rest is read and computed as the steps of solutions are.
"""

import re
from collections.abc import Callable

from verifiers.expressions.matrices import CROSS, MOST_MATRICES, TRANSPOSED, Matrix, cells_of, lines_of
from verifiers.expressions.matrix_values import Value, value
from verifiers.expressions.tree import Expression, Refused

OPEN, CLOSE, _CELL, _ROW = "⟪⟫┃╱"

_BLOCK = re.compile(
    r"\\begin\{(?P<name>[pbBvV]?matrix|smallmatrix|array|cases|aligned|align\*?)\}(?:\{[lcr| ]*\})?"
    r"(?P<body>(?:(?!\\begin\{).)*?)\\end\{(?P=name)\}",
    re.DOTALL,
)
_CASES = re.compile(rf"^\\?\{{\s*({OPEN}[^{CLOSE}]*{CLOSE})\s*\.?$")
r"""`\left\{ \begin{array}... \right.`: equations that hold together."""
_BRACKETED = re.compile(rf"[(\[]\s*({OPEN}[^{CLOSE}]*{CLOSE})\s*[)\]]")
r"""`\left( \begin{array}...`: these brackets belong to the matrix."""
_SHOWN = re.compile(rf"\|{OPEN}(?P<determinant>[^{CLOSE}]*){CLOSE}\||{OPEN}(?P<matrix>[^{CLOSE}]*){CLOSE}")
_WORD = re.compile(r"(?<![\\A-Za-z])(?!sin|cos|tan|log)[A-Za-z]{3,}")
"""Around matrices it is no product of symbols: "and", "Then"."""
_FACTOR = re.compile(r"\d$|(?:^|[^\\A-Za-z])[A-Za-z]$")
"""The end of a number or a symbol."""
_MOST_CELLS = 40


def encoded(text: str) -> str:
    """The text with its matrices between signs of our own; systems of equations become lists."""
    text = _BRACKETED.sub(r"\1", _BLOCK.sub(_encode, text))
    if cases := _CASES.match(text):
        return cases[1][1:-1].replace(_ROW, ", ").replace(_CELL, " ")
    return text


def _encode(match: re.Match[str]) -> str:
    rows = lines_of(match["body"])
    if match["name"] in {"cases", "aligned", "align", "align*"}:
        # `x &= 1 \\ y &= 2` is a list. A function by cases has its conditions in a second column.
        columned = any("&" in row.replace("&=", "=") for row in rows)
        return match[0] if columned else ", ".join(row.replace("&", "").strip(" ,") for row in rows)
    inside = _ROW.join(_CELL.join(map(str.strip, cells_of(row))) for row in rows)
    bars = "|" if match["name"][0] == "v" else ""
    return f"{bars}{OPEN}{inside}{CLOSE}{bars}"


def read_matrix(
    text: str, cell: Callable[[str], Expression | None], whole: Callable[[str], Expression]
) -> Value | None:
    """What an expression of encoded matrices comes to; None where it cannot be read. `cell` reads an entry,
    and `whole` the expression with symbols for its matrices."""
    matrices: dict[str, Matrix] = {}

    def symbol(match: re.Match[str]) -> str:
        if len(matrices) >= MOST_MATRICES:
            raise Refused("too_large", f"more than {MOST_MATRICES} matrices")
        name = f"Z_{'m' if match['determinant'] is None else 'd'}{len(matrices)}"
        matrices[name] = _rows(match["matrix"] or match["determinant"] or "", cell)
        # `1/2 M` is a half of M: nothing is divided by a matrix.
        factor = _FACTOR.search(match.string[: match.start()].rstrip()[-2:])
        return f" * {name} " if factor else f" {name} "

    if "Z_" in text or CROSS in text:  # they may pass for signs of ours
        return None
    try:
        plain = _SHOWN.sub(symbol, text).replace("\\times", CROSS)
        return None if _WORD.search(plain) else value(whole(TRANSPOSED.sub("^T_T ", plain)), matrices)
    except Refused:
        return None


def _rows(inside: str, cell: Callable[[str], Expression | None]) -> Matrix:
    rows = [[cell(one) for one in row.split(_CELL)] for row in inside.split(_ROW)]
    cells = [one for row in rows for one in row if one is not None]
    if len(cells) != sum(map(len, rows)) or len(cells) > _MOST_CELLS or len(set(map(len, rows))) > 1:
        raise Refused("parse", "no matrix")
    width = len(rows[0])
    return Matrix(tuple(tuple(cells[at : at + width]) for at in range(0, len(cells), width)))
