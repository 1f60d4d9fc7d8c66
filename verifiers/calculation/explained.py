"""Whether a word beside a calculation explains the value it claims: "added 14 / 2 = 8", "3 dozen * 12 = 39".

Such a word may compute, so the claim is loose. It is refuted all the same where nothing that the word could
mean gives the value: no scale of that word, and no other number of the texts that could be joined to it.
"""

from fractions import Fraction

from verifiers.base import StepContext
from verifiers.calculation.conversions import told_in
from verifiers.calculation.number_provenance import stated_in
from verifiers.claims.find import Claim
from verifiers.claims.parsed import ParsedText
from verifiers.claims.words import JOINING, SCALES, WEIGHED
from verifiers.expressions.tree import Binary
from verifiers.expressions.values import value_of


def may_weigh(claim: Claim, right: Fraction) -> bool:
    """Whether a loose claim can be refuted: the word's scale does not explain it, or other texts must say."""
    word = _word(claim)
    # "Adding 3 + 4 to both sides gives AB = 9": the value is another quantity's.
    if claim.left_unit not in {"", claim.right_unit}:
        return False
    if word in JOINING:
        return True
    scale = SCALES.get(word, 1)
    if scale == 1 or not isinstance(claim.left, Binary):
        return False
    left, size = value_of(claim.left), Fraction(scale)
    sizes = frozenset({size, 1 / size, size**2, 1 / size**2})
    # Half of a sum, or of its first term; a pair counted once or twice.
    if left is None or not right or left / right in sizes:
        return False
    return claim.left.op not in {"+", "-"} or not told_in(claim.left, right, sizes)


def is_joined(claim: Claim, context: StepContext) -> bool:
    """Whether another number that the texts state makes the claim true: the 3 before "adding 5 + 4 = 12"."""
    left, right = value_of(claim.left), value_of(claim.right)
    if _word(claim) not in JOINING:
        return False
    if left is None or right is None:
        return True
    before = ParsedText(context.step[: claim.span[0]])
    stated = stated_in(*context.parsed_before, before) | {Fraction(1)}
    joined = {left - right, right - left, left + right, left * right}
    if left and right:
        joined |= {left / right, right / left}
    return not stated.isdisjoint(joined)


def _word(claim: Claim) -> str:
    weighed = WEIGHED.search(claim.loose)
    return weighed["word"] if weighed else ""
