"""Work on a run that lies on an object store: claim a shard, label it, append what is done, take the next.

Any number of machines do this at once, and each may come, be killed or freeze at any time. What a worker has
finished it appends every half minute, so a kill loses no more than that. A worker that lost its shard to
another one notices it when it appends, drops what is left, and goes on with the next shard. A run that grows
gives further work to the workers that are at it.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pipeline.labelling.measured import meter
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.labelling.tools import Engines
from pipeline.runs import growths, remote
from pipeline.runs.growths import Grown, Growth
from pipeline.runs.remote import Followed
from pipeline.runs.run_store import RunStore
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.shard_log import BEAT_S, LEASE_S, Claim, Fenced, Watch
from schemas.errors import BackendError, UserError
from schemas.logged import about
from schemas.manifest import Manifest

log = logging.getLogger(__name__)
_SEGMENT = 1 << 20
"""Bytes that are appended at once, where they come before the half minute is over."""
_TICK_S = 1.0


class Pace(NamedTuple):
    """How often a worker appends and shows itself, and how long it waits for one that does not."""

    append_s: float = BEAT_S
    beat_s: float = BEAT_S
    lease_s: float = LEASE_S
    poll_s: float = 5.0

    @classmethod
    def of_lease(cls, lease_s: float) -> "Pace":
        """It shows itself three times in a lease, so that one lost beat does not cost its shard."""
        return cls(lease_s / 3, lease_s / 3, lease_s, min(lease_s / 18, 5.0))


class Worked(RunStore):
    """A run's folder while a worker labels in it. Rollouts stay lines: the worker appends them to the log."""

    def pack_rollouts(self, shard: int) -> int:  # noqa: ARG002 - the method of every run
        """Nothing; whoever seals the run packs them."""
        return 0


class Worker:
    """Labels shards of one run: all that it gets, or those that a scheduler names.

    Claims are made in the name of `owner`. A scheduler gives all attempts at a shard one name, so that a new
    attempt need not wait for the dead one's beat to stand still.
    """

    def __init__(
        self,
        objects: ObjectStore,
        folder: Path,
        *,
        owner: str = "",
        pace: Pace | None = None,
        engines: Engines | None = None,
        advance: Callable[[], None] = lambda: None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._objects, self._pace, self._advance, self._note = objects, pace or Pace(), advance, note
        self._owner, self._engines = owner, engines or Engines()
        self._folder, self.growth = folder, growths.known(objects)
        """What the run had when this worker looked last."""
        self.store = Worked.open(remote.fetch(objects, folder, self.growth))
        self._logs = [self.growth.log(objects, shard) for shard in range(self.store.config.shards)]
        self._start = uuid.uuid4().int % len(self._logs)
        self._failures: dict[int, BackendError] = {}
        self.done = self.fenced = 0
        """Problems that this worker finished, and shards that it lost."""

    def run(self) -> None:
        """Work until every shard is sealed, or those that are left failed here. BackendError for the first of
        those."""
        watch = Watch(self._pace.lease_s)
        with closing(self):
            while True:
                self.renew()
                if (shard := self._free(watch)) is not None:
                    self._take(shard)
                elif left := self._left():
                    self._note(f"waiting for {len(left)} shards that other workers have")
                    time.sleep(self._pace.poll_s)
                else:
                    break
        if self._failures:
            raise next(iter(self._failures.values()))

    def renew(self) -> None:
        """Take up what the run has got since this worker looked last: shards that it has changed are owed."""
        later = growths.after(self._objects, self.growth)
        if later.number == self.growth.number:
            return
        # Not opened anew, which compares programs as they are by now with those that the run began with: this
        # worker was admitted, and what it has loaded is what votes.
        self.store = Worked(self._folder, remote.fetch(self._objects, self._folder, later))
        self.growth = later
        for shard, log in enumerate(self._logs):
            log.since = later.since_of(shard)
        self._note("the run has got further problems, or other settings of speed")

    def finish(self, shard: int) -> int:
        """Work on one shard until it is sealed, by whomever; returns how many of its problems were done here.
        BackendError where some of them failed.

        A living worker that has the shard is waited for. One that claimed it in this worker's own name is an
        attempt that died, and is not.
        """
        self.renew()
        done, watch, mine = self.done, Watch(self._pace.lease_s), bool(self._owner)
        self._failures.pop(shard, None)
        while shard not in self._failures:
            log = self._logs[shard]
            log.catch_up()
            if log.is_sealed:
                return self.done - done
            if watch.is_free(log) or (mine and log.owner == self._owner):
                self._take(shard)
            else:
                time.sleep(self._pace.poll_s)
            # Only at first: an attempt that was frozen, and has lost the shard to the next one, must not take
            # it back from that one.
            mine = False
        raise self._failures[shard]

    def close(self) -> None:
        """Close the engines, which stay open from one shard to the next."""
        self._engines.close()

    def _free(self, watch: Watch) -> int | None:
        """The first shard that nobody works on. A run may have thousands of shards: no log is looked at that
        comes after it, and none that was sealed before."""
        for shard in self._left():
            log = self._logs[shard]
            log.catch_up()
            if watch.is_free(log):
                return shard
        return None

    def _left(self) -> list[int]:
        """Shards that owe something, as far as is known, and did not fail here. Each worker begins with
        another one."""
        n = len(self._logs)
        order = ((self._start + k) % n for k in range(n))
        return [k for k in order if not (self._logs[k].is_sealed or k in self._failures)]

    def _take(self, shard: int) -> None:
        # Played from the beginning: what is in the folder may hold lines that were never appended.
        whole = self.growth.log(self._objects, shard)
        remote.forget(self.store.path, shard)
        remote.replay(whole.read(), self.store.path, shard)
        self._logs[shard] = whole
        claim = None if whole.is_sealed else whole.claim(self._owner)
        meter().claimed("taken" if claim else "late")
        if claim is None:
            return
        meter().owes(len(self.store.shard_state(shard).owed))
        self._note(f"shard {shard + 1} of {len(self._logs)}")
        try:
            try:
                self._finish(shard, claim)
            except BackendError as error:
                self._failures[shard] = error
                meter().claimed("failed")
            finally:
                claim.release()
        except Fenced as lost:
            self.fenced += 1
            meter().claimed("fenced")
            log.warning("%s: what was not appended is dropped", lost)

    def _finish(self, shard: int, claim: Claim) -> None:
        claim.beat()
        with about(shard=shard):
            counts = self._engines.run(self._label(shard, claim))
        self.done += counts["done"]
        if counts["failed"] or self.store.shard_state(shard).owed:
            raise BackendError(f"{counts['failed']} problems of shard {shard} failed and are owed")
        claim.seal(self.growth.number)
        meter().claimed("sealed")

    async def _label(self, shard: int, claim: Claim) -> dict[str, int]:
        """Label what a shard owes, while what is done is appended to its log."""
        followed = Followed(self.store.path, shard)
        labelling = asyncio.create_task(
            run_shard(self.store, shard, advance=self._advance, engines=self._engines)
        )
        appended = shown = time.monotonic()
        try:
            while not labelling.done():
                await asyncio.wait({labelling}, timeout=min(_TICK_S, self._pace.append_s))
                now = time.monotonic()
                waiting = followed.waiting()
                if waiting >= _SEGMENT or (waiting and now - appended >= self._pace.append_s):
                    await asyncio.to_thread(self._append, claim, followed)
                    appended = now
                if now - shown >= self._pace.beat_s:
                    await asyncio.to_thread(claim.beat)
                    shown = now
        finally:
            # Also after a signal: what is finished is appended before the program ends.
            labelling.cancel()
            await asyncio.gather(labelling, return_exceptions=True)
            await asyncio.to_thread(self._append, claim, followed)
        return labelling.result()

    def _append(self, claim: Claim, followed: Followed) -> None:
        start, declared = time.monotonic(), remote.declared(self.store.path)
        followed.hand_over(lambda news: claim.done({**news, remote.SOURCES: declared}))
        meter().appended(time.monotonic() - start)


def seal_remote(objects: ObjectStore, folder: Path, growth: Growth | None = None) -> Manifest:
    """Make the dataset of a run whose shards are all sealed for a growth, or for what it has now, and put it
    on the store. Raises Grown where the run has further problems by now that are in the way."""
    growth = growth or growths.known(objects)
    config = remote.fetch(objects, folder, growth)
    remote.load(objects, folder, config.shards)
    try:
        manifest = seal(RunStore(folder, config))
    # An answer that was corrected since may be what the votes are for that others have put there.
    except UserError:
        if growths.after(objects, growth).number > growth.number:
            raise Grown from None
        raise
    if not remote.put_dataset(objects, folder, manifest):
        raise Grown
    return manifest
