"""Atomic writing: files and folders appear whole or not at all, whatever is killed. Only this module renames.

A file is written beside its target under a name that begins with PREFIX, and is renamed to the target when
its bytes are on the disk. Its process holds a lock (flock) on it meanwhile. So a file of that name that can
be locked was left behind by a dead process, and the next writer in that folder removes it. A folder is filled
the same way. It changes places with the old folder in one step, or in two renames where the file system has
none.
"""

import codecs
import ctypes
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from schemas.errors import UserError

PREFIX = ".stepmint-part-"
_AT_CWD, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_OURS = re.compile(re.escape(PREFIX) + r"[0-9a-f]{16}")
# Where /dev/stdout and /dev/fd/3 lead: `/proc/4711/fd`. What lies there is an open file, not a name.
_OPEN_FILES = re.compile(r"/proc/\d+(/task/\d+)?/fd")
# Errors that the user can mend (disk full, no permission, no such folder). Any other is a fault of the
# program.
_OF_THE_DISK = {
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EIO EROFS EACCES EPERM ENAMETOOLONG ENOENT ENOTDIR ELOOP ENXIO".split()
}


class Sink(io.BufferedIOBase):
    """A file that is being written, counted and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self._size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        """True."""
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
                # On the disk before the rename: else a power cut could leave the new name with no bytes.
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
    """Whether a path, such as /dev/stdout, is the standard output of this process."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def _behind(path: Path) -> Path | None:
    """The file behind a path, links followed; None for a pipe or device, which cannot be replaced."""
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
        with suppress(PermissionError):  # only root may give a file to somebody else
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def lock_new(descriptor: int, path: Path) -> bool:
    """Lock a file or folder that was just made; false where another process's sweep has removed it
    already."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return True  # a file system without locks, on which nobody sweeps
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def sweep(folder: Path, *, remove: bool = True) -> list[Path]:
    """Remove the unfinished files and folders of dead processes from a folder; with `remove` false only list
    them. Returns their paths."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [path for name in names if _OURS.fullmatch(name) and _is_dead(path := folder / name, remove)]


def _is_dead(path: Path, remove: bool) -> bool:
    try:
        # The name may be anything by now: a link is not followed, and a pipe does not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode) and found.st_uid != os.geteuid():
            return False  # in /tmp lie folders of other users
        if not remove:
            return True
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:  # locked by a live process, or not ours to remove
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def fresh_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new, locked folder in `parent`, whose rest is removed when the block ends. Without `parent` it lies
    where the system keeps temporary files, and only our user can enter it."""
    place, mode = (Path(tempfile.gettempdir()), 0o700) if parent is None else (parent, 0o777)
    sweep(place)
    while True:
        part = place / (PREFIX + secrets.token_hex(8))
        part.mkdir(mode)
        try:
            descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # a sweep was faster
            continue
        if lock_new(descriptor, part):
            break
        os.close(descriptor)
    try:
        yield part
    finally:
        try:
            shutil.rmtree(part, ignore_errors=True)
        finally:
            os.close(descriptor)


def put(written: Path, target: Path) -> None:
    """Rename a file or link that is already written to its target, which it replaces."""
    os.replace(written, target)
    sync_folder(target.parent)


@contextmanager
def complaining(path: Path) -> Iterator[None]:
    """Turn a disk's refusal of `path` into a UserError of one line. An error that names another file
    passes."""
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
    """Flush a folder's names to the disk: without this a rename may be lost in a power cut."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def swap(part: Path, target: Path) -> None:
    """Move a finished folder to its target; the folder or link that was there is then at `part`."""
    for folder, _, names in os.walk(part):
        for name in names:
            with open(Path(folder, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))
    if not os.path.lexists(target):
        os.rename(part, target)
    elif not _exchange(part, target):
        # Two renames: between them `target` does not exist, but both folders do, under other names.
        aside = target.parent / f".stepmint-old-{secrets.token_hex(8)}"  # never swept: it may be all there is
        os.rename(target, aside)
        try:
            os.rename(part, target)
        except OSError:
            os.rename(aside, target)
            raise
        os.rename(aside, part)
    sync_folder(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; false where the file system cannot."""
    if _renameat2() is None:
        return False
    if _renameat2()(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE) == 0:  # type: ignore[misc]
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


@cache
def _renameat2() -> Callable[..., int] | None:
    """Linux's renameat2, which Python does not offer; None where the C library does not have it."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of these lines."""
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file."""
    with replacing(path) as sink:
        sink.write(data)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file for people to read."""
    write_bytes(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())
