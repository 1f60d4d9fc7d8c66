"""Dates by the calendar: the weekday of a date, days before and after one, weekdays counted on, leap years.

Years before 1753 are left alone, because the calendar of that time depends on the country.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import chain

from verifiers.calculation.checked import Checked
from verifiers.claims.parsed import LONGEST_STEP
from verifiers.rules.spoken import NUMBERS, Judged, Texts, fails, holds, is_hedged, is_readable, nothing

_MONTHS = "january february march april may june july august september october november december".split()
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_YEAR, _LAST_YEAR = 1753, 9_999
_MOST_DAYS = 400_000

_MONTH = rf"(?:{'|'.join(_MONTHS)})"
_DAY = rf"(?:{'|'.join(_DAYS)})"
# "March 3, 2024", "3 March 2024", "03/05/2024", "2024-03-05".
_DATE = (
    rf"(?:(?:{_DAY},? )?(?:{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH},? \d{{4}}"
    r"|\d{1,2}/\d{1,2}/\d{4}|\d{4}-\d{2}-\d{2}))"
)
_COUNT = rf"(?:\d{{1,6}}|{'|'.join(NUMBERS)})"
_UNIT = r"(?:days?|weeks?)"
_IS = r"(?:is|was|falls on|fell on|will be|would be|=)(?: an?| on)?"
_WEEKDAY = re.compile(rf"(?<![\w/-])({_DATE})(?:,)? {_IS} ({_DAY})\b", re.I)
_LEAP = re.compile(r"\b(\d{4}) (is|was) (not )?a leap year\b", re.I)
_LENGTH = re.compile(rf"\b({_MONTH})(?: (?:of )?(\d{{4}}))? (?:has|had) (\d{{2}}) days\b", re.I)
_MOVED = re.compile(
    rf"\b({_COUNT}) ({_UNIT}) (after|before|from|later than|earlier than|prior to) ({_DATE}|{_DAY}) {_IS} "
    rf"({_DATE}|{_DAY})"
    r"(?![\w/-])",
    re.I,
)
_ADDED = re.compile(
    rf"(?<![\w/-])({_DATE}|{_DAY}) ([-+−–]|plus|minus) ({_COUNT}) ({_UNIT}) {_IS} ({_DATE}|{_DAY})(?![\w/-])",
    re.I,
)
_BETWEEN = re.compile(
    rf"\b(?:there (?:are|were) )?({_COUNT}) days (?:between|from) ({_DATE}) (?:and|to|until) ({_DATE})"
    r"(?![\w/-])",
    re.I,
)
_FORMS = (
    re.compile(rf"(?P<month>{_MONTH}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})", re.I),
    re.compile(rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<month>{_MONTH}),? (?P<year>\d{{4}})", re.I),
)


def judged(texts: Texts) -> Judged:
    """The verdicts on the dates of each step."""
    if not is_readable(texts):
        return nothing(texts)
    return tuple(tuple(_claims(text.text)) for text in texts[1:])


_SIGNS = re.compile(rf"\b(?:{_DAY}|{_MONTH}|leap)\b|\d/\d|\d-\d", re.I)


def _claims(step: str) -> Iterator[Checked]:
    if len(step) > LONGEST_STEP or not _SIGNS.search(step):
        return
    for sentence in chain.from_iterable(re.split(r"(?<=[\w)])\.\s+|;", line) for line in step.split("\n")):
        # "Not" may stand before or after what is stated; "is not a leap year" alone is read.
        denied = re.search(r"\b(?:not|never|n't|except)\b", sentence.replace("not a leap year", ""), re.I)
        if is_hedged(sentence) or denied:
            continue
        for pattern, read in _READ.items():
            found = (read(match) for match in pattern.finditer(sentence))
            yield from (checked for checked in found if checked)


def _dates(text: str) -> set[date]:
    """What a date may mean: 03/05/2024 is a day of March or of May. Empty where there is no such day."""
    text = re.sub(rf"^{_DAY},? ", "", text, flags=re.I)
    for form in _FORMS:
        if match := form.fullmatch(text):
            return _made(match["year"], _MONTHS.index(match["month"].lower()) + 1, match["day"])
    if match := re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", text):
        return _made(match[1], match[2], match[3])
    if match := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", text):
        return _made(match[3], match[1], match[2]) | _made(match[3], match[2], match[1])
    return set()


def _made(year: str, month: str | int, day: str) -> set[date]:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return set()
    return {found} if _FIRST_YEAR <= found.year < _LAST_YEAR else set()


def _number(word: str) -> int:
    return int(word) if word.isdigit() else NUMBERS.index(word.lower()) + 1


def _weekday(match: re.Match[str]) -> Checked | None:
    days = {_DAYS[one.weekday()] for one in _dates(match[1])}
    return _judged(match, match[2].lower(), days)


def _judged(match: re.Match[str], said: object, right: set[str]) -> Checked | None:
    """Fails under every reading; holds under the only one."""
    if not right:
        return None
    if said not in right:
        return fails(match[0], " or ".join(sorted(right)))
    return holds(match[0]) if len(right) == 1 else None


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _leap(match: re.Match[str]) -> Checked | None:
    year = int(match[1])
    if year < _FIRST_YEAR:
        return None
    if _is_leap(year) != bool(match[3]):
        return holds(match[0])
    return fails(match[0], f"{year} is {'' if _is_leap(year) else 'not '}a leap year")


def _length(match: re.Match[str]) -> Checked | None:
    month = _MONTHS.index(match[1].lower())
    leap = (True, False) if match[2] is None else (_is_leap(int(match[2])),)
    right = {str(_LENGTHS[month] + (month == 1 and one)) for one in leap}
    return _judged(match, match[3], right)


def _moved(match: re.Match[str]) -> Checked | None:
    backwards = match[3].lower() in {"before", "earlier than", "prior to"}
    return _shifted(match, match[4], (match[1], match[2], backwards), match[5])


def _added(match: re.Match[str]) -> Checked | None:
    backwards = match[2].lower() in {"-", "−", "–", "minus"}
    return _shifted(match, match[1], (match[3], match[4], backwards), match[5])


def _shifted(match: re.Match[str], start: str, moved: tuple[str, str, bool], end: str) -> Checked | None:
    count, unit, backwards = moved
    days = _number(count) * (7 if unit.lower().startswith("week") else 1) * (-1 if backwards else 1)
    if abs(days) > _MOST_DAYS:
        return None
    if start.lower() in _DAYS:
        right = {_DAYS[(_DAYS.index(start.lower()) + days) % 7]}
        return _judged(match, end.lower(), right) if end.lower() in _DAYS else None
    try:
        found = {one + timedelta(days) for one in _dates(start)}
    except OverflowError:
        return None
    if end.lower() in _DAYS:
        return _judged(match, end.lower(), {_DAYS[one.weekday()] for one in found})
    said = _dates(end)
    if not found or not said:
        return None
    if said.isdisjoint(found):
        return fails(match[0], " or ".join(str(one) for one in sorted(found)))
    return holds(match[0]) if len(found) == len(said) == 1 else None


def _between(match: re.Match[str]) -> Checked | None:
    said = _number(match[1])
    right = {abs((last - first).days) for first in _dates(match[2]) for last in _dates(match[3])}
    if not right:
        return None
    # Both ends counted, or neither, are ways to count that a text need not explain.
    if said in {n + off for n in right for off in (-1, 1)} - right:
        return None
    return _judged(match, str(said), {str(n) for n in right})


_READ: dict[re.Pattern[str], Callable[[re.Match[str]], Checked | None]] = {
    _WEEKDAY: _weekday,
    _LEAP: _leap,
    _LENGTH: _length,
    _MOVED: _moved,
    _ADDED: _added,
    _BETWEEN: _between,
}
