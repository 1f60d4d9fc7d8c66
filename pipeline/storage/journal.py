"""A shard's journal and rollouts: lines are appended as problems finish, and are read back one at a time.

A problem is done when its journal line is whole. Its rollouts are on the disk before that line is, so a whole
line means that the rollouts are there too. Every line ends in its own checksum: `{..., "crc": "8 digits"}`.

When a shard is sealed its lines are compressed (`journal_packing`). Later ones are appended beside them, and
count where a problem has both.
"""

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from pydantic import ValidationError
from pydantic_core import from_json

from pipeline.storage import compressed
from pipeline.storage.compressed import Forward, compressed_of
from pipeline.storage.files import opened
from schemas.errors import UserError
from schemas.records import Finished, Rollout, gold_key

log = logging.getLogger(__name__)
# A flush takes milliseconds, which is longer than a fast policy needs for a problem. So finished problems are
# flushed together, and a kill loses at most half a second of them, beside the problems under way.
_COMMIT_EVERY_S = 0.5
_SIGN = re.compile(rb',"crc":"([0-9a-f]{8})"\}')  # 18 bytes: the end of every line that `signed` made
_CANDIDATES, _SKIPPED = b',"candidates":[', b'],"skipped":'
"""Where the candidates of a line begin and end."""


class Entry(NamedTuple):
    """A finished problem's line: its offset in bytes, and the problem's tokens by purpose, gold answer's key,
    number of rollouts, the key of its given solutions, and whether its budget kept something from it."""

    offset: int
    spent: Mapping[str, int]
    gold: int = 0
    rollouts: int = 0
    given: str = ""
    cut: bool = False
    packed: int = 0
    """When the compressed lines that the offset is of were written; 0 for a line that is not compressed."""

    @property
    def tokens(self) -> int:
        """All tokens of the problem."""
        return sum(self.spent.values())


class Damage(NamedTuple):
    """A line that cannot be read, by its number from 1 and its first byte."""

    number: int
    offset: int

    def __str__(self) -> str:
        return f"line {self.number} (byte {self.offset}) was changed or is torn"


class ShardWriter:
    """Appends finished problems to one shard's journal, and records how long the shard was worked on and how
    many prompt tokens that took."""

    def __init__(self, path: Path, shard: int) -> None:
        self._rollouts = _open_append(path / "rollouts" / f"{shard:05d}.jsonl")
        self._path = path / "journal" / f"{shard:05d}.jsonl"
        self._journal = _open_append(self._path)
        clock = path / "journal" / f"{shard:05d}.seconds"
        self._clock = os.open(clock, os.O_RDWR | os.O_CREAT, 0o644)
        # As if the work had begun that much earlier: the clock goes on where the last attempt stopped.
        self._start = time.monotonic() - read_seconds(clock)
        usage = path / "journal" / f"{shard:05d}.usage"
        self._usage, self._before = os.open(usage, os.O_RDWR | os.O_CREAT, 0o644), read_usage(usage)
        self.used: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Prompt tokens of this session, and those of them that lay in a cache."""
        self._waiting: list[tuple[bytes, bytes]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failed: OSError | None = None
        self._owner = _current_task()

    def record(self, item: Finished, rollouts: list[Rollout]) -> None:
        """Keep a finished problem: at once outside an event loop, within half a second inside one.

        Raises the OSError that an earlier problem met on its way to the disk.
        """
        block = {"problem": item.problem.id, "rollouts": [vars(r) for r in rollouts]}  # texts and numbers
        self._waiting.append((signed(_bytes(json.dumps(block))), signed(_bytes(item.model_dump_json()))))
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self._commit()
            else:
                self._timer = loop.call_later(_COMMIT_EVERY_S, self._tick)
        self._complain()

    def close(self) -> None:
        """Write what waits and release the files."""
        if self._timer is not None:
            self._timer.cancel()
        self._commit()
        for descriptor in (self._rollouts, self._journal, self._clock, self._usage):
            os.close(descriptor)
        self._complain()

    def _tick(self) -> None:
        """Commit. When the disk takes nothing any more, cancel the run: all further work would be lost."""
        self._commit()
        if self._failed is not None and self._owner is not None:
            self._owner.cancel()  # `close` then raises what has failed

    def _commit(self) -> None:
        """Flush the rollouts first and the journal lines last: a journal line must never lack its
        rollouts."""
        self._timer = None
        waiting, self._waiting = self._waiting, []
        try:
            if waiting and self._failed is None:
                for part, descriptor in enumerate((self._rollouts, self._journal)):
                    _write_all(descriptor, b"".join(lines[part] for lines in waiting))
                    os.fsync(descriptor)
            # At a fixed place with a fixed length, so that the file is overwritten and never half a number.
            os.pwrite(self._clock, b"%016.3f\n" % (time.monotonic() - self._start), 0)
            os.pwrite(self._usage, b"%016d %016d\n" % _sum(self._before, self.used()), 0)
        except OSError as error:  # raised inside a timer, nobody would catch it: `record` raises it later
            self._failed = OSError(error.errno, error.strerror, str(self._path))

    def _complain(self) -> None:
        if self._failed is not None:
            raise self._failed


def _current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # outside an event loop
        return None


def read_usage(path: Path) -> tuple[int, int]:
    """A shard's prompt tokens, and those of them that lay in a cache, all sessions together; zeros where
    there is no such file, or one that cannot be read."""
    try:
        prompt, cached = map(int, path.read_bytes().split())
    except (FileNotFoundError, ValueError):  # a run from before they were counted, or a new shard
        return 0, 0
    return prompt, cached


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def read_seconds(path: Path) -> float:
    """Seconds that a shard has been worked on, in all attempts together; 0 where none are recorded."""
    try:
        return float(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return 0.0


def path_of(run: Path, shard: int) -> Path:
    """A shard's journal."""
    return run / "journal" / f"{shard:05d}.jsonl"


def index(path: Path) -> dict[str, Entry]:
    """Every finished problem of a journal by its id; of a problem that was graded again, the last line."""
    return scan(path)[0]


def scan(path: Path) -> tuple[dict[str, Entry], list[Damage]]:
    """A journal's `index`, and its lines that cannot be read: their problems are owed again. A last line
    without its end was torn by a kill, which is no damage.

    UserError where the compressed lines are not as they were written: so many problems are not owed again
    unasked.
    """
    while True:
        before = compressed.written(path)
        found, file = _packed_entries(path), opened(path)
        # Else it was packed meanwhile, and there may be lines in neither of the two.
        if compressed.written(path) == before:
            break
        file.close()
    damage, offset = list[Damage](), 0
    with file:
        for number, line in enumerate(file, start=1):
            try:
                name, entry = _entry(offset, line)
                found[name] = entry
            except _NO_LINE:
                if line.endswith(b"\n"):
                    log.warning("%s line %d cannot be read; its problem is owed again", path, number)
                    damage.append(Damage(number, offset))
            offset += len(line)
    return found, damage


_NO_LINE = (ValueError, KeyError, TypeError, AttributeError)
"""What a line raises that is none of ours: it may hold any JSON."""


def _packed_entries(path: Path) -> dict[str, Entry]:
    """The index of a journal's compressed lines. UserError where they cannot be read."""
    if fault := compressed.fault_of(path, run := path.parent.parent):
        raise UserError(f"{fault}: see `stepmint check {run}`")
    found: dict[str, Entry] = {}
    if not compressed_of(path).exists():
        return found
    offset = 0
    try:
        with closing(Forward(path)) as lines:
            for line in lines:
                name, entry = _entry(offset, line)
                found[name] = entry._replace(packed=lines.written)
                offset += len(line)
    except (OSError, *_NO_LINE) as error:
        raise UserError(_spoilt(path, f"cannot be read: {str(error).splitlines()[0]}")) from None
    return found


def _spoilt(path: Path, how: str) -> str:
    return f"{compressed_of(path)}: {how}: see `stepmint check {path.parent.parent}`"


def _entry(offset: int, line: bytes) -> tuple[str, Entry]:
    """The problem of a line and its entry. Raises whatever JSON that is no finished problem may cause."""
    body = body_of(line)
    # Only where a checksum says that what is left out is whole.
    item = from_json(_without_candidates(body) if is_signed(line) else body)
    spent, n_rollouts = item["tokens"], item.get("n_rollouts", 0)
    sum(spent.values())  # numbers, or the line is none of ours
    gold, given = gold_key(item["problem"]), str(item.get("given", ""))
    entry = Entry(offset, spent, gold, n_rollouts, given, bool(item.get("over_budget")))
    return str(item["problem"]["id"]), entry


def _without_candidates(body: bytes) -> bytes:
    """A line without its candidates, which are all but a hundredth of it. The names of fields are found as
    bytes: inside a text every quote has a backslash before it."""
    begin, end = body.find(_CANDIDATES), body.rfind(_SKIPPED)
    if begin < 0 or end < begin:  # a line of an earlier version, or none of ours
        return body
    return body[:begin] + body[end + 1 :]


class Line(NamedTuple):
    """A line of a journal, and where it stands."""

    path: Path
    offset: int
    data: bytes


class Reader:
    """The lines of a journal by the entries of its `index`; soonest in the order of the problems' ids."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._plain: BinaryIO | None = None
        self._packed: Forward | None = None

    def line(self, entry: Entry) -> Line:
        """The line of an entry. UserError where the journal was packed since it was indexed."""
        try:
            if entry.packed:
                return Line(compressed_of(self._path), entry.offset, self._packed_line(entry))
            self._plain = self._plain or self._path.open("rb")
        except FileNotFoundError:
            raise self._moved() from None
        except OSError as error:
            raise UserError(_spoilt(self._path, f"cannot be read: {error}")) from None
        self._plain.seek(entry.offset)
        return Line(self._path, entry.offset, self._plain.readline())

    def _packed_line(self, entry: Entry) -> bytes:
        self._packed = self._packed or Forward(self._path)
        # Of another file the offset is that of another line.
        if self._packed.written != entry.packed:
            raise self._moved()
        return self._packed.line_at(entry.offset)

    def _moved(self) -> UserError:
        return UserError(f"{self._path}: was sealed anew while it was read: give the same command again")

    def close(self) -> None:
        """Release the files."""
        for file in (self._plain, self._packed):
            if file is not None:
                file.close()


def read(path: Path, entries: Iterable[Entry]) -> Iterator[Finished]:
    """The problems of some entries of a journal's `index`, in their order. UserError names a line that is no
    record."""
    with closing(Reader(path)) as reader:
        for entry in entries:
            yield finished_of(*reader.line(entry))


def finished_of(path: Path, offset: int, line: bytes) -> Finished:
    """The record in a journal's line. UserError when the line holds none."""
    try:
        return Finished.model_validate_json(body_of(line))
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except ValueError as error:
        why = str(error)
    raise UserError(
        f"{path}: the line at byte {offset} is no finished problem ({why}): drop that line with "
        f"`stepmint check {path.parent.parent} --repair`, then run again"
    )


def problem_of(line: bytes) -> str:
    """The id of the finished problem that a line is; empty where it is none."""
    try:
        return Finished.model_validate_json(body_of(line)).problem.id
    except ValueError:
        return ""


def signed(body: bytes) -> bytes:
    """A line of a JSON object with its checksum."""
    return body[:-1] + b',"crc":"%08x"}\n' % crc32(body)


def is_signed(line: bytes) -> bool:
    """Whether a line ends in a checksum; those of earlier versions have none."""
    return _SIGN.fullmatch(line.removesuffix(b"\n")[-18:]) is not None


def body_of(line: bytes) -> bytes:
    """The JSON object of a line that `signed` made. ValueError when its checksum does not fit; a line without
    one was written by an earlier version and is taken as it is."""
    line = line.removesuffix(b"\n")
    sign = _SIGN.fullmatch(line[-18:])
    if sign is None:
        return line
    body = line[:-18] + b"}"
    if int(sign[1], 16) != crc32(body):
        raise ValueError("its checksum does not fit")
    return body


def reads(line: bytes) -> bool:
    """Whether a line is a whole JSON object with the checksum that fits it."""
    try:
        from_json(body_of(line))
    except ValueError:
        return False
    return True


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)  # a write may take only a part, when the disk is nearly full or a signal comes
    while view:
        view = view[os.write(descriptor, view) :]


def _open_append(path: Path) -> int:
    """Open a file to append after its last whole line. A line that a kill has torn is cut off: its problem is
    owed again. A whole line that lacks only its line end gets one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.lseek(descriptor, 0, os.SEEK_END)
    start = _start_of_last_line(descriptor, size)
    last = os.pread(descriptor, size - start, start)
    if last and reads(last):
        os.write(descriptor, b"\n")
    elif last:
        os.ftruncate(descriptor, start)
    return descriptor


def _start_of_last_line(descriptor: int, size: int) -> int:
    """Where the text after the last line's end begins: `size` when there is none."""
    end = size
    while end:
        start = max(0, end - 65_536)  # backwards in pieces: the last line may be as long as its rollouts
        at = os.pread(descriptor, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
