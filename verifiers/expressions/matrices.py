r"""Reads matrices and vectors of LaTeX, and expressions of them: `2 \begin{pmatrix} 1 \\ x \end{pmatrix}`.

A matrix becomes a symbol of its own before the rest is read as any other expression, so that there is one
parser. `\times` stays apart from `\cdot`, because of two vectors they are different products.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from verifiers.expressions.latex import to_plain
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Expression, Refused

LARGEST = 6
"""Rows, and columns; more are refused."""
MOST_MATRICES = 24
_LONGEST_BODY = 1_200
CROSS = "//"
"""How `\\times` is read; no expression that people write divides and rounds matrices."""
_BEGIN = r"\\begin\{(?P<kind>[pbvBV]?matrix|smallmatrix|array)\}(?:\{[lcr| ]*\})?"
_ENVIRONMENT = re.compile(_BEGIN + r"(?P<body>(?:(?!\\begin\{|\\end\{).)*)\\end\{(?P=kind)\}", re.DOTALL)
_HINT = re.compile(r"\\begin\{[a-zA-Z]*(?:matrix|array)\}")
# Bars and `\det` around one matrix; its symbol is `Z_m3`, its determinant's `Z_d3`, its length `Z_n3`.
_SYMBOL = r"\s*Z_m(\d+)\s*"
_OPEN, _CLOSE = r"(?:\\(?:left|big|Big|bigl|Bigl)\s*)?", r"(?:\\(?:right|big|Big|bigr|Bigr)\s*)?"
_DETERMINANT = re.compile(
    rf"\\(?:det|operatorname\{{det\}}|text\{{det\}})\s*(?:{_OPEN}\({_SYMBOL}{_CLOSE}\)|{_SYMBOL})"
)
_LENGTH = re.compile(rf"(?:{_OPEN}(?:\\\||\|\||\\lVert|\\Vert){_SYMBOL}{_CLOSE}(?:\\\||\|\||\\rVert|\\Vert))")
_BARS = re.compile(rf"(?:\\left\s*\||\\lvert|(?<![\\|])\|){_SYMBOL}(?:\\right\s*\||\\rvert|\|(?!\|))")
TRANSPOSED = re.compile(
    r"\^\s*(?:\{\s*(?:\\top|\\intercal|\\mathrm\{T\}|\\mathsf\{T\}|T)\s*\}|\\top|\\intercal|T\b)"
)
# A letter for a matrix or vector, such as `\mathbf{A}` or `\vec v`; its symbol is `V_A`.
_NAMED = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|vec|overrightarrow)\s*(?:\{\s*([A-Za-z])\s*\}|([A-Za-z])(?![A-Za-z]))"
)
_OTHER_NAMED = re.compile(r"\\(?:mathbf|boldsymbol|bm|vec|hat|overrightarrow|mathcal)\b")
# The unit vectors of a cross product: `\mathbf{i}`, `\hat{k}`, `\hat{\imath}`.
_UNIT = re.compile(r"\\(?:mathbf|vec|hat|boldsymbol)\s*\{\s*(?:\\([ij])math|([ijk]))\s*\}")


@dataclass(frozen=True)
class Matrix:
    """Rows of expressions, all of one length; a vector has one column, or one row."""

    rows: tuple[tuple[Expression, ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.rows[0])

    @property
    def is_vector(self) -> bool:
        """Whether it is a column of two numbers or more."""
        return self.shape[1] == 1 < self.shape[0]

    def entries(self) -> Iterable[Expression]:
        """All entries, row by row."""
        return (entry for row in self.rows for entry in row)


@dataclass(frozen=True)
class Shown:
    """A text with a symbol in place of each of its matrices."""

    text: str
    matrices: dict[str, Matrix]
    """By symbol: `Z_m0` is the matrix, `Z_d0` its determinant, `Z_n0` a vector's length."""


def has_matrix(text: str) -> bool:
    """Whether there may be a matrix in it."""
    return "\\begin{" in text and _HINT.search(text) is not None


def read_matrix(latex: str) -> Matrix:
    """The matrix that a text is. Raises Refused where it is none, or is too large."""
    match = _ENVIRONMENT.fullmatch(latex.strip())
    if match is None:
        raise Refused("parse", "no matrix")
    return _matrix(match["body"])


def lines_of(body: str) -> list[str]:
    r"""The rows of a matrix as they are written; `\\[2mm]` ends one, too."""
    lines = re.split(r"\\\\(?:\s*\[[^\]]{0,9}\])?|\\cr\b", body.replace("\\hline", ""))
    return [line for line in lines if line.strip()]


def cells_of(line: str) -> list[str]:
    """The entries of a row."""
    return re.split(r"(?<!\\)&", line)


def _matrix(body: str) -> Matrix:
    if len(body) > _LONGEST_BODY:
        raise Refused("too_large", f"a matrix of more than {_LONGEST_BODY} characters")
    rows = tuple(tuple(map(_entry, cells_of(line))) for line in lines_of(body))
    if not rows or len({len(row) for row in rows}) != 1 or max(len(rows), len(rows[0])) > LARGEST:
        raise Refused("parse", f"no matrix of at most {LARGEST} rows and columns")
    return Matrix(rows)


def _entry(cell: str) -> Expression:
    return parse(to_plain(_UNIT.sub(lambda m: f" {m[1] or m[2]} ", cell)).strip())


def shown(text: str) -> Shown:
    """The text with its matrices as symbols. Raises Refused where one of them cannot be read."""
    matrices: dict[str, Matrix] = {}

    def symbol(match: re.Match[str]) -> str:
        number = len(matrices)
        if number >= MOST_MATRICES:
            raise Refused("too_large", f"more than {MOST_MATRICES} matrices")
        name = f"Z_{'d' if match['kind'] == 'vmatrix' else 'm'}{number}"
        matrices[name] = _matrix(match["body"])
        return f" {name} "

    plain = _ENVIRONMENT.sub(symbol, text)
    if has_matrix(plain) or "Z_" in text:
        raise Refused("parse", "a matrix that is not closed")
    return Shown(_around(plain, matrices), matrices)


def _around(text: str, matrices: dict[str, Matrix]) -> str:
    """Determinants and lengths of single matrices as symbols of their own."""

    def named(kind: str, match: re.Match[str]) -> str:
        number = next(group for group in match.groups() if group)
        name = f"Z_{kind}{number}"
        matrices[name] = matrices[f"Z_m{number}"]
        return f" {name} "

    text = _DETERMINANT.sub(lambda match: named("d", match), text)
    text = _LENGTH.sub(lambda match: named("n", match), text)

    def bars(match: re.Match[str]) -> str:
        return named("n" if matrices[f"Z_m{match[1]}"].is_vector else "d", match)

    return _BARS.sub(bars, text)


def parse_side(text: str) -> Expression:
    """The tree of one side of a relation, its matrices being symbols. Raises Refused."""
    text = _UNIT.sub(lambda match: f" {match[1] or match[2]} ", text)
    text = _NAMED.sub(lambda match: f" V_{match[1] or match[2]} ", text)
    # What is left in bold is no single letter; read as a number it would commute.
    if _OTHER_NAMED.search(text) or "//" in text:
        raise Refused("parse", "a vector that is not shown")
    text = TRANSPOSED.sub("^T_T ", text.replace("\\times", CROSS).replace("×", CROSS))
    return parse(to_plain(text).strip())
