r"""What the problem, or an earlier step, says about signs and numbers: moduli, bases, operations, pi.

A refutation that such a convention may explain is no refutation. The reading is wide on purpose: a convention
too many makes a false claim abstain, one too few calls a right step wrong.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from verifiers.claims.find import Claim
from verifiers.claims.parsed import ParsedText, ParsedTexts
from verifiers.expressions.tree import Binary, Unary, walk

# "modulo 7", `\pmod{11}`, `\equiv`, "Z_5", "a field with 7 elements", "a 12-hour clock", "remainder".
_MODULAR = re.compile(
    r"\b(?:mod|modulo|modular|modulus|congruen\w*|remainders?|residues?|clock|[ZF]_\{?\d|(?:finite )?field)\b"
    r"|\\[bp]?mod|\\equiv|≡|\\mathbb\{?[ZF]\}?_",
    re.IGNORECASE,
)
# "base 8", "base $7$", "in base three", "binary", `25_7`, `101_{2}`; not "the base of the triangle 8".
_RADIX = r"\$?\\?\(?\s*(?:\d+|two|three|four|five|six|seven|eight|nine|eleven|twelve|sixteen|[bnk]\b)"
_BASED = re.compile(
    rf"\b(?:in|to|from|of)\s+base[ -]?{_RADIX}|\bbase-\d"
    rf"|\bbase[ -]?{_RADIX}\$?,? (?:num|digit|represent|arithmetic|expan|system)"
    r"|\b(?:number bases|different bases|binary|octal|hexadecimal|ternary|radix)"
    r"|(?<![A-Za-z_])\d+_\{?(?:\d|\\text|[bn]\b)",
    re.IGNORECASE,
)
# `a * b = ab + a`, `x \star y =`, "a # b means": an operator between letters that something is said of.
_OPERATION = re.compile(
    r"(?<![A-Za-z\\])[A-Za-z]\s*(?P<sign>[*#@&∗⋆○◦△▲□■♦⊕⊗~]|\\(?:star|ast|circ|diamond|odot|oplus|otimes|bullet))\s*"
    r"[A-Za-z](?![A-Za-z])\s*\$?\s*(?:=|is|be|means?|denotes?|stands)"
)
# Signs with a meaning of their own need plainer words: `x / y = 3` and `2^x = 8` are equations.
_COMMON = re.compile(
    r"(?<![A-Za-z\\])[A-Za-z]\s*(?P<sign>[/^!÷×])\s*[A-Za-z]?(?![A-Za-z])\s*\$?\s*(?:=|is|be|means?|denotes?|stands)"
)
_MEANS = re.compile(
    r"(?<![A-Za-z\\])[A-Za-z]\s*(?P<sign>[+-])\s*[A-Za-z]\s*\$?\s*(?:means?|denotes?|is defined)\b"
)
_NAMES_COMMON = re.compile(
    r"\b(?:operat(?:ion|or)s?|defin\w*|denot\w*|means?|for (?:all|any|every)|let n!)\b", re.I
)
_NAMES_OPERATION = re.compile(
    r"\b(?:operat(?:ion|or)s?|defin\w*|denot\w*|let|means?|for (?:all|any|every)|if)\b", re.I
)
# "a new operation + is defined by": only where the text speaks of an operation may plus and minus be others.
_PLUS_OPERATION = re.compile(r"\boperation\b", re.I)
_PI = re.compile(
    r"(?P<before>[\d./() ]*\d[\d./() ]*)\s*(?:for|as)\s*(?:the value of )?pi\b"
    r"|\bpi\s*(?:=|≈|is|by|as|to be|equals?|\(?approximately)\s*(?:approximately |about )?"
    r"(?P<after>[\d./() ]*\d[\d./() ]*)"
)
_SIGNS = {"*": {"*", "·"}, "/": {"/"}, "^": {"^"}, "!": {"!"}, "÷": {"/"}, "×": {"*", "·"}, "∗": {"*"}}


class Setting(NamedTuple):
    """The conventions that texts state."""

    moduli: frozenset[int] = frozenset()
    based: bool = False
    signs: frozenset[str] = frozenset()
    """Operators that may have a meaning of their own."""
    pi: Fraction | None = None


def setting_of(shared: ParsedTexts, before: int) -> Setting:
    """The conventions of the problem and of the steps before the one with this index, counted from 1."""
    found = shared.once(_settings)
    stated = [one for at, one in found if at < before]
    if not stated:
        return _NONE
    return Setting(
        frozenset().union(*(one.moduli for one in stated)),
        any(one.based for one in stated),
        frozenset().union(*(one.signs for one in stated)),
        next((one.pi for one in reversed(stated) if one.pi), None),
    )


_NONE = Setting()
_MOST_SETTINGS = 20
"""Texts of a solution that state a convention; a longer one repeats itself."""


def _settings(texts: tuple[ParsedText, ...]) -> tuple[tuple[int, Setting], ...]:
    found = ((at, text.once(_stated)) for at, text in enumerate(texts))
    return tuple((at, one) for at, one in found if one != _NONE)[:_MOST_SETTINGS]


def _stated(parsed: ParsedText) -> Setting:
    text = parsed.text
    moduli = _moduli(text) if _MODULAR.search(text) else frozenset()
    signs: set[str] = set()
    if _NAMES_OPERATION.search(text):
        for match in _OPERATION.finditer(text):
            signs |= _SIGNS.get(match["sign"], {"*", "·"})
    if _NAMES_COMMON.search(text):
        for match in _COMMON.finditer(text):
            signs |= _SIGNS[match["sign"]]
    signs |= {match["sign"] for match in _MEANS.finditer(text)}
    if _PLUS_OPERATION.search(text):
        signs |= {"+", "-", "*", "·", "/"}
    return Setting(moduli, _BASED.search(text) is not None, frozenset(signs), _pi(parsed))


# "modulo 7", `\pmod{11}`, "divided by 7", "Z_5", "mod $m = 7$", "12-hour clock", "7 elements".
_MODULUS = re.compile(
    r"(?:mod(?:ulo|ulus)?|divided by|[ZF]\}?_)\W{0,6}(?:is |of |[a-z] ?= ?)?\W{0,3}"
    r"(?P<after>\d{1,9}|[a-z]{3,5}\b)"
    r"|\b(?P<before>\d{1,4}|twelve|seven|five)[- ](?:hours?|elements?)",
    re.IGNORECASE,
)


def _moduli(text: str) -> frozenset[int]:
    said = [(match["after"] or match["before"]).lower() for match in _MODULUS.finditer(text)]
    found = {int(one) if one.isdigit() else _WORDS.get(one, 0) for one in said} - {0, 1}
    return frozenset(found | ({12, 24} if "clock" in text else set()))


_WORDS = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
}


def _pi(parsed: ParsedText) -> Fraction | None:
    if "pi" not in parsed.text and "π" not in parsed.text:
        return None
    for match in _PI.finditer(parsed.source.text):
        top, _, bottom = re.sub(r"[() ]", "", match["before"] or match["after"]).strip(".").partition("/")
        try:
            value = Fraction(top) / Fraction(bottom or 1)
        except (ValueError, ZeroDivisionError):
            continue
        if 3 <= value < Fraction(16, 5):
            return value
    return None


def explains(setting: Setting, claim: Claim, difference: Fraction | None) -> str:
    """Which convention may make a claim true whose sides differ by so much; empty where none may."""
    if setting == _NONE:
        return ""
    if setting.based:
        return "numbers may be written in another base"
    nodes = [node for side in (claim.left, claim.right) for node in walk(side)]
    if setting.signs & {node.op for node in nodes if isinstance(node, Binary | Unary)}:
        return "a sign may have a meaning of its own"
    if difference is None or not setting.moduli:
        return ""
    off = difference.numerator
    return "a remainder may be meant" if any(off % m == 0 for m in setting.moduli) else ""
