"""Checks relations with symbols or irrational values: identities, equations solved, symbols stated before.

Refutation comes first, at seeded rational points with exact or 50-digit values; proof comes second, by SymPy
in a worker that can be killed. SymPy only ever sees expressions built from our own trees.
"""

import random
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.calculation.arithmetic import Checked, combine, compare
from verifiers.calculation.solving import check_solving, equations
from verifiers.claims.find import Claim, find_claims, stated_value
from verifiers.expressions.decimals import Convention, approximate
from verifiers.expressions.latex import to_plain
from verifiers.expressions.tree import (
    NUMBER,
    Binary,
    Call,
    Expression,
    Name,
    Number,
    Refused,
    Unary,
    exact,
    names,
    show,
    walk,
)
from verifiers.isolation.workers import Pool, run_limited

POINTS = 5
FEWEST_POINTS = 3
_PROOF_S = 3.0
_MOST_SYMBOLS = 6

_IDENTITY_CUE = re.compile(
    r"\b(?:expand|factor(?!ial)|distribut|simplif|foil|identity|multiply(?:ing)? out)", re.I
)
_NO_DEFINITION = re.compile(
    r"\b(?:if|when|for|at|case|let|or|where|substitut\w*|plug\w*|say|try|put|set|possible|could|may|either|suppose|"
    r"assum\w*|check\w*|not|would|guess\w*)\b|\?",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"(?:^|[.;,:]\s+|\b(?i:so|thus|therefore|hence|get|gives|have|find|then|that|obtain|and)\s+)\s*"
    rf"(?P<name>[A-Za-z])\s*=\s*(?P<value>-?(?:{NUMBER})(?:/\d+)?)(?!\d)\s*(?=\.(?!\d)|[,;:](?!\d)|and\b|$)"
)


class Algebra:
    """Holds on proven identities and satisfied equations; fails only on refuted ones; abstains otherwise."""

    name = "algebra"
    sources = check_source(name)

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool

    def check(self, context: StepContext) -> Finding:
        """Check every relation of the last step that arithmetic alone cannot."""
        return combine([checked for _, checked in self.claims(context)], "no algebra to check")

    def claims(self, context: StepContext) -> list[tuple[Claim, Checked]]:
        """The verdict on each of them."""
        claims = [
            claim for claim in find_claims(context.step) if isinstance(claim, Claim) and _is_ours(claim)
        ]
        if not claims:
            return []
        values, solving = definitions(context.steps[:-1]), check_solving(context)
        return [
            (claim, _decided(solving.get(claim.span)) or self._claim(claim, claims, context, values))
            for claim in claims
        ]

    def _claim(
        self, claim: Claim, claims: list[Claim], context: StepContext, values: Mapping[str, Fraction]
    ) -> Checked:
        symbols = names(claim.left) | names(claim.right)
        if claim.relation not in {"=", "≈"}:
            return _abstain(claim, "an order relation of symbols")
        if stated_value(claim):
            return _abstain(claim, "a definition", "undefined_symbol")
        if symbols and symbols <= values.keys():
            return _substituted(claim, claims, context, values)
        if not symbols:
            return constant_claim(claim, pool=self._pool)
        positive = "positive" in f"{context.problem.text} {' '.join(context.steps)}"
        judged = judge_identity(claim.left, claim.right, positive=positive, pool=self._pool)
        if judged.verdict == "holds":
            return Checked("holds", f"{claim.text}: {judged.reason}")
        if judged.verdict == "fails" and not _states_identity(claim, claims, context):
            return _abstain(claim, "may be an equation to solve", "undefined_symbol")
        return Checked(judged.verdict, f"{claim.text}: {judged.reason}", judged.code)


def _decided(checked: Checked | None) -> Checked | None:
    return checked if checked and checked.verdict != "abstains" else None


def _is_ours(claim: Claim) -> bool:
    if names(claim.left) | names(claim.right):
        return True
    try:
        exact(claim.left, {}), exact(claim.right, {})
    except Refused as refusal:
        return refusal.kind == "irrational"
    return False


def _abstain(claim: Claim, why: str, code: str = "context") -> Checked:
    return Checked("abstains", f"{claim.text}: {why}", code)


def definitions(steps: tuple[str, ...]) -> dict[str, Fraction]:
    """Symbols to which the steps give one exact value, unconditionally; a symbol with two values has none."""
    found: dict[str, set[Fraction]] = {}
    for step in steps:
        for sentence in re.split(r"(?<=[.?!])\s+|\n", to_plain(step)):
            if not _NO_DEFINITION.search(sentence):
                for match in _DEFINITION.finditer(sentence):
                    value = match["value"].replace(",", "")
                    if not re.search(r"/0+$", value):
                        found.setdefault(match["name"], set()).add(_fraction(value))
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def _fraction(text: str) -> Fraction:
    top, _, bottom = text.partition("/")
    return Fraction(top) / int(bottom or 1)


def _substituted(
    claim: Claim, claims: list[Claim], context: StepContext, values: Mapping[str, Fraction]
) -> Checked:
    try:
        left, right = exact(claim.left, values), exact(claim.right, values)
    except Refused as refusal:
        return _abstain(claim, str(refusal), refusal.kind)
    used = ", ".join(
        f"{name} = {show(values[name])}" for name in sorted(names(claim.left) | names(claim.right))
    )
    judged = compare(claim, left, right)
    if judged.verdict == "fails" and (_other_scope(claim, claims, context) or _revalued(context, values)):
        return _abstain(claim, "its symbols may have other values here")
    if judged.verdict == "fails":
        text = f"{claim.text}: the sides are {show(left)} and {show(right)} with {used}"
        return Checked("fails", text)
    return Checked(judged.verdict, f"{judged.reason} with {used}", judged.code)


def _other_scope(claim: Claim, claims: list[Claim], context: StepContext) -> bool:
    """Whether the step may be solving anew: more equations, a lone symbol, "set" or "try", a restatement."""
    if len(claims) > 1 or _NO_DEFINITION.search(context.step):
        return True
    if not isinstance(claim.right, Number) or not claim.right.value:
        return True  # symbols on both sides, or "= 0", state an equation rather than a value
    return any(isinstance(side, Name) for side in (claim.left, claim.right)) or _restated(claim, context)


def _revalued(context: StepContext, values: Mapping[str, Fraction]) -> bool:
    """Whether the steps just before hold equations that a symbol's value does not solve."""
    before = [equation for step in context.steps[-4:-1] for equation in equations(step)]
    return any(
        not e.polynomial or sum(c * values[e.symbol] ** power for power, c in enumerate(e.polynomial)) != 0
        for e in before
        if e.symbol in values
    )


def _restated(claim: Claim, context: StepContext) -> bool:
    before = [context.problem.text, *context.steps[:-1]]
    earlier = [c for text in before for c in find_claims(text) if isinstance(c, Claim)]
    return any({c.left, c.right} == {claim.left, claim.right} for c in earlier)


def _states_identity(claim: Claim, claims: list[Claim], context: StepContext) -> bool:
    """Whether a relation that some values satisfy was meant for all: `Expanding, (x + 1)^2 = x^2 + 1`.

    Any other equation with its symbols, here or before, makes it one to solve.
    """
    symbols = names(claim.left) | names(claim.right)
    if (
        claim.loose
        or len(claims) > 1
        or not _IDENTITY_CUE.search(context.step)
        or not _product_of_sums(claim)
    ):
        return False
    before = [context.problem.text, *context.steps[:-1]]
    earlier = [c for text in before for c in find_claims(text) if isinstance(c, Claim)]
    return names(claim.left) == names(claim.right) and not any(
        symbols & (names(c.left) | names(c.right)) for c in earlier
    )


def _product_of_sums(claim: Claim) -> bool:
    return any(
        isinstance(node, Binary)
        and node.op in {"*", "·", "^"}
        and any(isinstance(side, Binary) and side.op in {"+", "-"} for side in (node.left, node.right))
        for side in (claim.left, claim.right)
        for node in walk(side)
    )


def constant_claim(claim: Claim, *, pool: Pool | None = None) -> Checked:
    """A relation between numbers of which some are irrational: `sqrt(8) = 2 sqrt(2)`, `sqrt(2) ≈ 1.414`."""
    judged = judge_identity(claim.left, claim.right, positive=False, pool=pool)
    if judged.verdict != "fails":
        return Checked(judged.verdict, f"{claim.text}: {judged.reason}", judged.code)
    left, right = (_short(approximate(side, {}, Convention())) for side in (claim.left, claim.right))
    return compare(claim, left, right)


def _short(value: Fraction) -> Fraction:
    """To 20 decimals, so that a reason shows a number and not its binary expansion."""
    return Fraction(round(value * 10**20), 10**20)


def judge_identity(
    left: Expression, right: Expression, *, positive: bool, pool: Pool | None = None
) -> Checked:
    """Whether both sides agree for all values of their symbols (positive ones, where that is declared)."""
    symbols = sorted(names(left) | names(right))
    if len(symbols) > _MOST_SYMBOLS:
        return Checked("abstains", "too many symbols", "too_large")
    restricted = positive or any(_is_restricting(node) for side in (left, right) for node in walk(side))
    refuted = ""
    for convention in _conventions(left, right):
        try:
            point, usable = _refute(left, right, list(_points(symbols, positive=restricted)), convention)
        except Refused as refusal:
            return Checked("abstains", str(refusal), refusal.kind)
        if point is None and usable < (FEWEST_POINTS if symbols else 1):
            return Checked("abstains", "too few points where both sides are defined", "domain")
        if point is None:
            return _proof(left, right, positive=positive, convention=convention, pool=pool)
        refuted = refuted or ", ".join(f"{name} = {show(value)}" for name, value in point.items())
    return Checked("fails", f"differs at {refuted}" if refuted else "the values differ")


def _is_restricting(node: Expression) -> bool:
    """Roots, logarithms and powers with other than whole exponents: equality may need positive symbols."""
    if isinstance(node, Call):
        return node.function not in {"sin", "cos", "tan"}
    if isinstance(node, Binary) and node.op == "^":
        return not (isinstance(node.right, Number) and node.right.value.denominator == 1)
    return False


def _conventions(left: Expression, right: Expression) -> Iterator[Convention]:
    calls = {node.function for side in (left, right) for node in walk(side) if isinstance(node, Call)}
    logs = (False, True) if "log" in calls else (False,)
    angles = (False, True) if calls & {"sin", "cos", "tan"} else (False,)
    return (Convention(*choice) for choice in product(logs, angles))


def _points(symbols: list[str], *, positive: bool) -> Iterator[dict[str, Fraction]]:
    # A fixed seed: the same claim meets the same points in every run and in every process.
    rng = random.Random(" ".join(symbols))
    for _ in range(POINTS if symbols else 1):
        yield {
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
        case "log":
            return sympy.log(args[0]) / (sympy.log(10) if convention.common_log else 1)
        case "ln":
            return sympy.log(args[0])
        case _:
            angle = args[0] * sympy.pi / 180 if convention.degrees else args[0]
            return getattr(sympy, function)(angle)
