"""The log of a shard on an object store: numbered entries without a gap, each created and never changed.

    log/00007/00000000   claim   a worker takes the shard
    log/00007/00000001   done    journal lines and rollouts that the worker has finished
    log/00007/00000002   claim   another worker takes it over
    log/00007/00000003   done
    log/00007/00000004   seal    the shard owes nothing

A seal is made for what the run has at that time (`pipeline.runs.growths`): when the run grows, a shard that
gets further problems goes on after it.

A worker reads the log to its end and creates its claim under the next number. From then on it appends under
the numbers that follow. When a number is taken by another worker's claim, the first one has lost the shard:
it is fenced, and what it has not appended is owed. This needs neither clocks nor listings, so a worker that
was frozen for an hour can do no harm. Beats, which tell whether a worker is alive, are only a courtesy:
without them living workers would take the shard from each other.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal
from zlib import crc32

import pyarrow as pa

from pipeline.storage.object_store import ObjectStore
from schemas.errors import BackendError

Kind = Literal["claim", "done", "seal"]
Parts = Mapping[str, bytes]
"""Pieces of a shard's files by their name: `journal`, `rollouts`, ..."""
BEAT_S = 30.0
"""How often a worker shows that it is alive."""
LEASE_S = 90.0
"""A shard whose beat has not changed for so long, by the clock of whoever looks, may be taken over."""
_BEAT_BYTES = 1 << 10
_CODEC = "zstd"
_LARGEST = 2**31
"""Bytes that an entry may unpack to."""
_NO_ENTRY = (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError, RecursionError)
"""What bytes raise that are none: they may hold any JSON."""


class Fenced(Exception):  # noqa: N818 - what has happened to the worker, not a fault
    """Another worker has taken the shard over. What was not appended is owed."""


@dataclass(frozen=True)
class LogEntry:
    """An entry of a shard's log. `nonce` is that of the claim which it belongs to, and `growth` the growth of
    the run that a seal or a dataset was made for: 0 for what the run began with."""

    kind: Kind
    nonce: str
    owner: str = ""
    parts: Parts = field(default_factory=dict)
    growth: int = 0

    def encoded(self) -> bytes:
        """One line of JSON, then the parts, compressed together."""
        body = b"".join(self.parts.values())
        head: dict[str, Any] = {"kind": self.kind, "nonce": self.nonce, "owner": self.owner}
        head["growth"] = self.growth
        head |= {"parts": {name: len(data) for name, data in self.parts.items()}, "crc": crc32(body)}
        packed = pa.Codec(_CODEC).compress(body, asbytes=True) if body else b""
        return json.dumps(head).encode() + b"\n" + packed

    @classmethod
    def decoded(cls, data: bytes, name: str) -> "LogEntry":
        """BackendError for bytes that `encoded` did not make."""
        line, _, packed = data.partition(b"\n")
        try:
            head = json.loads(line)
            sizes = {str(part): int(size) for part, size in head["parts"].items()}
            total = sum(sizes.values())
            if min(sizes.values(), default=0) < 0 or total > _LARGEST:
                raise ValueError("impossible sizes")
            body = pa.Codec(_CODEC).decompress(packed, total, asbytes=True) if total else b""
            if crc32(body) != head["crc"]:
                raise ValueError("its checksum does not fit")
            kind, nonce, owner = head["kind"], str(head["nonce"]), str(head["owner"])
            if kind not in ("claim", "done", "seal"):
                raise ValueError("an unknown kind")
            growth = head.get("growth", 0)  # in earlier versions runs on a store did not grow
            if not isinstance(growth, int):
                raise ValueError("an impossible growth")
        except _NO_ENTRY as error:
            raise BackendError(f"{name}: is no entry of a shard's log ({error})") from None
        parts, start = {}, 0
        for part, size in sizes.items():
            parts[part] = body[start : start + size]
            start += size
        return cls(kind, nonce, owner, parts, growth)


class ShardLog:
    """The log of one shard, by its number or name, read as far as this program has got."""

    def __init__(self, objects: ObjectStore, shard: int | str, start: int = 0, *, since: int = 0) -> None:
        self._objects, self.shard = objects, shard if isinstance(shard, str) else f"{shard:05d}"
        self.length = start
        """Entries that were read; those before `start` were read earlier."""
        self.since = since
        """The last growth that has changed the shard: only a seal that was made for it, or for a later one,
        says that the shard owes nothing."""
        self.last: LogEntry | None = None

    def read(self) -> Iterator[LogEntry]:
        """The entries that were not read yet, in their order."""
        while (entry := self._entry(self.length)) is not None:
            self.length, self.last = self.length + 1, entry
            yield entry

    def catch_up(self) -> LogEntry | None:
        """Go to the end and read the last entry alone; None where there is none.

        The numbers have no gap, so the end is found by doubling and halving: a log of a thousand entries is
        asked some twenty times, and its megabytes are not moved.
        """
        beyond, step = self.length, 1
        while self._objects.exists(self._name(beyond)):
            beyond, step = beyond + step, step * 2
        there = beyond - step // 2 if step > 1 else self.length - 1  # the last one that is known to exist
        while beyond - there > 1:
            middle = (there + beyond) // 2
            there, beyond = (middle, beyond) if self._objects.exists(self._name(middle)) else (there, middle)
        if there >= self.length:
            self.length, self.last = there + 1, self._entry(there)
        return self.last

    def _entry(self, number: int) -> LogEntry | None:
        data = self._objects.read(self._name(number))
        return None if data is None else LogEntry.decoded(data, f"{self._objects.url}/{self._name(number)}")

    @property
    def owner(self) -> str:
        """Who has the shard, or had it last."""
        return self.last.owner if self.last else ""

    @property
    def is_sealed(self) -> bool:
        """Whether the shard owes nothing, as far as the log was read."""
        return self.last is not None and self.last.kind == "seal" and self.last.growth >= self.since

    def append(self, entry: LogEntry) -> bool:
        """Create an entry under the next number; False where another worker has written there."""
        if not self._objects.create(self._name(self.length), entry.encoded()):
            return False
        self.length, self.last = self.length + 1, entry
        return True

    def claim(self, owner: str = "") -> "Claim | None":
        """Take the shard, after its log was read to the end. None where another worker came first. Without an
        `owner` it is this process."""
        entry = LogEntry("claim", uuid.uuid4().hex, owner or f"{socket.gethostname()}:{os.getpid()}")
        return Claim(self._objects, self, entry) if self.append(entry) else None

    def beat(self) -> bytes | None:
        """What the worker that has the shard wrote last to show that it is alive."""
        return self._objects.read(f"beat/{self.shard}", _BEAT_BYTES)

    def _name(self, number: int) -> str:
        return f"log/{self.shard}/{number:08d}"


class Claim:
    """The right to append to a shard's log, until another worker takes it."""

    def __init__(self, objects: ObjectStore, log: ShardLog, entry: LogEntry) -> None:
        self._objects, self.log, self._owner, self.nonce = objects, log, entry.owner, entry.nonce
        self._beats, self._lost, self._given_back = 0, False, False
        self._showing = Lock()

    def done(self, parts: Parts) -> None:
        """Append what was finished. Fenced where another worker has the shard."""
        self._append(LogEntry("done", self.nonce, self._owner, parts))

    def seal(self, growth: int = 0) -> None:
        """Say that the shard owes nothing of what the run has by a growth. Fenced where another worker has
        the shard."""
        self._append(LogEntry("seal", self.nonce, self._owner, growth=growth))

    def beat(self) -> None:
        """Show that the worker is alive."""
        with self._showing:
            if self._given_back:  # a thread that is late would take it back
                return
            self._beats += 1
            self._objects.overwrite(f"beat/{self.log.shard}", f"{self.nonce} {self._beats}".encode())

    def release(self) -> None:
        """Show that the worker is gone, so that others need not wait for its lease to end."""
        if self._lost:  # the beat is another worker's by now
            return
        with self._showing:
            self._given_back = True
            self._objects.overwrite(f"beat/{self.log.shard}", f"{self.nonce} gone".encode())

    def _append(self, entry: LogEntry) -> None:
        if not self.log.append(entry):
            self._lost = True
            raise Fenced(f"shard {self.log.shard} was taken over by another worker")


class Watch:
    """Which shards nobody works on, by how long their beats stood still on this machine's own clock."""

    def __init__(self, lease_s: float = LEASE_S) -> None:
        self._lease_s = lease_s
        self._seen: dict[str, tuple[object, float]] = {}

    def is_free(self, log: ShardLog) -> bool:
        """Whether a shard may be taken: it owes something, and was never claimed, or its worker has sealed it
        for less, said that it is gone, or has not shown itself for a lease."""
        if log.is_sealed:
            return False
        # Whoever has sealed a shard does nothing more to it: it was sealed before the run grew.
        if log.last is None or log.last.kind == "seal":
            return True
        beat, now = log.beat(), time.monotonic()
        if beat == f"{log.last.nonce} gone".encode():
            return True
        # A new entry is a sign of life, too.
        sign = (beat, log.length)
        before, since = self._seen.get(log.shard, (None, now))
        if sign != before:
            self._seen[log.shard] = (sign, now)
            return False
        return now - since >= self._lease_s
