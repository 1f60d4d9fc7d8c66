"""A series whose runs lie on an object store, where nothing on any machine's disk outlasts a fire.

    NAME-2026-11-27/            a night, which is a run like any other there (`pipeline.runs.remote`)
    NAME-2026-11-27/night/ID    the problems that it had finished when it was sealed; ID is its manifest's
    checkpoints/NAME/           the PRMs of the series (`pipeline.runs.series_prms`)

There is no list of the nights that could differ from them: a night is found by its folder, and is sealed when
its own log says so. What it has finished is put down by the first fire that looks at it afterwards, and would
be put down the same by any other. So a fire may be killed anywhere, and two may go on at once.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from pipeline.runs import remote
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import SealedNight, finished, is_called, is_night
from pipeline.storage.copies import mirrored
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.recorded import config_here
from pipeline.storage.shard_log import LogEntry
from schemas.config import RunConfig
from schemas.errors import BackendError
from schemas.manifest import Manifest
from schemas.records import content_id

_AT_ONCE = 16
"""Nights that are looked at side by side: each takes four requests, and a store far away takes its time."""
_FINISHED = "finished"
_IDS = re.compile(rb"[!-~\n]*")


@contextmanager
def opened(objects: ObjectStore, whole: bool = True) -> Iterator[RunStore]:
    """A run's copy on this machine, which no other process changes meanwhile: whole, or what it read when it
    began and its dataset."""
    with mirrored(objects.url) as folder:
        config = remote.fetch(objects, folder)
        if whole:
            remote.load(objects, folder, config.shards)
        else:
            remote.load_dataset(objects, folder)
        yield RunStore(folder, config_here(folder))


def sealed_nights(root: str, series: str) -> list[SealedNight]:
    """The sealed runs of a series, in the order of their names."""
    runs = open_objects(root, written=False)
    places = [runs.within(name) for name in runs.folders() if is_called(name, series)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(_sealed, places))
    # Rarely is more than one missing here, and reading it fills the machine.
    nights = (_night(place, *one, series) for place, one in zip(places, found, strict=True) if one)
    return [night for night in nights if night is not None]


def done_earlier(config: RunConfig) -> set[str]:
    """Ids of the problems that the other sealed runs of a night's series have finished."""
    assert config.series is not None
    nights = sealed_nights(config.root, config.series.name)
    others = (night for night in nights if f"{config.series.name}-{night.name}" != config.name)
    return {name for night in others for name in night.finished()}


def note(objects: ObjectStore) -> None:
    """Put down what a sealed night has finished, while its copy on this machine is still fresh."""
    if found := _sealed(objects):
        _noted(objects, *found)


def _sealed(objects: ObjectStore) -> tuple[Manifest, bytes | None] | None:
    """The manifest of a sealed run, and what was put down of it."""
    manifest = remote.last_manifest(objects)
    return None if manifest is None else (manifest, objects.read(_place(manifest)))


def _place(manifest: Manifest) -> str:
    return f"night/{content_id(manifest.model_dump(mode='json'))}"


def _noted(objects: ObjectStore, manifest: Manifest, data: bytes | None) -> LogEntry:
    """What is put down of a run as it is sealed: the series that it is of, and what it has finished."""
    place = _place(manifest)
    if data is None:
        with opened(objects) as run:
            series = run.config.series.name if run.config.series and is_night(run.config) else ""
            ids = "\n".join(sorted(finished(run)))
        data = LogEntry("done", "", series, {_FINISHED: ids.encode()}).encoded()
        if not objects.create(place, data):
            data = objects.read(place)
    where = f"{objects.url}/{place}"
    if data is None:
        raise BackendError(f"{where}: was there, and is gone")
    noted = LogEntry.decoded(data, where)
    if not _IDS.fullmatch(noted.parts.get(_FINISHED, b"\0")):
        raise BackendError(f"{where}: lists no problems: remove it, and it is made anew")
    return noted


def _night(objects: ObjectStore, manifest: Manifest, data: bytes | None, series: str) -> SealedNight | None:
    """A sealed run as a night; None where it is of another series, or of none."""
    noted = _noted(objects, manifest, data)
    if noted.owner != series:
        return None
    return SealedNight(
        name=objects.url.rpartition("/")[2].removeprefix(f"{series}-"),
        where=objects.url,
        digest=manifest.digest(),
        rows=manifest.solutions,
        finished=lambda: set(noted.parts[_FINISHED].decode().split()),
        opened=partial(opened, objects),
    )
