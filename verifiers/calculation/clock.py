"""Clock times and dates where they are exact: "from 1:00 to 5:00 is 4 hours", "7:30 + 45 minutes = 8:15".

A claim fails only under every reading: another half of the day, another day, both ends of a range counted.
"""

import re
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from verifiers.base import Verdict

_DAY, _HALF_DAY = 24 * 60, 12 * 60
_MONTHS = "January February March April May June July August September October November December".split()
# 7:30, 7:30 pm, 19:30 p.m.; whether the hour exists is looked at later.
_TIME = r"(\d{1,2}):(\d{2})\s*([ap]\.?m\.?)?"
# "4 hours", "1.5 hours", "2 hours and 15 minutes", "45 minutes"; empty where nothing is said.
_LENGTH = r"(?:(\d{1,4}(?:\.\d{1,4})?)\s*hours?)?(?:(?:\s+and)?\s*(\d{1,5})\s*minutes?)?"
# A quick look: most colons stand before a list or a result.
_CLOCK = re.compile(r"\d:\d")
# Words that state a duration after two times: "from 1:00 to 5:00, which is 4 hours". Not "about 4 hours".
_STATES = (
    r"\s*(?:=|is|are|equals|takes|lasts|there (?:is|are)|makes|,?\s*(?:which|that) is)\s*"
    r"(?:exactly\s+)?(?:a (?:total|period|duration|span) of\s+)?"
)
# The few exact forms: "from 1:00 to 5:00 is 4 hours", "5:00 - 1:00 = 4 hours", "7:30 + 45 minutes = 8:15".
_BETWEEN = re.compile(
    rf"\b(?:from|between)\s+{_TIME}\s+(?:to|until|till|and)\s+{_TIME}{_STATES}{_LENGTH}", re.I
)
_MINUS = re.compile(rf"{_TIME}\s*[-–−]\s*{_TIME}\s*=\s*{_LENGTH}", re.I)
_PLUS = re.compile(rf"{_TIME}\s*([-+–−]|plus|minus)\s*{_LENGTH}\s*(?:=|is|equals)\s*{_TIME}", re.I)
# "March 3", "March 3rd, 2024"; months are spelt out, for "May" and "Mar" are words and names as well.
_DATE = rf"({'|'.join(_MONTHS)})\s+(\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(\d{{4}}))?"
_DATES = re.compile(
    rf"\b(?:from|between)\s+{_DATE}\s+(?:to|until|and)\s+{_DATE}{_STATES}(\d{{1,5}})\s+days\b", re.I
)


class Timed(NamedTuple):
    """A claim about times, where it stands, and what is to be said of it."""

    span: tuple[int, int]
    text: str
    verdict: Verdict
    reason: str


def timed_claims(step: str) -> Iterator[Timed]:
    """The claims about clock times and dates that a step makes in one of the few exact forms."""
    if len(step) > 8_000:
        return
    if ":" in step and _CLOCK.search(step):
        for pattern in (_BETWEEN, _MINUS):
            for match in pattern.finditer(step):
                yield from _lasting(match, backwards=pattern is _MINUS)
        for match in _PLUS.finditer(step):
            yield from _moved(match)
    if " days" in step:
        for match in _DATES.finditer(step):
            yield from _dated(match)


def _minutes(hour: str, minute: str, half: str | None) -> int | None:
    """Minutes since midnight, or since noon or midnight where the half of the day is not said."""
    if int(hour) > 24 or int(minute) > 59 or (half and not 1 <= int(hour) <= 12):
        return None
    afternoon = half is not None and half[0].lower() == "p"
    return (int(hour) % 12 if half else int(hour)) * 60 + int(minute) + (_HALF_DAY if afternoon else 0)


def _length(hours: str | None, minutes: str | None) -> Fraction | None:
    if hours is None and minutes is None:
        return None
    return Fraction(hours or 0) * 60 + int(minutes or 0)


def _lasting(match: re.Match[str], *, backwards: bool) -> Iterator[Timed]:
    first, second = _minutes(*match.group(1, 2, 3)), _minutes(*match.group(4, 5, 6))
    said = _length(match[7], match[8])
    if first is None or second is None or said is None:
        return
    if backwards:
        first, second = second, first
    period = _DAY if match[3] and match[6] else _HALF_DAY
    yield _judged(match, (said - (second - first)) % period == 0, _shown((second - first) % period))


def _moved(match: re.Match[str]) -> Iterator[Timed]:
    start, end = _minutes(*match.group(1, 2, 3)), _minutes(*match.group(7, 8, 9))
    moved = _length(match[5], match[6])
    if start is None or end is None or moved is None:
        return
    after = start + (moved if match[4].lower() in {"+", "plus"} else -moved)
    period = _DAY if match[3] and match[9] else _HALF_DAY
    hour, minute = divmod(int(after % period), 60)
    yield _judged(match, (after - end) % period == 0, f"{hour}:{minute:02}")


def _dated(match: re.Match[str]) -> Iterator[Timed]:
    names = [name.lower() for name in _MONTHS]
    days, right = int(match[7]), set()
    for year in {int(match[3] or 0) or 2023, int(match[3] or 0) or 2024}:
        try:
            first = date(year, names.index(match[1].lower()) + 1, int(match[2]))
            last = date(int(match[6] or year), names.index(match[4].lower()) + 1, int(match[5]))
            last = last if last >= first else last.replace(year=last.year + 1)
        except ValueError:
            return
        right.add((last - first).days)
    # Both ends counted, or neither, are ways to count that a text need not explain.
    if days not in right and days in {n + off for n in right for off in (-1, 1)}:
        return
    yield _judged(match, days in right, " or ".join(f"{n} days" for n in sorted(right)))


def _judged(match: re.Match[str], holds: bool, really: str) -> Timed:
    text = " ".join(match[0].split())
    return Timed(
        match.span(), text, "holds" if holds else "fails", text if holds else f"{text}: it is {really}"
    )


def _shown(minutes: int) -> str:
    return f"{minutes // 60} hours {minutes % 60} minutes"
