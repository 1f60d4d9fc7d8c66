"""Checks the calculations a step shows, in exact fractions.

It says that 14 + 5 is 19; it never says that adding was the right thing to do. Symbols and irrational values
belong to the algebra verifier.
"""

import re
from fractions import Fraction

from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.calculation.checked import Checked, combine
from verifiers.calculation.clock import timed_claims
from verifiers.calculation.conversions import converts
from verifiers.calculation.explained import is_joined, may_weigh
from verifiers.calculation.labelled import labelled
from verifiers.calculation.notations import noted
from verifiers.calculation.number_facts import number_facts
from verifiers.calculation.restated import figures_of, restated
from verifiers.calculation.rounding import ROUNDED_INPUTS, literal_of, looks_rounded, rounding
from verifiers.calculation.sloppy import sloppily_true
from verifiers.calculation.spoken import spoken
from verifiers.calculation.substitution import is_equation_with
from verifiers.calculation.sums import true_sum
from verifiers.claims.find import Claim, Unread, claims_of, leads_with
from verifiers.claims.parsed import ParsedText
from verifiers.claims.setting import explains, setting_of
from verifiers.claims.units import factor, singular
from verifiers.claims.words import SCALES
from verifiers.expressions.tree import Binary, Expression, Number, Refused, Unary, is_ambiguous, names, walk
from verifiers.expressions.values import Reading, exact, show, value_of

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
    found, told = context.parsed.once(checked_claims), context.parsed.once(told_claims)
    if told:
        found = (*found, *((claim.span, checked) for claim, checked in told))
    if copied := restated(context):
        found = (*found, *((span, Checked("fails", why)) for span, why in copied))
    if not any(checked.verdict == "fails" or checked.code == ROUNDED_INPUTS for _, checked in found):
        return found
    stated = {c.span: c for c in context.parsed.once(claims_of) if isinstance(c, Claim)}
    stated |= {claim.span: claim for claim, _ in told}
    facts = {span for span, _, _ in context.parsed.once(number_facts)}
    # In base 7, 10 is no even number: what words say of a number's digits is left alone.
    if facts and setting_of(context.shared, context.count).based:
        found = tuple((span, checked) for span, checked in found if span not in facts)
    return tuple((span, in_context(checked, stated.get(span), context)) for span, checked in found)


def in_context(checked: Checked, claim: Claim | None, context: StepContext) -> Checked:
    """A refutation, or an abstention where a convention of the texts or a trial may explain the claim."""
    if (
        checked.code == ROUNDED_INPUTS
        and claim
        and looks_rounded(claim) <= figures_of(context.parsed_problem)
    ):
        # `12 * 2.74 = 32.96`, of a problem that says $2.74.
        checked = check_claim(claim._replace(exact=True)) or checked
    if checked.verdict != "fails" or claim is None:
        return checked
    left, right = value_of(claim.left), value_of(claim.right)
    if claim.loose and is_joined(claim, context):
        return _loose(claim)
    difference = None if left is None or right is None else left - right
    why = explains(setting_of(context.shared, context.count), claim, difference)
    if not why and (_is_put_in(claim, context) or (right is not None and _tries(right, context))):
        why = "a value may be tried in an equation"
    return Checked("abstains", f"{claim.text}: {why}", "context") if why else checked


def _is_put_in(claim: Claim, context: StepContext) -> bool:
    """Whether both sides are an earlier equation with numbers put in, as `|-7 - 3| = 2(-7) + 4` for
    `|x - 3| = 2x + 4`; or have the values of such a claim a step before, as `|-10| = -14 + 4`."""
    texts = (context.parsed_problem, *context.recent(3), context.parsed)
    stated = [c for text in texts for c in text.once(claims_of) if isinstance(c, Claim)]
    general = [c for c in stated if names(c.left) | names(c.right)]
    if any(is_equation_with(c, claim) for c in general):
        return True
    sides = _sides(claim)
    tried = (c for c in stated if c.span != claim.span and _sides(c) == sides)
    return None not in sides and any(is_equation_with(c, one) for one in tried for c in general)


def _sides(claim: Claim) -> tuple[Fraction | None, Fraction | None]:
    return value_of(claim.left), value_of(claim.right)


# "Test x = 2 in x^2 + 1 = 6": what follows may be tried, and rejected by a later step.
_TRIES = re.compile(
    r"\b(?:test\w*|try\w*|tri(?:al|es|ed)|check\w*|verif\w*|whether|guess\w*|candidates?|satisf\w*)\b", re.I
)


def _tries(right: Fraction, context: StepContext) -> bool:
    """Whether a claim repeats the right side of an equation with symbols, in a text that tries values."""
    texts = (context.parsed_problem, *context.recent(3), context.parsed)
    return any(_TRIES.search(text.text) for text in texts) and any(
        isinstance(c, Claim) and names(c.left) and value_of(c.right) == right
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


def told_claims(parsed: ParsedText) -> tuple[tuple[Claim, Checked], ...]:
    """Claims that words or lines make and no sign: what is proved or refuted of them, and nothing else."""
    lines, said = labelled(parsed), spoken(parsed)
    if not lines and not said:
        return ()
    found = [(claim, check_claim(claim)) for claim in lines]
    if said:
        seen = [span for span, _ in parsed.once(checked_claims)]
        for claim in said:
            checked = check_claim(claim)
            overlaps = any(low < claim.span[1] and claim.span[0] < high for low, high in seen)
            # That 21 is more than 20 is no work; that it is less is a mistake.
            if not overlaps and (claim.relation == "=" or (checked and checked.verdict == "fails")):
                found.append((claim, checked))
    return tuple((claim, checked) for claim, checked in found if checked and checked.verdict != "abstains")


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


def _unequal(claim: Claim, left: Fraction, right: Fraction) -> Checked:
    rounded = rounding(claim, left, right)
    if rounded is not None:
        return rounded
    if claim.loose and not may_weigh(claim, right):
        return _loose(claim)
    if claim.relation == "=" and runs_on(claim, left):
        return Checked("abstains", f"{claim.text}: a sum run on after its result", "run_on")
    if not claim.annotated:
        if any(_equal_under(claim, reading) for reading in _LOOSE_READINGS):
            return _loosely(claim, left, right)
        if units := converts(claim, left, right):
            return Checked("abstains", f"{claim.text}: {units}", "unit")
        scale = SCALES.get(claim.right_unit, 1)
        if right and scale > 1 and left / right in {Fraction(scale), Fraction(1, scale)}:
            return Checked("abstains", f"{claim.text}: {claim.right_unit!r} may scale it", "unit")
        # `3 / 4 = 75` (percent), `2 * 50 = 1` (dollars of cents).
        if right and left / right in {Fraction(100), Fraction(1, 100)}:
            return Checked("abstains", f"{claim.text}: percent or cents may be meant", "unit")
        if how := sloppily_true(claim, right):
            return Checked("abstains", f"{claim.text}: {how}", "context")
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
    if claim.text[:1] == claim.right_text[:1] == "(" and claim.right_text[-1:] == ")":
        return False  # "(9 + 7 - 1) = (15 - 1)" goes on with the same brackets
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
