"""Decides whether two expressions agree for all values of their symbols: by points, then by proof.

Refutation comes first, at seeded rational points with exact or 50-digit values; proof comes second, by SymPy
in a worker that can be killed. SymPy only ever sees expressions built from our own trees.
"""

import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

from verifiers.calculation.checked import Checked
from verifiers.expressions.decimals import approximate
from verifiers.expressions.tree import (
    Binary,
    Call,
    Convention,
    Expression,
    Name,
    Number,
    Refused,
    Unary,
    names,
    walk,
)
from verifiers.expressions.values import exact, show
from verifiers.isolation.workers import Pool, run_limited

POINTS = 5
"""Two different polynomials of degree d agree at one random point with a chance of at most d/39: so many
numerators there are. At five points together it is below one in a million for d = 2."""
FEWEST_POINTS = 3
"""Points at which both sides are defined; with fewer, as for a root of negatives, nothing is said."""
_PROOF_S = 3.0
"""Seconds for a proof in a worker."""
# With more symbols, expanded products grow beyond what SymPy simplifies in time.
_MOST_SYMBOLS = 6


def judge_identity(
    left: Expression, right: Expression, *, positive: bool, pool: Pool | None = None
) -> Checked:
    """Whether both sides agree for all values of their symbols (positive ones, where that is declared)."""
    judged = refuted_identity(left, right, positive=positive)
    if isinstance(judged, Convention):
        # All points agree, so only a proof can tell an identity from a coincidence.
        return _proof(left, right, positive=positive, convention=judged, pool=pool)
    return judged


def refuted_identity(left: Expression, right: Expression, *, positive: bool) -> Checked | Convention:
    """The same without a proof; where all points agree, the convention under which they do."""
    symbols = sorted(names(left) | names(right))
    if len(symbols) > _MOST_SYMBOLS:
        return Checked("abstains", "too many symbols", "too_large")
    restricted = positive or any(_is_restricting(node) for side in (left, right) for node in walk(side))
    refuted = ""
    for convention in conventions(left, right):
        try:
            point, usable = _refute(left, right, list(_points(symbols, positive=restricted)), convention)
        except Refused as refusal:
            return Checked("abstains", str(refusal), refusal.kind)
        if point is None and usable < (FEWEST_POINTS if symbols else 1):
            return Checked("abstains", "too few points where both sides are defined", "domain")
        if point is None:
            return convention
        refuted = refuted or ", ".join(f"{name} = {show(value)}" for name, value in point.items())
    return Checked("fails", f"differs at {refuted}" if refuted else "the values differ")


def _is_restricting(node: Expression) -> bool:
    """Roots, logarithms and powers with other than whole exponents: equality may need positive symbols."""
    # `sqrt(x^2) = x` holds for positive x only. A negative point would refute what the text means, so
    # positive points alone are tried.
    if isinstance(node, Call):
        return node.function not in {"sin", "cos", "tan", "atan"}
    if isinstance(node, Binary) and node.op == "^":
        return not (isinstance(node.right, Number) and node.right.value.denominator == 1)
    return False


def conventions(left: Expression, right: Expression) -> Iterator[Convention]:
    """What logarithms and angles in two sides may mean."""
    calls = {node.function for side in (left, right) for node in walk(side) if isinstance(node, Call)}
    # `log` may be natural or to base 10, an angle in radians or degrees: a claim fails only if it is wrong
    # either way.
    logs = (False, True) if "log" in calls else (False,)
    angles = (False, True) if calls & {"sin", "cos", "tan", "asin", "acos", "atan"} else (False,)
    return (Convention(*choice) for choice in product(logs, angles))


def _points(symbols: list[str], *, positive: bool) -> Iterator[dict[str, Fraction]]:
    # A fixed seed: the same claim meets the same points in every run and in every process.
    rng = random.Random(" ".join(symbols))
    for _ in range(POINTS if symbols else 1):
        yield {
            # Zero cannot be drawn and one seldom is: there, false identities such as `x^2 = x` hold.
            name: Fraction(rng.randint(2, 40), rng.randint(3, 17)) * (1 if positive else rng.choice((1, -1)))
            for name in symbols
        }


def _refute(
    left: Expression, right: Expression, points: list[dict[str, Fraction]], convention: Convention
) -> tuple[dict[str, Fraction] | None, int]:
    """The first point where the sides differ, and how many points both sides are defined at."""
    usable = 0
    for point in points:
        try:
            if _differ(left, right, point, convention):
                return point, usable
            usable += 1
        except Refused as refusal:
            if refusal.kind != "domain":
                raise
    return None, usable


def _differ(
    left: Expression, right: Expression, point: Mapping[str, Fraction], convention: Convention
) -> bool:
    try:
        return exact(left, point) != exact(right, point)
    except Refused as refusal:
        if refusal.kind != "irrational":
            raise
    first, second = approximate(left, point, convention), approximate(right, point, convention)
    # Of the 50 digits 20 are left for errors of computation; at least 1 as the size, so that values near 0
    # compare.
    return bool(abs(first - second) > Fraction(1, 10**30) * max(Fraction(1), abs(first), abs(second)))


def _proof(
    left: Expression, right: Expression, *, positive: bool, convention: Convention, pool: Pool | None
) -> Checked:
    result = run_limited(
        prove, (left, right, positive, convention), timeout_s=_PROOF_S, preload="sympy", pool=pool
    )
    if result.value:
        return Checked("holds", "proved where both sides are defined")
    why = result.failure or "agrees at every point tried, but is not proved"
    return Checked("abstains", why, result.failure.partition(":")[0] or "unproved")


def prove(left: Expression, right: Expression, positive: bool, convention: Convention) -> bool:
    """Whether SymPy reduces the difference to zero. Meant for a worker: it may take for ever."""
    import sympy

    difference = _symbolic(left, positive, convention) - _symbolic(right, positive, convention)
    # From cheap to dear: most identities expand to zero, fractions cancel; only the rest needs `simplify`,
    # which may run for minutes.
    if sympy.expand(difference) == 0 or sympy.cancel(sympy.together(difference)) == 0:
        return True
    return bool(sympy.simplify(sympy.expand_log(difference)) == 0)


def _symbolic(tree: Expression, positive: bool, convention: Convention) -> Any:
    import sympy

    def build(node: Expression) -> Any:
        return _symbolic(node, positive, convention)

    match tree:
        case Number(value):
            return sympy.Rational(value.numerator, value.denominator)
        case Name("pi"):
            return sympy.pi
        case Name(name):
            return sympy.Symbol(name, positive=True) if positive else sympy.Symbol(name, real=True)
        case Unary(op, operand):
            inner = build(operand)
            return -inner if op == "-" else inner / 100 if op == "%" else sympy.factorial(inner)
        case Binary(op, left, right):
            first, second = build(left), build(right)
            return _SYMBOLIC[op](first, second)
        case Call(function, args):
            return _symbolic_call(function, [build(arg) for arg in args], convention)


_SYMBOLIC = {
    "+": lambda a, b: a + b,
    "#": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "·": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "^": lambda a, b: a**b,
}


def _symbolic_call(function: str, args: list[Any], convention: Convention) -> Any:
    import sympy

    match function:
        case "sqrt":
            return sympy.sqrt(args[0])
        case "root":
            return args[1] ** (1 / args[0])
        case "abs":
            return sympy.Abs(args[0])
        case "log" if len(args) == 2:
            return sympy.log(args[1]) / sympy.log(args[0])
        case "binom":
            return sympy.binomial(*args)
        case "floor" | "ceil" | "gcd" | "lcm":
            return {"floor": sympy.floor, "ceil": sympy.ceiling, "gcd": sympy.gcd, "lcm": sympy.lcm}[
                function
            ](*args)
        case "log":
            return sympy.log(args[0]) / (sympy.log(10) if convention.common_log else 1)
        case "ln":
            return sympy.log(args[0])
        case "asin" | "acos" | "atan":
            return getattr(sympy, function)(args[0]) * (180 / sympy.pi if convention.degrees else 1)
        case _:
            angle = args[0] * sympy.pi / 180 if convention.degrees else args[0]
            return getattr(sympy, function)(angle)
