"""The exclusive right to change files, held by a lock (flock) that the kernel releases with its process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import UserError


@contextmanager
def locked(path: Path, taken: str) -> Iterator[None]:
    """Hold the lock that a file stands for. UserError, saying `taken`, when another process has it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(taken) from None
        yield
