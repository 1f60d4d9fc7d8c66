r"""Checks equations between matrices and vectors: `A B = C`, determinants, inverses, dot and cross products.

Both sides are computed from the matrices that they show, and compared entry by entry. An equation with
symbols may be one to solve, so it fails only where two entries differ by a number whatever the symbols are.
"""

import random
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from verifiers.base import StepContext
from verifiers.calculation.checked import GIVEN, Checked
from verifiers.calculation.consequences import zero_of
from verifiers.calculation.identities import judge_identity
from verifiers.claims.find import Claim
from verifiers.claims.parsed import LONGEST_STEP, ParsedText
from verifiers.claims.words import CONTRACTIONS, HEDGES, REFUTES, ROUNDED
from verifiers.expressions.decimals import approximate
from verifiers.expressions.matrices import Matrix, has_matrix, parse_side, shown
from verifiers.expressions.matrix_values import Value, unknown, value
from verifiers.expressions.tree import (
    Binary,
    Call,
    Convention,
    Expression,
    Name,
    Number,
    Refused,
    Unary,
    is_ambiguous,
    names,
    walk,
)
from verifiers.expressions.values import exact, show
from verifiers.isolation.workers import Pool

# What parts formulas from words and from each other: `$`, `\[`, `\text{and}`, an arrow, a comma.
_ENDS = re.compile(
    r"\$+|\\[\[\]()](?!\w)|\\(?:begin|end)\{(?:align|aligned|equation|gather|gathered|split)\*?\}"
    r"|\\(?:text|mbox|Rightarrow|implies|rightarrow|Longrightarrow|to|iff|quad|qquad|longrightarrow|sim|mapsto)\b"
    r"|[,;:]|\.(?=\s|$)|\n\s*\n|[≈<>≤≥≠]|\\(?:approx|neq|ne|le|ge|leq|geq|lt|gt|equiv|cong|propto)\b"
)
_NEXT_LINE = re.compile(r"\\\\\s*(?:\[[^\]]{0,8}\])?\s*&?\s*(?==)")
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z]+(?:['’]t)?")
_DOUBTS = (
    REFUTES | HEDGES | CONTRACTIONS | {"if", "suppose", "let", "want", "need", "find", "solve", "solution"}
) - {
    "check",
    "checking",
}
_MOST_CLAIMS = 24
_POINTS, _WINDOW = 4, 30


class Equation(NamedTuple):
    """Two sides of an equation of which one shows a matrix at least."""

    span: tuple[int, int]
    text: str
    left: Expression
    right: Expression
    matrices: Mapping[str, Matrix]


def matrix_claims(parsed: ParsedText) -> tuple[Equation, ...]:
    """The equations with matrices that a text shows and that can be read."""
    if len(parsed.text) > LONGEST_STEP or not has_matrix(parsed.text):
        return ()
    return tuple(found for _, found in zip(range(_MOST_CLAIMS), _equations(parsed.text), strict=False))


def _equations(text: str) -> Iterator[Equation]:
    try:
        seen = shown(text)
    except Refused:
        return
    plain = _BOXED.sub(r" \1 ", _NEXT_LINE.sub(" ", seen.text))
    for part in _ENDS.split(plain):
        sides = [side.strip(" &.\n") for side in part.split("=")]
        for left, right in zip(sides, sides[1:], strict=False):
            if "Z_" not in left + right:
                continue
            try:
                trees = parse_side(_last(left)), parse_side(right)
            except Refused:
                continue
            span = (0, len(text))
            yield Equation(span, _written(f"{left} = {right}", seen.matrices), *trees, seen.matrices)


def _last(side: str) -> str:
    """A side without the lines of a display before it."""
    return side.rpartition("\\\\")[2].strip(" &\n")


def _written(text: str, matrices: Mapping[str, Matrix]) -> str:
    """The text with short matrices in place of their symbols, for people."""

    def short(match: re.Match[str]) -> str:
        rows = matrices[match[0]].rows
        return "[" + "; ".join(" ".join(map(_said, row)) for row in rows) + "]"

    return " ".join(re.sub(r"Z_[mdn]\d+", short, text).split())[:200]


def _said(entry: Expression) -> str:
    match entry:
        case Number(number):
            return show(number)
        case Unary("-", Number(number)):
            return f"-{show(number)}"
        case Name(name):
            return name
    return "…"


def check_matrices(context: StepContext, pool: Pool | None = None) -> list[tuple[Equation, Checked]]:
    """The verdict on each equation between matrices of the last step."""
    parsed = context.parsed
    if not parsed.once(matrix_claims):
        return []
    defined = _defined(context)
    equations = [one._replace(matrices={**defined, **one.matrices}) for one in parsed.once(matrix_claims)]
    doubted = not _DOUBTS.isdisjoint(word.lower() for word in _WORD.findall(parsed.text))
    rounded = not ROUNDED.isdisjoint(word.lower() for word in _WORD.findall(parsed.text))
    found = []
    for equation in equations:
        checked = _judged(equation, pool)
        if checked.verdict == "fails" and (doubted or rounded or not _computes(equation)):
            checked = _open(equation, "may be shown to be solved or rejected")
        found.append((equation, checked))
    return found


def _defined(context: StepContext) -> dict[str, Matrix]:
    """The matrices that the problem and the steps call by a letter, always the same one."""
    found: dict[str, set[Matrix]] = {}
    for parsed in (context.parsed_problem, *context.recent(_WINDOW), context.parsed):
        for one in parsed.once(matrix_claims):
            if isinstance(one.left, Name) and isinstance(one.right, Name) and one.right.name[:3] == "Z_m":
                found.setdefault(one.left.name, set()).add(one.matrices[one.right.name])
    return {name: next(iter(meant)) for name, meant in found.items() if len(meant) == 1 and name[:2] != "Z_"}


def _open(equation: Equation, why: str, code: str = "context") -> Checked:
    return Checked("abstains", f"{equation.text}: {why}", code)


def _computes(equation: Equation) -> bool:
    """Whether a side computes something. Two bare matrices side by side may be steps of elimination."""
    if not isinstance(equation.left, Name) or not isinstance(equation.right, Name):
        return True
    if any(side.name.startswith(("Z_d", "Z_n")) for side in (equation.left, equation.right)):
        return True
    matrix = equation.matrices.get(equation.left.name)
    return matrix is not None and any(isinstance(one, Binary | Call) for one in matrix.entries())


def _judged(equation: Equation, pool: Pool | None) -> Checked:
    if (
        isinstance(equation.left, Name)
        and equation.left.name[:2] != "Z_"
        and isinstance(equation.right, Name)
    ):
        return _open(equation, "a definition", GIVEN)
    for side in (equation.left, equation.right):
        for name in unknown(side, equation.matrices):
            return _open(equation, f"{name} may be a matrix", GIVEN)
    if "/" in equation.text and any(map(is_ambiguous, (equation.left, equation.right))):
        return _open(equation, "a division before a product without a sign", "parse")
    try:
        left, right = value(equation.left, equation.matrices), value(equation.right, equation.matrices)
        pairs = _pairs(left, right)
    except Refused as refusal:
        return _open(equation, str(refusal), refusal.kind)
    open_entry, unit = None, _unit(equation)
    for first, second in pairs:
        verdict = _compared(first, second, unit, pool)
        if verdict == "fails":
            return Checked("fails", f"{equation.text}: {_difference(first, second)}")
        if verdict == "abstains":
            open_entry = open_entry or (first, second)
    if open_entry:
        # An entry with symbols that differs is an equation to solve, which claims nothing yet.
        symbols = any(names(entry) for entry in open_entry)
        return _open(equation, "an entry is not decided", GIVEN if symbols else "unproved")
    return Checked("holds", f"{equation.text}: entry by entry")


def _pairs(left: Value, right: Value) -> list[tuple[Expression, Expression]]:
    if isinstance(left, Matrix) and isinstance(right, Matrix):
        if left.shape != right.shape:
            raise Refused("domain", "matrices of different shapes")
        return list(zip(left.entries(), right.entries(), strict=True))
    if isinstance(left, Matrix) or isinstance(right, Matrix):
        raise Refused("domain", "a matrix and a number")
    return [(left, right)]


def _unit(equation: Equation) -> Fraction | None:
    """One of the last digit of the equation's decimals; None where it has none."""
    sides = [equation.left, equation.right]
    used = frozenset[str]().union(*map(names, sides)) & equation.matrices.keys()
    sides += [entry for name in used for entry in equation.matrices[name].entries()]
    places = [node.decimals for side in sides for node in walk(side) if isinstance(node, Number)]
    return Fraction(1, 10 ** min(filter(None, places))) if any(places) else None


def _compared(left: Expression, right: Expression, unit: Fraction | None, pool: Pool | None) -> str:
    if left == right:
        return "holds"
    claim = Claim(left, "=", right, "", "", False)
    if zero_of(claim) == {}:
        return "holds"
    if not names(left) | names(right):
        return _constants(left, right, unit, pool)
    judged = judge_identity(left, right, positive=False, pool=pool)
    if judged.verdict == "fails":
        return "fails" if _differ_by_a_number(left, right) else "abstains"
    return judged.verdict


def _constants(left: Expression, right: Expression, unit: Fraction | None, pool: Pool | None) -> str:
    if unit is None:
        return judge_identity(left, right, positive=False, pool=pool).verdict
    # Decimals may be rounded: half a unit of the last digit is right, and only ten units are surely wrong.
    try:
        apart = abs(approximate(left, {}, Convention()) - approximate(right, {}, Convention()))
    except Refused:
        return "abstains"
    return "holds" if apart <= unit / 2 else "fails" if apart > 10 * unit else "abstains"


def _differ_by_a_number(left: Expression, right: Expression) -> bool:
    """Whether the sides differ by one and the same number at every point: `2a + 4` and `2a + 8`."""
    symbols, rng, found = sorted(names(left) | names(right)), random.Random("matrices"), set()
    if any(isinstance(node, Call) for side in (left, right) for node in walk(side)):
        return False
    for _ in range(_POINTS):
        point = {name: Fraction(rng.randint(2, 97), rng.randint(3, 17)) for name in symbols}
        try:
            found.add(exact(left, point) - exact(right, point))
        except Refused:
            return False
    return len(found) == 1 and 0 not in found


def _difference(left: Expression, right: Expression) -> str:
    if isinstance(left, Number) and isinstance(right, Number):
        return f"an entry is {show(left.value)}, and not {show(right.value)}"
    whatever = ", whatever the symbols are" if names(left) | names(right) else ""
    return f"an entry differs{whatever}"
