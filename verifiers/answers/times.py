"""Times of day: `3:30 PM`, `3:30 p.m.`, `15:30`, `4 PM`, `noon`."""

import re

_TIME = re.compile(
    r"(?:at\s+)?(?P<hour>\d{1,2})(?:[:.](?P<minute>[0-5]\d)(?::[0-5]\d)?)?\s*(?P<half>[ap])\.?\s?m\b\.?"
    r"|(?:at\s+)?(?P<hour24>\d{1,2}):(?P<minute24>[0-5]\d)(?:\s*(?:o'clock|hours?|hrs?))?",
    re.IGNORECASE,
)
_NAMED = {"noon": 12 * 60, "midnight": 0}


def time_of(text: str) -> tuple[int, bool] | None:
    """Minutes after midnight, and whether the half of the day is said; None for another answer."""
    text = " ".join(text.replace("\\", " ").strip(" .$").lower().split())
    if text in _NAMED:
        return _NAMED[text], True
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute = int(match["hour"] or match["hour24"]), int(match["minute"] or match["minute24"] or 0)
    if hour > (12 if match["half"] else 24) or (match["half"] and hour == 0):
        return None
    if match["half"]:
        return hour % 12 * 60 + minute + (12 * 60 if match["half"].lower() == "p" else 0), True
    return hour % 24 * 60 + minute, hour > 12 or hour == 0


def same_time(gold: tuple[int, bool], answer: tuple[int, bool]) -> bool | None:
    """Whether two times are one; None where only one side says which half of the day it means."""
    if gold[0] == answer[0] and gold[1] == answer[1]:
        return True
    if gold[1] and answer[1]:
        return False
    # 3:30 may be the 3:30 PM, and it may be a ratio or a length of time.
    return None if gold[0] % 720 == answer[0] % 720 else False
