"""Checksums of files, and files with a checksum file beside them: NAME.parquet and NAME.sha256.

While a new file replaces an old one, NAME.sha256 holds the checksums of both: whichever of the two a kill
leaves, its checksum is known.
Where there was none, it says so: a file that is not there yet is not one that was lost.
"""

import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage.atomic import Sink, replacing, sync_folder, write_lines
from pipeline.storage.files import lines_of

if TYPE_CHECKING:
    import pyarrow as pa

_NONE = 64 * "0"
"""Stands for the checksum of the old file where there is none."""


def write_vouched(
    path: Path, tables: "Iterable[pa.Table]", schema: "pa.Schema", accept: Callable[[], None] = lambda: None
) -> int:
    """Write a Parquet file with its checksum; returns its number of rows. `accept` is called when all rows
    are written, and may raise to leave the old file as it was."""
    from pipeline.storage.parquet import parquet_into

    with vouching(path) as sink:
        rows = parquet_into(sink, tables, schema)
        accept()
    return rows


@contextmanager
def vouching(path: Path) -> Iterator[Sink]:
    """Write a file with its checksum. They take the place of the old ones once the block ends without an
    error."""
    # Order: both checksums, then the new file (by the end of `replacing`), then its checksum alone.
    sums = path.with_suffix(".sha256")
    before = [sha256_of(path) if path.exists() else _NONE]
    with replacing(path) as sink:
        yield sink
        write_lines(sums, [*before, sink.sha256()])
    write_lines(sums, [sink.sha256()])


def is_first(path: Path) -> bool:
    """Whether the first version of a file is being put in its place, or the last one taken away."""
    sums = path.with_suffix(".sha256")
    with suppress(OSError, ValueError):  # gone, or spoilt: then it says nothing
        return _NONE in lines_of(sums)
    return False


def take_away(path: Path) -> None:
    """Remove a file, and last its checksum."""
    sums = path.with_suffix(".sha256")
    if path.exists() and sums.exists():
        with suppress(ValueError):
            write_lines(sums, [_NONE, *lines_of(sums)])
    for file in (path, sums):
        file.unlink(missing_ok=True)
        sync_folder(path.parent)


def vouched_fault(run: Path, path: Path) -> str:
    """How a file differs from what was written; empty when it does not, or when it has no checksum because an
    earlier version wrote it."""
    sums = path.with_suffix(".sha256")
    if not sums.exists():
        return ""
    while True:
        try:
            known = list(lines_of(sums))
            faults = [file_fault(run, path, sha256) for sha256 in known or [""]]
            # Where the checksums are others by now, the file was replaced while it was read.
            if all(faults) and list(lines_of(sums)) != known:
                continue
        except (OSError, ValueError) as error:
            return f"{sums}: cannot be read: {error}"
        return f"{faults[-1]}, by {sums.name}" if all(faults) else ""


def file_fault(run: Path, path: Path, sha256: str) -> str:
    """How a file of a run differs from the one that was written; empty when it does not."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            return f"{path}: is not a file"
        # A manifest is only a file: a name in it must not make us read or vouch for files elsewhere.
        if run.resolve() not in path.resolve().parents:
            return f"{path}: lies outside the run"
        same = sha256_of(path) == sha256
    except FileNotFoundError:
        return f"{path}: is missing"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    return "" if same else f"{path}: was changed after it was written (its checksum does not fit)"


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal, computed again only when its inode, size or time has changed."""
    found = path.stat()
    return _sha256(path, found.st_ino, found.st_size, found.st_mtime_ns)


# Several steps of one command check the same files, so each is hashed once.
@lru_cache(maxsize=4096)
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
