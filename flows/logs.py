"""Lines on stderr: text for people, or with `--log-json` one JSON object each for what collects logs."""

import json
import logging
import os
import sys
from datetime import UTC, datetime

from schemas.errors import redacted
from schemas.logged import subject
from schemas.text import shown

_OWN = ("flows", "pipeline", "verifiers")


class _Asked:
    """How this process writes its lines. A class and no instance: a process has one stderr."""

    json = False


def set_form(*, as_json: bool = False) -> None:
    """Write lines as JSON from now on, or as text. STEPMINT_LOG=json in the environment asks for JSON."""
    _Asked.json = as_json or os.environ.get("STEPMINT_LOG", "") == "json"


def is_json() -> bool:
    """Whether lines are JSON."""
    return _Asked.json


def line(text: str, level: str = "info", logger: str = "stepmint") -> None:
    """Write one line."""
    print(encoded(text, level, logger) if _Asked.json else text, file=sys.stderr, flush=True)


def encoded(text: str, level: str, logger: str = "stepmint") -> str:
    """A line as JSON, with what it is about, and without secrets."""
    said = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "logger": logger}
    return json.dumps({**said, "message": shown(redacted(text)), **subject()}, ensure_ascii=False)


class _Shown(logging.Handler):
    """Writes log lines on stderr as it is at that time. Secrets and control characters are removed from them:
    they quote models and servers."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it as a text, or as JSON with what it is about."""
        text = shown(redacted(self.format(record)))
        line(text, record.levelname.lower(), record.name)


_SHOWN = _Shown()


def show_own(*, on: bool) -> None:
    """Write our own log lines on stderr, or do so no longer."""
    for name in _OWN:
        logger = logging.getLogger(name)
        logger.removeHandler(_SHOWN)
        logger.setLevel(logging.INFO if on else logging.NOTSET)
        if on:
            logger.addHandler(_SHOWN)
