"""Real values of expressions to 50 digits, for roots, logarithms and angles that have no rational value."""

import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]

from verifiers.expressions.tree import Binary, Call, Convention, Expression, Name, Refused, Unary
from verifiers.expressions.values import LARGEST_EXPONENT, MOST_BITS, exact

# Sides are called different from the 30th digit on; 20 more digits absorb the error of each operation.
DIGITS = 50
_PRECISION = threading.Lock()
"""mpmath's precision is the process's: another thread must not set it back half-way."""


def approximate(tree: Expression, point: Mapping[str, Fraction], convention: Convention) -> Fraction:
    """The real value to about 50 digits. Raises Refused where there is none or it is out of bounds."""
    with _PRECISION, mpmath.workdps(DIGITS):
        value = _real(tree, point, convention)
        sign, mantissa, exponent, _ = value._mpf_  # the exact binary value, without a detour over decimals
        whole = Fraction(int(-mantissa if sign else mantissa))
        power: Fraction = Fraction(2) ** int(exponent)
        return whole * power


def _real(tree: Expression, point: Mapping[str, Fraction], convention: Convention) -> Any:
    try:
        value = exact(tree, point)
        return mpmath.mpf(value.numerator) / value.denominator
    # What is rational is computed exactly; only the irrational parts are approximated.
    except Refused as refusal:
        if refusal.kind != "irrational":
            raise
    match tree:
        case Name():
            result = +mpmath.pi
        case Unary(op, operand):
            result = _real(operand, point, convention) * (-1 if op == "-" else mpmath.mpf(1) / 100)
        case Binary(op, left, right):
            result = _operate(op, _real(left, point, convention), _real(right, point, convention))
        case Call(function, args):
            result = _function(function, [_real(arg, point, convention) for arg in args], convention)
        case _:
            raise Refused("domain", "no value")
    if mpmath.mag(result) > MOST_BITS:
        raise Refused("too_large", f"a number of more than {MOST_BITS} bits")
    return result


def _operate(op: str, left: Any, right: Any) -> Any:
    match op:
        case "+" | "#":
            return left + right
        case "-":
            return left - right
        case "/" | "//" if right == 0:
            raise Refused("domain", "division by zero")
        case "/":
            return left / right
        case "^":
            if abs(right) > LARGEST_EXPONENT:
                raise Refused("too_large", f"exponent beyond {LARGEST_EXPONENT}")
            if left == 0 or (left < 0 and right != int(right)):
                raise Refused("domain", "a power of a base that is not positive")
            # A negative base has a real power for a whole exponent only: (-2)^3, not (-2)^0.5.
            return left ** (int(right) if right == int(right) else right)
        case "//":
            raise Refused("domain", "// of irrational values")
        case _:
            return left * right


def _function(function: str, args: list[Any], convention: Convention) -> Any:
    value = args[-1]
    match function:
        case "abs":
            return abs(value)
        case "sqrt" | "root":
            if value < 0 or args[0] == 0:
                raise Refused("domain", "root of a negative number")
            return mpmath.sqrt(value) if function == "sqrt" else value ** (1 / args[0])
        case "log" | "ln":
            if value <= 0 or args[0] <= 0 or (len(args) == 2 and args[0] == 1):
                raise Refused("domain", "logarithm of a number that is not positive")
            if len(args) == 2:
                return mpmath.log(value) / mpmath.log(args[0])
            return mpmath.log10(value) if function == "log" and convention.common_log else mpmath.log(value)
        case "floor" | "ceil":
            # Known to 50 digits, a value next to a whole number may be on either side of it.
            if abs(value - mpmath.nint(value)) < mpmath.mpf(10) ** -20:
                raise Refused("domain", f"{function} next to a whole number")
            return mpmath.floor(value) if function == "floor" else mpmath.ceil(value)
        case "asin" | "acos" | "atan":
            if function != "atan" and abs(value) > 1:
                raise Refused("domain", f"{function} of a number beyond 1")
            angle = {"asin": mpmath.asin, "acos": mpmath.acos, "atan": mpmath.atan}[function](value)
            return angle * 180 / mpmath.pi if convention.degrees else angle
        case "sin" | "cos" | "tan":
            # The sine of a large angle loses a digit for each digit of the angle; nobody means one of a
            # million.
            if abs(value) > 10**6:
                raise Refused("too_large", "a large angle")
            angle = value * mpmath.pi / 180 if convention.degrees else value
            return {"sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan}[function](angle)
        case _:
            raise Refused("domain", f"{function} of irrational numbers")
