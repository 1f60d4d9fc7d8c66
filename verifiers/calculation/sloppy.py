"""Sloppy ways of writing a calculation under which a claim that is false as it stands may be true."""

import re
from fractions import Fraction

from verifiers.claims.find import Claim
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Binary, Expression, Refused, walk
from verifiers.expressions.values import value_of


def sloppily_true(claim: Claim, right: Fraction) -> str:
    """The sloppy way that makes a claim true; empty where none does."""
    if _with_remainder(claim, right):
        return "a division with its remainder"
    if any(map(_is_tower, (claim.left, claim.right))):
        return "powers of powers"
    if _with_points(claim):
        return "points may part thousands"
    return "true from left to right, without precedence" if _sloppy(claim, right) else ""


def _with_remainder(claim: Claim, right: Fraction) -> bool:
    """`500 / 13 = 13 * 38 + 6`: the dividend, not the quotient."""
    if not (isinstance(claim.left, Binary) and claim.left.op == "/" and isinstance(claim.right, Binary)):
        return False
    return value_of(claim.left.left) == right


def _sloppy(claim: Claim, right: Fraction) -> bool:
    """Whether a common sloppy reading gives the value: no precedence, or `60 / 3/4` for 60 ÷ ¾."""
    said = claim.text.split(f" {claim.relation} ")[0]
    if left_to_right(said) == right:
        return True
    if _equals(re.sub(r"/\s*([^/]+)$", r"/(\1)", said), right):
        return True  # 9!/6!*3! for 9!/(6! * 3!)
    grouped = re.sub(r"/\s*(\d+\s*/\s*\d+)(?!\s*[\d/])", r"/(\1)", said)
    return grouped != said and _equals(grouped, right)


def _is_tower(tree: Expression) -> bool:
    """`5^27^2` may be a flattened `5^{27} 7^2`, or read from left to right."""
    powers = (node for node in walk(tree) if isinstance(node, Binary) and node.op == "^")
    return any(isinstance(node.right, Binary) and node.right.op == "^" for node in powers)


_POINT = re.compile(r"(?<![\d.,])([1-9]\d{0,2})\.(\d{3})(?![\d.,])")


def _with_points(claim: Claim) -> bool:
    """`2.500 - 500 = 2.000` is true where the points part thousands."""
    sides = _POINT.sub(r"\1\2", claim.text).split(f" {claim.relation} ")
    if len(sides) != 2 or _POINT.search(claim.text) is None:
        return False
    value = _parsed(sides[1])
    return value is not None and _equals(sides[0], value)


def _parsed(text: str) -> Fraction | None:
    try:
        return value_of(parse(text))
    except Refused:
        return None


def _equals(text: str, value: Fraction) -> bool:
    return _parsed(text) == value


def left_to_right(text: str) -> Fraction | None:
    """What a pocket calculator gives, ignoring precedence; None unless it is a plain row of operations."""
    tokens = re.findall(r"\d[\d,]*(?:\.\d+)?|\S", text)  # two operations at least, each between numbers
    if len(tokens) < 5 or len(tokens) % 2 == 0:
        return None
    try:
        value = Fraction(tokens[0].replace(",", ""))
        for op, operand in zip(tokens[1::2], tokens[2::2], strict=True):
            number = Fraction(operand.replace(",", ""))
            match op:
                case "+":
                    value += number
                case "-":
                    value -= number
                case "*":
                    value *= number
                case "/":
                    value /= number
                case _:
                    return None
    except (ValueError, ZeroDivisionError):
        return None
    return value
