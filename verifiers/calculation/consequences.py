"""Whether an equation follows from those before it by substitution and by adding multiples of them.

An equation becomes a polynomial in its symbols that is zero. Roots, angles and other values without an exact
form are taken as symbols of their own. What follows this way is certain, given the earlier equations. What
does not may still follow in another way, so nothing is refuted here.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from verifiers.calculation.substitution import FUNCTION_LETTERS
from verifiers.claims.find import Claim
from verifiers.expressions.tree import Binary, Call, Expression, Name, Number, Refused, Unary, names
from verifiers.expressions.values import exact

Monomial = tuple[tuple[str, int], ...]
"""Symbols with their powers, in order; empty for the constant."""
Polynomial = dict[Monomial, Fraction]

# Products grow fast: a step's equation has a dozen terms, and a bound keeps hostile ones cheap.
_MOST_TERMS, _MOST_DEGREE, _MOST_BITS = 40, 8, 256
_ONE: Polynomial = {(): Fraction(1)}
_ROUNDS = 3
"""Substitutions in a row: `z = y + 1`, `y = 2x`, `x = 3`."""


class Known(NamedTuple):
    """An equation of the text as a polynomial that is zero."""

    claim: Claim
    zero: Polynomial


def known(claims: Iterable[Claim]) -> list[Known]:
    """The equations among claims that can be relied on, in order."""
    found = []
    for claim in claims:
        if claim.relation == "=" and not claim.loose and not claim.rounded:
            zero = zero_of(claim)
            if zero and any(zero):
                found.append(Known(claim, zero))
    return found


def zero_of(claim: Claim) -> Polynomial | None:
    """What an equation says is zero, fractions multiplied out; None where that is too long."""
    try:
        (a, b), (c, d) = _ratio(applied(claim.left)), _ratio(applied(claim.right))
        return _plus(_times(a, d), _times(c, b), -1)
    except Refused:
        return None


def applied(tree: Expression) -> Expression:
    """The tree with `f(2)` as one symbol and no product of `f` and 2."""
    match tree:
        case Binary("·", Name(name), argument) if name in FUNCTION_LETTERS:
            return Name(f"{name}({_written(argument)})")
        case Binary(op, left, right):
            return Binary(op, applied(left), applied(right))
        case Unary(op, operand):
            return Unary(op, applied(operand))
        case _:
            return tree


def _written(tree: Expression) -> str:
    """One spelling for all of the same value."""
    try:
        return str(exact(tree, {}))
    except Refused:
        return repr(tree)


def _ratio(tree: Expression) -> tuple[Polynomial, Polynomial]:
    one = _ONE
    match tree:
        case Name(name):
            return {((name, 1),): Fraction(1)}, one
        case Number(value):
            return {(): value} if value else {}, one
        case Unary("-", operand):
            top, bottom = _ratio(operand)
            return _plus({}, top, -1), bottom
        case Binary("+" | "-" as op, left, right):
            (a, b), (c, d) = _ratio(left), _ratio(right)
            sign = 1 if op == "+" else -1
            return (
                (_plus(a, c, sign), b) if b == d else (_plus(_times(a, d), _times(c, b), sign), _times(b, d))
            )
        case Binary("*" | "·", left, right):
            (a, b), (c, d) = _ratio(left), _ratio(right)
            return _times(a, c), _times(b, d)
        case Binary("/", left, right):
            (a, b), (c, d) = _ratio(left), _ratio(right)
            if not c:
                raise Refused("domain", "division by zero")
            return _times(a, d), _times(b, c)
        case Binary("^", base, Number(value)) if value.denominator == 1 and abs(value) <= _MOST_DEGREE:
            top, bottom = _ratio(base)
            raised = _power(top, abs(int(value))), _power(bottom, abs(int(value)))
            return raised if value >= 0 else (raised[1], raised[0])
    if not names(tree):
        try:
            value = exact(tree, {})
            return {(): value} if value else {}, one
        except Refused as refusal:
            if refusal.kind != "irrational":
                raise
    if isinstance(tree, Call | Binary):
        return {((repr(tree), 1),): Fraction(1)}, one
    raise Refused("parse", "no polynomial")


def _plus(left: Polynomial, right: Polynomial, sign: int) -> Polynomial:
    total = dict(left)
    for monomial, value in right.items():
        total[monomial] = total.get(monomial, Fraction(0)) + sign * value
    return {monomial: value for monomial, value in total.items() if value}


def _times(left: Polynomial, right: Polynomial) -> Polynomial:
    # Most denominators are 1, and so are most multiplications here.
    if right == _ONE or left == _ONE:
        return left if right == _ONE else right
    if len(left) * len(right) > _MOST_TERMS**2:
        raise Refused("too_large", "a product of long sums")
    total: Polynomial = {}
    for first, a in left.items():
        for second, b in right.items():
            powers = dict(first)
            for name, power in second:
                powers[name] = powers.get(name, 0) + power
            monomial = tuple(sorted(powers.items()))
            total[monomial] = total.get(monomial, Fraction(0)) + a * b
    total = {monomial: value for monomial, value in total.items() if value}
    if len(total) > _MOST_TERMS or any(
        sum(power for _, power in monomial) > _MOST_DEGREE
        or value.numerator.bit_length() + value.denominator.bit_length() > _MOST_BITS
        for monomial, value in total.items()
    ):
        raise Refused("too_large", "a polynomial of many terms")
    return total


def _power(base: Polynomial, exponent: int) -> Polynomial:
    total = _ONE
    for _ in range(exponent):
        total = _times(total, base)
    return total


def follows(claim: Claim, before: list[Known]) -> str:
    """The earlier equation that the claim follows from, the last where it needs several; or nothing."""
    target = zero_of(claim)
    symbols = {name for monomial in target or () for name, _ in monomial}
    if not target or not symbols:
        return ""
    try:
        if _in_span(target, [one.zero for one in before]):
            return _named(before, symbols)
        meant = _definitions(before)
        if not symbols & meant.keys():
            return ""
        reduced = _substituted(target, meant)
        if not reduced:
            return _named(before, symbols)
        others = [_substituted(one.zero, meant) for one in before]
        return _named(before, symbols) if _in_span(reduced, others) else ""
    except Refused:
        return ""


def _named(before: list[Known], symbols: set[str]) -> str:
    return next(
        (k.claim.text for k in reversed(before) if symbols & {name for m in k.zero for name, _ in m}), ""
    )


def _definitions(before: list[Known]) -> dict[str, Polynomial]:
    """Symbols that an equation gives as a sum of others; of several the last counts."""
    found: dict[str, Polynomial] = {}
    for _, zero in before:
        for monomial, value in zero.items():
            (name, power) = monomial[0] if len(monomial) == 1 else ("", 0)
            alone = power == 1 and not any(name == n for m in zero if m != monomial for n, _ in m)
            if alone:
                found[name] = {m: -v / value for m, v in zero.items() if m != monomial}
                break
    return found


def _substituted(zero: Polynomial, meant: Mapping[str, Polynomial]) -> Polynomial:
    for _ in range(_ROUNDS):
        total: Polynomial = {}
        for monomial, value in zero.items():
            product: Polynomial = {(): value}
            for name, power in monomial:
                put: Polynomial = (
                    _power(meant[name], power) if name in meant else {((name, power),): Fraction(1)}
                )
                product = _times(product, put)
            total = _plus(total, product, 1)
        if total == zero:
            break
        zero = total
    return zero


def _in_span(target: Polynomial, before: list[Polynomial]) -> bool:
    """Whether multiples of the earlier polynomials add up to the target, and they do not contradict."""
    rows: list[tuple[Monomial, Polynomial]] = []
    for zero in before:
        left = _reduced(zero, rows)
        if not left:
            continue
        lead = max(left)
        if lead == ():
            return False  # from a contradiction everything follows
        rows.append((lead, {m: v / left[lead] for m, v in left.items()}))
    return bool(rows) and not _reduced(target, rows)


def _reduced(zero: Polynomial, rows: list[tuple[Monomial, Polynomial]]) -> Polynomial:
    for lead, row in rows:
        if value := zero.get(lead):
            zero = _plus(zero, {m: v * value for m, v in row.items()}, -1)
    return zero
