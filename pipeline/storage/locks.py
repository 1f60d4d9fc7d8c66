"""Exclusive locks on files of a run, so that two processes never write the same shard.

The kernel releases such a lock (flock) when its process ends, however it ends: no stale lock is ever left.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import UserError


@contextmanager
def locked(path: Path, taken: str) -> Iterator[None]:
    """Hold the lock on a file. UserError with the text `taken` when another process holds it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(taken) from None
        yield


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock on a file, after waiting for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
