"""Values of expressions: exact where they are rational, else to 100 digits.

One evaluator for steps and answers; `Rules` says what they differ in. What is rational stays a fraction, so
that only roots, logarithms, angles and what is made of them are approximated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from verifiers.expressions.tree import (
    BINDING,
    Binary,
    Call,
    Convention,
    Expression,
    Name,
    Number,
    Refused,
    Unary,
    walk,
)
from verifiers.expressions.values import (
    LARGEST_EXPONENT,
    MOST_BITS,
    STRICT,
    USUAL,
    Bounds,
    applied,
    factorial,
    operated,
)

DIGITS = 100
"""Steps are called different from the 30th digit on; answers need more to tell 2^200 √3 from one more."""
_MOST_TERMS, _MOST_NESTED = 2_500, 40
"""Terms of a sum or product that are computed, and those of one with another sum inside; no third one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may have a value. The default is for steps, where a doubt must never refute."""

    constants: frozenset[str] = frozenset()
    """Names that are numbers: `e`, `i`."""
    real: bool = True
    """Whether a root or a logarithm that leaves the real numbers is refused."""
    lenient: bool = False
    """Whether odd roots of negatives, factorials of fractions and values of 10^9 bits are computed."""
    bounds: Bounds = USUAL
    """The largest value that is computed exactly."""
    terms: int = _MOST_TERMS


_STEPS = Rules()
_LARGEST_MAGNITUDE = 10**9
"""Bits of a value of which 100 digits are computed, as 2^4950 is to see that it is no 17/32."""


def approximate(tree: Expression, point: Mapping[str, Fraction], convention: Convention) -> Fraction:
    """The real value to about 100 digits. Raises Refused where there is none or it is out of bounds."""
    value = computed(tree, point, convention, _STEPS)
    if isinstance(value, Fraction):
        return value
    sign, mantissa, exponent, _ = value._mpf_  # the exact binary value, without a detour over decimals
    whole = Fraction(int(-mantissa if sign else mantissa))
    power: Fraction = Fraction(2) ** int(exponent)
    return whole * power


@lru_cache(maxsize=1)
def context() -> Any:
    """Imported late, since most values are rational. Nobody changes the precision of this context, so threads
    may share it."""
    import mpmath  # type: ignore[import-untyped]

    own = mpmath.MPContext()
    own.dps = DIGITS
    return own


def number(value: Any) -> Any:
    """A fraction as a number of mpmath; others as they are."""
    return context().mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def computed(tree: Expression, point: Mapping[str, Fraction], convention: Convention, rules: Rules) -> Any:
    """A fraction where it is rational and of a usual size, else a number of mpmath."""
    match tree:
        case Number(value):
            return value
        case Name(name):
            return point[name] if name in point else _constant(name, rules)
        case Unary(op, operand):
            return _unary(op, computed(operand, point, convention, rules), rules)
        case Binary(op, left, right):
            first, second = (computed(side, point, convention, rules) for side in (left, right))
            return _binary(op, first, second, rules)
        case Call(function, args):
            if function in BINDING:
                return _series(tree, point, convention, rules)
            values = [computed(arg, point, convention, rules) for arg in args]
            # What names pi or a symbol is in radians, and so are degrees, which are spelled with pi.
            angles = convention.degrees and (
                not rules.lenient or all(not isinstance(node, Name | Call) for node in walk(args[0]))
            )
            return _called(function, values, Convention(convention.common_log, angles), rules)


def _constant(name: str, rules: Rules) -> Any:
    if name == "pi":
        return +context().pi
    if name not in rules.constants:
        raise Refused("undefined_symbol", f"{name} is not defined")
    return {"e": +context().e, "i": context().j}[name]


def _approximated(refusal: Refused, rules: Rules) -> None:
    """Raises a refusal again where no other number than a rational one may be the value."""
    if refusal.kind == "too_large" and not rules.lenient:
        raise refusal


def _unary(op: str, value: Any, rules: Rules) -> Any:
    if op != "!":
        return -value if op == "-" else value / 100
    if isinstance(value, Fraction):
        try:
            return factorial(value, rules.bounds)
        except Refused as refusal:
            _approximated(refusal, rules)
    value = number(value)
    if not rules.lenient or value.imag or not 0 <= value.real <= LARGEST_EXPONENT:
        raise Refused("domain", "a factorial that has no value here")
    return context().factorial(value)


def _binary(op: str, left: Any, right: Any, rules: Rules) -> Any:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        try:
            return operated(op, left, right, STRICT, rules.bounds)
        except Refused as refusal:
            _approximated(refusal, rules)
    left, right = number(left), number(right)
    match op:
        case "+" | "#":
            result = left + right
        case "-":
            result = left - right
        case "/" if right != 0:
            result = left / right
        case "*" | "·":
            result = left * right
        case "^":
            result = _power(left, right, rules)
        case _:
            raise Refused("domain", f"no value of {op} here")
    return _sized(result, rules)


def _sized(result: Any, rules: Rules) -> Any:
    most = _LARGEST_MAGNITUDE if rules.lenient else MOST_BITS
    if not context().isfinite(result) or (result != 0 and abs(context().mag(result)) > most):
        raise Refused("too_large", f"a number of more than {most} bits")
    return result


def _power(left: Any, right: Any, rules: Rules) -> Any:
    if left == 0 and not (not right.imag and right.real > 0):
        raise Refused("domain", "a power of zero")
    # Before its digits are asked for: 9^9^7 has 15 million bits.
    if right != 0 and context().mag(right) > 32:
        raise Refused("too_large", "a large exponent")
    whole = not right.imag and right == int(right.real)
    if rules.lenient:
        if abs(right) * max(1, abs(context().mag(left) if left else 1)) > _LARGEST_MAGNITUDE:
            raise Refused("too_large", f"a power of more than {_LARGEST_MAGNITUDE} bits")
    elif abs(right) > LARGEST_EXPONENT:
        raise Refused("too_large", f"exponent beyond {LARGEST_EXPONENT}")
    # A negative base has a real power for a whole exponent only: (-2)^3, not (-2)^0.5.
    if rules.real and not whole and left < 0:
        raise Refused("domain", "a root of a negative number")
    return left ** (int(right.real) if whole else right)


def _called(function: str, args: list[Any], convention: Convention, rules: Rules) -> Any:
    if all(isinstance(arg, Fraction) for arg in args):
        try:
            return applied(function, args)
        except Refused as refusal:
            _approximated(refusal, rules)
    args = [number(arg) for arg in args]
    value = args[-1]
    match function:
        case "abs":
            return abs(value)
        case "max" | "min" if not any(arg.imag for arg in args):
            return (max if function == "max" else min)(args, key=lambda arg: arg.real)
        case "sqrt" | "root":
            return _root(function, args, rules)
        case "log" | "ln":
            return _logarithm(function, args, convention, rules)
        case "floor" | "ceil" if not value.imag:
            # Known to 100 digits, a value next to a whole number may be on either side of it.
            if abs(value - context().nint(value)) < context().mpf(10) ** -20:
                raise Refused("domain", f"{function} next to a whole number")
            return Fraction(int(context().floor(value) if function == "floor" else context().ceil(value)))
        case "asin" | "acos" | "atan":
            if rules.real and function != "atan" and abs(value) > 1:
                raise Refused("domain", f"{function} of a number beyond 1")
            angle = getattr(context(), function)(value)
            return angle * 180 / context().pi if convention.degrees else angle
        case "sin" | "cos" | "tan":
            # The sine of a large angle loses a digit for each digit of the angle; nobody means one of a
            # million.
            if abs(value) > 10**6:
                raise Refused("too_large", "a large angle")
            return getattr(context(), function)(value * context().pi / 180 if convention.degrees else value)
        case _:
            raise Refused("domain", f"{function} has no value here")


def _root(function: str, args: list[Any], rules: Rules) -> Any:
    value, degree = args[-1], args[0] if function == "root" else 2
    if degree == 0:
        raise Refused("domain", "a root of degree 0")
    if rules.real and value < 0:
        # The cube root of -8 is -2 among real numbers.
        if rules.lenient and function == "root" and 0 < degree < LARGEST_EXPONENT and degree % 2 == 1:
            return -((-value) ** (1 / degree))
        raise Refused("domain", "a root of a negative number")
    return _sized(context().sqrt(value) if function == "sqrt" else value ** (1 / degree), rules)


def _logarithm(function: str, args: list[Any], convention: Convention, rules: Rules) -> Any:
    if any(arg == 0 or (rules.real and arg < 0) for arg in args) or (len(args) == 2 and args[0] == 1):
        raise Refused("domain", "a logarithm of a number that is not positive")
    value = context().log(args[-1])
    if len(args) == 2:
        return value / context().log(args[0])
    return value / context().log(10) if function == "log" and convention.common_log else value


def _series(tree: Call, point: Mapping[str, Fraction], convention: Convention, rules: Rules) -> Any:
    """A finite sum or product, term by term."""
    counter, low, high, body = tree.args
    ends = [computed(end, point, convention, rules) for end in (low, high)]
    if not isinstance(counter, Name) or any(
        not isinstance(end, Fraction) or end.denominator != 1 for end in ends
    ):
        raise Refused("domain", "a sum whose ends are no whole numbers")
    nested = sum(isinstance(node, Call) and node.function in BINDING for node in walk(body))
    most = (rules.terms, min(_MOST_NESTED, rules.terms), 0)[min(nested, 2)]
    if ends[1] - ends[0] >= most:
        raise Refused("too_large", "a sum of too many terms")
    op, total = ("+", Fraction(0)) if tree.function == "sum" else ("*", Fraction(1))
    for k in range(int(ends[0]), int(ends[1]) + 1):
        term = computed(body, {**point, counter.name: Fraction(k)}, convention, rules)
        total = _binary(op, total, term, rules)
    return total
