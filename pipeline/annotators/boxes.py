r"""Which boxes of a reply hold a verdict.

`\boxed{2}` may as well be the answer of the problem that is reviewed, a result on the way, or a quotation.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.annotators.wording import FAULT, FIRST, NUMBERED, UNIT, Said, value_of

# `\boxed{2}`, `\boxed 2`, and `\x08oxed{2}`, which a JSON parser makes of `\b`.
_BOX = re.compile(r"(?:\\{0,4}f?boxed|\\fbox|\x08oxed)\s*(?:\{|(-?\d{1,4})\b)")
_BOXES = 50
"""Boxes that are looked at, the last ones."""
_WHOSE = r"(?:solution|student|author|writer|original|problem|question|answer key)(?:'s)?"
_GIVES = (
    r"(?:answer|result|conclu\w+|writes?|wrote|says?|said|stat\w+|claim\w*|gives?|gave|box\w*|ends?|reach\w*|"
    r"reports?|obtain\w*|gets?|got|arriv\w*|find\w*|comput\w+|calculat\w+|determin\w+|deriv\w+|leads?)"
)
_QUOTED = re.compile(
    rf"\b{_WHOSE}\s+(?:\w+\s+){{0,2}}{_GIVES}\b|\b{UNIT}\s+\d+,?\s+(?:\w+\s+)?{_GIVES}\b|"
    rf"\b(?:final|last)\s+{UNIT}\s+(?:\w+\s+)?{_GIVES}\b|"
    r"\b(?:correct(?:ed)?|right|true|actual|expected|intended|given|reference|proper|wrong|incorrect|erroneous|its|their)"
    r"\s+(?:final\s+)?(?:answer|result|value|total|sum)\b|"
    rf"\b(?:answer|result|value|sum|total|it|this|that|which|{UNIT}\s+\d+)\s+(?:should|would|must)\s+(?:be|have)\b|"
    rf"\b(?:value|number|term|expression|figure)\s+(?:in|of)\s+{UNIT}\s+\d+|\bnumber\s+of\s+\w+\W*$|"
    r"\b(?:confidence|score|rating|grade|points?)\b|\bgiv(?:es|ing)\b|\bbecomes?\b|\bagree\b|"
    r"\banswer\s+(?:in|of)\s+the\s+solution\b|\b(?:is|are)\s+(?:correct|right)\b|"
    r"\b(?:I|we)\s+(?:also\s+|too\s+)?(?:get|got|obtain|compute|calculate|arrive)\b|\b(?:yields?|equals?)\b|"
    r"\binstead\s+of\b|\brather\s+than\b|=\s*$|\bto\s+(?:the|this)\s+(?:\w+\s+)?problem\b",
    re.IGNORECASE,
)
_AT = re.compile(rf"\b{UNIT}\s*$", re.IGNORECASE)
_REDONE = re.compile(
    r"\b(?:correct(?:ed)?|proper|right|fixed|revised)\s+(?:version|solution|working|calculations?|steps?)\b[^.\n]{0,40}:",
    re.IGNORECASE,
)
"""From here on the judge solves the problem itself."""
_SOLVES = re.compile(r"\d\s*[-+*/=^]\s*\d|=\s*-?\d|\\(?:frac|times|cdot|sqrt)\b")
_STATES = re.compile(r"(?:\b[^\W\d_]{2,}\b[^\n\\]{0,80}?){2}\s\d+(?![\d%])|(?:\b[^\W\d_]{2,}\b\W+){5}")
"""Words about numbers, or more words than "the final answer is"."""
_COUNTED = re.compile(
    r"\}?[\s$]*(?!(?:and|as|because|since|where|which|due|is|but|so|with|for|in|at)\b)[a-z]{3,}\W*(?:\n|$)"
)
"""What follows the number in a box where it counts something: a unit."""
_REVIEWS = re.compile(
    rf"\b(?:{UNIT}|err\w+|paragr\w+|mistakes?|flaws?|(?:in)?correct\w*|wrong|right|review|verdict|check\w*|fine|"
    r"valid|sound|solution|student|compar\w+|verif\w+|fix(?:ed|ing)|number|index|indices|not\s+-?\d+|"
    r"fehler\w*|falsch\w*|faux|fausses?|schritt\w*|abs[aä]tz\w*|lösung\w*|p[aá]rrafos?|par[aá]grafos?|soluci[oó]n|"
    r"soluç\w+|soluzion\w+|pasos?|[ée]tapes?|pass[oi])\b"
    r"|[\u0400-\uffff]",
    re.IGNORECASE,
)
_NAMES = re.compile(rf"\b(?:{UNIT}|{FAULT}s?|index|verdict|earliest|first)\b", re.IGNORECASE)
"""Words before a box that make it a verdict, and not the answer of the problem."""
_SIDE_BY_SIDE = re.compile(r"[\s,;/$]*(?:\b(?:or|and)\b[\s$]*)?")
BACK = re.compile(
    r"(?:^|[.!?\n)]\s*)(?:(?:but|so|oh|hm+),?\s+)?(?:wait|hold on|actually|on second|correction)\b",
    re.IGNORECASE,
)
"""A reply that begins to think again after its verdict."""
# "Final answer:" before a box says what the box is, not what it is about.
_LABEL = re.compile(
    r"\W*(?:my\s+)?(?:final\s+)?(?:answer|verdict|conclusion|result|output)\W*", re.IGNORECASE
)


_SAYS_NOTHING = re.compile(
    r"\b(?:(?:so|thus|therefore|hence),?\s+)?(?:the|my)\s+(?:final\s+)?(?:answer|verdict|result|output)\s+(?:is|are)\b",
    re.IGNORECASE,
)
"""Words that lead to any box: that of a review, and that of a solution."""


def is_review(text: str) -> bool:
    """Whether a text speaks of the solution at all: a judge may have solved the problem instead."""
    text = _SAYS_NOTHING.sub("", text)
    return bool(_REVIEWS.search(text)) or not (_SOLVES.search(text) or _STATES.search(text))


class Box(NamedTuple):
    """A box of a reply: where it begins and ends, what it holds (None when it is not closed), the sentence
    before it, and whether it stands right beside the box before it."""

    at: int
    end: int
    inner: str | None
    before: str
    beside: bool


def boxed(text: str) -> Iterator[Box]:
    """Every box that may hold a verdict; empty ones and those that quote an answer are passed over."""
    redone, end = _REDONE.search(text), -1
    for match in list(_BOX.finditer(text))[-_BOXES:]:
        inner = match[1] or _inside(text, match.end())
        beside = end > 0 and bool(_SIDE_BY_SIDE.fullmatch(text, end, match.start()))
        end = match.end() + (0 if match[1] or inner is None else len(inner) + 1)
        if inner is not None and not inner.strip():
            continue  # an echo of "in \boxed{}"
        if redone and match.start() > redone.start():
            continue
        before = _before(text, match.start())
        if _QUOTED.search(before) and not (FIRST.search(before) or _AT.search(before)):
            continue
        yield Box(match.start(), end, inner, before, beside)


def boxes(text: str) -> Iterator[Said]:
    """Every box that holds one number or says that there is no error."""
    earlier = None
    for at, end, inner, before, beside in boxed(text):
        number = None if inner is None else value_of(inner)
        why = "its box is not closed" if inner is None else "its box holds no number of a step"
        loose = bool(before.strip()) and not _NAMES.search(before) and not _LABEL.fullmatch(before)
        if number is not None and repeats(number, text, at):
            number, why = None, "its box repeats what was calculated"
        if number is not None and number >= 0 and _COUNTED.match(text, end):
            number, why = None, "its box counts something"
        if beside and number != earlier:
            number, why = None, "it gives two boxes"
        earlier = number
        yield Said(at, number, "" if number is not None else why, loose)


def repeats(number: int, text: str, at: int) -> bool:
    """Whether a box holds the last result before it, and no step of that number is spoken of."""
    results = re.findall(r"=\s*(-?\d+)\b(?![.,]?\d)", text[max(0, at - 400) : at])
    return results[-1:] == [str(number)] and number not in {int(n) for n in NUMBERED.findall(text)}


def _inside(text: str, start: int) -> str | None:
    """What stands in the braces that were opened just before `start`; None when nothing closes them soon."""
    depth = 1
    for at in range(start, min(len(text), start + 150)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start:at]
    return None


def _before(text: str, at: int) -> str:
    """The sentence before a place, of the line before where the line itself is empty and that one ends in a
    colon."""
    lines = [line.strip() for line in text[max(0, at - 400) : at].split("\n")]
    line = lines.pop()
    while not line and lines:
        line = lines.pop()
        if line and not line.endswith((":", "=", "is")):
            return ""
    if line.endswith((".", "!", "?", ";")):
        return ""
    sentence = re.split(r"(?<=[.!?;])\s", line)[-1]
    return re.split(r"\b(?:so|thus|therefore|hence)\b,?", sentence, flags=re.IGNORECASE)[-1]
