"""Keeps the completions of problems that failed or were cut short, so that a rerun does not pay for them
twice.

Each shard has one file. A line is added when a problem fails or is cut short, and the file is removed when
the shard owes nothing. A line that is torn or altered does not match its checksum: its completions are
sampled again.
"""

import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from pipeline.policies.base import Completion
from pipeline.sampling.draws import Drawn, Draws

log = logging.getLogger(__name__)
# Of a shard's file. The file only spares a second payment: when it is full, completions are sampled again.
_MOST_BYTES = 1 << 30
# The stop reasons of real completions. An `error` should be tried again, and `budget` was never sampled.
_KEPT = ("stop", "length", "withheld")


class UnfinishedFile:
    """The file of a shard's unfinished problems. Only the offsets of its lines are held in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, list[int]] = {}
        self._size = 0
        if path.exists():
            for place, problem, _ in self._lines():
                self._places.setdefault(problem, []).append(place)
            self._size = path.stat().st_size

    def draws(self, problem: str, stored: Mapping[int, Completion] | None = None) -> Draws:
        """A problem's completions so far, together with what is `stored` of it."""
        known: Drawn = {}
        for _, _, drawn in self._lines(self._places.get(problem, [])):
            known |= {key: Completion(text, stopped, tokens) for key, text, stopped, tokens in drawn}
        return Draws(known, stored)

    def keep(self, problem: str, draws: Draws) -> None:
        """Add a problem's new completions to the file."""
        made = [[key, c.text, c.stopped, c.tokens] for key, c in draws.made().items() if c.stopped in _KEPT]
        if not made:
            return
        body = json.dumps({"problem": problem, "drawn": made}).encode()
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        if self._size + len(line) > _MOST_BYTES:
            log.warning("%s is full: the draws of problem %s are not kept", self._path, problem)
            return
        with self._path.open("ab") as file:
            # After a kill the last line may be torn: without a line end the new line would be part of it.
            if self._size and not self._ends_whole():
                file.write(b"\n")
            self._places.setdefault(problem, []).append(file.tell())
            file.write(line)
            self._size = file.tell()

    def clear(self) -> None:
        """Remove the file, because the shard owes nothing any more."""
        self._path.unlink(missing_ok=True)

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def _lines(self, places: list[int] | None = None) -> Iterator[tuple[int, str, list[Any]]]:
        """Readable lines as (offset, problem, completions): all of them, or those at the given offsets."""
        if places == []:
            return
        with self._path.open("rb") as file:
            for place in places if places is not None else iter(file.tell, -1):
                file.seek(place)
                line = file.readline()
                if not line:
                    return
                if (read := _read(line)) is not None:
                    yield place, *read


def _read(line: bytes) -> tuple[str, list[Any]] | None:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    # The checksum first: a torn line may still be valid JSON, with half of a text.
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        item = from_json(body)
        return item["problem"], item["drawn"]
    except (ValueError, KeyError, TypeError):
        return None
