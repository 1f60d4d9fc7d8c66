"""Checks the calculations a step shows, in exact fractions.

It says that 14 + 5 is 19; it never says that adding was the right thing to do. Symbols and irrational values
belong to the algebra verifier.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations
from typing import NamedTuple

from schemas.sources import check_source
from verifiers.base import Finding, StepContext, Verdict
from verifiers.calculation.clock import timed_claims
from verifiers.calculation.sums import true_sum
from verifiers.claims.find import Claim, Unread, claims_of, leads_with
from verifiers.claims.parsed import ParsedText
from verifiers.claims.units import factor, scales, singular
from verifiers.claims.words import SCALES
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Binary, Expression, Number, Refused, Unary, is_ambiguous, names, walk
from verifiers.expressions.values import Reading, exact, show

# 5% + 3% may be 8 (percent as a bare number), 80 + 10% may be 88, and 2 1/2 may be 2 * 1/2. A claim that is
# true under one of these readings is not refuted.
_LOOSE_READINGS = (
    Reading(relative=True),
    Reading(percent=Fraction(1)),
    Reading(mixed=False),
    Reading(percent=Fraction(1), mixed=False),
)
_NO_VALUES: dict[str, Fraction] = {}


GIVEN = "given"
"""The code of a relation that claims nothing which could be checked: a definition. It is no open claim."""


class Checked(NamedTuple):
    """A claim's verdict; `reason` is for people, `code` is the kind of abstention."""

    verdict: Verdict
    reason: str
    code: str = ""


class Arithmetic:
    """Holds when every calculation shown is right, fails when one is wrong, abstains otherwise."""

    name = "arithmetic"
    sources = check_source(name)

    def check(self, context: StepContext) -> Finding:
        """Check every numeric relation of the last step."""
        return combine([checked for _, checked in claims_checked(context)])


def claims_checked(context: StepContext) -> tuple[tuple[tuple[int, int], Checked], ...]:
    """The verdict on each numeric claim of the last step, by its span."""
    return context.parsed.once(checked_claims)


def checked_claims(parsed: ParsedText) -> tuple[tuple[tuple[int, int], Checked], ...]:
    """The verdict on each numeric claim of a step, by its span; a clock time is not read as numbers too."""
    step = parsed.text
    timed = list(timed_claims(step)) if ":" in step or " days" in step else []
    if not timed and (seen := true_sum(step)):
        span, text = seen
        return ((span, Checked("holds", text)),)
    found = [(claim.span, Checked(claim.verdict, claim.reason)) for claim in timed]
    for claim in parsed.once(claims_of):
        if timed and any(t.span[0] < claim.span[1] and claim.span[0] < t.span[1] for t in timed):
            continue
        checked = check_claim(claim)
        if checked:
            found.append((claim.span, checked))
    return tuple(found)


def combine(checked: list[Checked], nothing: str = "no calculation to check") -> Finding:
    """A step's verdict from its claims': one wrong claim decides, one undecided claim forbids `holds`."""
    if len(checked) == 1:
        return Finding(checked[0].verdict, checked[0].reason, checked[0].reason[:1000])
    evidence = "; ".join(dict.fromkeys(c.reason for c in checked))[:1000]
    # One wrong calculation makes a step wrong, whatever else is right. A step with one claim that could not
    # be decided must not hold, since that claim may be the wrong one.
    if not checked:
        return Finding("abstains", nothing)
    verdict = verdict_of(checked)
    reason = next(claim.reason for claim in checked if claim.verdict == verdict)
    return Finding(verdict, reason, evidence)


def verdict_of(checked: Sequence[Checked]) -> Verdict:
    """What the claims of a step make of it: one refutation decides, and an open claim forbids `holds`."""
    said = {claim.verdict for claim in checked if claim.code != GIVEN}
    return next((verdict for verdict in _STRONGEST if verdict in said), "abstains")


_STRONGEST: tuple[Verdict, ...] = ("fails", "abstains", "holds")


def check_claim(claim: Claim | Unread) -> Checked | None:
    """The verdict on one relation; None where it is not about rational numbers alone."""
    if isinstance(claim, Unread):
        # Text that merely stands near a sign is no calculation unless it has digits on both sides.
        return (
            Checked("abstains", f"{claim.text}: {claim.reason}", "parse")
            if re.search(r"\d.*\d", claim.text)  # not "so = the total"
            else None
        )
    try:
        left, right = exact(claim.left, _NO_VALUES), exact(claim.right, _NO_VALUES)
    except Refused as refusal:
        if refusal.kind == "irrational" or names(claim.left) or names(claim.right):
            return None
        return Checked("abstains", f"{claim.text}: {refusal}", refusal.kind)
    judged = compare(claim, left, right)
    if judged.verdict == "holds" and any(map(_has_two_values, (claim.left, claim.right))):
        return Checked("abstains", f"{claim.text}: a division before a product without a sign", "context")
    if judged.verdict == "fails" and claim.other_left is not None:
        other = check_claim(claim._replace(left=claim.other_left, other_left=None))
        if other is None or other.verdict != "fails":
            return Checked("abstains", f"{claim.text}: a comma may part thousands", "context")
    return judged


def _has_two_values(tree: Expression) -> bool:
    """`6/2(1 + 2)` is 1 or 9. In `((5!)/(2!3!))` a bracket or LaTeX's fraction tells."""
    return is_ambiguous(tree) and any(
        isinstance(node, Binary) and node.op == "/" and isinstance(node.right, Binary) and node.right.op == "·"
        and isinstance(node.right.left, Number)
        for node in walk(tree)
    )  # fmt: skip


def compare(claim: Claim, left: Fraction, right: Fraction) -> Checked:
    """Judge a relation whose two sides have exact values."""
    if claim.relation in {"≠", "<", ">", "≤", "≥"}:
        return _order(claim, left, right)
    computed = isinstance(claim.left, Binary) and not _is_fraction(claim)
    # `3 feet = 36 inches` is a conversion. In `3 feet * 12 = 36 inches` the sides are computed, and compared.
    if claim.left_unit and claim.right_unit != claim.left_unit and not computed:
        return _units(claim, left, right)
    if left == right:
        if not claim.right_unit and len({*map(singular, claim.units), singular(claim.left_unit)}) > 1:
            return _odd_sum(claim)
        return Checked("holds", f"{claim.text}")
    return _unequal(claim, left, right)


def _is_fraction(claim: Claim) -> bool:
    """`1/2 a cup`: one quantity, not a calculation."""
    tree = claim.left
    if not isinstance(tree, Binary) or tree.op not in {"/", "#"} or claim.units:
        return False
    return isinstance(tree.left, Number) and " / " not in claim.text


def _odd_sum(claim: Claim) -> Checked:
    """`3 apples + 2 pears = 5`: five of what?"""
    if isinstance(claim.left, Binary) and claim.left.op in {"+", "-"} and claim.left_unit:
        return Checked("abstains", f"{claim.text}: a sum of different units", "unit")
    return Checked("holds", f"{claim.text}")


def _order(claim: Claim, left: Fraction, right: Fraction) -> Checked:
    true = {"≠": left != right, "<": left < right, ">": left > right, "≤": left <= right, "≥": left >= right}
    if true[claim.relation]:
        return Checked("holds", claim.text)
    if claim.loose or claim.left_unit or claim.right_unit:
        return _loose(claim)
    return Checked("fails", f"{show(left)} {claim.relation} {show(right)} is false")


def _loose(claim: Claim) -> Checked:
    return Checked("abstains", f"{claim.text}: {claim.loose or 'units'}", "context")


def _units(claim: Claim, left: Fraction, right: Fraction) -> Checked:
    ratio = factor(claim.left_unit, claim.right_unit)
    if ratio is None:
        if left == right and not claim.right_unit:
            return Checked("holds", claim.text)
        return Checked("abstains", f"{claim.text}: units differ", "unit")
    if left * ratio == right:
        return Checked("holds", f"{claim.text} {claim.right_unit}")
    # "1 day = 8 hours of work", "1 cm = 2 m" on a map: a rate that the text agrees on.
    if claim.loose or claim.rounded or left == 1 or right == 1:
        return _loose(claim)
    text = f"{show(left)} {claim.left_unit} is {show(left * ratio)} {claim.right_unit}"
    return Checked("fails", f"{text}, not {show(right)}")


def _converts(claim: Claim, left: Fraction, right: Fraction) -> str:
    """Why units may explain a difference: a sum of mixed units, or a result in another unit."""
    units = {singular(unit) for unit in (*claim.units, claim.left_unit, claim.right_unit) if unit}
    ratios = {ratio for a, b in permutations(units, 2) if (ratio := factor(a, b))}
    is_sum = isinstance(claim.left, Binary) and claim.left.op in {"+", "-"}
    if is_sum and (ratios or _mixes_units(claim, right, units)):
        return "a sum of different units"
    if (
        not claim.units
        and claim.right_unit
        and singular(claim.right_unit) != singular(claim.left_unit or "-")
    ):
        return "units may be equated" if claim.left_unit else ""  # 42 * 5/6 daps = 42 baps
    return "the result may be in another unit" if right and left / right in ratios else ""


def _mixes_units(claim: Claim, right: Fraction, units: set[str]) -> bool:
    """`$5 - 75 cents = $4.25`: true where the terms, or the result, are told in units of one kind."""
    sizes = {Fraction(1), *(size for unit in units for size in scales(unit))}
    if not isinstance(claim.left, Binary) or len(sizes) == 1:
        return False
    terms = [_value(side) for side in (claim.left.left, claim.left.right)]
    if terms[0] is None or terms[1] is None:
        return False
    sign = 1 if claim.left.op == "+" else -1
    sizes |= {1 / size for size in sizes}
    return any(terms[0] * a + sign * terms[1] * b == right for a in sizes for b in sizes)


def _unequal(claim: Claim, left: Fraction, right: Fraction) -> Checked:
    rounding = _rounding(claim, left, right)
    if rounding is not None:
        return rounding
    if claim.loose:
        return _loose(claim)
    if claim.relation == "=" and runs_on(claim, left):
        return Checked("abstains", f"{claim.text}: a sum run on after its result", "run_on")
    if not claim.annotated:
        if any(_equal_under(claim, reading) for reading in _LOOSE_READINGS):
            return _loosely(claim, left, right)
        if units := _converts(claim, left, right):
            return Checked("abstains", f"{claim.text}: {units}", "unit")
        scale = SCALES.get(claim.right_unit, 1)
        if right and scale > 1 and left / right in {Fraction(scale), Fraction(1, scale)}:
            return Checked("abstains", f"{claim.text}: {claim.right_unit!r} may scale it", "unit")
        # `3 / 4 = 75` (percent), `2 * 50 = 1` (dollars of cents).
        if right and left / right in {Fraction(100), Fraction(1, 100)}:
            return Checked("abstains", f"{claim.text}: percent or cents may be meant", "unit")
        if _with_remainder(claim, right):
            return Checked("abstains", f"{claim.text}: a division with its remainder", "context")
        if _with_points(claim):
            return Checked("abstains", f"{claim.text}: points may part thousands", "context")
        if _sloppy(claim, right):
            return Checked("abstains", f"{claim.text}: true from left to right, without precedence", "run_on")
    return Checked("fails", _refutation(claim, left, right))


def _refutation(claim: Claim, left: Fraction, right: Fraction) -> str:
    said = claim.text.split(f" {claim.relation} ")[0]
    if isinstance(claim.left, Number) and not isinstance(claim.right, Number):
        return f"{claim.right_text} is {show(right)}, not {said}"
    value = show(left) if show(left) != said.replace(" ", "") else f"{float(left):.6g}"
    return f"{said} is {value}, not {show(right)}"


def runs_on(claim: Claim, left: Fraction) -> bool:
    """Whether the right side begins with the result and computes on: `3 + 4 = 7 + 5`."""
    lead = leads_with(claim.right)
    return (
        lead is not None
        and lead.value == left
        and (claim.left_unit != "" or not isinstance(claim.left, Number))
    )


def _loosely(claim: Claim, left: Fraction, right: Fraction) -> Checked:
    percent = (
        isinstance(claim.right, Unary) and claim.right.op == "%" and "%" not in claim.text.split(" = ")[0]
    )
    if percent and isinstance(claim.left, Binary) and left == right * 100:
        return Checked("holds", claim.text)  # `3/4 * 100 = 75%`
    return Checked("abstains", f"{claim.text}: true if read loosely", "unit")


def _equal_under(claim: Claim, reading: Reading) -> bool:
    try:
        left, right = (exact(side, _NO_VALUES, reading) for side in (claim.left, claim.right))
    except Refused:
        return False
    shown = _literal(claim.right)
    slack = Fraction(1, 10**shown.decimals) if "%" in claim.text and shown and shown.decimals else Fraction(0)
    return left == right or abs(left - right) < slack


def _with_remainder(claim: Claim, right: Fraction) -> bool:
    """`500 / 13 = 13 * 38 + 6`: the dividend, not the quotient."""
    if not (isinstance(claim.left, Binary) and claim.left.op == "/" and isinstance(claim.right, Binary)):
        return False
    return _value(claim.left.left) == right


def _value(tree: Expression) -> Fraction | None:
    try:
        return exact(tree, _NO_VALUES)
    except Refused:
        return None


def _sloppy(claim: Claim, right: Fraction) -> bool:
    """Whether a common sloppy reading gives the value: no precedence, or `60 / 3/4` for 60 ÷ ¾."""
    said = claim.text.split(f" {claim.relation} ")[0]
    if left_to_right(said) == right:
        return True
    if _equals(re.sub(r"/\s*([^/]+)$", r"/(\1)", said), right):
        return True  # 9!/6!*3! for 9!/(6! * 3!)
    grouped = re.sub(r"/\s*(\d+\s*/\s*\d+)(?!\s*[\d/])", r"/(\1)", said)
    return grouped != said and _equals(grouped, right)


_POINT = re.compile(r"(?<![\d.,])([1-9]\d{0,2})\.(\d{3})(?![\d.,])")


def _with_points(claim: Claim) -> bool:
    """`2.500 - 500 = 2.000` is true where the points part thousands."""
    sides = _POINT.sub(r"\1\2", claim.text).split(f" {claim.relation} ")
    return len(sides) == 2 and _POINT.search(claim.text) is not None and (value := _parsed(sides[1])) is not None \
        and _equals(sides[0], value)  # fmt: skip


def _parsed(text: str) -> Fraction | None:
    try:
        return _value(parse(text))
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


def _rounding(claim: Claim, left: Fraction, right: Fraction) -> Checked | None:
    """The verdict where one side may be the other, rounded; None where rounding explains nothing."""
    shown = claim.right if _literal(claim.right) is not None else claim.left
    literal, value, other = _literal(shown), *((right, left) if shown is claim.right else (left, right))
    said = claim.rounded or claim.relation == "≈"
    if literal is None:
        return (
            Checked("abstains", f"{claim.text}: rounded values on both sides", "rounding") if said else None
        )
    unit, off = Fraction(1, 10**literal.decimals), abs(value - other)
    if said and off <= unit / 2:
        return Checked("holds", f"{claim.text}: rounded from {show(other)}")
    if said and abs(value) < abs(other) and off < unit:
        return Checked("abstains", f"{claim.text}: cut off, not rounded", "rounding")
    # "about 300" for 298: within 5 percent people round to tens and hundreds.
    if said and literal.decimals == 0 and off * 20 <= abs(other):
        return Checked("abstains", f"{claim.text}: coarsely rounded", "rounding")
    if not said and _digits_beyond(other, literal.decimals) and off <= unit / 2 and literal.decimals:
        return Checked("holds", f"{claim.text}: rounded from {show(other)}")
    # 1.1 * 3 = 3.3000000000000003: a computer's number, exact to some 16 digits.
    if literal.decimals >= _FLOAT_DIGITS and off <= abs(other) / 10**15 * 4:
        return Checked("holds", f"{claim.text}: to the digits of a computer's number")
    if not said and _digits_beyond(other, literal.decimals) and off < unit:
        return Checked("abstains", f"{claim.text}: rounded from {show(other)}", "rounding")
    if not claim.annotated and _within_rounded_inputs(claim, left, right, unit):
        return Checked("abstains", f"{claim.text}: an operand may be rounded", "rounding")
    return None


_FLOAT_DIGITS = 13
"""Decimals, at least, of a number that a computer printed in full."""


def _literal(tree: Expression) -> Number | None:
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
