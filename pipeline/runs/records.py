"""Reads and writes what a run records beside its configuration: the plan, the summary, and the quarantine."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.runs.problem_files import QUARANTINE
from pipeline.storage.atomic import write_json, write_lines
from pipeline.storage.files import lines_of
from pipeline.storage.recorded import changed, read_record, write_record
from schemas.errors import UserError
from schemas.plan import Plan
from schemas.records import Quarantined


def read_plan(run: Path, config_digest: str) -> Plan | None:
    """The plan that was made for the configuration with this digest; None where there is none. UserError when
    its file was changed."""
    path = run / "plan.json"
    try:
        plan = Plan.model_validate(read_record(path, run)) if path.exists() else None
    except ValidationError as error:
        raise UserError(changed(path, run, error.errors()[0]["msg"])) from None
    return plan if plan and plan.config_digest == config_digest else None


def write_plan(run: Path, plan: Plan) -> None:
    """Write a plan; the manifest will hold it beside what the run really took. Makes a new run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    write_record(run / "plan.json", plan.model_dump(mode="json"))


def write_summary(run: Path, figures: dict[str, Any]) -> None:
    """Keep the figures of a finished run beside its manifest."""
    write_json(run / "summary.json", figures)


def quarantined(run: Path) -> list[Quarantined]:
    """Everything in quarantine: bad rows, then problems that failed and are still owed."""
    bad = run / QUARANTINE
    return [*(read_failures(bad, run) if bad.exists() else ()), *failures(run)]


def failures(run: Path) -> list[Quarantined]:
    """Why problems are still owed: of each that failed, and of each shard that stopped early."""
    # Sorted, so that reports of one run are equal on every file system.
    files = sorted((run / "problems").glob("*.failed.jsonl"))
    return [item for file in files for item in read_failures(file, run)]


def set_aside(run: Path, shard: int, failures: Iterable[Quarantined]) -> None:
    """Replace a shard's list of failures: everything it owed has just been tried.

    A file a shard, because shards may be written by several machines at once.
    """
    path = run / "problems" / f"{shard:05d}.failed.jsonl"
    write_lines(path, (failure.model_dump_json() for failure in failures))


def read_failures(file: Path, run: Path) -> Iterator[Quarantined]:
    """The failures in one file. UserError when it cannot be read."""
    try:
        yield from map(Quarantined.model_validate_json, lines_of(file))
    except ValueError as error:  # a line that is no record, or bytes that are no text
        raise UserError(changed(file, run, str(error).splitlines()[0])) from None
