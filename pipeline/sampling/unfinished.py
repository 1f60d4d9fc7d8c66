"""What was drawn for problems that are not done: kept, so that the same command pays for nothing twice.

One file a shard, appended to when a problem fails or is cut short, removed when the shard owes nothing. A
line that is torn or altered does not match its checksum and counts for nothing: its draws are made again.
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
_MOST_BYTES = 1 << 30
"""Of a shard's file; what does not fit is drawn again."""
_KEPT = ("stop", "length", "withheld")


class Shelf:
    """The file of a shard's unfinished draws. Only the places of its lines are held in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, list[int]] = {}
        self._size = 0
        if path.exists():
            for place, problem, _ in self._lines():
                self._places.setdefault(problem, []).append(place)
            self._size = path.stat().st_size

    def draws(self, problem: str, stored: Mapping[int, Completion] | None = None) -> Draws:
        """What was drawn for a problem so far, beside what is `stored` of it."""
        known: Drawn = {}
        for _, _, drawn in self._lines(self._places.get(problem, [])):
            known |= {key: Completion(text, stopped, tokens) for key, text, stopped, tokens in drawn}
        return Draws(known, stored)

    def keep(self, problem: str, draws: Draws) -> None:
        """Add what was newly drawn for a problem."""
        made = [[key, c.text, c.stopped, c.tokens] for key, c in draws.made().items() if c.stopped in _KEPT]
        if not made:
            return
        body = json.dumps({"problem": problem, "drawn": made}).encode()
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        if self._size + len(line) > _MOST_BYTES:
            log.warning("%s is full: the draws of problem %s are not kept", self._path, problem)
            return
        with self._path.open("ab") as file:
            if self._size and not self._ends_whole():
                file.write(b"\n")
            self._places.setdefault(problem, []).append(file.tell())
            file.write(line)
            self._size = file.tell()

    def clear(self) -> None:
        """Remove the file: nothing is owed any more."""
        self._path.unlink(missing_ok=True)

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def _lines(self, places: list[int] | None = None) -> Iterator[tuple[int, str, list[Any]]]:
        """Whole lines: their place in the file, problem and draws; all of them, or those at some places."""
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
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        item = from_json(body)
        return item["problem"], item["drawn"]
    except (ValueError, KeyError, TypeError):
        return None
