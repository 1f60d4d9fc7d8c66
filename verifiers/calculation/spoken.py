"""Calculations and comparisons in words: "subtracting 3 from 10 leaves 7", "half of 14 is 7", "21 points,
which is less than 20", "7.5 pounds is half a pound more than 7".

Each form is read whole. A number that another word may compute with, and a sentence that supposes, asks or
denies, are left alone.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from verifiers.claims.find import Claim, Relation
from verifiers.claims.parsed import LONGEST_STEP, ParsedText
from verifiers.claims.units import factor, singular
from verifiers.claims.words import BEFORE, COUNTS, HEDGES, ORDINALS, REFUTES, ROUNDED, SOFT
from verifiers.expressions.parser import NUMBER
from verifiers.expressions.tree import Binary, Number

_NO_UNIT = "|".join(
    sorted(
        COUNTS
        | SOFT
        | frozenset(
            "and or from to by of for in at on gives give makes leaves yields per each so we which".split()
        )
    )
)
# "7 apples", "$7", "7%", "the 7 red apples": a unit has one or two words that compute nothing.
_UNIT = rf"(?:%|(?: (?!(?:{_NO_UNIT})\b)[a-z]{{2,}}){{0,2}})"
_QUANTITY = rf"(?:the )?\$?(?P<NAME>{NUMBER})(?P<NAME_unit>{_UNIT})"
# What follows must begin another thought: not "3 times" and not "5 + 2".
_END = r"(?=\s*$|[.,;:)](?:\s|$)|\s*\n| (?:so|and|but|which|because|since)\b(?! \$?\d))"
_GIVES = (
    r",? (?:which |we |you |to )?(?:gives?|get|gets|leaves?|equals?|is|makes?|yields?)"
    r"(?: us| him| her| them| you)? "
)
_SHARES = {
    "half": Fraction(1, 2), "one half": Fraction(1, 2), "one-half": Fraction(1, 2), "a half": Fraction(1, 2),
    "a third": Fraction(1, 3), "one third": Fraction(1, 3), "one-third": Fraction(1, 3),
    "two thirds": Fraction(2, 3), "two-thirds": Fraction(2, 3), "a quarter": Fraction(1, 4),
    "one fourth": Fraction(1, 4), "one-fourth": Fraction(1, 4), "a fourth": Fraction(1, 4),
    "three quarters": Fraction(3, 4), "three-quarters": Fraction(3, 4), "three-fourths": Fraction(3, 4),
    "a fifth": Fraction(1, 5), "one-fifth": Fraction(1, 5), "a tenth": Fraction(1, 10),
    "twice": Fraction(2), "double": Fraction(2), "triple": Fraction(3), "three times": Fraction(3),
    "four times": Fraction(4), "five times": Fraction(5),
}  # fmt: skip
_SHARE = rf"(?P<share>{'|'.join(sorted(_SHARES, key=len, reverse=True))})"


def _quantity(name: str) -> str:
    return _QUANTITY.replace("NAME", name)


_A, _B, _C = map(_quantity, ("a", "b", "c"))
_OPERATED = re.compile(
    rf"\b(?P<verb>add|subtract|multiply|divid|multipli)(?:ing|e)? {_A} (?P<by>and|to|from|by) {_B}"
    rf"{_GIVES}{_C}{_END}",
    re.I,
)
_NAMED = re.compile(
    rf"\b(?P<kind>sum|difference|product) (?P<by>of|between) {_A} and {_B} (?:is|equals) {_C}{_END}", re.I
)
_OF = re.compile(rf"(?<![\w-]){_SHARE} (?:of )?{_B} (?:is|equals|gives) {_A}{_END}", re.I)
_IS_SHARE = re.compile(
    rf"{_A} (?:is|equals) {_SHARE} (?:of|as (?:many|much|long|old|large|big) as) {_B}{_END}", re.I
)
_FEWER = r"(?P<order>less|fewer|smaller|lower|more|greater|larger|higher|bigger)"
_THAN = re.compile(rf"{_A},? (?:which is|is|are) {_FEWER} than {_B}{_END}", re.I)
_MORE = re.compile(
    rf"{_A},? (?:which is|is|are) (?:\$?(?P<k>{NUMBER})(?P<k_unit>(?: (?!times|percent)[a-z]{{2,}})?)|"
    rf"(?P<half>half an? [a-z]{{2,}})) {_FEWER} than {_B}{_END}",
    re.I,
)
_OPERATIONS = {"add": "+", "subtract": "-", "divid": "/", "sum": "+", "difference": "-", "product": "*"}
# What may stand straight before the first number: a word that does not compute, or a mark.
_LEAD = re.compile(r"(?:^|[.,;:(!?\n*]\s*|[A-Za-z’']\s+)\$?$")
_LAST_WORD = re.compile(r"([A-Za-z’']+)\s+\$?$")


def spoken(parsed: ParsedText) -> tuple[Claim, ...]:
    """The claims of a step that are told in words, as relations of numbers."""
    text = parsed.text
    if len(text) > LONGEST_STEP:
        return ()
    forms = _forms_in(text)
    if not forms:
        return ()
    found: list[Claim] = []
    for pattern, read in forms:
        read_here = (read(match) for match in pattern.finditer(text) if _stands_alone(text, match))
        found += [claim for claim in read_here if claim is not None]
    return tuple(found)


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    """Whether nothing before belongs to the first number, and the sentence claims what it says."""
    begin = max(text.rfind(mark, 0, match.start()) for mark in (". ", "? ", "! ", "\n")) + 1
    before = text[begin : match.start()]
    if not _LEAD.search(before) and before:
        return False
    last = _LAST_WORD.search(before)
    if last and not _BOUND.isdisjoint({last[1].lower(), singular(last[1].lower())}):
        return False
    if last and _joins(before, last, match[0]):
        return False
    ends = [end for mark in (".", "?", "!", "\n") if (end := text.find(mark, match.end())) >= 0]
    sentence = text[begin : min(ends, default=len(text)) + 1]
    said = set(_WORD.findall(sentence.lower()))
    return said.isdisjoint(_DOUBTFUL) and "?" not in sentence and _SUPPOSES.search(before) is None


def _joins(before: str, last: re.Match[str], said: str) -> bool:
    """Whether "and" joins the number to another: "5 apples and 7", "one and one-half of 20"; but not
    "whole toys, and 7"."""
    return last[1].lower() == "and" and (said[0].isalpha() or any(map(str.isdigit, before[-_NEAR:])))


_NEAR = 40
"""Characters back from an "and" in which another number may stand that it joins."""
_WORD = re.compile("[a-z]+")
_DOUBTFUL = HEDGES | REFUTES | ROUNDED
_BOUND = BEFORE | ORDINALS | {"as", "is", "are", "of", "not", "least", "most", "another", "only", "or", "x"}
_SUPPOSES = re.compile(
    r"\b(?:if|whether|until|unless|when|while|suppose|would|should|not|never|\w+n[’']t)\b", re.I
)


def _claim(match: re.Match[str], left: Binary | Number, relation: Relation, right: Number) -> Claim:
    """The relation in signs, as reasons show it: `10 - 3 = 7`."""
    said = f"{_shown(left)} {relation} {right.text}"
    return Claim(left, relation, right, said, right.text, words=True, span=match.span())


def _shown(side: Binary | Number) -> str:
    if isinstance(side, Number):
        return side.text
    terms = [one.text if isinstance(one, Number) else "" for one in (side.left, side.right)]
    return f"{terms[0]} {side.op} {terms[1]}"


def _number(text: str) -> Number:
    return Number(Fraction(text.replace(",", "")), text)


def _read(match: re.Match[str], name: str) -> Number:
    number = _number(match[name])
    if match[f"{name}_unit"] == "%":
        return Number(number.value / 100, f"{number.text}%")
    return number


def _units(match: re.Match[str], *names: str) -> set[str]:
    """The units of quantities; the last word of "red apples" is one."""
    said = (match[f"{name}_unit"].split()[-1:] for name in names)
    return {singular(unit[0].lower()) for unit in said if unit}


def _operated(match: re.Match[str]) -> Claim | None:
    verb, by = match["verb"].lower(), match["by"].lower()
    allowed = {"add": {"and", "to"}, "subtract": {"from"}, "divid": {"by"}}
    if by not in allowed.get(verb, {"by", "and"}):
        return None
    left, right = _read(match, "a"), _read(match, "b")
    if verb == "subtract":
        left, right = right, left
    return _calculated(match, Binary(_OPERATIONS.get(verb, "*"), left, right))


def _named(match: re.Match[str]) -> Claim | None:
    left, right = _number(match["a"]), _number(match["b"])
    if match["kind"].lower() == "difference" and left.value < right.value:
        left, right = right, left
    return _calculated(match, Binary(_OPERATIONS[match["kind"].lower()], left, right))


def _calculated(match: re.Match[str], tree: Binary) -> Claim | None:
    units = _units(match, "a", "b")
    # Only units of which none converts into another.
    every = units | _units(match, "c")
    if any(factor(a, b) for a in every for b in every if a != b) or (
        tree.op in {"+", "-"} and len(every) > 1
    ):
        return None
    return _claim(match, tree, "=", _read(match, "c"))


def _share(match: re.Match[str]) -> Claim | None:
    units = _units(match, "a", "b")
    if len(units) > 1:
        return None
    size = _SHARES[match["share"].lower()]
    part = Number(size, str(size))
    return _claim(match, Binary("*", part, _read(match, "b")), "=", _read(match, "a"))


def _ordered(match: re.Match[str]) -> Claim | None:
    if not _alike(match):
        return None
    relation: Relation = "<" if match["order"].lower() in _DOWN else ">"
    return _claim(match, _read(match, "a"), relation, _read(match, "b"))


_DOWN = frozenset({"less", "fewer", "smaller", "lower"})


def _alike(match: re.Match[str]) -> bool:
    """Whether two quantities have one unit, or one has none that could be told in another."""
    units = _units(match, "a", "b")
    percent = {match[f"{name}_unit"] == "%" for name in ("a", "b")}
    both = match["a_unit"] and match["b_unit"]
    return (
        len(percent) == 1 and len(units) < 2 and bool(both or not any(factor(unit, unit) for unit in units))
    )


def _differs(match: re.Match[str]) -> Claim | None:
    if not _alike(match):
        return None
    by = Number(Fraction(1, 2), "1/2") if match["half"] else _number(match["k"])
    said = (match["half"] or match["k_unit"] or "").split()[-1:]
    units = _units(match, "a", "b") | {singular(unit.lower()) for unit in said}
    if len(units) > 1 or (match["half"] and not _units(match, "a", "b")):
        return None
    tree = Binary("-" if match["order"].lower() in _DOWN else "+", _read(match, "b"), by)
    return _claim(match, tree, "=", _read(match, "a"))


_Form = tuple[re.Pattern[str], Callable[[re.Match[str]], Claim | None]]


def _forms_in(text: str) -> list[_Form]:
    """The forms of which a text has the words: a quick look, as most steps have none."""
    found: list[_Form] = []
    if "dd" in text or "ubtract" in text or "ultipl" in text or "ivid" in text:
        found.append((_OPERATED, _operated))
    if "sum of" in text or "erence " in text or "product of" in text:
        found.append((_NAMED, _named))
    shares = "alf " in text or "third" in text or "quarter" in text or "wice " in text or " times " in text
    compares = " than " in text
    if not found and not shares and not compares:
        return found
    said = text.lower()
    equates = " is " in said or " equals " in said
    if shares:
        if equates or " gives " in said:
            found.append((_OF, _share))
        if " is " in text or "equals" in text:
            found.append((_IS_SHARE, _share))
    if compares and (" is " in said or " are " in said):
        found += [(_THAN, _ordered), (_MORE, _differs)]
    return found
