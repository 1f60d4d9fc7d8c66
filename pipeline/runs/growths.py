"""What a run on an object store has: as it began, and after each growth.

    run.json                 growth 0: the files that the run began with
    log/grown/NUMBER         growth NUMBER + 1: the files that it has from then on

Growths are created under the next number and never changed, as the entries of a shard's log. Of two programs
that grow a run at once one gets the number. The other reads what the run has by then, and compares anew.

A growth adds problems, or corrects some, in shards that it names; one that names none brings other settings
of speed. It takes none away, so what was sealed for a growth is sealed for all earlier ones, too. And a shard
is sealed for a growth where it was sealed for the last one that changed it, or for a later one. So a worker
that knows only an earlier growth can do no harm: it works on what that growth has, and what it seals is
sealed for no more.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.storage.object_store import ObjectStore
from pipeline.storage.shard_log import LogEntry, ShardLog
from schemas.errors import UserError

RUN = "run.json"
GROWN = "grown"
"""The name of the log, and of the part of an entry that says what the run has."""
_BYTES = 1 << 26
"""That run.json may have: it names a few files for each shard."""
_NAMES = ("digest", "shards", "files", "nonce", "since")


class Grown(Exception):  # noqa: N818 - what has happened to the run, not a fault
    """The run has got further problems meanwhile."""


class Growth(NamedTuple):
    """A run as it is from some growth on."""

    number: int
    digest: str
    """That of the settings."""
    shards: int
    files: Mapping[str, str]
    """The SHA-256 of each file by its name."""
    nonce: str | None
    """What tells the run from another one that has the same name, settings and problems."""
    since: Mapping[str, int]
    """For each shard the last growth that has changed it; those that none has changed are left out."""

    def log(self, objects: ObjectStore, shard: int) -> ShardLog:
        """The log of a shard, which is sealed where it owes nothing of this growth."""
        return ShardLog(objects, shard, since=self.since_of(shard))

    def since_of(self, shard: int) -> int:
        """The last growth that has changed a shard."""
        return self.since.get(str(shard), 0)

    @property
    def changed(self) -> int:
        """The last growth that has changed any shard: a dataset made for it is that of the run. Later ones
        have brought other settings of speed."""
        return max(self.since.values(), default=0)

    def encoded(self) -> bytes:
        """As it stands in run.json, and in the log."""
        said = {"digest": self.digest, "shards": self.shards, "files": dict(self.files), "nonce": self.nonce}
        return json.dumps(said | ({"since": dict(self.since)} if self.number else {})).encode()


def latest(objects: ObjectStore) -> Growth | None:
    """A run as it is now; None where there is none."""
    data = objects.read(RUN, _BYTES)
    return None if data is None else after(objects, _decoded(data, 0, f"{objects.url}/{RUN}"))


def known(objects: ObjectStore) -> Growth:
    """A run as it is now. UserError where there is none."""
    if (found := latest(objects)) is None:
        raise UserError(f"{objects.url}: no run is there (it has no {RUN})")
    return found


def after(objects: ObjectStore, growth: Growth) -> Growth:
    """The last growth of a run; the one that is given where none came after it. UserError where another run
    has taken the place of this one."""
    log = ShardLog(objects, GROWN, growth.number)
    entry = log.catch_up()
    if entry is None:
        return growth
    where = f"{objects.url}/log/{GROWN}"
    found = _decoded(entry.parts.get(GROWN, b""), log.length, where)
    if (found.nonce, found.shards) != (growth.nonce, growth.shards):
        raise UserError(
            f"{where}: is of another run than {RUN}: remove what is left of the one that was here"
        )
    return found


def put(objects: ObjectStore, growth: Growth) -> bool:
    """Put a growth on the store; False where another one has its number."""
    entry = LogEntry("done", uuid.uuid4().hex, growth=growth.number, parts={GROWN: growth.encoded()})
    return ShardLog(objects, GROWN, growth.number - 1).append(entry)


def _decoded(data: bytes, number: int, where: str) -> Growth:
    try:
        said: dict[str, Any] = json.loads(data)
        digest, shards, files, nonce, since = (said.get(name) for name in _NAMES)
        if not isinstance(files, dict) or not isinstance(shards, int):
            raise ValueError("its fields are not ours")
        if not all(isinstance(one, str) for one in files.values()):
            raise ValueError("it gives files no checksums")
        changed = {str(shard): int(last) for shard, last in (since or {}).items()}
        return Growth(number, str(digest), shards, files, nonce, changed)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{where}: is no run of ours ({error})") from None
