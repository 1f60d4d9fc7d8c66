"""Units that are exact multiples of each other."""

from fractions import Fraction
from functools import lru_cache

# Each table has one base unit and exact multiples of it. Feet and metres are in two tables, since a text
# rounds between them; so are pounds and grams. Months and years have no fixed length and are left out.
_LENGTHS = {"mm": "1/1000", "cm": "1/100", "m": "1", "km": "1000", "meter": "1", "metre": "1"}
_MORE_LENGTHS = {"millimeter": "1/1000", "centimeter": "1/100", "kilometer": "1000", "kilometre": "1000"}
_FEET = {"inch": "1/12", "inches": "1/12", "foot": "1", "feet": "1", "ft": "1", "yard": "3", "mile": "5280"}
_GRAMS = {"mg": "1/1000", "g": "1", "kg": "1000", "gram": "1", "kilogram": "1000", "milligram": "1/1000"}
_SECONDS = {"second": "1", "minute": "60", "min": "60", "hour": "3600", "day": "86400", "week": "604800"}
_CENTS = {"cent": "1", "dollar": "100", "nickel": "5", "dime": "10"}
_OUNCES = {"ounce": "1", "oz": "1", "pound": "16", "lb": "16", "ton": "32000"}
_CUPS = {"cup": "1", "pint": "2", "quart": "4", "gallon": "16"}
_LITRES = {
    "ml": "1/1000",
    "l": "1",
    "liter": "1",
    "litre": "1",
    "milliliter": "1/1000",
    "millilitre": "1/1000",
}
_TABLES = (_LENGTHS | _MORE_LENGTHS, _FEET, _GRAMS, _SECONDS, _CENTS, _LITRES, _OUNCES, _CUPS)
_UNITS = {unit: (kind, Fraction(size)) for kind, table in enumerate(_TABLES) for unit, size in table.items()}


def factor(unit: str, other: str) -> Fraction | None:
    """How many of the other unit make one of the first; None where that is not known."""
    (power, unit), (other_power, other) = _raised(unit), _raised(other)
    sizes = _UNITS.get(singular(unit)), _UNITS.get(singular(other))
    if sizes[0] is None or sizes[1] is None or sizes[0][0] != sizes[1][0] or power != other_power:
        return None
    return (sizes[0][1] / sizes[1][1]) ** power


POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


def _raised(unit: str) -> tuple[int, str]:
    """The power and the unit of "square feet" and "m^3"."""
    first, _, rest = unit.partition(" ")
    if rest and first in POWERS:
        return POWERS[first], rest
    bare, _, power = unit.partition("^")
    return (int(power), bare) if power in {"2", "3"} else (1, unit)


@lru_cache(maxsize=256)
def scales(unit: str) -> frozenset[Fraction]:
    """What one of the unit is in each unit of its kind that sums are told in; empty for an unknown one."""
    kind, size = _UNITS.get(singular(unit), (None, Fraction(1)))
    told = (found for name, found in _UNITS.items() if name not in {"nickel", "dime"})
    return frozenset(size / other for group, other in told if group == kind)


def singular(unit: str) -> str:
    """The unit without its plural's ending."""
    return unit[:-1] if unit.endswith("s") and unit != "s" and unit not in _UNITS else unit
