"""Numbers in a stated base: `101_2`, `(1A)_{16}`, `101 base 2`, `-37_8`."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Based:
    """Digits in a stated base."""

    digits: str
    base: int

    @property
    def value(self) -> int:
        """What they stand for."""
        return int(self.digits, self.base)


_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
# `101_2`, `101_{two}`, `(1A)_{16}`, `101 base 2`, `101 (base 2)`.
_BASED = re.compile(
    r"(?P<sign>-?)\(?(?P<digits>[0-9A-Fa-f]{1,200})\)?\s*(?:_|\(?\s*(?=base))\s*[({\s]*(?:base\s*)?(?P<base>\d{1,2}|[a-z]{3,5})[)}\s]*"
)


def based(text: str) -> Based | None:
    """The number that a text is, if it names its base."""
    match = _BASED.fullmatch(text) if "_" in text or "base" in text else None
    if match is None:
        return None
    base = _BASES.get(match["base"]) or (int(match["base"]) if match["base"].isdigit() else 0)
    digits = match["digits"]
    # A digit is required, so that the subscript of `x_1` or `AB_2` is not read as a base.
    if not 2 <= base <= 36 or not any(digit.isdigit() for digit in digits):
        return None
    read = all(int(digit, 36) < base for digit in digits)
    return Based(match["sign"] + digits, base) if read else None
