"""Synthesis as a flow: one task for each shard, then one that seals the dataset.

The run's folder, and not Prefect, knows what is done: a run can go on under another server, or with none.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from flows import progress
from flows.checks import check_base, read_by
from flows.engine import flow, show_labels, shown_progress, task
from pipeline.labelling.measured import meter
from pipeline.labelling.problems import read_problems
from pipeline.labelling.regrade import mark, regrade_shard
from pipeline.labelling.remarks import remarks, unread
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.labelling.tools import Engines
from pipeline.policies.opening import import_library
from pipeline.runs import problem_files, records
from pipeline.runs.owed import nothing_readable, owed_figures, told
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest, settle
from schemas.config import RunConfig
from schemas.errors import BackendError, UserError, disk_trouble
from schemas.logged import about
from schemas.manifest import Manifest
from schemas.text import as_code

_ENGINES: ContextVar[Engines | None] = ContextVar("engines", default=None)
"""What the shards of the present flow ask, open from one shard to the next."""
_AHEAD: dict[str, tuple[RunStore, int]] = {}
"""Runs whose problems were read ahead of their flow, by their whole configuration."""


def is_lost_worker(error: BaseException) -> bool:
    """Whether a shard is tried again: only after faults that neither the user nor the backend's client can
    mend, such as a worker that died. Each kind of fault is retried in one place only."""
    return not (isinstance(error, UserError | BackendError) or disk_trouble(error))


@task("shard-{shard}", delays=(10, 60), again=is_lost_worker)
def label_shard(config: RunConfig, shard: int) -> dict[str, int]:
    """Label what the shard owes; returns counts of problems done and failed."""
    store = RunStore.open(config)
    engines, owed = _ENGINES.get(), len(store.shard_state(shard).owed)
    open_already = engines is not None and engines.are_open
    if owed:
        models = ", ".join(f"{one.kind} {one.model}" for one in config.policies().values())
        loading = "" if open_already else f": loading {models}"
        progress.note(f"shard {shard + 1} of {config.shards}{loading}")
    told = (lambda: None) if open_already else _opened
    with (
        about(run=str(store.path), shard=shard),
        shown_progress(f"{config.name} shard {shard}", owed) as count,
    ):

        def advance() -> None:
            progress.advance()
            count()

        work = run_shard(store, shard, opened=told, advance=advance, engines=engines)
        return engines.run(work) if engines else asyncio.run(work)


@contextmanager
def _engines_kept() -> Iterator[None]:
    """Let the shards inside ask engines that are opened once for all of them."""
    with closing(Engines()) as engines:
        token = _ENGINES.set(engines)
        try:
            yield
        finally:
            _ENGINES.reset(token)


def _opened() -> None:
    progress.note("loaded: solving and labelling")


@task()
def seal_run(config: RunConfig) -> dict[str, Any]:
    """Fuse the votes and seal the dataset. If the manifest was made from the same votes and settings, it is
    kept."""
    store = RunStore.open(config)
    manifest = read_manifest(store.path)
    # The cheap comparisons come first: the last one packs rollouts and hashes files.
    same = manifest is not None and (
        (manifest.config_digest, manifest.fusion_digest, manifest.problems)
        == (config.digest(), config.fusion_digest(), problem_files.total(store.path) - manifest.budget.beyond)
        and manifest.budget.run == config.budget.run
        and manifest.inputs == store.inputs()
        and not mark(store).exists()
        and manifest.packed == store.packed()
    )
    if manifest is not None and same:
        settle(store.path, manifest)
    if manifest is None or not same:
        with progress.stage("fusing the votes"):
            manifest = seal(store)
        mark(store).unlink(missing_ok=True)
    return {
        "run": str(store.path),
        "dataset_digest": manifest.digest(),
        "problems": manifest.problems,
        "solutions": manifest.solutions,
        "steps": manifest.steps,
        "labelled_steps": manifest.labelled_steps,
        "quarantined": manifest.quarantined,
        "beyond_budget": manifest.budget.beyond,
        "remarks": remarks(manifest),
        "unread": unread(manifest),
    }


@flow("synthesize", "{config.name}")
def synthesize(config: RunConfig) -> dict[str, Any]:
    """Label every problem that the run owes and its budget reaches, and seal the run.

    First the base of `[train]` is tried, so that a wrong one is found before anything is sampled. A shard
    that fails does not stop the others. Raises the error of the first failed shard; BackendError when
    problems failed and are still owed, whose number and reasons are then in the summary; UserError when no
    solution at all came of the policy's answers.
    """
    ahead = _AHEAD.pop(config.model_dump_json(), None)
    store, total = ahead or _read(config)
    owed = _owed_by_shard(store)
    if corrected := {shard: names for shard in owed if (names := store.stale(shard))}:
        n = sum(map(len, corrected.values()))
        with progress.stage(f"{n} problems changed: grading the stored rollouts again", n):
            for shard, names in corrected.items():
                asyncio.run(regrade_shard(store, shard, only=set(names), advance=progress.advance))
        owed = _owed_by_shard(store)
    if owed and config.train:
        with progress.stage("trying out the base of the PRM"):
            check_base(config, read_by(store))
    meter().owes(sum(owed.values()))
    if owed:
        with progress.stage("labelling", total, total - sum(owed.values())), _engines_kept():
            # Problems that fail in one shard must not stop the others: their errors are looked at together.
            found = label_shard.each(config, sorted(owed))
        _raise_owed(store, total, found)
    sealed: dict[str, Any] = seal_run(config)
    manifest = read_manifest(store.path)
    if manifest is not None and (why := nothing_readable(manifest)):
        records.write_summary(store.path, {**sealed, "skipped": manifest.skipped, "error": why})
        raise UserError(f"{store.path}: {why}")
    if manifest is not None:
        show_labels(config.name, _counts(manifest), _where(store.path, manifest))
    return sealed


def _counts(manifest: Manifest) -> list[dict[str, Any]]:
    """What each source said, as rows of a table."""
    return [
        {"source": name, "votes": one.votes, "no": one.denied, "abstained": one.abstained}
        for name, one in manifest.sources.items()
    ]


def _where(path: Path, manifest: Manifest) -> str:
    """Where the dataset lies, in Markdown."""
    labels = f"{manifest.labelled_steps:,} of {manifest.steps:,} steps"
    return (
        f"{labels} of {manifest.solutions:,} solutions to {manifest.problems:,} problems have a label.\n\n"
        f"The run: {as_code(str(path))}\n\nLook inside: {as_code(f'stepmint report {path}')}\n"
    )


def read_ahead(config: RunConfig) -> None:
    """Do what the flow of a run would begin with in this process: read the problems, and where any are owed,
    import the libraries of the policies."""
    store, total = _read(config)
    _AHEAD[config.model_dump_json()] = (store, total)
    if _owed_by_shard(store):
        for policy in config.policies().values():
            import_library(policy)


def _read(config: RunConfig) -> tuple[RunStore, int]:
    with progress.stage("reading the problems"):  # and, once on each machine, hashing the local weights
        store = RunStore.open(config)
        return store, read_problems(store)


def _owed_by_shard(store: RunStore) -> dict[int, int]:
    """How many problems each shard owes; shards that owe none are left out."""
    return {shard: n for shard in range(store.config.shards) if (n := len(store.shard_state(shard).owed))}


def _raise_owed(store: RunStore, total: int, found: list[Any]) -> None:
    """Raise the most useful error: one that the user can mend, else a bug, else why problems are owed."""
    errors = [item for item in found if isinstance(item, BaseException)]
    errors.sort(key=lambda error: (not isinstance(error, UserError), isinstance(error, BackendError)))
    figures = owed_figures(store)
    if figures["owed"]:
        said = {"run": str(store.path), "problems": total, "sealed": False, **figures}
        records.write_summary(store.path, said)
    if errors and not isinstance(errors[0], BackendError):
        raise errors[0]
    if errors or any(counts["failed"] for counts in found):
        why = str(errors[0]) if errors else told(figures["reasons"])
        raise BackendError(
            f"{figures['owed']} of {total} problems are still owed; the same command draws them. {why}"
        )
