"""What a Prefect worker runs of a deployment: the run file of its parameters, once for each fire.

A worker imports this module by its name, so it needs Stepmint installed and nothing else.
"""

import logging
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flows import progress
from flows.engine import flow
from flows.main import main
from flows.orchestration import completed, failed, flow_of, planned_time
from flows.series import follow_up
from flows.synthesize import read_ahead
from flows.work import begin, on_cluster, refuse_training, work_on
from pipeline.runs.far_series import note
from pipeline.runs.series import is_night, planned
from pipeline.runs.series_prms import with_newest_prm
from pipeline.storage.generations import read_manifest
from pipeline.storage.object_store import open_objects
from schemas.config import RunConfig, config_of, load_config
from schemas.errors import BackendError, NothingNew, UserError, redacted
from schemas.places import is_url

RERUNS = 3
"""How often a run that crashes is run again at most (`flows.automations`)."""
_LONGEST = 100_000
"""Characters of a run file that is sent. Prefect takes 500 kB of parameters."""

_CLOSED = "takes no more problems: the next run has what is new"

log = logging.getLogger(__name__)


class ScheduledRun(BaseModel):
    """Which run file is run, and how. All further settings stand in the file."""

    # Prefect's page makes a form of these fields, headed by the docstring; a whole run file would be no form.

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_file: str = Field(description="Path of the run file (TOML), as the worker sees it.", max_length=4096)
    text: str = Field(
        "",
        description="The run file itself, where the worker does not see it; its paths begin beside run_file.",
        max_length=_LONGEST,
    )
    folder: str = Field(
        "", description='Folder that relative paths begin in, `root = "runs"` above all.', max_length=4096
    )
    changes: tuple[str, ...] = Field(
        (), description="Changes to its settings, as with --set: prompt.temperature=0.7"
    )
    named_by: Literal["day", "second", "file"] = Field(
        "day",
        description="What tells the runs of a [series] apart: the day they are planned for, or the time. "
        "With `file` the run has the file's name, and is no part of the series.",
    )
    tries: int = Field(
        0, description="How often it has crashed. The server counts, and tries no more.", ge=0, le=RERUNS
    )
    planned_for: datetime | None = Field(
        None, description="When a run that crashed was planned to start. The server fills it in."
    )


def text_of(run_file: Path) -> str:
    """The text of a run file, to be sent. UserError where it is too long, or holds a secret."""
    if run_file.is_dir():
        raise UserError(f"{run_file}: is the folder of a run; only a run file can be sent to a server")
    text = run_file.read_text(encoding="utf-8-sig")
    check_sent(str(run_file), text)
    if len(text) > _LONGEST:
        raise UserError(
            f"{run_file}: has {len(text):,} characters; at most {_LONGEST:,} can be sent to a server"
        )
    return text


def check_sent(called: str, text: str) -> None:
    """UserError for a text that holds a secret: a server keeps what it is sent, and shows it."""
    if redacted(text) != text:
        raise UserError(
            f"{called}: holds a password, or a secret of the environment, and would be sent to the Prefect "
            "server: let the worker's environment hold it (api_key_env)"
        )


@flow_of
@flow("stepmint-scheduled")
def scheduled(run: ScheduledRun) -> Any:
    """Do every stage of a run file. With [series], in a run of its own on the problems that are new."""
    # Prefect sends our log lines to the run's page, and Python would drop those below warnings.
    for name in ("flows", "pipeline"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        _go_to(run.folder)
        with progress.listening(progress.Lines(say=_logged)):
            return completed(fire(run, run.planned_for or planned_time()))
    except UserError as error:  # of the person who wrote the run file: a traceback would not help
        return failed(str(error), "Refused")
    except BackendError as error:
        return failed(str(error), "Unfinished")


def _go_to(folder: str) -> None:
    """A container runs in a folder of Prefect's that is removed afterwards, and with it what lies there."""
    try:
        os.chdir(folder or ".")
    except OSError as error:
        raise UserError(f"folder {folder!r}: {error.strerror}: the worker must see it at this path") from None


def _logged(line: str) -> None:
    log.info("%s", redacted(line))


def fire(run: ScheduledRun, at: datetime) -> str:
    """What is due at a time; says in a line what came of it.

    A run of a series is called by the time that it was planned for, so a fire that is late, or tried again,
    goes on with its own run. Then what fires before it left unpublished is published, too. BackendError where
    the run is not finished, or nothing of a source could be read.
    """
    path = Path(run.run_file)
    config = config_of(run.text, path, run.changes) if run.text else load_config(path, run.changes)
    if run.named_by == "file":  # handed over, and no fire of its series
        return _labelled(config)
    config = with_newest_prm(planned(config, at, run.named_by))
    return "; ".join([_labelled(config), *follow_up(config)])


def _labelled(config: RunConfig) -> str:
    """Label what is new, and say how much it was."""
    if is_url(config.root) or config.ray:
        return _labelled_on_store(config)
    folder = Path(config.root) / config.name
    was_there, before = folder.exists(), _digest(folder)
    try:
        read_ahead(config)
    except NothingNew as nothing:
        if not was_there:
            shutil.rmtree(folder)  # it holds only what this fire has just laid there
        return str(nothing)
    _raise_unread(main.fn(config))
    if before and before == _digest(folder):
        closed = is_night(config) and config.series is not None and config.series.dataset is not None
        return f"nothing to do: {folder} is sealed, and {_CLOSED if closed else 'no problem is new'}"
    return _told(config, folder)


def _labelled_on_store(config: RunConfig) -> str:
    """`_labelled` for a run that lies where many machines reach it. A night there takes no more problems than
    it was begun with."""
    try:
        result = _on_store(config)
    except NothingNew as nothing:
        return str(nothing)
    _raise_unread(result)
    if result.get("labelled_here") == 0:
        return f"nothing to do: {result['run']} is sealed{f', and {_CLOSED}' if is_night(config) else ''}"
    what = "new problems" if config.series else "problems"
    return f"{what} labelled: {result['problems']:,}, in {result['run']}"


def _on_store(config: RunConfig) -> dict[str, Any]:
    """Work on a run that lies where many machines reach it: alone, or with those of a Ray cluster."""
    refuse_training(config)
    if config.ray is None:
        result = work_on(begin(config))
    else:
        from flows.on_ray import spread

        result = on_cluster(config, lambda: spread(config))
    if is_night(config):
        note(open_objects(result["run"], written=False))
    return result


def _raise_unread(figures: dict[str, Any]) -> None:
    if unread := figures.get("unread"):
        raise BackendError(f"sealed, but nothing of {', '.join(unread)} could be read: look at its remarks")


def _told(config: RunConfig, folder: Path) -> str:
    manifest = read_manifest(folder)
    n = manifest.problems if manifest else 0
    what = "new problems" if config.series else "problems"
    return f"{what} labelled: {n:,}, in {folder}"


def _digest(folder: Path) -> str:
    manifest = read_manifest(folder)
    return manifest.digest() if manifest else ""
