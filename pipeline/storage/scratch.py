"""Folders for what is needed only while a process lives: gone with its owner, or swept by the next owner.

A folder is held by a lock on one of its files, which the kernel releases when the process ends, however it
ends.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "stepmint-"
_LOCK = "held"
_NEW_S = 3600.0
"""A folder without a lock is one that is just being made, unless it is older."""


@contextmanager
def scratch_folder(place: Path | None = None) -> Iterator[Path]:
    """A new folder in `place`, or where the system keeps temporary files; removed at the end."""
    place = place or Path(tempfile.gettempdir())
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        # Locked under another name first: whoever finds a lock that is free may remove the folder.
        with (folder / f"{_LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.replace(lock.name, folder / _LOCK)
            (folder / "files").mkdir()
            yield folder / "files"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the folders whose owner is gone; only our own user's, and never through a link."""
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid == os.geteuid() and folder.is_dir() and not folder.is_symlink():
                _remove_if_free(folder, time.time() - found.st_mtime)


def _remove_if_free(folder: Path, age_s: float) -> None:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        if age_s > _NEW_S and not any(folder.iterdir()):
            folder.rmdir()
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
