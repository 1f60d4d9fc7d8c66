"""JSON in a judge's reply: the whole reply, a code fence, or an object that begins a line."""

import json
import re
from collections.abc import Iterator
from typing import Any

_START = re.compile(r"^[ \t]*(?=[\[{])", re.MULTILINE)
_TRIES = 50
"""Places where JSON may begin that are tried: each failure may read the rest of the reply."""
_TWICE = "said twice"
"""In place of the values of a key that an object holds twice: which of them is meant?"""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _TWICE if key in found and found[key] != value else value
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def json_of(reply: str) -> Any:
    """The last JSON object that begins a line of a reply, or the array that ends it; None without one."""
    return json_and_rest(reply)[0]


def json_and_rest(reply: str) -> tuple[Any, str]:
    """The same, and what the reply says after it."""
    found, end, rest = None, 0, reply
    for match in list(_START.finditer(reply))[-_TRIES:]:
        if match.end() < end:
            continue  # inside the one before
        try:
            value, end = _DECODER.raw_decode(reply, match.end())
        # Brackets nested a thousand deep, or an integer of five thousand digits, are no JSON that was meant.
        except (ValueError, RecursionError):
            continue
        # A list in the middle may be an interval or a reference ("[1] see above"); an answer stands last.
        if isinstance(value, dict) or not reply[end:].strip("` \t\r\n"):
            found, rest = value, reply[end:]
    return found, rest


def keyed(value: Any, name: str) -> Iterator[Any]:
    """What an object holds under keys that match `name`; their case, dashes and spaces do not count."""
    if isinstance(value, dict):
        for key, held in value.items():
            if re.fullmatch(name, re.sub(r"[ \-]+", "_", key.strip().lower())):
                yield held
