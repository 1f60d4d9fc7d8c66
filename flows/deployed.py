"""What a Prefect worker runs of a deployment: the run file of its parameters, once for each fire.

A worker imports this module by its name, so it needs Stepmint installed and nothing else.
"""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flows.engine import flow
from flows.main import main
from flows.orchestration import completed, flow_of, planned_time
from flows.series import follow_up
from flows.synthesize import read_ahead
from pipeline.runs.series import planned
from pipeline.storage.generations import read_manifest
from schemas.config import RunConfig, load_config
from schemas.errors import NothingNew


class ScheduledRun(BaseModel):
    """Which run file is run, and how. All further settings stand in the file."""

    # Prefect's page makes a form of these fields, headed by the docstring; a whole run file would be no form.

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_file: str = Field(description="Path of the run file (TOML), as the worker sees it.")
    changes: tuple[str, ...] = Field(
        (), description="Changes to its settings, as with --set: prompt.temperature=0.7"
    )
    named_by: Literal["day", "second"] = Field(
        "day",
        description="What tells the runs of a [series] apart: the day they are planned for, or the time.",
    )


@flow_of
@flow("stepmint-scheduled")
def scheduled(run: ScheduledRun) -> Any:
    """Do every stage of a run file. With [series], in a run of its own on the problems that are new."""
    return completed(fire(run, planned_time()))


def fire(run: ScheduledRun, at: datetime) -> str:
    """What is due at a time; says in a line what came of it.

    A run of a series is called by the time that it was planned for, so a fire that is late, or tried again,
    goes on with its own run. Then what fires before it left unpublished is published, too.
    """
    config = planned(load_config(Path(run.run_file), run.changes), at, run.named_by)
    return "; ".join([_labelled(config), *follow_up(config)])


def _labelled(config: RunConfig) -> str:
    """Label what is new, and say how much it was."""
    folder = Path(config.root) / config.name
    was_there, before = folder.exists(), _digest(folder)
    try:
        read_ahead(config)
    except NothingNew as nothing:
        if not was_there:
            shutil.rmtree(folder)  # it holds only what this fire has just laid there
        return str(nothing)
    main.fn(config)
    if before and before == _digest(folder):
        return f"nothing to do: {folder} is sealed, and no problem is new"
    return _told(config, folder)


def _told(config: RunConfig, folder: Path) -> str:
    manifest = read_manifest(folder)
    n = manifest.problems if manifest else 0
    what = "new problems" if config.series else "problems"
    return f"{what} labelled: {n:,}, in {folder}"


def _digest(folder: Path) -> str:
    manifest = read_manifest(folder)
    return manifest.digest() if manifest else ""
