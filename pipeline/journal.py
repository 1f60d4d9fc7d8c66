"""A shard's journal and rollouts on disk: appended while problems finish, read back without holding them all.

A problem is done when its journal line is whole. Its rollouts are on disk before that line, so a whole line
vouches for everything before it.
"""

import asyncio
import heapq
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError
from pydantic_core import from_json

from schemas.errors import UserError
from schemas.records import Finished, Rollout, gold_key

log = logging.getLogger(__name__)
_COMMIT_EVERY_S = 0.5
"""Waiting for the disk after every problem would take longer than a fast policy; this much work can be lost
to a kill, beside the problems under way."""
_BLOCK_OF = re.compile(rb'\{"problem": ?"([^"]*)"')
ROLLOUTS = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("prefix", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("stopped", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)
Row = dict[str, Any]


class Entry(NamedTuple):
    """Where a finished problem's line begins, in bytes, what the problem cost, and what it was graded by."""

    offset: int
    tokens: int
    gold: int = 0


class ShardWriter:
    """Appends finished problems to one shard's journal, and keeps the time."""

    def __init__(self, path: Path, shard: int) -> None:
        self._rollouts = _open_append(path / "rollouts" / f"{shard:05d}.jsonl")
        self._journal = _open_append(path / "journal" / f"{shard:05d}.jsonl")
        clock = path / "journal" / f"{shard:05d}.seconds"
        self._clock = os.open(clock, os.O_RDWR | os.O_CREAT, 0o644)
        self._start = time.monotonic() - read_seconds(clock)
        self._waiting: list[tuple[bytes, bytes]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failed: OSError | None = None

    def record(self, item: Finished, rollouts: list[Rollout]) -> None:
        """Keep a finished problem: at once outside an event loop, within half a second inside one.

        Raises the OSError that an earlier problem met on its way to the disk.
        """
        block = {"problem": item.problem.id, "rollouts": [r.model_dump() for r in rollouts]}
        self._waiting.append((_line(json.dumps(block)), _line(item.model_dump_json())))
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self._commit()
            else:
                self._timer = loop.call_later(_COMMIT_EVERY_S, self._commit)
        self._complain()

    def close(self) -> None:
        """Write what waits and release the files."""
        if self._timer is not None:
            self._timer.cancel()
        self._commit()
        for descriptor in (self._rollouts, self._journal, self._clock):
            os.close(descriptor)
        self._complain()

    def _commit(self) -> None:
        """Rollouts first, journal lines last."""
        self._timer = None
        waiting, self._waiting = self._waiting, []
        try:
            if waiting and self._failed is None:
                for part, descriptor in enumerate((self._rollouts, self._journal)):
                    _write_all(descriptor, b"".join(lines[part] for lines in waiting))
                    os.fsync(descriptor)
            os.pwrite(self._clock, b"%016.3f\n" % (time.monotonic() - self._start), 0)
        except OSError as error:  # inside a timer nobody would hear of it
            self._failed = error

    def _complain(self) -> None:
        if self._failed is not None:
            raise self._failed


def read_seconds(path: Path) -> float:
    """Seconds that a shard has been worked on, over all sessions; 0 where nothing says so."""
    try:
        return float(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return 0.0


def index(path: Path) -> dict[str, Entry]:
    """Every finished problem of a journal by its id; of a problem that was graded again, the last line."""
    found: dict[str, Entry] = {}
    if not path.exists():
        return found
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                item = from_json(line)
                name, tokens = item["problem"]["id"], sum(item["tokens"].values())
                found[name] = Entry(offset, tokens, gold_key(item["problem"]))
            except (ValueError, KeyError, TypeError):
                if line.endswith(b"\n"):
                    log.warning("%s line %d cannot be read; its problem is owed again", path, number)
            offset += len(line)
    return found


def read(path: Path, entries: Iterable[Entry]) -> Iterator[Finished]:
    """The problems of some entries of a journal's `index`, in their order. UserError names a line that is no
    record."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for entry in entries:
            file.seek(entry.offset)
            try:
                yield Finished.model_validate_json(file.readline())
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise UserError(
                    f"{path}: the line at byte {entry.offset} is no finished problem ({where}: "
                    f"{first['msg']}): delete that line and run again"
                ) from None


def stored_rollouts(raw: Path, packed: Path) -> Iterator[Row]:
    """Rollouts as rows, by problem in the order of their ids: those packed before, and those of `raw`, which
    replace a problem's older ones."""
    blocks: dict[str, int] = {}
    offset = 0
    with raw.open("rb") if raw.exists() else nullcontext(()) as file:
        for line in file:
            if (head := _BLOCK_OF.match(line)) and _reads(line):
                blocks[head[1].decode()] = offset
            offset += len(line)
    older = ((k, rows) for k, rows in _packed(packed) if k not in blocks)
    for _, rows in heapq.merge(older, _blocks(raw, blocks), key=itemgetter(0)):
        yield from rows


def _reads(line: bytes) -> bool:
    """False for a line torn by a kill: its problem was owed, and has a later block."""
    try:
        from_json(line)
    except ValueError:
        return False
    return True


def _blocks(raw: Path, blocks: dict[str, int]) -> Iterator[tuple[str, list[Row]]]:
    if not blocks:
        return
    with raw.open("rb") as file:
        for problem, offset in sorted(blocks.items()):
            file.seek(offset)
            yield problem, json.loads(file.readline())["rollouts"]


def _packed(path: Path) -> Iterator[tuple[str, list[Row]]]:
    if path.exists():
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(batch_size=1024) for row in batch.to_pylist())
            for problem, group in groupby(rows, key=itemgetter("problem_id")):
                yield problem, list(group)


def _line(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _open_append(path: Path) -> int:
    """Open for appending. A torn last line is closed off first, or the next line would be lost with it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor
