"""Replacing a folder as a whole: whoever opens it finds the old one or the new one, and never half of either.

The new folder is filled beside its place and changes places with the old one in one step where the file
system can do that, else in two renames.
"""

import ctypes
import errno
import fnmatch
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from pipeline.storage.files import PREFIX, complaining, lock_new, sweep, sync_folder
from schemas.errors import UserError

LISTED = ".stepmint-files"
"""The file of a replaced folder that lists what we put into it, one name a line."""
LATER = ("metrics.json", "training.json", "evaluation.json", "selftrain.json")
"""What commands add to a checkpoint after it is written."""
_CHECKPOINT = (
    "*.json", "*.safetensors", "*.jinja", "*.model", "*.spm", "merges.txt", "vocab.txt",
)  # fmt: skip
"""What a checkpoint of an earlier version may hold, which has no list."""
_MARKS = ("prm.json", "training.json", "selftrain.json")
"""One of these tells it from a model of somebody else."""
_AT_CWD, _EXCHANGE = -100, 2


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` once the block ends without an error.

    A link is followed. UserError when `path` is a file, or a folder that holds anything we did not put there,
    and when the disk does not take it; then what was there is as it was. Nothing else in the parent folder
    is touched but what dead processes of ours left there.
    """
    with complaining(path):
        target = Path(os.path.realpath(path))
        check_ours(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with fresh_folder(target.parent) as part:
            yield part
            (part / LISTED).write_text("".join(f"{name}\n" for name in sorted(os.listdir(part))))
            if target.exists():
                os.chmod(part, target.stat().st_mode & 0o7777)
            swap(part, target)


def check_ours(path: Path) -> None:
    """UserError unless a folder could be replaced: it is missing, empty, or holds only what we put there."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path}: is not a folder: choose another place")
    found = sorted(os.listdir(path))
    with suppress(FileNotFoundError):
        ours = {LISTED, *LATER, *(path / LISTED).read_text().splitlines()}
        found = [name for name in found if name not in ours]
    if not (path / LISTED).is_file():
        is_checkpoint = any((path / name).is_file() for name in _MARKS)
        found = [
            name
            for name in found
            if not (is_checkpoint and any(fnmatch.fnmatchcase(name, kind) for kind in _CHECKPOINT))
        ]
    if found:
        raise UserError(
            f"{path}: holds something other than a PRM or policy of ours, {found[0]!r}: move it, or choose "
            "another folder"
        )


@contextmanager
def fresh_folder(parent: Path) -> Iterator[Path]:
    """A new folder with a name of ours in `parent`; what is left of it afterwards is removed."""
    sweep(parent)
    while True:
        part = parent / (PREFIX + secrets.token_hex(8))
        part.mkdir()
        descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
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


def swap(part: Path, target: Path) -> None:
    """Let a finished folder take its place; what stood there, a folder or a link, is then at `part`."""
    for folder, _, names in os.walk(part):
        for name in names:
            with open(Path(folder, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))
    if not os.path.lexists(target):
        os.rename(part, target)
    elif not _exchange(part, target):
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
    """The system call, which Python has no name for."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
