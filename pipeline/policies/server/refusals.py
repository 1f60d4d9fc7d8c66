"""Decides what a server's refusal means: wait, try again, change the request, or tell the user."""

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from schemas.text import one_line

_WORDS_BYTES = 4096  # of an error page: its reason stands at the beginning, and a proxy's page may be endless
_LONGEST_RETRY_AFTER_S = 10.0**7  # about four months; a larger number is no time that anyone waits


class Failed(Exception):
    """A call that failed, with the reason in one sentence; `gone` when no connection could be made."""

    def __init__(self, why: str, *, gone: bool = False) -> None:
        super().__init__(why)
        self.gone = gone


class Slow(Failed):
    """A call without a reply in time: the server may have more to do than it can."""


class Refused(Failed):
    """An endpoint refuses the key or does not know the model. Only the user can mend that."""


class Busy(Exception):
    """The server works but has too many requests. `wait_s` is how long it asks to wait, 0 if it does not."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Rejected(Exception):
    """The server does not accept this request as it is; `words` are its reason."""

    def __init__(self, why: str, words: str) -> None:
        super().__init__(why)
        self.words = words


async def check_status(reply: httpx.Response, secret: str) -> None:
    """Raise the exception that a status other than 200 stands for, with the server's own words.

    The `secret` is removed from them: servers repeat a wrong key in their errors, and logs are shared.
    """
    status = reply.status_code
    if status == 200:
        return
    words = await _words(reply)
    if secret:
        words = words.replace(secret, "[the key]")
    why = f'{status} "{one_line(words, 200)}"' if words else f"answered {status}"
    if status in (401, 403, 404):
        raise Refused(why)
    wait_s = _retry_after(reply)
    # 429 and 503 mean too many requests; gateways send other 5xx with Retry-After while a model loads.
    if status in (429, 503) or (wait_s and status >= 500):
        raise Busy(why, wait_s)
    # 408, 409 and 425 (timeout, conflict, too early) are of the moment: the same request may succeed next.
    if 400 <= status < 500 and status not in (408, 409, 425):
        raise Rejected(why, words)
    if reply.is_redirect:
        where = one_line(reply.headers.get("location", ""), 80)
        raise Failed(f"answered {status}, a redirect to {where!r}, which is not followed")
    raise Failed(why)


async def _words(reply: httpx.Response) -> str:
    """What the server says about it: the message of a JSON error, or the text of a page."""
    if reply.headers.get("content-encoding", "identity") != "identity":
        return ""
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) >= _WORDS_BYTES:
            break
    text = body[:_WORDS_BYTES].decode(errors="replace")
    try:
        said = _message(json.loads(text))
    except (ValueError, RecursionError):
        said = ""
    # A proxy's error is an HTML page: its tags, styles and scripts are left out.
    return one_line(said or re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.S), 1000)


def _message(data: Any) -> str:
    """The parts of an error that say something, in the shapes of OpenAI, FastAPI and others."""
    if isinstance(data, str):
        return data
    if isinstance(data, list):
        return "; ".join(filter(None, map(_message, data[:4])))
    if not isinstance(data, dict):
        return ""
    parts = [_message(data[key]) for key in ("error", "message", "detail", "msg") if data.get(key)]
    where = data.get("loc")
    names = where[-1:] if isinstance(where, list) else []
    names += [data[key] for key in ("param", "code") if isinstance(data.get(key), str)]
    named = [name for name in names if isinstance(name, str) and not any(name in part for part in parts)]
    return " ".join([*filter(None, parts), *(f"({name})" for name in named)])


def _retry_after(reply: httpx.Response) -> float:
    """Seconds from the header, which holds a number or a date; 0 where it holds neither. OpenAI and Azure
    also send milliseconds, which are more exact."""
    value = reply.headers.get("retry-after", "").strip()
    exact = reply.headers.get("retry-after-ms", "").strip()
    for number, unit in ((exact, 1000), (value, 1)):
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", number):
            return min(float(number) / unit, _LONGEST_RETRY_AFTER_S)
    try:
        wait = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0.0
    return min(max(0.0, wait), _LONGEST_RETRY_AFTER_S)
