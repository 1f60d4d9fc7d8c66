"""Checks the calculations a step shows, in exact fractions.

It says that 14 + 5 is 19; it never says that adding was the right thing to do. Symbols and irrational values
belong to the algebra verifier.
"""

import re
from fractions import Fraction
from itertools import permutations

from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.calculation.checked import Checked, combine
from verifiers.calculation.clock import timed_claims
from verifiers.calculation.notations import noted
from verifiers.calculation.number_facts import number_facts
from verifiers.calculation.rounding import literal_of, rounding
from verifiers.calculation.substitution import is_equation_with
from verifiers.calculation.sums import true_sum
from verifiers.claims.find import Claim, Unread, claims_of, leads_with
from verifiers.claims.parsed import ParsedText
from verifiers.claims.setting import explains, setting_of
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


class Arithmetic:
    """Holds when every calculation shown is right, fails when one is wrong, abstains otherwise."""

    name = "arithmetic"
    sources = check_source(name)

    def check(self, context: StepContext) -> Finding:
        """Check every numeric relation of the last step."""
        return combine([checked for _, checked in claims_checked(context)])


def claims_checked(context: StepContext) -> tuple[tuple[tuple[int, int], Checked], ...]:
    """The verdict on each numeric claim of the last step, by its span, read as the texts before let it."""
    found = context.parsed.once(checked_claims)
    if not any(checked.verdict == "fails" for _, checked in found):
        return found
    stated = {c.span: c for c in context.parsed.once(claims_of) if isinstance(c, Claim)}
    facts = {span for span, _, _ in context.parsed.once(number_facts)}
    if (
        not facts.isdisjoint(span for span, _ in found)
        and setting_of(context.shared, len(context.steps)).based
    ):
        found = tuple((span, checked) for span, checked in found if span not in facts)
    return tuple((span, in_context(checked, stated.get(span), context)) for span, checked in found)


def in_context(checked: Checked, claim: Claim | None, context: StepContext) -> Checked:
    """A refutation, or an abstention where a convention of the texts or a trial may explain the claim."""
    if checked.verdict != "fails" or claim is None:
        return checked
    left, right = _value(claim.left), _value(claim.right)
    difference = None if left is None or right is None else left - right
    why = explains(setting_of(context.shared, len(context.steps)), claim, difference)
    if not why and (_is_put_in(claim, context) or (right is not None and _tries(right, context))):
        why = "a value may be tried in an equation"
    return Checked("abstains", f"{claim.text}: {why}", "context") if why else checked


def _is_put_in(claim: Claim, context: StepContext) -> bool:
    """Whether both sides are an earlier equation with numbers put in, as `|-7 - 3| = 2(-7) + 4` for
    `|x - 3| = 2x + 4`; or have the values of such a claim a step before, as `|-10| = -14 + 4`."""
    texts = (context.parsed_texts[0], *context.recent(3), context.parsed)
    stated = [c for text in texts for c in text.once(claims_of) if isinstance(c, Claim)]
    general = [c for c in stated if names(c.left) | names(c.right)]
    if any(is_equation_with(c, claim) for c in general):
        return True
    sides = _sides(claim)
    tried = (c for c in stated if c.span != claim.span and _sides(c) == sides)
    return None not in sides and any(is_equation_with(c, one) for one in tried for c in general)


def _sides(claim: Claim) -> tuple[Fraction | None, Fraction | None]:
    return _value(claim.left), _value(claim.right)


# "Test x = 2 in x^2 + 1 = 6": what follows may be tried, and rejected by a later step.
_TRIES = re.compile(
    r"\b(?:test\w*|try\w*|tri(?:al|es|ed)|check\w*|verif\w*|whether|guess\w*|candidates?|satisf\w*)\b", re.I
)


def _tries(right: Fraction, context: StepContext) -> bool:
    """Whether a claim repeats the right side of an equation with symbols, in a text that tries values."""
    texts = (context.parsed_texts[0], *context.recent(3), context.parsed)
    return any(_TRIES.search(text.text) for text in texts) and any(
        isinstance(c, Claim) and names(c.left) and _value(c.right) == right
        for text in texts
        for c in text.once(claims_of)
    )


def checked_claims(parsed: ParsedText) -> tuple[tuple[tuple[int, int], Checked], ...]:
    """The verdict on each numeric claim of a step, by its span; a clock time is not read as numbers too."""
    step = parsed.text
    timed = list(timed_claims(step)) if ":" in step or " days" in step else []
    if not timed and (seen := true_sum(step)):
        span, text = seen
        return ((span, Checked("holds", text)),)
    found = [(claim.span, Checked(claim.verdict, claim.reason)) for claim in timed]
    others = (*parsed.once(noted), *parsed.once(number_facts))
    found += [(span, Checked(verdict, reason)) for span, verdict, reason in others]
    marked = len(found)
    for claim in parsed.once(claims_of):
        if marked and any(low < claim.span[1] and claim.span[0] < high for (low, high), _ in found[:marked]):
            continue
        checked = check_claim(claim)
        if checked:
            found.append((claim.span, checked))
    return tuple(found)


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
        isinstance(node, Binary)
        and node.op == "/"
        and isinstance(node.right, Binary)
        and node.right.op == "·"
        and isinstance(node.right.left, Number)
        for node in walk(tree)
    )


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
    if is_sum and (ratios or _mixes_units(claim, right)):
        return "a sum of different units"
    if (
        not claim.units
        and claim.right_unit
        and singular(claim.right_unit) != singular(claim.left_unit or "-")
    ):
        return "units may be equated" if claim.left_unit else ""  # 42 * 5/6 daps = 42 baps
    return "the result may be in another unit" if right and left / right in ratios else ""


def _mixes_units(claim: Claim, right: Fraction) -> bool:
    """`$5 - 75 cents = $4.25`: true where the terms are told in units of one kind."""
    # The sign $ is not read as a unit.
    unit = claim.left_unit if not claim.units or "cent" in claim.left_unit else ""
    sizes = {Fraction(1), *scales(unit)}
    if not isinstance(claim.left, Binary) or len(sizes) == 1:
        return False
    terms = [_value(side) for side in (claim.left.left, claim.left.right)]
    if terms[0] is None or terms[1] is None:
        return False
    sign = 1 if claim.left.op == "+" else -1
    sizes |= {1 / size for size in sizes}
    return any(terms[0] * a + sign * terms[1] * b == right for a in sizes for b in sizes)


def _unequal(claim: Claim, left: Fraction, right: Fraction) -> Checked:
    rounded = rounding(claim, left, right)
    if rounded is not None:
        return rounded
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
        if any(map(_is_tower, (claim.left, claim.right))):
            return Checked("abstains", f"{claim.text}: powers of powers", "context")
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
    shown = literal_of(claim.right)
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
