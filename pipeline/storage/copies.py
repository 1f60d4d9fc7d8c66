"""Where this machine keeps copies of what lies on object stores. They can be thrown away.

Copies that nobody has used for a month are removed when a new one is made.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.storage.locks import alone, locked
from schemas.errors import UserError

_KEPT_S = 30 * 24 * 60 * 60.0


def copy_of(url: str) -> Path:
    """The folder for what lies at an address. Equal addresses have equal folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepmint" / "objects"
    return cache / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rstrip("/").rpartition("/")[2]


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """The folder for what lies at an address, in which no other process of this machine writes meanwhile."""
    folder = copy_of(url)
    if not folder.exists():
        _remove_old(folder.parent.parent)
    with alone(folder.parent / "lock"):
        yield folder


def _remove_old(cache: Path) -> None:
    """Remove copies that nobody uses, and nobody has for long."""
    for lock in cache.glob("*/lock"):
        # Whoever takes a lock opens it to be written, so its time is that of the last use. It stays: another
        # process may wait for it.
        with suppress(OSError, UserError):
            if time.time() - lock.stat().st_mtime > _KEPT_S:
                with locked(lock, "in use"):
                    for entry in lock.parent.iterdir():
                        if entry != lock:
                            shutil.rmtree(entry)
