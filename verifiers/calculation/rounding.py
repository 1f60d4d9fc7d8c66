"""Whether one side of a relation is the other, rounded; or is computed from rounded numbers."""

import re
from fractions import Fraction

from verifiers.calculation.checked import Checked
from verifiers.claims.find import Claim
from verifiers.expressions.tree import Binary, Expression, Number, Unary, walk
from verifiers.expressions.values import show


def rounding(claim: Claim, left: Fraction, right: Fraction) -> Checked | None:
    """The verdict where one side may be the other, rounded; None where rounding explains nothing."""
    shown = claim.right if literal_of(claim.right) is not None else claim.left
    literal, value, other = literal_of(shown), *((right, left) if shown is claim.right else (left, right))
    said = claim.rounded or claim.relation == "≈"
    if literal is None:
        # `9 * 2/3 = 9 * 0.6667`
        if not said and (claim.annotated or not _within_rounded_inputs(claim, left, right, Fraction(0))):
            return None
        return Checked("abstains", f"{claim.text}: rounded values on both sides", "rounding")
    # 67% shows hundredths.
    percent = shown != literal and "%" in {node.op for node in walk(shown) if isinstance(node, Unary)}
    unit, off = Fraction(1, 10**literal.decimals * (100 if percent else 1)), abs(value - other)
    decimals = literal.decimals + 2 * percent
    if said and off <= unit / 2:
        return Checked("holds", f"{claim.text}: rounded from {show(other)}")
    if said and abs(value) < abs(other) and off < unit:
        return Checked("abstains", f"{claim.text}: cut off, not rounded", "rounding")
    # "about 300" for 298: within 5 percent people round to tens and hundreds.
    if said and decimals == 0 and off * 20 <= abs(other):
        return Checked("abstains", f"{claim.text}: coarsely rounded", "rounding")
    if not said and _digits_beyond(other, decimals) and off <= unit / 2 and decimals:
        return Checked("holds", f"{claim.text}: rounded from {show(other)}")
    # 1.1 * 3 = 3.3000000000000003: a computer's number, exact to some 16 digits.
    if literal.decimals >= _FLOAT_DIGITS and off <= abs(other) / 10**15 * 4:
        return Checked("holds", f"{claim.text}: to the digits of a computer's number")
    if not said and _digits_beyond(other, decimals) and off < unit:
        return Checked("abstains", f"{claim.text}: rounded from {show(other)}", "rounding")
    if not (claim.annotated or claim.exact) and _within_rounded_inputs(claim, left, right, unit):
        return Checked("abstains", f"{claim.text}: an operand may be rounded", ROUNDED_INPUTS)
    return None


ROUNDED_INPUTS = "rounded inputs"
"""The code of an abstention that only holds where decimals such as 0.67 are rounded values."""
_FLOAT_DIGITS = 13
"""Decimals, at least, of a number that a computer printed in full."""


def literal_of(tree: Expression) -> Number | None:
    """The one literal of an expression that is a number with signs: 3.5 of `-3.5%`; None for any other."""
    while not isinstance(tree, Number):
        operand = getattr(tree, "operand", None)
        if operand is None or getattr(tree, "op", "") == "!":
            return None
        tree = operand
    return tree


def _digits_beyond(value: Fraction, decimals: int) -> bool:
    return bool((value * 10**decimals).denominator != 1)


# Decimals of a division: 0.33, 0.667, 3.142, 0.57. Money such as 2.50 and 0.25 is meant exactly.
_LOOKS_ROUNDED = re.compile(r"\.(?:\d*(?:33|66|67)|\d{3,}|\d[1-46-9])$")


def looks_rounded(claim: Claim) -> set[str]:
    """The decimals of a claim that may be rounded values, as they are written."""
    literals = (node for side in (claim.left, claim.right) for node in walk(side) if side != node)
    return {one.text for one in literals if isinstance(one, Number) and _LOOKS_ROUNDED.search(one.text)}


def _within_rounded_inputs(claim: Claim, left: Fraction, right: Fraction, unit: Fraction) -> bool:
    """Whether decimals like 0.33, each off by up to one last digit, reach the value shown."""
    slack = unit
    for side, total in ((claim.left, left), (claim.right, right)):
        powers = [n.right.value for n in walk(side) if isinstance(n, Binary) and isinstance(n.right, Number)
                  and n.op == "^"]  # fmt: skip
        times = min(Fraction(10), max([Fraction(1), *map(abs, powers)]))  # a power multiplies relative errors
        for node in walk(side):
            if isinstance(node, Number) and node.value and _LOOKS_ROUNDED.search(node.text) and side != node:
                slack += times * abs(total) * Fraction(1, 10**node.decimals) / node.value
    return bool(unit < slack and abs(left - right) <= slack)
