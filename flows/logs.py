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


class Formatter(logging.Formatter):
    """Removes secrets and control characters: log messages quote models and servers."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a text, or as JSON with what it is about."""
        text = super().format(record)
        return encoded(text, record.levelname.lower(), record.name) if _Asked.json else shown(redacted(text))


def show_own() -> None:
    """Write our own log lines on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    for name in _OWN:
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).addHandler(handler)
