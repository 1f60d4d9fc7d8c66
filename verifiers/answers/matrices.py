r"""Matrices in answers: their rows, sums and products as one matrix of expressions, determinants as a value.

`2\begin{pmatrix} 1 & 2 \end{pmatrix}` is read to the matrix of `2*1` and `2*2`. `encoded` writes a matrix as
`⟪1┃2╱3┃4⟫` first, so that what looks for commas and equals signs sees brackets around it.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from verifiers.expressions.tree import Binary, Expression, Number, Refused, Unary
from verifiers.expressions.values import exact

OPEN, CLOSE, _CELL, _ROW = "⟪⟫┃╱"
Matrix = tuple[tuple[Expression, ...], ...]
Cell = Callable[[str], Expression | None]

_BLOCK = re.compile(
    r"\\begin\{(?P<name>[pbBvV]?matrix|smallmatrix|array|cases|aligned|align\*?)\}(?:\{[lcr| ]*\})?"
    r"(?P<body>(?:(?!\\begin\{).)*?)\\end\{(?P=name)\}",
    re.DOTALL,
)
_CASES = re.compile(rf"^\\?\{{\s*({OPEN}[^{CLOSE}]*{CLOSE})\s*\.?$")
r"""`\left\{ \begin{array}... \right.`: equations that hold together."""
_BRACKETED = re.compile(rf"[(\[]\s*({OPEN}[^{CLOSE}]*{CLOSE})\s*[)\]]")
r"""`\left( \begin{array}...`: these brackets belong to the matrix."""
_MOST_CELLS, _MOST_FACTORS, _LARGEST_DETERMINANT = 40, 6, 4
_POWER = re.compile(r"\s*\^\s*(?:\{\s*(\w+|\\top)\s*\}|(\w)|\\(top)(?![A-Za-z]))")


def encoded(text: str) -> str:
    """The text with its matrices between signs of our own; systems of equations become lists."""
    text = _BRACKETED.sub(r"\1", _BLOCK.sub(_encode, text))
    if cases := _CASES.match(text):
        return cases[1][1:-1].replace(_ROW, ", ").replace(_CELL, " ")
    return text


def _encode(match: re.Match[str]) -> str:
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]{0,9}\])?|\\cr\b", match["body"]) if row.strip()]
    if match["name"] in {"cases", "aligned", "align", "align*"}:
        # `x &= 1 \\ y &= 2` is a list. A function by cases has its conditions in a second column.
        columned = any("&" in row.replace("&=", "=") for row in rows)
        return match[0] if columned else ", ".join(row.replace("&", "").strip(" ,") for row in rows)
    inside = _ROW.join(_CELL.join(cell.strip() for cell in row.split("&")) for row in rows)
    bars = "|" if match["name"][0] == "v" else ""
    return f"{bars}{OPEN}{inside}{CLOSE}{bars}"


def read_matrix(text: str, cell: Cell) -> Matrix | Expression | None:
    """The matrix, or the value of determinants, that a sum of products is; None where it cannot be read."""
    total: Matrix | Expression | None = None
    try:
        for sign, term in _terms(text):
            value = _term(term, cell)
            if value is None:
                return None
            value = _scaled(Number(Fraction(-1), "-1"), value) if sign == "-" else value
            total = value if total is None else _sum(total, value)
    except (Refused, ValueError):
        return None
    return total


def _terms(text: str) -> list[tuple[str, str]]:
    """The terms with their signs, parted outside of brackets."""
    found, depth, start, sign = [], 0, 0, "+"
    for at, character in enumerate(text):
        depth += (character in "([{" + OPEN) - (character in ")]}" + CLOSE)
        if depth == 0 and character in "+-":
            if text[start:at].strip():
                found.append((sign, text[start:at]))
                sign = character
            else:
                sign = "-" if (sign == "-") != (character == "-") else "+"
            start = at + 1
    return [*found, (sign, text[start:])]


def _term(text: str, cell: Cell) -> Matrix | Expression | None:
    """One product of numbers, matrices and determinants."""
    pieces = re.split(
        rf"(\|{OPEN}[^{CLOSE}]*{CLOSE}\||[(\[]?\s*{OPEN}[^{CLOSE}]*{CLOSE}\s*[)\]]?)", text.strip()
    )
    if len(pieces) > 2 * _MOST_FACTORS + 1:
        return None
    value: Matrix | Expression | None = None
    for at, piece in enumerate(pieces):
        factor: Matrix | Expression | None
        if at % 2:
            factor = _rows(piece, cell)
            if power := _POWER.match(pieces[at + 1]):
                pieces[at + 1] = pieces[at + 1][power.end() :]
                factor = factor and _raised(factor, power[1] or power[2] or power[3])
        else:
            piece = re.sub(r"^\s*(?:\\cdot|\*)|(?:\\cdot|\*)\s*$", "", piece).strip()
            if not piece:
                continue
            factor = cell("1" + piece if piece[0] == "/" else piece)
        if factor is None:
            return None
        value = factor if value is None else _product(value, factor)
    return value


def _rows(piece: str, cell: Cell) -> Matrix | Expression | None:
    inside = piece.strip("|()[] ").strip(OPEN + CLOSE)
    rows = [[cell(one) for one in row.split(_CELL)] for row in inside.split(_ROW)]
    cells = [one for row in rows for one in row if one is not None]
    if len(cells) != sum(map(len, rows)) or not 0 < len(cells) <= _MOST_CELLS or len(set(map(len, rows))) > 1:
        return None
    width = len(rows[0])
    matrix = tuple(tuple(cells[at : at + width]) for at in range(0, len(cells), width))
    return _determinant(matrix) if piece[0] == "|" else matrix


def _short(tree: Expression) -> Expression:
    """A number where it is one, so that products do not grow."""
    try:
        value = exact(tree, {})
    except Refused:
        return tree
    return Number(value, str(value))


def _scaled(by: Expression, value: Matrix | Expression) -> Matrix | Expression:
    if not isinstance(value, tuple):
        return _short(Binary("*", by, value))
    return tuple(tuple(_short(Binary("*", by, one)) for one in row) for row in value)


def _sum(first: Matrix | Expression, second: Matrix | Expression) -> Matrix | Expression:
    if not isinstance(first, tuple) and not isinstance(second, tuple):
        return _short(Binary("+", first, second))
    if not isinstance(first, tuple) or not isinstance(second, tuple) or _shape(first) != _shape(second):
        raise ValueError("a sum of matrices of other shapes")
    return tuple(
        tuple(_short(Binary("+", a, b)) for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in zip(first, second, strict=True)
    )


def _shape(matrix: Matrix) -> tuple[int, int]:
    return len(matrix), len(matrix[0])


def _product(first: Matrix | Expression, second: Matrix | Expression) -> Matrix | Expression:
    if not isinstance(first, tuple):
        return _scaled(first, second)
    if not isinstance(second, tuple):
        return _scaled(second, first)
    if len(first[0]) != len(second):
        raise ValueError("a product of matrices that do not fit")
    columns = list(zip(*second, strict=True))
    return tuple(tuple(_dotted(row, column) for column in columns) for row in first)


def _dotted(row: Sequence[Expression], column: Sequence[Expression]) -> Expression:
    total: Expression = Number(Fraction(0), "0")
    for a, b in zip(row, column, strict=True):
        total = _short(Binary("+", total, Binary("*", a, b)))
    return total


def _raised(value: Matrix | Expression, power: str) -> Matrix | Expression | None:
    """A power by a small whole number, or the transposed matrix."""
    if power in {"T", "top", "\\top"} and isinstance(value, tuple):
        return tuple(zip(*value, strict=True))
    if not power.isdigit() or not 0 < int(power) <= _MOST_FACTORS:
        return None
    result = value
    for _ in range(int(power) - 1):
        result = _product(result, value)
    return result


def _determinant(matrix: Matrix) -> Expression | None:
    """By the first row."""
    if len(matrix) != len(matrix[0]) or len(matrix) > _LARGEST_DETERMINANT:
        return None
    if len(matrix) == 1:
        return matrix[0][0]
    total: Expression = Number(Fraction(0), "0")
    for at, head in enumerate(matrix[0]):
        rest = _determinant(tuple((*row[:at], *row[at + 1 :]) for row in matrix[1:]))
        if rest is None:
            return None
        part: Expression = Binary("*", head, rest)
        total = _short(Binary("+", total, Unary("-", part) if at % 2 else part))
    return total
