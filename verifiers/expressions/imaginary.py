"""Values of expressions with the imaginary unit `i`, as pairs of a real and an imaginary part."""

from fractions import Fraction

from verifiers.expressions.decimals import Convention, approximate
from verifiers.expressions.tree import Binary, Call, Expression, Name, Refused, Unary, names, walk
from verifiers.expressions.values import MOST_BITS

_NEAR = Fraction(1, 10**30)
"""Irrational parts are known to 50 digits."""
# Between the two bounds the grader stays silent: parts that agree to 9 digits but not to 30 may be equal up
# to an error of computation, or the answer may be a decimal of the exact value.
_DISTINCT = Fraction(1, 10**9)

_Pair = tuple[Fraction, Fraction]


def same_complex(gold: Expression, answer: Expression) -> bool | None:
    """Whether two expressions without other symbols than `i` have one value; None where that is not known."""
    nodes = (*walk(gold), *walk(answer))
    if any(isinstance(node, Call) and node.function not in {"sqrt", "root", "abs"} for node in nodes):
        return None  # of an angle or a logarithm nobody knows which is meant
    try:
        (a, b), (c, d) = _value(gold), _value(answer)
    except Refused:
        return None
    apart, size = abs(a - c) + abs(b - d), 1 + abs(a) + abs(b)
    return True if apart <= _NEAR * size else False if apart > _DISTINCT * size else None


def _value(tree: Expression) -> _Pair:
    if "i" not in names(tree):
        return approximate(tree, {}, Convention()), Fraction(0)
    match tree:
        case Name():
            return Fraction(0), Fraction(1)
        case Unary("-", operand):
            real, imaginary = _value(operand)
            return -real, -imaginary
        case Binary("^", base, exponent):
            return _power(_value(base), _value(exponent))
        case Binary(op, left, right) if op in {"+", "-", "*", "·", "/"}:
            return _operate(op, _value(left), _value(right))
        case _:
            raise Refused("domain", "no value that is known here")


def _operate(op: str, left: _Pair, right: _Pair) -> _Pair:
    (a, b), (c, d) = left, right
    match op:
        case "+":
            return a + c, b + d
        case "-":
            return a - c, b - d
        case "/":
            size = c * c + d * d
            if size == 0:
                raise Refused("domain", "division by zero")
            return (a * c + b * d) / size, (b * c - a * d) / size
        case _:
            return a * c - b * d, a * d + b * c


def _power(base: _Pair, exponent: _Pair) -> _Pair:
    times, imaginary = exponent
    bits = max(part.bit_length() for x in base for part in (x.numerator, x.denominator))
    if imaginary or times.denominator != 1 or abs(times) * bits > MOST_BITS:
        raise Refused("too_large", "a power that is not computed here")
    result: _Pair = Fraction(1), Fraction(0)
    for _ in range(abs(int(times))):
        result = _operate("*", result, base)
    return _operate("/", (Fraction(1), Fraction(0)), result) if times < 0 else result
