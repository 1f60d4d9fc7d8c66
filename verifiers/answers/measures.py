"""Answers that are one number, with a unit, a percent sign or a currency: read, and compared by value."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from verifiers.answers.notation import SEPARATOR
from verifiers.claims import units
from verifiers.claims.words import AFTER, GLUED_UNITS, SCALES

_CHANGING = frozenset(
    """
and or to times plus minus hundred hundreds thousand thousands million millions billion billions trillion
dozen k x i e pi sqrt sin cos tan log infinity half
""".split()
)
"""Words that make another number of the one before them, or none, wherever they stand behind it."""
_NOT_UNITS = AFTER | _CHANGING | (SCALES.keys() - {"percent", "cent", "cents"})
"""The same straight after it."""
# One or two letters are a unit only if they are one of these: `5 m` is 5 metres, `5 q` is a product.
_SHORT_UNITS = GLUED_UNITS - _NOT_UNITS | frozenset("j n w v c f kw kn hz pa mi yd sq gb mb kb ms".split())
# Signs of money are units that stand before their number.
_MONEY = {"$": "dollar", "€": "euro", "£": "pound sterling", "¥": "yen", "₹": "rupee", "¢": "cent"}
_ALIASES = {
    "usd": "dollar",
    "us dollar": "dollar",
    "in": "inch",
    "sec": "second",
    "hr": "hour",
    "eur": "euro",
    "gbp": "pound sterling",
}
_POWER = r"(?:\s?\^\s?\{?-?\d\}?|[²³])?"
_UNIT = rf"[A-Za-z][A-Za-z .]*{_POWER}(?:\s?/\s?[A-Za-z]+{_POWER})?"
"""Any words may be a unit here, such as `cm`, `square feet`, `m/s^2`; `_is_unit` looks at them one by one."""
_TWO_UNITS = re.compile(r"(\d+)\s?([A-Za-z]+)\.?,? (?:and )?(\d+(?:\.\d+)?)\s?([A-Za-z]+)\.?")
"""`5 dollars and 50 cents`, `2 hours 30 minutes`, `5 ft 6 in`."""
_SCALES = SCALES | {"wan": 10**4, "yi": 10**8}
"""Also 万 and 亿, as `verifiers.answers.chinese` writes them."""
_SHORT = {"h": "hour", "hr": "hour", "hrs": "hour", "in": "inch", "sec": "second", "s": "second", "lbs": "lb"}
"""Units that are short for others where two stand together."""
_MULTIPLE = re.compile(
    r"(?<=[\d.])\s*(hundred|thousand|million|billion|trillion|dozen|wan|yi)s?\b\s*(?:of\s+)?"
)
_QUANTITY = re.compile(
    # `x = `, then a mixed number `1 1/2`, a decimal `1.5`, `1.5e3`, or a fraction `3/2`, then `%` and a unit.
    r"(?:(?P<name>\\?[A-Za-z]+(?:_\{?\w+\}?)?)\s*=\s*)?(?P<sign>[-+]?)\s*"
    r"(?:(?P<whole>\d+)\s+(?:and\s+)?(?P<top>\d+)\s*/\s*(?P<bottom>\d+)"
    r"|(?P<number>\d+(?:\.\d*)?|\.\d+)(?:[eE](?P<ten>[-+]?\d{1,3})|\s*/\s*(?P<under>\d+))?)"
    rf"(?P<percent>\s*(?:%|per\s?cent(?:age)?\b|pct\b))?(?P<space>\s*)(?:\((?P<bracketed>{_UNIT})\)|(?P<unit>{_UNIT}))?\.?"
)
# Whole numbers are most of all answers and need nothing else. More digits than these are no answer.
_DIGITS = re.compile(r"-?\d{1,300}")
_SURE_DEGREES = 10
"""From here on an angle without a unit is meant in degrees, where the other side says so."""
_LONGEST_NUMBER = 400
"""Characters: the text around a number of `_DIGITS` digits."""


@dataclass(frozen=True)
class Quantity:
    """A value with the digits after its decimal point, and what stands around it."""

    value: Fraction
    decimals: int = 0
    percent: bool = False
    unit: str = ""
    name: str = ""
    """The unknown that it was said of, as in `x = 5`."""
    multiple: int = 1
    """What a word multiplied it by: `million` in `2.5 million`."""


_FRACTION = re.compile(
    r"(\d)?\s*\\[dtc]?frac\s*(?:\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|(\d)\s*(?:(\d)|\{(\d+)\}))"
)
_TAIL = re.compile(rf"(?P<rest>.*?(?:[\d)}}\]]|\w\s)\s*)(?P<unit>{_UNIT})", re.DOTALL)


def slashed(text: str) -> str:
    r"""Fractions of whole numbers with a slash: `2\frac{3}{4}` as `2 3/4`."""
    if "frac" not in text:
        return text
    return _FRACTION.sub(lambda m: f"{m[1] + ' ' if m[1] else ''}{m[2] or m[4]}/{m[3] or m[5] or m[6]}", text)


def without_unit(text: str) -> tuple[str, str]:
    r"""A value and the unit behind it: `2\sqrt{3} cm`. Behind a symbol a letter may be a factor."""
    match = _TAIL.fullmatch(text) if text[-1:].isalpha() or text[-1:] in {"}", "2", "3"} else None
    if match is None:
        return text, ""
    rest, unit, spaced = match["rest"].rstrip(), _unit(match["unit"]), match["rest"][-1:].isspace()
    base = unit.partition("^")[0]
    if re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+|\bpi\b", "", rest)):
        sure = spaced and len(base) > 1 and units.factor(base, base) is not None
    else:
        sure = _is_unit(unit, attached=not spaced, symbols=True)
    return (rest, unit) if sure else (text, "")


def quantity(text: str, *, symbols: bool) -> Quantity | None:
    """The number that a tidied answer is. With `symbols` a letter straight after it is no unit: `2m`."""
    if _DIGITS.fullmatch(text):
        return Quantity(Fraction(int(text)))
    money = [sign for sign in _MONEY if sign in text]
    if len(money) > 1 or len(text) > _LONGEST_NUMBER:
        return None
    for sign in money:
        text = text.replace(sign, "", 1).strip()
    if two := _TWO_UNITS.fullmatch(text):
        scale = units.factor(_SHORT.get(two[4], two[4]), _SHORT.get(two[2], two[2]))
        # The smaller unit is in the second place: 50 cents are half of one dollar.
        if scale is None or scale >= 1:
            return None
        unit = _unit(_SHORT.get(two[2], two[2]))
        return Quantity(int(two[1]) + Fraction(two[3]) * scale, unit=unit)
    multiple = _MULTIPLE.search(text)
    if multiple:
        text = f"{text[: multiple.start()]} {text[multiple.end() :]}".strip()
    match = _QUANTITY.fullmatch(text)
    if match is None or "0" in {match["bottom"], match["under"]}:
        return None
    unit = _unit(match["bracketed"] or match["unit"] or "")
    if unit and not _is_unit(unit, attached=not match["space"], symbols=symbols and not money):
        return None
    value, decimals = _value(match)
    value = -value if match["sign"] == "-" else value
    times = _SCALES[multiple[1]] if multiple else 1
    return Quantity(
        value * times,
        0 if multiple else decimals,
        match["percent"] is not None,
        _MONEY[money[0]] if money else unit,
        match["name"] or "",
        times,
    )


def _value(match: re.Match[str]) -> tuple[Fraction, int]:
    if match["whole"]:
        return int(match["whole"]) + Fraction(int(match["top"]), int(match["bottom"])), 0
    value = Fraction(match["number"].removesuffix("."))
    if match["ten"]:
        return value * Fraction(10) ** int(match["ten"]), 0
    return value / int(match["under"] or 1), len(match["number"].partition(".")[2])


def _unit(text: str) -> str:
    """One spelling of a unit: singular, `square cm` as `cm^2`."""
    text = re.sub(r"[{}]", "", text.strip(" .").lower().replace("²", "^2").replace("³", "^3"))
    text = re.sub(r"\s*([/^])\s*", r"\1", text)
    if power := re.fullmatch(r"(?:(sq|square)|(cu|cubic))\.? (\S+)", text):
        text = f"{_singular(power[3])}^{2 if power[1] else 3}"
    text = _PER.sub("/", _RATES.get(text, text))
    if "/" in text:
        return "/".join(_unit(_SHORT.get(part, part)) for part in text.split("/"))
    base, caret, exponent = text.partition("^")
    text = _singular(base) + caret + exponent
    return _ALIASES.get(text, text)


_PER = re.compile(r"\s+(?:per|an|a)\s+")
_RATES = {"mph": "mile/hour", "kph": "km/hour", "kmh": "km/hour", "km/hr": "km/hour"}


def _singular(unit: str) -> str:
    return units.singular(unit) if len(unit) > 2 else unit


def _is_unit(unit: str, *, attached: bool, symbols: bool) -> bool:
    words = re.split(r"[ ./^]+", unit)
    first = words[0]
    if first in _NOT_UNITS or not _CHANGING.isdisjoint(words):
        return False
    if first in _SHORT_UNITS:
        return not (symbols and attached and len(first) == 1)
    return len(first) > (3 if attached else 2 if symbols else 1)


def same_quantity(gold: Quantity, answer: Quantity) -> bool | None:
    """Whether they are one value; None where units, percent, rounding or another unknown leave a doubt."""
    if gold.name and answer.name and gold.name != answer.name:
        return None
    pair = {gold.unit, answer.unit} - {""}
    if gold.multiple != answer.multiple and gold.value != answer.value:
        # Asked for how many million, people say 5 and mean 5 million.
        scales = {gold.multiple, answer.multiple, *_MULTIPLES}
        alike = any(gold.value * s == answer.value or answer.value * s == gold.value for s in scales)
        return None if alike or gold.percent or answer.percent or len(pair) == 2 else False
    if gold.percent != answer.percent:
        # 28% against 28 or 0.28: equal for one reader and not for another.
        share, other = (gold, answer) if gold.percent else (answer, gold)
        meant = share, Quantity(share.value / 100, share.decimals + 2)
        alike = any(x.value == other.value or _rounded(x, other) or _rounded(other, x) for x in meant)
        if share.value == other.value and abs(other.value) > 1 and not pair:
            return True  # asked for a percentage, people leave the sign away: 28 for 28%
        return None if alike else False
    if len(pair) == 2:
        return _converted(gold, answer)
    if gold.value == answer.value:
        # 90 degrees against 90: below a full turn and a half of radians nobody can tell.
        unsure = pair == {"degree"} and gold.unit != answer.unit and abs(gold.value) < _SURE_DEGREES
        return None if unsure else True
    if gold.unit != answer.unit and any(
        # $0.50 against 50, 2 hours against 120: the side without a unit may have meant another one.
        gold.value * scale == answer.value or answer.value * scale == gold.value
        for scale in units.scales(gold.unit or answer.unit)
    ):
        return None
    return None if _rounded(gold, answer) or _rounded(answer, gold) else False


_DIMENSIONS = {
    unit: kind
    for kind, listed in {
        "length": "mm cm m km meter metre centimeter kilometer inch foot ft yard mile",
        "mass": "mg g kg gram kilogram ounce oz lb ton",
        "time": "second minute min hour day week month year",
        "money": "cent dollar euro yen rupee yuan",
        "angle": "degree",
    }.items()
    for unit in listed.split()
}
_MULTIPLES = (10, 100, 1000, 10**6, 10**9, 10**12)


def _converted(gold: Quantity, answer: Quantity) -> bool | None:
    """Two different units: equal where one is so many of the other, different where no reading fits."""
    scale = units.factor(gold.unit, answer.unit)
    if scale is not None and gold.value * scale == answer.value:
        return True
    if scale is None and _DIMENSIONS.get(gold.unit) != _DIMENSIONS.get(answer.unit):
        # 40 minutes are no 118 degrees; of a unit that is not known nobody can tell.
        known = gold.unit in _DIMENSIONS and answer.unit in _DIMENSIONS
        return False if known and gold.value != answer.value else None
    return None if scale is None or gold.value == answer.value else False


def _rounded(coarse: Quantity, fine: Quantity) -> bool:
    """Whether a decimal is the other value with fewer digits; nobody can tell whether that was allowed."""
    more = (fine.value * 10**coarse.decimals).denominator != 1
    return more and coarse.decimals > 0 and abs(coarse.value - fine.value) < Fraction(1, 10**coarse.decimals)


# Points between thousands, as in 1.234.567; 1.234 alone may also be a decimal, so this only raises a doubt.
_GROUPS = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3})+(?![\d.])")


def other_spellings(text: str) -> Iterator[str]:
    """How else a number may be meant: with a decimal comma, with points between thousands, exclaimed."""
    if not {",", ".", "!", SEPARATOR} & set(text):
        return
    if text.count(SEPARATOR) == 1 and "," not in text:
        yield text.replace(SEPARATOR, ".")
    text = text.replace(SEPARATOR, "")
    if ";" in text:
        yield re.sub(r"(?<=\d),(?=\d)", ".", text)
    if re.fullmatch(r"[^\d(\[{]*\d+,\d+[^\d)\]}]*", text):
        yield text.replace(",", ".")
    if re.fullmatch(r"\D*\d{1,2}(?:,\d\d)+,\d{3}\D*", text):
        yield text.replace(",", "")  # lakhs and crores
    if _GROUPS.search(text):
        yield _GROUPS.sub(lambda match: match[0].replace(".", ""), text).replace(",", ".")
    if text.endswith("!"):
        yield text.rstrip("!").rstrip()
