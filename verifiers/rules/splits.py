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
_ANSWER = re.compile(r"(?:so|thus|therefore|hence),? the (?:final )?answer is (-?\d[\d,]*(?:\.\d+)?)", re.I)
_FEWEST = 3
"""Operations: a shorter expression is seldom cut."""
_POINTS = 5


def judged(texts: Texts) -> Judged:
    """The verdicts on the forms and final answers of each step."""
    problem = texts[0].once(_problem) if is_readable(texts) else None
    if problem is None:
        return nothing(texts)
    return tuple(
        tuple(checked for one in sentences_of(text.text) for checked in _checked(one, problem))
        for text in texts[1:]
    )


def _problem(parsed: ParsedText) -> tuple[Expression, Fraction] | None:
    """The expression that a problem consists of, with its value."""
    match = _PROBLEM.fullmatch(parsed.text) if len(parsed.text) <= 600 else None
    try:
        tree = parse(match[1]) if match else None
        if tree is None or sum(isinstance(node, Binary) for node in walk(tree)) < _FEWEST:
            return None
        return tree, exact(tree, {})
    except Refused:
        return None


def _checked(sentence: str, problem: tuple[Expression, Fraction]) -> list[Checked]:
    tree, value = problem
    if is_hedged(sentence):
        return []
    if match := _ANSWER.search(sentence + " "):
        said = Fraction(match[1].replace(",", ""))
        return [holds(match[0]) if said == value else fails(match[0], f"the value is {show(value)}")]
    match = _SPLIT.fullmatch(sentence)
    return [_split(sentence, match, tree, value)] if match else []


def _split(sentence: str, match: re.Match[str], tree: Expression, value: Fraction) -> Checked:
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
    if said != value:
        return fails(
            sentence, f"put together it is {show(said)}, and the problem's expression is {show(value)}"
        )
    # Equal values may be a coincidence: the form must be the problem's for all values of its parts.
    whole = _folded(tree, {part: Name(name) for name, part in parts.items()})
    return holds(sentence) if _same(form, whole, sorted(parts)) else unread(sentence)


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
