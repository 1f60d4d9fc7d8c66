"""Values of one label: "Boys = 87 - 43" and straight after it "Boys = 44", which is the value of the first.

Line breaks are often lost, so that the label is what stands alike before both signs.
"""

import re
from itertools import accumulate

from verifiers.claims.find import Claim
from verifiers.claims.parsed import LONGEST_STEP, ParsedText
from verifiers.claims.words import COUNTS, HEDGES, NEAR_HEDGES, REFUTES, ROUNDED, SOFT
from verifiers.expressions.parser import NUMBER, parse
from verifiers.expressions.tree import Binary, Expression, Refused

_MOST = 60
"""Signs of a step; more are a table."""
_FAR = 200
"""Characters back from a sign in which its label is looked for."""
# " pounds", " boxes per day": words that compute nothing, behind a number.
_UNIT = r"(?:/?(?: (?!x )[a-z]{2,}){0,3})"
_TERM = rf"\(?\$?(?:{NUMBER})%?{_UNIT}\)?"
# "87 - 43", "1245 pounds / 10 pounds", "2 * $33": two numbers with a sign between them, at least.
_ROW = re.compile(rf"{_TERM}(?:\s*[-+*/×÷x]\s*{_TERM})+[.;,]?")
_VALUE = re.compile(rf"\s*\$?(?P<value>(?:{NUMBER})%?)(?![\d,.]*\d)(?: (?P<unit>[a-z]+))?+(?!\s*[-+*/×÷^(=])")
# "Cost of the second pair of heels", straight before a sign.
_TAIL = re.compile(r"[A-Za-z’' ]*$")
_BEGINS = frozenset({"", "\n", ".", ":", ";", "*", "-", "•"})
"""What stands before a label, where it is told in small letters; after a number it would be a unit."""
_BULLETS = " \t\r\n*-•"
_WORDS = re.compile(r"[a-z]{2,}")
_AS_READ = str.maketrans("×÷x", "*/*", "$")
_COMPUTING = COUNTS | SOFT
_DOUBTFUL = HEDGES | REFUTES | ROUNDED | NEAR_HEDGES | {"if", "or", "when"}


def labelled(parsed: ParsedText) -> tuple[Claim, ...]:
    """The equations that a label makes of a calculation and of the value that it is given next."""
    text = parsed.text
    if not 2 <= text.count("=") <= _MOST or len(text) > LONGEST_STEP:
        return ()
    sides = text.split("=")
    starts = list(accumulate((len(side) + 1 for side in sides), initial=0))
    found = []
    for at in range(1, len(sides) - 1):
        claim = _claim(sides[at - 1], sides[at], sides[at + 1], starts[at])
        if claim is not None:
            found.append(claim)
    return tuple(found)


def _claim(before: str, middle: str, after: str, start: int) -> Claim | None:
    value = _VALUE.match(after)
    if value is None:
        return None
    label, again = (_TAIL.search(side[-_FAR:]) for side in (before, middle))
    if label is None or again is None:
        return None
    named, words = label[0].split(), again[0].split()
    size = _common(named, words, before[: len(before) - len(label[0])][-1:])
    if not size or not _DOUBTFUL.isdisjoint(word.lower() for word in words):
        return None
    row = middle[: len(middle) - len(again[0])] + " ".join(["", *words[:-size]])
    row = row.strip(_BULLETS)
    units = _WORDS.findall(row)
    if not _ROW.fullmatch(row) or not _COMPUTING.isdisjoint(units):
        return None
    left, right = _read(row), _read(value["value"])
    if not isinstance(left, Binary) or right is None:
        return None
    last = _WORDS.search(row, max(row.rfind(digit) for digit in "0123456789"))
    said = f"{' '.join(_WORDS.sub('', row).split())} = {value['value']}"
    span = (start + middle.find(row[0]), start + len(middle) + 1 + value.end("value"))
    return Claim(
        left,
        "=",
        right,
        said,
        value["value"],
        words=True,
        left_unit=last[0] if last else "",
        right_unit=value["unit"] or "",
        units=tuple(units[:-1]),
        span=span,
    )


def _common(named: list[str], words: list[str], mark: str) -> int:
    """How many words of the label stand alike before both signs; 0 where that is no label."""
    size = 0
    while size < min(len(named), len(words)) and named[-1 - size].lower() == words[-1 - size].lower():
        size += 1
    # The whole of one side, or from a capital on: "first pair of heels Cost of the second pair = ".
    while size and not named[-size][0].isupper() and (size < len(named) or mark not in _BEGINS):
        size -= 1
    return size if size > 1 or (size and len(named[-1]) > 3) else 0


def _read(row: str) -> Expression | None:
    try:
        return parse(_WORDS.sub("", row.translate(_AS_READ)).strip(".;, "))
    except Refused:
        return None
