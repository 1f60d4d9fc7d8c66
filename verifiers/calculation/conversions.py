"""Whether units explain why two sides differ: a sum of mixed units, or a result told in another unit."""

from fractions import Fraction
from functools import lru_cache
from itertools import permutations, product

from verifiers.claims.find import Claim
from verifiers.claims.units import factor, scales, singular
from verifiers.expressions.tree import Binary, Expression, Unary
from verifiers.expressions.values import value_of

_CALENDAR = frozenset("day week month quarter year decade weekday weekend".split())
_CALENDAR_SIZES = frozenset(map(Fraction, (2, 3, 4, 5, 7, 10, 12, 28, 30, 31, 52, 60, 90, 120, 360, 365)))
"""How many of one are told in another: "2 years + 3 months = 27 months", "4 weeks a month"."""
_RATES = frozenset({"/", "per"})
_MOST_READINGS = 20_000
"""Ways to scale the terms of one sum, at most."""


def converts(claim: Claim, left: Fraction, right: Fraction) -> str:
    """Why units may explain a difference; empty where they do not."""
    units = {singular(unit) for unit in (*claim.units, claim.left_unit, claim.right_unit) if unit}
    sizes = _sizes(frozenset(units))
    # The sign $ is not read as a unit: `$5 - 75 cents = $4.25`.
    if not claim.units or "cent" in claim.left_unit:
        sizes |= scales(claim.left_unit)
    if isinstance(claim.left, Binary) and claim.left.op in {"+", "-"} and sizes:
        if len(units) < 2 and not scales(claim.left_unit):
            return ""
        if told_in(claim.left, right, sizes):
            return "a sum of different units"
    if _may_equate(claim):
        return "units may be equated" if claim.left_unit else ""  # 42 * 5/6 daps = 42 baps
    known = sizes | scales(claim.right_unit)
    return "the result may be in another unit" if right and _ratio(left, right) & known else ""


def _ratio(left: Fraction, right: Fraction) -> set[Fraction]:
    return {left / right, right / left} if left else set()


def _may_equate(claim: Claim) -> bool:
    """Whether what is computed in one unit is told in another: of `20 / 5 per hour = 4 hours` the unit that
    stands last is a rate's, and says nothing of the result."""
    return (
        not claim.units
        and claim.right_unit != ""
        and singular(claim.right_unit) != singular(claim.left_unit or "-")
        and not (claim.left_unit in _RATES and isinstance(claim.left, Binary) and claim.left.op == "/")
    )


@lru_cache(maxsize=256)
def _sizes(units: frozenset[str]) -> frozenset[Fraction]:
    """What units of one kind are of each other."""
    found = {ratio for a, b in permutations(units, 2) if (ratio := factor(a, b))}
    if len(units & _CALENDAR) > 1:
        found |= _CALENDAR_SIZES
    return frozenset(found | {1 / size for size in found})


def told_in(tree: Binary, right: Fraction, sizes: frozenset[Fraction]) -> bool:
    """Whether a sum has the value where each of its terms may be so many times as large."""
    factors = frozenset({Fraction(1), *sizes, *(1 / size for size in sizes)})
    terms = _terms(tree, 1)
    if len(factors) ** len(terms) > _MOST_READINGS:
        # A long sum is two terms: its last one, and what stands before.
        last = value_of(tree.right)
        terms = [value_of(tree.left), last if last is None or tree.op == "+" else -last]
    scaled = [[term * by for by in factors] for term in terms if term is not None]
    return len(scaled) < len(terms) or any(sum(chosen) == right for chosen in product(*scaled))


def _terms(tree: Expression, sign: int) -> list[Fraction | None]:
    if isinstance(tree, Binary) and tree.op in {"+", "-"}:
        return [*_terms(tree.left, sign), *_terms(tree.right, sign if tree.op == "+" else -sign)]
    if isinstance(tree, Unary) and tree.op == "-":
        return _terms(tree.operand, -sign)
    value = value_of(tree)
    return [None if value is None else sign * value]
