"""A series: runs on one growing source, each of which labels the problems that no earlier one has.

The runs lie side by side in one folder. Their names begin with that of the series and end in the time they
were planned for.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from pipeline.storage.recorded import config_here, is_begun, read_config, read_record
from schemas.config import PrmConfig, RunConfig

_FORMATS = {"day": "%Y-%m-%d", "second": "%Y-%m-%dT%H%M%S"}


LATEST = "latest.json"
"""The file beside the PRMs of a series that names the newest. It is written last."""


def planned(config: RunConfig, at: datetime, every: str) -> RunConfig:
    """The run that was planned for a time: of a series, one of its own; else the run of the file. `every` is
    "day" or "second"; times are named in UTC."""
    if config.series is None:
        return config
    name = f"{config.series.name}-{at.astimezone(UTC).strftime(_FORMATS[every])}"
    return _with_newest_prm(config.model_copy(update={"name": name}))


def _with_newest_prm(config: RunConfig) -> RunConfig:
    """The run with the series' newest PRM for those that wait for it, or with the one that it began with.
    Without any, these are left out."""
    waiting = [one.name for one in config.annotators(PrmConfig) if one.checkpoint == "series"]
    if not waiting:
        return config
    path = Path(config.root) / config.name
    if is_begun(path):
        found = {one.name: one.checkpoint for one in read_config(path).annotators(PrmConfig)}
    else:
        tag = newest_prm(config).get("tag")
        found = dict.fromkeys(waiting, str(checkpoints_of(config) / tag)) if isinstance(tag, str) else {}
    kept = (
        one.model_copy(update={"checkpoint": found[one.name]}) if one.name in waiting else one
        for one in config.annotate
        if one.name not in waiting or one.name in found
    )
    return config.model_copy(update={"annotate": tuple(kept)})


def checkpoints_of(config: RunConfig) -> Path:
    """Where the PRMs of a series lie, each in a folder called by the newest run that it was trained on."""
    return Path(config.root).parent / "checkpoints" / (config.series.name if config.series else config.name)


def newest_prm(config: RunConfig) -> dict[str, Any]:
    """What is recorded of the newest PRM of a series: `tag`, `rows` and `digest`. Empty where there is
    none."""
    file = checkpoints_of(config) / LATEST
    return read_record(file, file.parent) if file.is_file() else {}


def is_night(config: RunConfig) -> bool:
    """Whether a run is one of its series; else it was only made with the same file, under another name."""
    # What follows the dash is the night's name, a tag of the Hub: `nightly--x` would have none.
    return config.series is not None and bool(
        re.match(rf"{re.escape(config.series.name)}-[A-Za-z0-9]", config.name)
    )


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
