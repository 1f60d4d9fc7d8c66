"""Dates: `July 4`, `4 July 2023`, `July 4th, 2023`, `2023-07-04`, `7月4日`.

`7/4` may be a fraction, and another day in other countries: it is not read.
"""

import re
from typing import NamedTuple

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(?P<rest>[a-z]{0,6})\.?"
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?:,?\s*(?P<year>\d{4}))?"
_WEEKDAY = r"(?:(?:on\s+)?(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?(?:on\s+)?"
_DATES = (
    re.compile(rf"{_WEEKDAY}{_MONTH}\s+(?:the\s+)?{_DAY}{_YEAR}"),
    re.compile(rf"{_WEEKDAY}(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}"),
    re.compile(r"(?P<year>\d{4})-(?P<number>\d{2})-(?P<day>\d{2})"),
    re.compile(r"(?:(?P<year>\d{4})\s*年\s*)?(?P<number>\d{1,2})\s*月\s*(?P<day>\d{1,2})\s*[日号]"),
)
_LIKE = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z.]*\s|\d\s(?:of\s)?[a-z]{3}|\d{4}-\d\d-|月",
    re.IGNORECASE,
)
"""What only dates look like. Most answers are told by it that they are none."""


class Date(NamedTuple):
    """A day, and its year where it is said."""

    month: int
    day: int
    year: int | None


def date_of(text: str) -> Date | None:
    """The date that an answer is, or None."""
    if len(text) > 60 or not _LIKE.search(text):
        return None
    text = " ".join(text.strip(" .$").lower().split())
    for pattern in _DATES:
        if (match := pattern.fullmatch(text)) is None:
            continue
        found = match.groupdict()
        month = _number(found["month"] + found["rest"]) if "month" in found else int(found["number"])
        day = int(found["day"])
        if month and month <= 12 and 1 <= day <= 31:
            return Date(month, day, int(found["year"]) if found["year"] else None)
    return None


def _number(word: str) -> int:
    """The month that a word is or begins: `jul`, `sept`."""
    return next((at for at, name in enumerate(_MONTHS, 1) if name.startswith(word)), 0)


def same_date(gold: Date, answer: Date) -> bool | None:
    """Whether two dates are one; None where only one says the year."""
    if gold[:2] != answer[:2]:
        return False
    if gold.year and answer.year:
        return gold.year == answer.year
    return True if gold.year == answer.year else None
