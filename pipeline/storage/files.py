"""Writing files so that they appear whole or not at all, and reading them without holding them.

A file is written beside its place under a name of ours, and takes its place by a rename after its bytes are
on the disk. The unfinished file stays locked (flock) while its process lives: one that can be locked is a
dead process's left-over, and whoever next writes into that folder removes it.
"""

import codecs
import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import UserError

Item = TypeVar("Item")
PREFIX = ".stepmint-part-"
_OURS = re.compile(re.escape(PREFIX) + r"[0-9a-f]{16}")
_OPEN_FILES = re.compile(r"/proc/\d+(/task/\d+)?/fd")
_OF_THE_DISK = {
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EIO EROFS EACCES EPERM ENAMETOOLONG ENOENT ENOTDIR ELOOP ENXIO".split()
}


class Sink(io.BufferedIOBase):
    """A file that is being written, counted and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self._size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self._size

    def sha256(self) -> str:
        """Checksum of what was written, in hexadecimal."""
        return self._hash.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Sink]:
    """Write a file that takes the place of `path` once the block ends without an error.

    A link is followed: the file it points to is replaced. A file that was there keeps its permissions. What
    is not a file, such as a pipe or /dev/stdout, is written to as it is. UserError for a folder, and when the
    disk does not take the file; then what was there is as it was.
    """
    with complaining(path):
        target = _behind(path)
        if target is None:
            # Standard output sent to a file: opened anew it would be written from its beginning, twice.
            own = os.dup(1) if is_standard_output(path) else None
            with path.open("wb") if own is None else os.fdopen(own, "wb") as stream:
                yield Sink(stream)
            return
        temporary, file = _begin(target)
        with file:
            try:
                _permit(file.fileno(), target)
                yield Sink(file)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        sync_folder(target.parent)


@contextmanager
def replacing_text(path: Path) -> Iterator[TextIO]:
    """`replacing` for UTF-8 text."""
    with replacing(path) as sink:
        yield cast(TextIO, codecs.getwriter("utf-8")(sink))


def is_standard_output(path: Path) -> bool:
    """Whether a path, such as /dev/stdout, is where this process prints."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def _behind(path: Path) -> Path | None:
    """The file that a path means, links followed; None for what can only be written to as it is."""
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise UserError(f"{path}: is a folder: name a file")
        if not stat.S_ISREG(mode):
            return None
    at = path
    for _ in range(40):  # as many links as the kernel follows
        at = Path(os.path.realpath(at.parent)) / at.name
        if _OPEN_FILES.fullmatch(str(at.parent)):  # /dev/stdout, sent to a file that others write too
            return None
        if not at.is_symlink():
            break
        at = at.parent / os.readlink(at)
    if at.exists() and not os.access(at, os.W_OK):
        raise UserError(f"{path}: may not be written: choose another file, or change its permissions")
    return at


def _begin(target: Path) -> tuple[Path, BinaryIO]:
    """A locked, empty file beside `target`."""
    sweep(target.parent)
    while True:
        temporary = target.with_name(PREFIX + secrets.token_hex(8))
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        file = os.fdopen(descriptor, "wb")
        if lock_new(descriptor, temporary):
            return temporary, file
        file.close()


def _permit(descriptor: int, target: Path) -> None:
    """Give the new file the owner and permissions of the one it will replace."""
    with suppress(FileNotFoundError):
        before = target.stat()
        with suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def lock_new(descriptor: int, path: Path) -> bool:
    """Lock what was just made; false where a sweep was faster and has removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return True  # a file system without locks, on which nobody sweeps
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def sweep(folder: Path, *, remove: bool = True) -> list[Path]:
    """Remove what dead processes left unfinished in a folder, or only look; returns what it was."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [path for name in names if _OURS.fullmatch(name) and _is_dead(path := folder / name, remove)]


def _is_dead(path: Path, remove: bool) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not remove:
            return True
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:  # locked by a live process, or not ours to remove
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def complaining(path: Path) -> Iterator[None]:
    """A disk that does not take a file is one line. An error that names another file is not of this one."""
    try:
        yield
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if error.filename else None
        ours = named is None or named == path or _OURS.fullmatch(named.name)
        if not ours or error.errno not in _OF_THE_DISK:
            raise
        if error.errno == errno.ENOENT and not path.parent.is_dir():
            raise UserError(f"{path}: the folder {path.parent} does not exist") from None
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where its file system can be asked for it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size`, the last one shorter (`itertools.batched` needs Python 3.12)."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> tuple[int, str]:
    """Write tables as one Parquet file; returns its rows and its SHA-256. Equal rows give equal bytes within
    one pyarrow version."""
    with replacing(path) as sink:
        return parquet_into(sink, tables, schema), sink.sha256()


def parquet_into(sink: Sink, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write tables into a file that is being written; returns their rows."""
    rows = 0
    with pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=3, write_page_index=True
    ) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield line.rstrip("\n")


def append_lines(path: Path, lines: Iterable[str], *, anew: bool) -> None:
    """Add lines to a file that nobody reads yet, or begin it `anew`."""
    with path.open("w" if anew else "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of these lines."""
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file."""
    with replacing(path) as sink:
        sink.write(data)
