"""A series: runs on one growing source, each of which labels the problems that no earlier one has.

The runs lie side by side in one folder. Their names begin with that of the series and end in the time they
were planned for.
"""

from datetime import UTC, datetime
from pathlib import Path

from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from pipeline.storage.recorded import config_here
from schemas.config import RunConfig

_FORMATS = {"day": "%Y-%m-%d", "second": "%Y-%m-%dT%H%M%S"}


def planned(config: RunConfig, at: datetime, every: str) -> RunConfig:
    """The run that was planned for a time: of a series, one of its own; else the run of the file. `every` is
    "day" or "second"; times are named in UTC."""
    if config.series is None:
        return config
    name = f"{config.series.name}-{at.astimezone(UTC).strftime(_FORMATS[every])}"
    return config.model_copy(update={"name": name})


def done_earlier(store: RunStore) -> set[str]:
    """Ids of the problems that the other sealed runs of the store's series have finished. Empty where the run
    is of no series.

    What such a run owes, or what lies beyond its budget, does not count. The times that runs were planned for
    do not, either: a fire that is made up for must not label again what a later one has.
    """
    series, name = store.config.series, store.config.name
    if series is None or not name.startswith(f"{series.name}-"):
        return set()
    found = set[str]()
    for folder in sorted(Path(store.config.root).glob(f"{series.name}-*")):
        if folder.name != name and (folder / "run.toml").is_file() and read_manifest(folder):
            config = config_here(folder)
            if config.series == series:
                for shard in range(config.shards):
                    found |= {*RunStore(folder, config).glance(shard).state.done}
    return found
