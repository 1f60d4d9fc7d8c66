"""Whether two expressions have one value: a rational one, a complex one to 100 digits, or one at each point.

An expression with symbols is tried at a few random points. Where it differs at one, it is another expression;
where it agrees at all, it is the same one. Two polynomials of degree d that differ agree at one of these
points with a chance below d/10,000.
"""

import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

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
from verifiers.expressions.values import LARGEST_EXPONENT, exact

DIGITS = 100
"""Digits of a value that is computed. So many are needed to tell 2^200 √3 from one more."""
_POINTS, _FEWEST = 6, 3
"""Points tried, and points at which both sides must have a value, for a root of negatives has none."""
_MOST_SYMBOLS = 12
_SMALLEST, _LARGEST = 10.0**-40, 10**60
"""Between them 100 digits are enough to call two values equal; beyond, a term may have been lost."""
_MOST_BITS = 10**9
"""The size of a value of which 100 digits are computed, as 2^4950 is to see that it is no 17/32."""
CONSTANTS = frozenset({"e", "i"})
"""Names that are numbers in an answer: the base of the natural logarithm and the imaginary unit."""


def same_values(gold: Expression, answer: Expression) -> bool | None:
    """Whether both have one value wherever they have any; None where a reading or a limit leaves a doubt.

    Raises Refused where a value is too large to compute.
    """
    symbols = sorted((names(gold) | names(answer)) - CONSTANTS)
    if len(symbols) > _MOST_SYMBOLS:
        raise Refused("too_large", "too many symbols")
    verdicts = {_same(gold, answer, symbols, reading) for reading in _readings(gold, answer)}
    return verdicts.pop() if len(verdicts) == 1 else None


def near(gold: Expression, answer: Expression) -> bool:
    """Whether one may be the other, rounded: within 2% at every point, or unknown."""
    symbols = sorted((names(gold) | names(answer)) - CONSTANTS)
    for point in _points(symbols):
        try:
            first, second = (_value(side, point, Convention(), real=False) for side in (gold, answer))
        except Refused:
            return True
        a, b = (_number(v) if isinstance(v, Fraction) else v for v in (first, second))
        if abs(a - b) > max(abs(a), abs(b)) / 50:
            return False
    return True


def proportional(gold: Expression, answer: Expression) -> bool | None:
    """Whether one is so many times the other, as `2x - 2y` is of `x - y`: their zeros are one equation.

    Different only of two polynomials: `√x - y` and `x - y^2` have zeros in common.
    """
    symbols = sorted(symbols_of(gold) | symbols_of(answer))
    ratios = []
    for point in _points(symbols):
        try:
            first, second = (_value(side, point, Convention(), real=True) for side in (gold, answer))
        except Refused:
            continue
        if first == 0 or second == 0:
            return None
        top, bottom = (_number(v) if isinstance(v, Fraction) else v for v in (first, second))
        ratios.append(top / bottom)
    if len(ratios) < _FEWEST:
        return None
    if all(_equal(ratio, ratios[0]) for ratio in ratios[1:]):
        return True
    return False if _is_polynomial(gold) and _is_polynomial(answer) else None


def _is_polynomial(tree: Expression) -> bool:
    for node in walk(tree):
        if isinstance(node, Binary):
            constant = not symbols_of(node.right)
            whole = isinstance(node.right, Number) and node.right.value.denominator == 1
            if (node.op == "/" and not constant) or (node.op == "^" and not whole):
                return False
        elif isinstance(node, Call) and symbols_of(node):
            return False
    return True


def symbols_of(tree: Expression) -> frozenset[str]:
    """The symbols that stand for no known number."""
    return names(tree) - CONSTANTS


def real_value(tree: Expression) -> Fraction | None:
    """The value of an expression without symbols, to some 100 digits, where it has a real one."""
    try:
        return exact(tree, {})
    except Refused as refusal:
        if refusal.kind not in {"irrational", "undefined_symbol"} or symbols_of(tree):
            return None
    try:
        value = _computed(tree, {}, Convention(), real=True)
    except Refused:
        return None
    return None if value.imag else Fraction(str(value.real))  # its decimals, exactly


def _readings(gold: Expression, answer: Expression) -> Iterator[Convention]:
    calls = [node for side in (gold, answer) for node in walk(side) if isinstance(node, Call)]
    logs = (False, True) if any(node.function == "log" for node in calls) else (False,)
    # sin 30 may be of degrees, and arcsin 1/2 may be 30. What names pi or a symbol is in radians.
    plain = {"pi"}.isdisjoint(
        node.name for side in (gold, answer) for node in walk(side) if isinstance(node, Name)
    )
    bare = any(
        plain if node.function[0] == "a" else not any(isinstance(n, Name | Call) for n in walk(node.args[0]))
        for node in calls
        if node.function in {"sin", "cos", "tan", "asin", "acos", "atan"}
    )
    for log in logs:
        for degrees in (False, True) if bare else (False,):
            yield Convention(log, degrees)


def _same(gold: Expression, answer: Expression, symbols: list[str], reading: Convention) -> bool | None:
    real = not any("i" in names(side) for side in (gold, answer))
    found = []
    for point in _points(symbols):
        try:
            sides = [_value(side, point, reading, real) for side in (gold, answer)]
        except Refused as refusal:
            if refusal.kind != "domain":
                raise
            continue
        found.append(_equal(*sides))
    if None in found or len(found) < (_FEWEST if symbols else 1):
        return None
    if all(found):
        return True
    # Equal at some points and not at others: `√(x^2)` and `x`. Two polynomials do not meet by chance.
    return False if not any(found) else None


def _points(symbols: list[str]) -> Iterator[dict[str, Fraction]]:
    # A fixed seed: the same answers meet the same points in every run.
    rng = random.Random(" ".join(symbols))
    for number in range(_POINTS if symbols else 1):
        # Half of the points have no negative number, since roots and logarithms want none.
        signs = (1,) if number % 2 else (1, -1)
        yield {name: Fraction(rng.randint(200, 20_000), 5003) * rng.choice(signs) for name in symbols}


def _value(tree: Expression, point: Mapping[str, Fraction], reading: Convention, real: bool) -> Any:
    """A fraction where it is rational and of a usual size, else a number of mpmath."""
    try:
        return exact(tree, point)
    except Refused:
        return _computed(tree, point, reading, real)


def _equal(first: Any, second: Any) -> bool | None:
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first == second
    a, b = (_number(v) if isinstance(v, Fraction) else v for v in (first, second))
    apart, size = abs(a - b), max(abs(a), abs(b))
    if apart > size * _mpmath().mpf(10) ** -9:
        return False
    known = size == 0 or (_SMALLEST < size < _LARGEST and apart <= size * _mpmath().mpf(10) ** -30)
    return True if known else None


@lru_cache(maxsize=1)
def _mpmath() -> Any:
    """Imported late, since most answers are numbers. Nobody else changes the precision of our context."""
    import mpmath  # type: ignore[import-untyped]

    context = mpmath.MPContext()
    context.dps = DIGITS
    return context


def _number(value: Fraction) -> Any:
    return _mpmath().mpf(value.numerator) / value.denominator


def _computed(tree: Expression, point: Mapping[str, Fraction], reading: Convention, real: bool) -> Any:
    """With `real` a root or a logarithm that leaves the real numbers is refused."""
    context = _mpmath()
    match tree:
        case Number(value):
            result = _number(value)
        case Name(name):
            known = {"pi": context.pi, "e": context.e, "i": context.j}
            if name not in known and name not in point:
                raise Refused("undefined_symbol", f"{name} is not defined")
            result = +known[name] if name in known else _number(point[name])
        case Unary(op, operand):
            inner = _computed(operand, point, reading, real)
            result = -inner if op == "-" else inner / 100 if op == "%" else _factorial(inner)
        case Binary(op, left, right):
            sides = [_computed(side, point, reading, real) for side in (left, right)]
            result = _operate(op, sides[0], sides[1], real)
        case Call(function, args):
            inner = [_computed(arg, point, reading, real) for arg in args]
            # What names pi or a symbol is in radians, and so are degrees, which are spelled with pi.
            degrees = reading.degrees and all(not isinstance(node, Name | Call) for node in walk(args[0]))
            result = _function(function, inner, real, reading.common_log, degrees)
    if not context.isfinite(result) or (result != 0 and abs(context.mag(result)) > _MOST_BITS):
        raise Refused("too_large", f"a number of more than {_MOST_BITS} bits")
    return result


def _factorial(value: Any) -> Any:
    if value.imag or not 0 <= value.real <= LARGEST_EXPONENT:
        raise Refused("domain", "a factorial that has no value here")
    return _mpmath().factorial(value)


def _operate(op: str, left: Any, right: Any, real: bool) -> Any:
    match op:
        case "+" | "#":
            return left + right
        case "-":
            return left - right
        case "/" if right != 0:
            return left / right
        case "*" | "·":
            return left * right
        case "^":
            if left == 0 and not (not right.imag and right.real > 0):
                raise Refused("domain", "a power of zero")
            # Before its digits are asked for: 9^9^7 has 15 million bits.
            if right != 0 and _mpmath().mag(right) > 32:
                raise Refused("too_large", "a large exponent")
            whole = not right.imag and right == int(right.real)
            if abs(right) * max(1, abs(_mpmath().mag(left) if left else 1)) > _MOST_BITS:
                raise Refused("too_large", f"a power of more than {_MOST_BITS} bits")
            if real and not whole and left < 0:
                raise Refused("domain", "a root of a negative number")
            return left ** (int(right.real) if whole else right)
        case _:
            raise Refused("domain", "no value")


def _function(function: str, args: list[Any], real: bool, common_log: bool, degrees: bool) -> Any:
    context, value = _mpmath(), args[-1]
    if real and function in {"asin", "acos"} and abs(value) > 1:
        raise Refused("domain", f"{function} of a number beyond 1")
    match function:
        case "abs":
            return abs(value)
        case "sqrt" | "root":
            if real and value < 0:
                # The cube root of -8 is -2 among real numbers.
                if function == "root" and 0 < args[0] < LARGEST_EXPONENT and args[0] % 2 == 1:
                    return -((-value) ** (1 / args[0]))
                raise Refused("domain", "a root of a negative number")
            if function == "root" and args[0] == 0:
                raise Refused("domain", "a root of degree 0")
            return context.sqrt(value) if function == "sqrt" else value ** (1 / args[0])
        case "log" | "ln":
            if value == 0 or (real and value < 0):
                raise Refused("domain", "a logarithm of a number that is not positive")
            return context.log(value) / (context.log(10) if function == "log" and common_log else 1)
        case "asin" | "acos" | "atan":
            return getattr(context, function)(value) * (180 / context.pi if degrees else 1)
        case _:
            # The sine of a large angle loses a digit for each digit of the angle.
            if abs(value) > 10**6:
                raise Refused("too_large", "a large angle")
            return getattr(context, function)(value * context.pi / 180 if degrees else value)
