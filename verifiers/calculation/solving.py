"""Whether an equation in one symbol has the solutions of the one before: "2x + 1 = 7, so x = 3".

Solutions are compared through exact polynomials of our own, so that nothing here can take long. A difference
refutes only where the text solves, without cases, trials or a symbol that may have got another meaning.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from verifiers.base import StepContext
from verifiers.calculation.checked import Checked
from verifiers.claims.find import Claim, claims_of, stated_value
from verifiers.claims.parsed import ParsedText
from verifiers.expressions.tree import Binary, Expression, Name, Number, Refused, Unary, names
from verifiers.expressions.values import exact, show

_DEGREE = 4
"""The highest degree that is read. Steps rarely show a higher one, and products of small ones stay short."""
# Words that lead from one equation to the next: "subtracting 1 gives 2x = 6", "2x = 6 => x = 3".
_SOLVES = re.compile(
    r"\b(?:so|thus|therefore|hence|then|get|gives?|means|subtract\w*|add(?:ing|ed)?|divid\w*|multipl\w*|simplif\w*|"
    r"solv\w*|combin\w*|isolat\w*|yields?|obtain)\b|⇒|\\implies|\\Rightarrow|=>|->|→",
    re.IGNORECASE,
)
# Words with which the symbol may have got another meaning: "if x = 2", "the second equation", "plugging in",
# "either x = 1 or x = 2", "let x be the whole number". In such a text nothing is refuted.
_SCOPE = re.compile(
    r"\b(?:if|for|when|case|let|or|where|substitut\w*|plug\w*|try|set|possible|could|may|either|suppose|assum\w*|check\w*|"
    r"not|would|guess\w*|denote\w*|call|another|other|again|instead|positive|negative|discard|reject|mod|each|"
    r"new|now|next|also|similarly|second|likewise|represent\w*|integer|whole|round\w*|approx\w*)\b|≈|\?|≡|\|",
    re.IGNORECASE,
)

Coefficients = list[Fraction]


class Equation(NamedTuple):
    """An equation in one symbol as a polynomial that is zero, lowest degree first; empty where it is none."""

    claim: Claim
    symbol: str
    polynomial: Coefficients


def polynomial(tree: Expression, symbol: str) -> Coefficients | None:
    """The coefficients in one symbol, lowest degree first; None where there is none of degree 4 at most."""
    match tree:
        case Number(value):
            return [value]
        case Name(name):
            return [Fraction(0), Fraction(1)] if name == symbol else None
        case Unary("-", operand):
            return _times(polynomial(operand, symbol), [Fraction(-1)])
        case Binary(op, left, right):
            return _combined(op, polynomial(left, symbol), polynomial(right, symbol))
    if names(tree):
        return None
    try:
        return [exact(tree, {})]
    except Refused:
        return None


def _combined(op: str, left: Coefficients | None, right: Coefficients | None) -> Coefficients | None:
    if left is None or right is None:
        return None
    match op:
        case "+" | "#":
            return _plus(left, right)
        case "-":
            return _plus(left, [-value for value in right])
        case "*" | "·":
            return _times(left, right)
        case "/" if len(right) == 1 and right[0]:
            return [value / right[0] for value in left]
        case "^" if len(right) == 1 and right[0].denominator == 1 and 0 <= right[0] <= _DEGREE:
            power: Coefficients | None = [Fraction(1)]
            for _ in range(int(right[0])):
                power = _times(power, left)
            return power
    return None


def _plus(left: Coefficients, right: Coefficients) -> Coefficients:
    size = max(len(left), len(right))
    padded = [side + [Fraction(0)] * (size - len(side)) for side in (left, right)]
    return _trimmed([a + b for a, b in zip(*padded, strict=True)])


def _times(left: Coefficients | None, right: Coefficients) -> Coefficients | None:
    if left is None or len(left) + len(right) - 2 > _DEGREE:
        return None
    product = [Fraction(0)] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            product[i + j] += a * b
    # 512 bits are some 150 digits: no coefficient that people write, and a bound on what repeated products
    # cost.
    if any(value.numerator.bit_length() + value.denominator.bit_length() > 512 for value in product):
        return None
    return _trimmed(product)


def _trimmed(values: Coefficients) -> Coefficients:
    while len(values) > 1 and not values[-1]:
        values = values[:-1]
    return values


def equations(text: ParsedText) -> tuple[Equation, ...]:
    """The equations of a text in one symbol each; without a polynomial where it cannot be relied on."""
    found = []
    for claim in text.once(claims_of):
        if not isinstance(claim, Claim):
            continue
        symbols = names(claim.left) | names(claim.right)
        if len(symbols) == 1:
            (symbol,) = symbols
            found.append(Equation(claim, symbol, _zero(claim, symbol)))
    return tuple(found)


def _zero(claim: Claim, symbol: str) -> Coefficients:
    """The polynomial that an equation says is zero; empty for anything else."""
    if claim.relation != "=" or claim.loose or claim.rounded or re.search(rf"{symbol}\s*\(", claim.text):
        return []  # f(7) may be a function's value
    sides = polynomial(claim.left, symbol), polynomial(claim.right, symbol)
    if sides[0] is None or sides[1] is None:
        return []
    zero = _plus(sides[0], [-value for value in sides[1]])
    return zero if len(zero) > 1 else []


def check_solving(context: StepContext) -> dict[tuple[int, int], Checked]:
    """Verdicts on the step's equations that continue an earlier one, by their span in the step."""
    here = context.parsed.once(equations)
    if not here:
        return {}
    before: dict[str, Equation] = {}
    # The equation being solved stands a step or two back. One from further back may belong to another part of
    # the solution, where the same letter means something else.
    for step in context.recent(3):
        before |= {equation.symbol: equation for equation in step.once(equations)}
    solves = _SOLVES.search(context.step) is not None and not any(
        _SCOPE.search(parsed.text) for parsed in (*context.recent(1), context.parsed)
    )
    found: dict[tuple[int, int], Checked] = {}
    for equation in here:
        earlier = before.get(equation.symbol)
        if earlier is not None and earlier.polynomial and equation.polynomial:
            judged = _follows(equation, earlier, solves=solves and len({e.symbol for e in here}) == 1)
            if judged:
                found[equation.claim.span] = judged
        before[equation.symbol] = equation
    return found


def _rounds(claim: Claim, root: Fraction, old: Coefficients) -> bool:
    """Whether a decimal is a solution to its last digit: `x = 3.33` of `3x = 10`."""
    shown = next((s for s in (claim.left, claim.right) if isinstance(s, Number)), None)
    if shown is None or not shown.decimals or not stated_value(claim):
        return False
    near = [root - Fraction(1, 10**shown.decimals), root + Fraction(1, 10**shown.decimals)]
    low, high = (sum(value * x**power for power, value in enumerate(old)) for x in near)
    return low * high <= 0


def _follows(equation: Equation, earlier: Equation, *, solves: bool) -> Checked | None:
    """Holds on equal solutions of two linear equations; fails where a solution stated is none."""
    new, old = equation.polynomial, earlier.polynomial
    text = f"{equation.claim.text}: "
    # Equations of a higher degree are equal in all solutions where one is a multiple of the other; `x^2 = 4`
    # and `x^3 = 4x` share some only, which decides nothing.
    if len(new) != 2:
        ratio = new[-1] / old[-1]
        same = len(new) == len(old) and [value * ratio for value in old] == new
        return Checked("holds", f"{text}equivalent to {earlier.claim.text}") if same else None
    root = -new[0] / new[1]
    left = sum(value * root**power for power, value in enumerate(old))
    # A linear equation has one solution, so `2x + 1 = 7` and `x = 3` say the same. `x^2 = 9` has another one.
    if left == 0 and len(old) == 2:
        return Checked("holds", f"{text}follows from {earlier.claim.text}")
    if left == 0:
        return Checked("abstains", f"{text}one solution of {earlier.claim.text}", "context")
    if _rounds(equation.claim, root, old):
        return Checked("holds", f"{text}solves {earlier.claim.text}, rounded")
    solved = stated_value(earlier.claim)  # what follows is about another equation
    if not solves or solved or len(old) > 3 or equation.claim.words or earlier.claim.words:
        return None
    value = f"{equation.symbol} = {show(root)}"
    return Checked("fails", f"{text}{value} does not solve {earlier.claim.text}")
