"""Objects on S3, Google Cloud Storage, Azure or a folder, of which those that count are only ever created.

`create` is the one operation that everything rests on: of several programs that create one name at once,
exactly one succeeds. A store that lets two of them succeed is refused when it is opened.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from obstore.store import MemoryStore, from_url

from schemas.errors import BackendError, UserError, redacted

_OUTAGE = timedelta(minutes=5)
"""How long a request is repeated while the store does not answer. The client's own ten tries last three
seconds where connections are refused, which is less than any restart of a server takes."""
_TRIES = 20
"""How often a creation is tried again of which the store says that the object exists, where there is none:
S3 answers so while another program creates it, and that other program may fail."""
_BROKEN = ("response body error", "error sending request")
"""What the client says of an answer that broke off, and of one that did not come within its 30 s. The first
request it does not repeat, nor the second where it is a creation."""
_PAUSE_S = 0.5
_LARGEST = 5 << 30
"""Bytes of an object that is read: S3 takes no more at once, and ours are written at once."""
_PART = 1 << 24
"""Bytes of a part of a large object."""
T = TypeVar("T")


class ObjectStore:
    """A prefix in an object store."""

    def __init__(self, store: Any, url: str, prefix: str = "") -> None:
        self._store, self.url, self._prefix = store, url, prefix

    def within(self, folder: str) -> "ObjectStore":
        """A folder of it, asked through the same connections."""
        return ObjectStore(self._store, f"{self.url.rstrip('/')}/{folder}", f"{self._prefix}{folder}/")

    def create(self, name: str, data: bytes) -> bool:
        """Create an object; False where another program's stands there.

        `data` holds something that only this caller writes. A creation whose answer was lost is repeated by
        the client, and then meets its own object: it is told by its bytes.
        """
        for _ in range(_TRIES):
            with suppress(AlreadyExistsError):
                self._put(name, data, mode="create")
                return True
            found = self.read(name)
            if found is not None:
                return found == data
        raise BackendError(f"{self.url}: the store says that {name} exists, but does not give it")

    def overwrite(self, name: str, data: bytes) -> None:
        """Write an object, whatever stands there."""
        self._put(name, data)

    def read(self, name: str, most: int = _LARGEST) -> bytes | None:
        """An object's bytes, or None where there is none. BackendError where it has more than `most`."""

        def got() -> bytes:
            found = obstore.get(self._store, self._prefix + name)
            if found.meta["size"] > most:
                raise BackendError(f"{self.url}/{name} has {found.meta['size']} bytes, more than {most}")
            return bytes(found.bytes())

        with suppress(FileNotFoundError):
            return self._asked(got)
        return None

    def exists(self, name: str) -> bool:
        """Whether an object is there."""
        with suppress(FileNotFoundError):
            self._asked(lambda: obstore.head(self._store, self._prefix + name))
            return True
        return False

    def names(self, prefix: str) -> list[str]:
        """The names of the objects below a prefix."""
        whole, start = self._prefix + prefix, len(self._prefix)
        return self._asked(
            lambda: [str(one["path"])[start:] for batch in obstore.list(self._store, whole) for one in batch]
        )

    def folders(self) -> list[str]:
        """The names of the folders right below it, in their order."""
        found = self._asked(lambda: obstore.list_with_delimiter(self._store, self._prefix or None))
        return sorted(str(one)[len(self._prefix) :].strip("/") for one in found["common_prefixes"])

    def upload(self, name: str, path: Path) -> None:
        """Write a file of any size as an object, whatever stands there."""
        # In parts, of which S3 takes ten thousand: it takes no more than 5 GB at once.
        self._asked(lambda: obstore.put(self._store, self._prefix + name, path, chunk_size=_PART))

    def download(self, name: str, path: Path) -> str:
        """Write an object of any size into a file of a folder that is there; returns the SHA-256 of its
        bytes, empty where there is no such object."""

        def got() -> str:
            whole = hashlib.sha256()
            chunks = obstore.get(self._store, self._prefix + name).stream(min_chunk_size=_PART)
            with path.open("wb") as file:
                for chunk in chunks:
                    whole.update(chunk)
                    file.write(chunk)
            return whole.hexdigest()

        with suppress(FileNotFoundError):
            return self._asked(got)
        return ""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        with suppress(FileNotFoundError):
            self._asked(lambda: obstore.delete(self._store, self._prefix + name))

    def _put(self, name: str, data: bytes, **how: Any) -> None:
        self._asked(lambda: obstore.put(self._store, self._prefix + name, data, use_multipart=False, **how))

    def _asked(self, request: Callable[[], T]) -> T:
        """What a request gives; it is repeated while its answers break off, or do not come."""
        until = time.monotonic() + _OUTAGE.total_seconds()
        while True:
            with _explained(self.url):
                try:
                    return request()
                except GenericError as error:
                    if not any(one in str(error) for one in _BROKEN) or time.monotonic() > until:
                        raise
            time.sleep(_PAUSE_S)


class _explained:  # noqa: N801 - reads as a word in `with`
    """Turns the client's errors into one line each."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BaseError) and not isinstance(error, AlreadyExistsError):
            # What the client says goes on over many lines, of which the first names the fault.
            said = redacted(str(error)).strip().splitlines()
            raise BackendError(f"{self._url}: {said[0] if said else type(error).__name__}") from None


def open_objects(url: str, *, written: bool = True) -> ObjectStore:
    """The store at an address; it is tried out before it is written to. Keys and endpoints come from the
    environment, under the names of the stores' own tools (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`,
    `GOOGLE_SERVICE_ACCOUNT`, `AZURE_...`). A folder that is only read is not made: one that is missing is an
    empty store.

    UserError for an address that names no store, and for a store that ignores conditions.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UserError(
            f"{redacted(url)}: an address is printed and recorded: keys belong into the environment"
        )
    try:
        if url.startswith("file://"):
            is_there = written or Path(unquote(urlsplit(url).path)).exists()
            store = from_url(url, mkdir=True) if is_there else MemoryStore()
        else:
            retry: Any = {"max_retries": 10_000, "retry_timeout": _OUTAGE}
            plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
            options: Any = {"allow_http": True} if plain else {}
            store = from_url(url, client_options=options, retry_config=retry)
    except (BaseError, ValueError, OSError) as error:
        why = str(error).partition("\n")[0]  # what follows is a dump of the client's objects
        raise UserError(
            f"{redacted(url)}: is not an object store that can be opened ({why}): expected an address such "
            "as s3://BUCKET/RUNS, gs://..., az://... or file:///FOLDER"
        ) from None
    objects = ObjectStore(store, redacted(url))
    if written:
        probe(objects)
    return objects


def probe(objects: ObjectStore) -> None:
    """UserError where a name can be created twice: two workers would both take one shard, and one of them
    would erase the other's work without a word."""
    name = f"probe/{uuid.uuid4().hex}"
    first, second = (objects.create(name, uuid.uuid4().bytes) for _ in range(2))
    objects.delete(name)
    if not first or second:
        raise UserError(
            f"{objects.url}: this store creates an object twice (it ignores `If-None-Match`), so several "
            "workers would overwrite one another: use a store that heeds conditions, or a local folder"
        )
