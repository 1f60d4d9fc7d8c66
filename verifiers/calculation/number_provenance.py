"""Where a step's numbers come from: the problem, an earlier step, its own results, or common knowledge.

A number without a source deserves a look and refutes nothing: a model may calculate without writing it down.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from verifiers.base import StepContext
from verifiers.claims.find import Claim, claims_of
from verifiers.claims.parsed import LONGEST_STEP, ParsedText
from verifiers.claims.tokens import Tokens, tokenize
from verifiers.claims.words import ORDINALS
from verifiers.expressions.latex import plain
from verifiers.expressions.parser import number
from verifiers.expressions.tree import Refused
from verifiers.expressions.values import exact

_CONSTANTS = frozenset(
    map(Fraction, (0, 1, 2, 3, 4, 7, 10, 12, 24, 30, 31, 52, 60, 90, 100, 180, 360, 365, 366, 1000, 3600))
) | {Fraction("0.5"), Fraction("3.14")}
"""Counts of units, parts of a circle, and numbers that a method brings along: halves, per cent."""

# Numbers in words, also as parts and coins: "half" is a method's, "a dime" is ten cents that nobody states.
SAID = {
    word: value
    for value, words in {
        1: "one once",
        2: "two twice double pair couple weekend",
        3: "three thrice triple third thirds",
        4: "four quarter quarters fourth quadruple",
        5: "five fifth fifths nickel nickels weekdays",
        6: "six sixth",
        7: "seven seventh",
        8: "eight eighth eighths",
        9: "nine ninth",
        10: "ten tenth tenths decade dime dimes",
        11: "eleven",
        12: "twelve dozen",
        13: "thirteen",
        14: "fourteen fortnight",
        15: "fifteen",
        16: "sixteen",
        17: "seventeen",
        18: "eighteen",
        19: "nineteen",
        20: "twenty score",
        30: "thirty",
        40: "forty",
        50: "fifty",
        60: "sixty",
        70: "seventy",
        80: "eighty",
        90: "ninety",
        100: "hundred century",
        366: "leap",
        1000: "thousand",
        1000000: "million",
    }.items()
    for word in words.split()
}
_LONGEST_TEXT = 50_000
"""Characters of a text whose numbers are known; a problem with a long table has fewer."""
_MARK = frozenset({".", ")", ":"})
"""After a line's first number it is a list's mark: "2. Add", "2) Add"."""


class Orphan(NamedTuple):
    """A number that comes from nowhere, and where it stands in the step."""

    text: str
    span: tuple[int, int]


def orphans(context: StepContext) -> list[Orphan]:
    """The last step's numbers that nothing before explains."""
    if len(context.step) > LONGEST_STEP:
        return []
    first, here = context.shared.once(_first_stated), context.count

    def known(value: Fraction | int) -> bool:
        return value in _CONSTANTS or first.get(value, here) < here

    source, tokens = context.parsed.source, context.parsed.tokens
    found = [(at, value) for at, value in _numbers(tokens) if not _explained(value, known)]
    if not found:
        return []
    results = context.parsed.once(_results)
    own = {value for _, value in results}
    nowhere = []
    for at, value in found:
        span = source.source(tokens.start(at), tokens.ends[at])
        # The right side of `3 + 4 = 7` is the step's own result.
        computed = any(low <= span[0] < high for (low, high), _ in results)
        if value not in own and not computed:
            nowhere.append(Orphan(tokens.texts[at], span))
    return nowhere


def _first_stated(texts: tuple[ParsedText, ...]) -> dict[Fraction | int, int]:
    """For each number the first text that states it."""
    first: dict[Fraction | int, int] = {}
    for at, parsed in enumerate(texts):
        for value in parsed.once(_stated):
            first.setdefault(value, at)
    return first


def _explained(value: Fraction, known: Callable[[Fraction | int], bool]) -> bool:
    """Whether a number is known, or per cent, a complement or cents of one that is."""
    one = _whole(value)
    if known(one):
        return True
    # 0.2 of a known 20%, the 80% that are left, the 120% after a rise, 1.5 for 150 cents.
    hundred = one * 100
    derived = (hundred, 100 - hundred, hundred - 100, 100 - one, one - 100, 1 - one)
    return any(map(known, derived)) or known(value / 100)


def _whole(value: Fraction) -> Fraction | int:
    """A whole number as an `int`: equal to the fraction, and found in a set ten times as fast."""
    return value.numerator if value.denominator == 1 else value


def _stated(parsed: ParsedText) -> frozenset[Fraction | int]:
    """The numbers of a text, in digits and in words."""
    text = parsed.text
    # The tokens of a long text, which no other verifier reads, are not kept.
    tokens = parsed.tokens if len(text) <= LONGEST_STEP else tokenize(plain(text[:_LONGEST_TEXT]).text)
    words = [word for token in tokens.texts for word in token.lower().split("-") if word in SAID]
    # "twenty five" is 25, "three hundred" 300: words next to each other are added and multiplied.
    pairs = list(pairwise(SAID[word] for word in words))
    said = [*(SAID[word] for word in words), *(a + b for a, b in pairs), *(a * b for a, b in pairs)]
    return frozenset([*(_whole(value) for _, value in _numbers(tokens, marks=True)), *said])


def _numbers(tokens: Tokens, *, marks: bool = False) -> Iterator[tuple[int, Fraction]]:
    """The numbers of a text by token; a list's marks and "Step 3" only where they are asked for."""
    for at, kind in enumerate(tokens.kinds):
        if kind != "number":
            continue
        first = at == 0 or "\n" in tokens.spaces[at]
        before = tokens.texts[at - 1].lower() if at else ""
        after = tokens.texts[at + 1] if at + 1 < len(tokens.texts) else ""
        # "2. Add" and "Step 3" count the steps; they are no quantities.
        if not marks and ((first and after in _MARK) or before in ORDINALS or before == "#"):
            continue
        try:
            yield at, number(tokens.texts[at]).value
        except Refused:
            continue


def _results(step: ParsedText) -> tuple[tuple[tuple[int, int], Fraction], ...]:
    """What the step computes itself: the range from a relation sign to its result, and the value."""
    found = []
    for claim in step.once(claims_of):
        if isinstance(claim, Claim):
            try:
                value = exact(claim.right, {})
            except Refused:
                continue
            size = len(claim.right_text)
            found.append(((max(claim.span[0], claim.span[1] - size), claim.span[1]), value))
    return tuple(found)


def stated_in(*texts: ParsedText) -> frozenset[Fraction | int]:
    """The numbers that texts state, in digits and in words."""
    return frozenset[Fraction | int]().union(*(text.once(_stated) for text in texts))


def comes_from(value: Fraction, stated: frozenset[Fraction | int]) -> bool:
    """Whether a number is stated, or is per cent, a complement or cents of one that is."""
    return _explained(value, stated.__contains__)


def is_common(value: Fraction) -> bool:
    """Whether a number needs no source: counts of units, parts of a circle, halves."""
    return value in _CONSTANTS
