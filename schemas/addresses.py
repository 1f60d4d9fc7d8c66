"""Checks what a run file says about a server: its address, its key's variable, and request parameters.

A run file is recorded and shown, so no key may stand in it. Errors here do not repeat the wrong value, which
may be a key: they are printed, recorded and sent to Prefect.
"""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

# `http://127.0.0.1:8000/v1`, `https://api.example.org/v1`, `http://[::1]:8000`.
_ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+)(:\d{1,5})?(/[!-~]*)?")
# Parameters without which a server still answers the request, though perhaps otherwise.
_DROPPED = frozenset({"n", "top_p", "temperature", "seed", "stop"})
# Parameters that a request gets from other settings: in `extra_body` they would silently win over these.
_OURS = frozenset(
    """model prompt messages n seed stop stop_token_ids stream temperature top_p max_tokens
    max_completion_tokens continue_final_message add_generation_prompt""".split()
)


def _address(url: str) -> str:
    if "@" in url:
        raise ValueError("an address with a user or password would be recorded; use api_key_env")
    if "?" in url or "#" in url:
        raise ValueError("an address ends before `?` and `#`; a key belongs to api_key_env")
    if not _ADDRESS.fullmatch(url):
        raise ValueError("expected an address like http://127.0.0.1:8000/v1")
    return url


def _variable(name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("expected the name of an environment variable, not the key itself")
    return name


def _addresses(urls: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return _address(urls) if isinstance(urls, str) else tuple(map(_address, urls))


Addresses = Annotated[str | Annotated[tuple[str, ...], Field(min_length=1)], AfterValidator(_addresses)]
VariableName = Annotated[str, AfterValidator(_variable)]


def check_parameters(drop: Iterable[str], extra: Iterable[str]) -> None:
    """ValueError for a parameter in `drop` that every request needs, or one in `extra` that the run sets."""
    if unknown := sorted({*drop} - _DROPPED):
        raise ValueError(f"drop={unknown[0]!r}: a request cannot do without it")
    if taken := sorted({*extra} & _OURS):
        raise ValueError(f"extra_body: {taken[0]!r} is set by the run itself")
