"""The one true sum of a step, seen in one pass: most steps show no more.

What the words around a sum may mean matters only where it is wrong; `claims` then weighs them. A true sum
holds whatever is said around it, provided that nothing there belongs to it, and that can be seen from the
characters. The verdict is the one that the full reading gives, for a quarter of its time.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

from verifiers.claims.words import COUNTS
from verifiers.expressions.parser import LONGEST, NUMBER, number, parse_tokens
from verifiers.expressions.tree import FUNCTIONS, Refused
from verifiers.expressions.values import exact

_LONGEST = 1_000
"""Characters. Longer steps seldom show one sum only, and are read in full."""
# " apples", " miles/hour", "/day": up to four words behind a number.
_UNIT = r"(?:(?: [A-Za-z]{2,}){1,4}(?:/[A-Za-z]{3,})?|/[A-Za-z]{3,})"
# `x` is a sign only between numbers: "3 x 4", "3x4", "3 x (4 + 1)"; "3 x" may be a symbol.
_SIGN = r"(?: ?[-+*/×] ?| x (?=[$0-9.])|(?<=[0-9]) x (?=\()|(?<=[0-9])x(?=[0-9])| – (?=[0-9]))"
# "$3", "20%", "(3 + 4)": brackets hold one row of numbers and no brackets.
_OPERAND = rf"\$?(?:(?:{NUMBER})%?|\((?:{NUMBER})(?: ?[-+*/] ?\$?(?:{NUMBER}))+\)){_UNIT}?"
_SUM = re.compile(
    # The first character is looked at first, as most positions are no sum's beginning.
    r"(?=[$(.0-9])"
    # It begins after a word or a mark, so that it is no end of a longer sum; no digit follows its result.
    r"(?:^|(?<=[A-Za-z0-9][.,;:] )|(?<=[A-Za-z]{2} )|(?<=[a-z]:))"
    rf"(?P<left>{_OPERAND}(?:{_SIGN}{_OPERAND})+) ?= ?\$?(?P<right>{NUMBER})(?![0-9,.]*[0-9])"
    r"(?:(?= (?P<unit>[A-Za-z]{2,}))|(?=[.,;] |[.;]?$))"
)
_PLAIN = re.compile(
    r"(?:[A-Za-z0-9 $'’,;:]|(?<=[A-Za-z0-9])\.(?=[ ]|$)|(?<=[0-9])\.(?=[0-9])|(?<=[0-9])%(?! *of[ $]+[.0-9])"
    r"|(?<=[A-Za-z]{2})-(?=[A-Za-z]{2})|(?<=[0-9])-(?=[A-Za-z]{3}))*+"
)
"""Text without a sign that could join a sum."""


def _begin(words: Iterable[str], after: str) -> Iterator[str]:
    # What stands before a word is looked at behind its first letter: a search for letters is fast.
    return (f"{word[0]}(?<![A-Za-z]{word[0]}){word[1:]}{after}" for word in sorted(words))


_COMPUTES = re.compile(
    "|".join(
        (
            *_begin(FUNCTIONS | {"pi"}, "(?![A-Za-z])"),
            *_begin(("x", "X", "times", "plus", "minus", "by"), "(?=[ $]*(?:[.0-9]|$))"),
            *(f"{digit} (?:is|equals) [0-9]" for digit in range(10)),
            "% of[ $]+$",
        )
    )
)
"""Words that a number makes a sign."""
_NOT_UNITS = COUNTS | FUNCTIONS | {"pi", "times", "plus", "minus", "and", "or"}
_UNITS = re.compile(_UNIT)
_WORD = re.compile("[A-Za-z]{2,}")
_FAR_X = re.compile("(?:[ /][A-Za-z]+){3} x ")
"""An `x` so far from the number before it may be a symbol."""
_AS_READ = str.maketrans("$×x–", " **-")
_TOKEN = re.compile(rf"{NUMBER}|[-+*/%()]")
_SIGNS = frozenset("+-*/%()")
_JOINS = frozenset("+-*/")


def true_sum(step: str) -> tuple[tuple[int, int], str] | None:
    """The span and text of the only sum in a step where it is true; None for any other step."""
    if step.count("=") != 1 or len(step) > _LONGEST:
        return None
    found = _SUM.search(step)
    if found is None:
        return None
    left, right = found["left"].lstrip("$"), found["right"]
    start, end = found.end("left") - len(left), found.end("right")
    if not (_PLAIN.fullmatch(step, 0, start) and _PLAIN.fullmatch(step, end)):
        return None
    if _COMPUTES.search(step, 0, start) or _COMPUTES.search(step, end):
        return None
    words = _WORD.findall(left)
    said = " ".join((_UNITS.sub("", left) if words else left).translate(_AS_READ).split())
    if words and not _only_units(words, left, said, found["unit"]):
        return None
    try:
        true = len(right) <= LONGEST and _value(_TOKEN.findall(said)) == _literal(right)
    except Refused:
        return None
    return ((start, end), f"{said} = {right}") if true else None


def _value(tokens: list[str]) -> Fraction | int:
    """The value of a row such as `3 + 4 * 5`, without a tree; of anything else the tree's."""
    numbers, signs = tokens[::2], tokens[1::2]
    is_row = len(numbers) > len(signs) and _JOINS.issuperset(signs) and _SIGNS.isdisjoint(numbers)
    # No row that is this short reaches the bound on the size of values.
    if not is_row or len(tokens) + sum(map(len, numbers)) > LONGEST:
        return exact(parse_tokens(tokens), {})
    total: Fraction | int = 0
    term = _literal(numbers[0])
    for sign, token in zip(signs, numbers[1:], strict=True):
        operand = _literal(token)
        if sign == "*":
            term *= operand
        elif sign == "/":
            term = _quotient(term, operand)
        else:
            total += term
            term = operand if sign == "+" else -operand
    return total + term


def _quotient(left: Fraction | int, right: Fraction | int) -> Fraction | int:
    if not right:
        raise Refused("domain", "division by zero")
    whole, rest = divmod(left, right)
    return Fraction(left) / right if rest else whole


@lru_cache(maxsize=4096)
def _literal(token: str) -> Fraction | int:
    """A number; a whole one as Python's integer, which is several times faster than its fraction."""
    value = number(token).value
    return value.numerator if value.denominator == 1 else value


def _only_units(words: list[str], left: str, said: str, unit: str | None) -> bool:
    """Whether the words of a sum are units that its result may leave out, and compute nothing."""
    if not _NOT_UNITS.isdisjoint(map(str.lower, words)) or _FAR_X.search(left):
        return False
    fraction = "/" in said and " / " not in said  # a quantity such as `1/2 a cup`, whose unit may convert
    return not fraction and (unit is not None or not ("+" in said or "-" in said))
