"""The PRMs of a series, and which of them is the newest. The newest may vote in the runs that follow.

Beside a folder of runs each lies in `checkpoints/SERIES/TAG`, and `latest.json` names the newest. On an
object store they lie among the runs, since a bucket has nothing beside it:

    checkpoints/SERIES/TAG/                 a PRM (`pipeline.storage.far_folders`)
    checkpoints/SERIES/log/trained/NUMBER   which one was the newest, one after the other; the last one counts
"""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.runs import remote
from pipeline.storage.copies import mirrored
from pipeline.storage.far_folders import fetch_folder, put_folder
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.recorded import is_begun, read_config, read_record, write_record
from pipeline.storage.shard_log import LogEntry, ShardLog
from schemas.config import PrmConfig, RunConfig
from schemas.errors import UserError
from schemas.places import is_url
from schemas.series import NIGHT

LATEST = "latest.json"
"""The file beside the PRMs of a series that names the newest. It is written last."""
_TRAINED = "trained"
_TAG = re.compile(rf"{NIGHT}(-[0-9a-f]{{16}})?")
"""The newest night that a PRM was trained on; with the digest of all where that name was taken."""


def with_newest_prm(config: RunConfig) -> RunConfig:
    """The run with the series' newest PRM for those that wait for it, or with the one that it began with.
    Without any, these are left out."""
    waiting = [one.name for one in config.annotators(PrmConfig) if one.checkpoint == "series"]
    if not waiting:
        return config
    began = _began(config)
    if began is not None:
        found = {one.name: one.checkpoint for one in began.annotators(PrmConfig)}
    else:
        tag = newest_prm(config).get("tag")
        found = dict.fromkeys(waiting, called(config, tag)) if isinstance(tag, str) else {}
    kept = (
        one.model_copy(update={"checkpoint": found[one.name]}) if one.name in waiting else one
        for one in config.annotate
        if one.name not in waiting or one.name in found
    )
    return config.model_copy(update={"annotate": tuple(kept)})


def _began(config: RunConfig) -> RunConfig | None:
    if is_url(config.root):
        return remote.recorded(open_objects(config.root, written=False).within(config.name))
    path = Path(config.root) / config.name
    return read_config(path) if is_begun(path) else None


def newest_prm(config: RunConfig) -> dict[str, Any]:
    """What is recorded of the newest PRM of a series: `tag`, `rows` and `digest`. Empty where there is
    none."""
    if is_url(config.root):
        return _last(ShardLog(_objects(config), _TRAINED))
    file = Path(_place(config)) / LATEST
    return read_record(file, file.parent) if file.is_file() else {}


def called(config: RunConfig, tag: str) -> str:
    """The folder or address of a PRM, as a run file names it."""
    return f"{_place(config)}/{tag}"


@contextmanager
def prms_here(config: RunConfig) -> Iterator[Path]:
    """The folder of this machine that the PRMs of a series are made in."""
    if is_url(config.root):
        with mirrored(_place(config)) as folder:
            yield folder
    else:
        yield Path(_place(config))


def fetch_prm(config: RunConfig, folder: Path) -> None:
    """Make a folder within `prms_here` the PRM of that name on the store, where there is one."""
    if is_url(config.root):
        fetch_folder(_objects(config).within(folder.name), folder)


def keep_prm(config: RunConfig, folder: Path, about: dict[str, Any]) -> None:
    """Make the PRM in a folder within `prms_here` the newest of its series."""
    if not is_url(config.root):
        write_record(folder.parent / LATEST, about)
        return
    objects = _objects(config, written=True)
    place, log = objects.within(folder.name), ShardLog(objects, _TRAINED)
    if not put_folder(place, folder):
        fetch_folder(place, folder)  # somebody who trained on the same rows at the same time was first
    # Of two that have trained at once, the one with more rows is the newest, whoever ends last.
    while _last(log).get("rows", -1) < about["rows"]:
        if log.append(LogEntry("done", uuid.uuid4().hex, parts={_TRAINED: json.dumps(about).encode()})):
            return


def _place(config: RunConfig) -> str:
    """Where the PRMs of a series lie, each in a folder called by the newest run that it was trained on."""
    series = config.series.name if config.series else config.name
    if is_url(config.root):
        return f"{config.root.rstrip('/')}/checkpoints/{series}"
    return str(Path(config.root).parent / "checkpoints" / series)


def _objects(config: RunConfig, *, written: bool = False) -> ObjectStore:
    series = config.series.name if config.series else config.name
    return open_objects(config.root, written=written).within(f"checkpoints/{series}")


def _last(log: ShardLog) -> dict[str, Any]:
    """The last entry of the log of PRMs, as far as it goes by now."""
    entry = log.catch_up()
    if entry is None:
        return {}
    try:
        found = json.loads(entry.parts[_TRAINED])
        # Paths and addresses are made of the tag, and what a store says is doubted.
        if not isinstance(found["rows"], int) or not _TAG.fullmatch(found["tag"]):
            raise ValueError("its fields are not ours")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"the log of trained PRMs ends in no PRM ({error})") from None
    return dict(found)
