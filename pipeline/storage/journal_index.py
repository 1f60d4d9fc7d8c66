"""What a journal's lines come to, kept beside it in `NNNNN.index`, so that a look at a run reads no journal.

The file says of which length and time of writing of the journal it is. Where the journal has another, was
damaged, or the index itself was, the journal is read instead. Only a look (`stepmint status`) takes its word:
whatever makes labels or repairs reads the lines, each with its checksum.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic_core import from_json, to_json

from pipeline.storage.atomic import write_bytes
from pipeline.storage.compressed import compressed_of
from pipeline.storage.journal import Damage, Entry, body_of, is_signed, scan, signed
from schemas.errors import UserError

Stamp = list[int]
"""Length in bytes, and when a file was last written, in nanoseconds; then the same of its compressed lines,
where there are any."""


def scanned(path: Path) -> dict[str, Entry]:
    """A journal's index by reading the journal, which is written down for the next look."""
    stamp = stamp_of(path)
    found, damage = scan(path)
    if stamp and not damage:
        keep(path, stamp, found)
    return found


def glance(path: Path) -> tuple[dict[str, Entry], list[Damage]]:
    """A journal's index and damage, as `scan` finds them, without reading the journal where it is as it was
    when its index was written."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = file_of(path).read_bytes()
        if is_signed(data):
            kept = from_json(body_of(data))
            if kept["journal"] == stamp_of(path):
                return {name: Entry(*fields) for name, fields in kept["problems"].items()}, []
    return scan(path)


def keep(path: Path, stamp: Stamp, found: Mapping[str, Entry]) -> None:
    """Write down a journal's index, unless the file is as it would be. Nothing depends on it, so a disk that
    does not take it is no error."""
    line = signed(to_json({"journal": stamp, "problems": found}))
    file = file_of(path)
    with suppress(OSError, UserError):
        if not file.is_file() or file.read_bytes() != line:
            write_bytes(file, line)


def file_of(path: Path) -> Path:
    """Where a journal's index is kept."""
    return path.with_suffix(".index")


def stamp_of(path: Path) -> Stamp:
    """What tells whether a journal is still the one that an index is of; empty where there is none."""
    plain, packed = _stamp(path), _stamp(compressed_of(path))
    return [*(plain or [0, 0]), *packed] if packed else plain


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    # Whoever might write to a journal makes an empty one, beside which the compressed lines are all there is.
    return [found.st_size, found.st_mtime_ns] if found.st_size else []
