"""Where this machine keeps copies of what lies on object stores. They can be thrown away."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage.locks import alone


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """The folder for what lies at an address, in which no other process of this machine writes meanwhile.
    Equal addresses have equal folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepmint" / "objects"
    place = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    with alone(place / "lock"):
        yield place / url.rstrip("/").rpartition("/")[2]
