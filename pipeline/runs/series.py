"""A series: runs on one growing source, each of which labels the problems that no earlier one has.

The runs lie side by side in one folder, or on one object store (`pipeline.runs.far_series`). Their names
begin with that of the series and end in the time they were planned for.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest, sealed_manifest
from pipeline.storage.recorded import config_here
from schemas.config import RunConfig
from schemas.series import NIGHT

_FORMATS = {"day": "%Y-%m-%d", "second": "%Y-%m-%dT%H%M%S"}


class SealedNight(NamedTuple):
    """A sealed run of a series, wherever it lies."""

    name: str
    """What it is called within its series: `2026-11-27`."""
    where: str
    digest: str
    """That of its rows."""
    rows: int
    finished: Callable[[], set[str]]
    """Gives the ids of the problems that it has finished."""
    opened: Callable[[bool], AbstractContextManager[RunStore]]
    """Opens it on this machine: whole, or with False its dataset alone."""


def planned(config: RunConfig, at: datetime, every: str) -> RunConfig:
    """The run that was planned for a time: of a series, one of its own; else the run of the file. `every` is
    "day" or "second"; times are named in UTC."""
    if config.series is None:
        return config
    name = f"{config.series.name}-{at.astimezone(UTC).strftime(_FORMATS[every])}"
    return config.model_copy(update={"name": name})


def is_called(name: str, series: str) -> bool:
    """Whether a run's name is one that the runs of a series have."""
    # What follows the dash is the night's name: `nightly--x` would have none. The names of folders are what a
    # store says: `nightly-2026 x`.
    return bool(re.fullmatch(f"{re.escape(series)}-{NIGHT}", name))


def is_night(config: RunConfig) -> bool:
    """Whether a run is one of its series; else it was only made with the same file, under another name."""
    return config.series is not None and is_called(config.name, config.series.name)


def night_of(config: RunConfig) -> str:
    """What a run is called within its series: `2026-11-27`."""
    return config.name.removeprefix(f"{config.series.name if config.series else ''}-")


def sealed_runs(root: Path, series: str) -> Iterator[RunStore]:
    """The sealed runs of a series, in the order of their names."""
    for folder in sorted(root.glob(f"{series}-*")):
        if (folder / "run.toml").is_file() and read_manifest(folder):
            config = config_here(folder)
            if is_night(config) and config.series is not None and config.series.name == series:
                yield RunStore(folder, config)


def sealed_night(run: RunStore) -> SealedNight:
    """A sealed run in a folder as a night. UserError while it is open."""
    manifest = sealed_manifest(run.path)
    return SealedNight(
        name=night_of(run.config),
        where=str(run.path),
        digest=manifest.digest(),
        rows=manifest.solutions,
        finished=partial(finished, run),
        opened=lambda _: nullcontext(run),
    )


def done_earlier(store: RunStore) -> set[str]:
    """Ids of the problems that the other sealed runs of the store's series have finished. Empty where the run
    is of no series.

    What such a run owes, or what lies beyond its budget, does not count. The times that runs were planned for
    do not, either: a fire that is made up for must not label again what a later one has.
    """
    series, found = store.config.series, set[str]()
    if series is None or not is_night(store.config):
        return found
    for run in sealed_runs(Path(store.config.root), series.name):
        if run.config.name != store.config.name:
            found |= finished(run)
    return found


def finished(run: RunStore) -> set[str]:
    """Ids of the problems that a run has finished."""
    return {name for shard in range(run.config.shards) for name in run.glance(shard).state.done}
