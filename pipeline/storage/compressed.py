"""Lines of a file in compressed form: beside FILE stand FILE.zst and its checksum, FILE.sha256.

`zstdcat FILE.zst` prints the lines. They are compressed a megabyte at a time, each for itself, so that a
damaged file loses no more than what the damage touches. Lines are found by where they begin in what
`zstdcat` prints, and are read from the front to the back.
"""

import os
from collections.abc import Iterable, Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import cast

import pyarrow as pa

from pipeline.storage.checksums import is_first, take_away, vouched_fault, vouching

_BLOCK = 1 << 20
"""Bytes that are compressed together. With 64 KiB a journal is a third larger, with 4 MiB no smaller."""
_AT_ONCE = 1 << 20
"""Bytes that are unpacked together."""
_MAGIC = b"\x28\xb5\x2f\xfd"
"""What every block begins with (RFC 8878, section 3.1.1)."""


def compressed_of(path: Path) -> Path:
    """Where a file's compressed lines are."""
    return path.with_name(f"{path.name}.zst")


def sums_of(path: Path) -> Path:
    """Where the checksum of a file's compressed lines is."""
    return compressed_of(path).with_suffix(".sha256")


def fault_of(path: Path, run: Path) -> str:
    """How a file's compressed lines differ from what was written; empty if they do not, or there are none."""
    # While the first ones are put in place there is a checksum and no file yet; the plain lines are still
    # there. Else they were lost, and plain lines are only those that came later.
    packed = compressed_of(path)
    begun = path.exists() and not os.path.lexists(packed) and is_first(packed)
    return "" if begun else vouched_fault(run, packed)


def written(path: Path) -> int:
    """When a file's compressed lines were written, in nanoseconds; 0 where there are none."""
    try:
        return compressed_of(path).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def write(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file's lines in compressed form, with a checksum. They replace those that were there, which may
    be read meanwhile."""
    codec = pa.Codec("zstd", compression_level=3)
    waiting, size = list[bytes](), 0
    with vouching(compressed_of(path)) as sink:
        for line in lines:
            waiting.append(line)
            size += len(line)
            if size >= _BLOCK:
                sink.write(codec.compress(b"".join(waiting), asbytes=True))
                waiting, size = [], 0
        if waiting:
            sink.write(codec.compress(b"".join(waiting), asbytes=True))


def remove(path: Path) -> None:
    """Remove a file's compressed lines, and last their checksum."""
    take_away(compressed_of(path))


class Forward:
    """A file's compressed lines, read by where they begin. An earlier line than the last begins anew, which
    costs as much as all the lines before it. OSError where the file cannot be unpacked."""

    def __init__(self, path: Path) -> None:
        self._file = compressed_of(path).open("rb")
        self.written = os.fstat(self._file.fileno()).st_mtime_ns
        """When the file was last written, in nanoseconds: it tells this file from another of the same
        name."""
        self._lines, self._at = self._begin(), 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines)

    def line_at(self, offset: int) -> bytes:
        """The line that begins at a byte."""
        if offset < self._at:
            self._lines, self._at = self._begin(), 0
        while self._at < offset:
            skipped = len(self._lines.read(min(offset - self._at, _AT_ONCE)))
            if not skipped:
                break
            self._at += skipped
        line = self._lines.readline()
        self._at += len(line)
        return line

    def close(self) -> None:
        """Release the file."""
        self._lines.close()
        self._file.close()

    def _begin(self) -> BufferedReader:
        # A copy, since a reader closes what it reads from.
        file = os.fdopen(os.dup(self._file.fileno()), "rb")
        file.seek(0)
        return BufferedReader(pa.CompressedInputStream(file, "zstd"), _AT_ONCE)


def rescued(path: Path) -> Iterator[bytes]:
    """The lines that can still be unpacked from a damaged file, whole or torn."""
    try:
        data = compressed_of(path).read_bytes()
    except OSError:  # gone, or a folder
        return
    start = data.find(_MAGIC)
    while start >= 0:
        end = data.find(_MAGIC, start + 1)
        stream = pa.CompressedInputStream(pa.BufferReader(data[start : end if end >= 0 else None]), "zstd")
        try:
            block = cast(bytes, stream.read())
        except OSError:  # its lines are lost
            block = b""
        yield from BytesIO(block)
        start = end
