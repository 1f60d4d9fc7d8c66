"""The exact rational value of a tree, and how a value is shown to people.

Sizes are bounded before anything is computed, so `9^9^9^9` costs microseconds.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from verifiers.expressions.tree import Binary, Call, Expression, Name, Number, Refused, Unary

# A value is refused over these limits, before it is computed. What people write out stays far below: 2^100
# or 52!. 7^2023 is never written out, only asked modulo something. 10,000 bits are some 3,000 digits, which
# Python multiplies in microseconds.
MOST_BITS = 10_000
LARGEST_EXPONENT = 1000
LARGEST_FACTORIAL = 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a value may be before it is refused."""

    bits: int = MOST_BITS
    exponent: int = LARGEST_EXPONENT
    factorial: int = LARGEST_FACTORIAL


USUAL = Bounds()


@dataclass(frozen=True, slots=True)
class Reading:
    """How loosely a tree is read. The default is the strict reading."""

    percent: Fraction = Fraction(1, 100)
    """What `%` multiplies by; 1 drops the sign, as in `3/4 * 100 = 75%`."""
    mixed: bool = True
    """Whether `2½` is a mixed number; otherwise it is a product."""
    relative: bool = False
    """Whether `80 + 10%` is 80 and a tenth of it."""


STRICT = Reading()


def exact(tree: Expression, values: Mapping[str, Fraction], reading: Reading = STRICT) -> Fraction:
    """The rational value. Raises Refused where there is none, or where it would be too large to compute."""
    # Most nodes are one of these two; to match patterns takes longer.
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Binary):
        first, second = exact(tree.left, values, reading), exact(tree.right, values, reading)
        right = tree.right
        if reading.relative and tree.op in {"+", "-"} and isinstance(right, Unary) and right.op == "%":
            second *= first
        return operated(tree.op, first, second, reading)
    match tree:
        case Name(name):
            if name == "pi":
                raise Refused("irrational", "pi is irrational")
            if name not in values:
                raise Refused("undefined_symbol", f"{name} is not defined")
            return values[name]
        case Unary("!", operand):
            return factorial(exact(operand, values, reading))
        case Unary(op, operand):
            return exact(operand, values, reading) * (-1 if op == "-" else reading.percent)
        case Call(function, args):
            return applied(function, [exact(arg, values, reading) for arg in args])


_WHOLE = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def operated(
    op: str, left: Fraction, right: Fraction, reading: Reading = STRICT, bounds: Bounds = USUAL
) -> Fraction:
    """The rational value of `left op right`. Raises Refused where there is none within the bounds."""
    # Most calculations have whole numbers; Python's integers are several times faster than its fractions.
    if op in _WHOLE and left.denominator == right.denominator == 1:
        whole = _WHOLE[op](left.numerator, right.numerator)
        return Fraction(whole) if whole.bit_length() <= bounds.bits else _bounded(Fraction(whole), bounds)
    match op:
        case "+":
            return _bounded(left + right, bounds)
        case "-":
            return _bounded(left - right, bounds)
        case "^":
            return power(left, right, bounds)
        case "/" | "//" if right == 0:
            raise Refused("domain", "division by zero")
        case "/":
            return _bounded(left / right, bounds)
        case "//":
            if left.denominator != 1 or right.denominator != 1:
                raise Refused("domain", "// of fractions")
            return Fraction(left // right)
        case "#" if reading.mixed:
            return _bounded(left + right, bounds)
        case _:
            return _bounded(left * right, bounds)


def power(base: Fraction, exponent: Fraction, bounds: Bounds = USUAL) -> Fraction:
    """`base ^ exponent` where it is rational and within the limits."""
    if abs(exponent) > bounds.exponent or exponent.denominator > LARGEST_EXPONENT:
        raise Refused("too_large", f"exponent beyond {bounds.exponent}")
    if base == 0 and exponent <= 0:
        raise Refused("domain", f"0 to the power {exponent}")
    if exponent.denominator != 1:
        base = _root(base, exponent.denominator)
    whole = exponent.numerator
    if max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(whole) > bounds.bits:
        raise Refused("too_large", f"a power of more than {bounds.bits} bits")
    return base**whole


def _root(value: Fraction, degree: int) -> Fraction:
    # An odd root of a negative number has a real and a principal value: neither is assumed.
    if value < 0:
        raise Refused("domain", "root of a negative number")
    top, bottom = _whole_root(value.numerator, degree), _whole_root(value.denominator, degree)
    return Fraction(top, bottom)


def _whole_root(value: int, degree: int) -> int:
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    if low**degree != value:
        raise Refused("irrational", f"root {degree} of {value} is irrational")
    return low


def factorial(value: Fraction, bounds: Bounds = USUAL) -> Fraction:
    """`value!` of a whole number within the bounds."""
    if value.denominator != 1 or value < 0:
        raise Refused("domain", f"factorial of {value}")
    if value > bounds.factorial:
        raise Refused("too_large", f"factorial beyond {bounds.factorial}")
    return Fraction(math.factorial(int(value)))


def applied(function: str, args: list[Fraction]) -> Fraction:
    """The rational value of a function. Raises Refused where it is irrational or has none."""
    match function:
        case "abs":
            return abs(args[0])
        case "sqrt":
            return _root(args[0], 2)
        case "root":
            degree = args[0]
            if degree.denominator != 1 or not 2 <= degree <= LARGEST_EXPONENT:
                raise Refused("domain", f"root of degree {degree}")
            return _root(args[1], int(degree))
        case "floor":
            return Fraction(math.floor(args[0]))
        case "ceil":
            return Fraction(math.ceil(args[0]))
        case "max" | "min":
            return (max if function == "max" else min)(args)
        case "binom" | "gcd" | "lcm":
            return _of_whole(function, args)
        case "log" if len(args) == 2:
            return _logarithm(*args)
        case _:
            raise Refused("irrational", f"{function} has no exact rational value here")


def _of_whole(function: str, args: list[Fraction]) -> Fraction:
    if any(arg.denominator != 1 or arg < 0 for arg in args):
        raise Refused("domain", f"{function} of other than whole numbers")
    whole = [int(arg) for arg in args]
    if function == "binom":
        if whole[0] > LARGEST_EXPONENT:
            raise Refused("too_large", f"a binomial beyond {LARGEST_EXPONENT}")
        return Fraction(math.comb(*whole))
    return _bounded(Fraction((math.gcd if function == "gcd" else math.lcm)(*whole)))


def _logarithm(base: Fraction, value: Fraction) -> Fraction:
    """The logarithm where it is a whole number, as of 8 to the base 2."""
    if base <= 0 or base == 1 or value <= 0:
        raise Refused("domain", "no logarithm")
    near = round(_log(value) / _log(base))
    if abs(near) <= LARGEST_EXPONENT and power(base, Fraction(near)) == value:
        return Fraction(near)
    raise Refused("irrational", "a logarithm that is no whole number")


def _log(value: Fraction) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def _bounded(value: Fraction, bounds: Bounds = USUAL) -> Fraction:
    if value.numerator.bit_length() > bounds.bits or value.denominator.bit_length() > bounds.bits:
        raise Refused("too_large", f"a number of more than {bounds.bits} bits")
    return value


def show(value: Fraction) -> str:
    """A value for people: a whole number, a short decimal, or a fraction; long ones are cut."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 200:
        digits = str(value)  # bounded by MOST_BITS, so below Python's own limit on digits
        return f"{digits[:20]}…"
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1 and abs(value) < 10**8:
        return f"{float(value):.10g}"
    text = str(value)
    return text if len(text) < 20 else f"{float(value):.10g}"


def value_of(tree: Expression) -> Fraction | None:
    """The exact value of a tree without symbols; None where it has none."""
    try:
        return exact(tree, {})
    except Refused:
        return None
