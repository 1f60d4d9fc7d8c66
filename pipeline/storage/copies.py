"""Where this machine keeps copies of what lies on object stores. They can be thrown away."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage.locks import alone


def copy_of(url: str) -> Path:
    """The folder for what lies at an address. Equal addresses have equal folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepmint" / "objects"
    return cache / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rstrip("/").rpartition("/")[2]


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """The folder for what lies at an address, in which no other process of this machine writes meanwhile."""
    folder = copy_of(url)
    with alone(folder.parent / "lock"):
        yield folder
