"""Long calculations cut into named parts: "This can be written as (A + B) * C, where A = ... and B = ...".

Whether the parts, put together, are the problem's expression is decided here, and the final answer; the
calculations in between are arithmetic's.
"""

import random
import re
from collections.abc import Mapping
from fractions import Fraction

from verifiers.calculation.checked import Checked
from verifiers.claims.parsed import ParsedText
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Binary, Call, Expression, Name, Refused, Unary, names, replaced, walk
from verifiers.expressions.values import exact, show
from verifiers.rules.spoken import (
    Judged,
    Texts,
    fails,
    holds,
    is_hedged,
    is_readable,
    nothing,
    sentences_of,
    unread,
)

# The whole problem is an expression: `((5 + 2) * (3 - -2)) =`, "Calculate (1 + 2) * 3."
_PROBLEM = re.compile(
    r"(?:(?:calculate|compute|evaluate|simplify|what is|find)\s*:?\s*)?([-+*/()\d\s.]+?)\s*"
    r"(?:=\s*\??|[.?])?\s*",
    re.I,
)
_SPLIT = re.compile(
    r"(?:this|the) (?:equation|expression|problem|calculation) can be (?:re)?written as"
    r"\s*[\"'`“]?(?P<form>[-+*/()\sA-Z]+?)[\"'`”]?,? where (?P<parts>.+)",
    re.I,
)
_PART = re.compile(
    r"(?:,\s*and\s+|,\s*|\s+and\s+)?\b([A-Z]) = ([-+*/()\d\s.]+?)(?=,?\s+and\s+[A-Z] = |,\s*[A-Z] = |$)"
)
# "Let's calculate A = (5 + 2) = 7", "Then, the final equation is A - B = 7 - (-3) = 10".
_PUT_IN = re.compile(
    r"(?:let's calculate|let us calculate|we calculate"
    r"|(?:then|so|finally|now),? (?:the )?(?:final )?(?:equation|result)? ?(?:is|we have)?)?"
    r"\s*(?P<form>[-+*/()\sA-Z]*[A-Z][-+*/()\sA-Z]*?)\s*=\s*(?P<numbers>[-+*/()\d\s.=]+)",
    re.I,
)
_ANSWER = re.compile(r"(?:so|thus|therefore|hence),? the (?:final )?answer is (-?\d[\d,]*(?:\.\d+)?)", re.I)
_FEWEST = 3
"""Operations: a shorter expression is seldom cut."""
_POINTS = 5
_LONGEST = 600
"""Characters of a problem, or of a sentence."""


def judged(texts: Texts) -> Judged:
    """The verdicts on the forms and final answers of each step."""
    problem = texts[0].once(_problem) if is_readable(texts) else None
    if problem is None:
        return nothing(texts)
    reader = _Reader(*problem)
    return tuple(
        tuple(checked for one in sentences_of(text.text) for checked in reader.sentence(one))
        for text in texts[1:]
    )


def _problem(parsed: ParsedText) -> tuple[Expression, Fraction] | None:
    """The expression that a problem consists of, with its value."""
    match = _PROBLEM.fullmatch(parsed.text) if len(parsed.text) <= _LONGEST else None
    try:
        tree = parse(match[1]) if match else None
        if tree is None or sum(isinstance(node, Binary) for node in walk(tree)) < _FEWEST:
            return None
        return tree, exact(tree, {})
    except Refused:
        return None


class _Reader:
    """Goes through the sentences and keeps what the parts are called."""

    def __init__(self, tree: Expression, value: Fraction) -> None:
        self._tree, self._value = tree, value
        self._parts: dict[str, Expression] = {}

    def sentence(self, sentence: str) -> list[Checked]:
        # The patterns below take time that grows with the square of a sentence's length.
        if len(sentence) > _LONGEST or is_hedged(sentence):
            return []
        if match := _ANSWER.search(sentence + " "):
            said = Fraction(match[1].replace(",", ""))
            is_right = said == self._value
            return [holds(match[0]) if is_right else fails(match[0], f"the value is {show(self._value)}")]
        if match := _SPLIT.fullmatch(sentence):
            return [self._split(sentence, match)]
        match = _PUT_IN.fullmatch(sentence)
        return self._put_in(match["form"], match["numbers"]) if match else []

    def _split(self, sentence: str, match: re.Match[str]) -> Checked:
        parts, at = dict[str, Expression](), 0
        try:
            form = parse(match["form"].strip())
            for part in _PART.finditer(match["parts"]):
                if part.start() != at or part[1] in parts:
                    return unread(sentence)
                parts[part[1]], at = parse(part[2].strip()), part.end()
            if match["parts"][at:].strip(" .") or not names(form) <= parts.keys():
                return unread(sentence)
            said = exact(replaced(form, parts), {})
        except Refused:
            return unread(sentence)
        self._parts = parts
        if said != self._value:
            return fails(
                sentence, f"put together it is {show(said)}, and the problem's is {show(self._value)}"
            )
        # Equal values may be a coincidence: the form must be the problem's for all values of its parts.
        whole = _folded(self._tree, {part: Name(name) for name, part in parts.items()})
        return holds(sentence) if _same(form, whole, sorted(parts)) else unread(sentence)

    def _put_in(self, form: str, numbers: str) -> list[Checked]:
        """`A - B = 71 - 17 = 54`: what the parts come to, put into a form of them."""
        try:
            tree = parse(form.strip())
            if not names(tree) or not names(tree) <= self._parts.keys():
                return []
            right = exact(replaced(tree, self._parts), {})
            said = [exact(parse(link.strip()), {}) for link in numbers.split("=")]
        except Refused:
            return []
        text = f"{form.strip()} = {numbers.strip()}"
        if said[0] != right:
            return [fails(text, f"{form.strip()} is {show(right)}")]
        # Where a later link goes wrong, arithmetic finds the place.
        return [holds(text)] if set(said) == {right} else []


def _folded(tree: Expression, named: Mapping[Expression, Name]) -> Expression:
    """The tree with the names of its parts in place of them."""
    if tree in named:
        return named[tree]
    match tree:
        case Unary(op, operand):
            return Unary(op, _folded(operand, named))
        case Binary(op, left, right):
            return Binary(op, _folded(left, named), _folded(right, named))
        case Call(function, args):
            return Call(function, tuple(_folded(arg, named) for arg in args))
    return tree


def _same(form: Expression, whole: Expression, symbols: list[str]) -> bool:
    rng = random.Random(" ".join(symbols))
    for _ in range(_POINTS):
        point = {name: Fraction(rng.randint(2, 97), rng.randint(3, 17)) for name in symbols}
        try:
            if exact(form, point) != exact(whole, point):
                return False
        except Refused:
            return False
    return True
