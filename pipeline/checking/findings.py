"""`stepmint check`: finds every file of a run that is damaged, and says which repair would mend it.

A finding is a line that names the file, and the repair if there is one. Repairs remove only what can be made
again: they drop unreadable lines, whose problems are then owed again, read the problems again from their
source, and seal again from the journal.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from pipeline.runs import identity, problem_files, records
from pipeline.runs.run_store import RunStore
from pipeline.storage import compressed, generations, journal, packing, recorded
from pipeline.storage.atomic import sweep
from pipeline.storage.checksums import vouched_fault
from pipeline.storage.compressed import compressed_of
from pipeline.storage.files import lines_of
from pipeline.storage.journal import Entry
from schemas.arrow import SCHEMA, SCHEMA_VERSION
from schemas.arrow_records import records_of
from schemas.config import RunConfig, load_config
from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.records import Problem

PARTS = ("", "problems", "journal", "rollouts", "sealed", "derived")
"""Folders of a run in which Stepmint writes, and so may leave unfinished files behind."""


class Finding(NamedTuple):
    """One thing that is wrong, and the name of the repair that mends it; empty where no repair does."""

    what: str
    repair: str = ""


def check(run: Path, *, repair: bool = False) -> dict[str, Any]:
    """What is wrong with a run, in lines that name the file; with `repair`, what was mended and what is left.

    UserError when the folder is no run.
    """
    findings, mended, failed = examine(run), list[str](), list[str]()
    if repair and any(finding.repair for finding in findings):
        from pipeline.checking.repairs import mend

        failed = mend(run, {finding.repair for finding in findings})
        before, findings = findings, examine(run)
        left = {finding.what for finding in findings}
        mended = [finding.what for finding in before if finding.what not in left]
    return {
        "run": str(run),
        "damaged": [finding.what for finding in findings],
        "repairable": sum(bool(finding.repair) for finding in findings),
        "repaired": mended,
        "failed": failed,
    }


def examine(run: Path) -> list[Finding]:
    """All findings about a run, each once. UserError when the folder is no run."""
    if not any((run / name).exists() for name in ("run.toml", "journal", "problems")):
        raise UserError(f"{run}: not a run (it has no run.toml)")
    config, found = recorded_config(run)
    found += [
        Finding(f"{left}: left behind by a dead process", "sweep")
        for part in PARTS
        for left in sweep(run / part, remove=False)
    ]
    if config is not None:
        store = RunStore(run, config)
        for part, repair in _PARTS if problem_files.is_prepared(store.path) else ():
            try:
                found += part(store)
            except UserError as error:
                found.append(Finding(str(error), repair))
            except OSError as error:
                found.append(Finding(f"{error.filename}: cannot be read: {error.strerror}"))
        if _owes(store):  # a run is sealed only when nothing is owed: its own command does both
            found = [Finding(one.what, one.repair if one.repair != "seal" else "") for one in found]
    # Several parts may meet the same fault. It is listed once, with the repair of the first that met it.
    known: dict[str, Finding] = {}
    for finding in found:
        what = finding.what.removesuffix(f": see `stepmint check {run}`")
        what = what.removesuffix(f", or see `stepmint check {run}`")  # whoever reads this gave that command
        known.setdefault(what.removeprefix(str(run)).partition("; ")[0], Finding(what, finding.repair))
    return list(known.values())


def _owes(store: RunStore) -> bool:
    if not problem_files.is_prepared(store.path):
        return False
    try:
        return any(store.shard_state(shard).owed for shard in range(store.config.shards))
    except (UserError, OSError):  # another finding reports this one, and its repair comes before sealing
        return False


def recorded_config(run: Path) -> tuple[RunConfig | None, list[Finding]]:
    """The recorded configuration, as far as it can be read, and what is wrong with it."""
    path = run / "run.toml"
    if not path.is_file():
        return None, [Finding(f"{path}: is missing: give the run file that began this run once more")]
    try:
        config = load_config(path)
    except UserError as error:
        return None, [Finding(f"{error}: restore it")]
    here = run.absolute()
    config = config.model_copy(update={"root": str(here.parent), "name": here.name})
    if recorded.is_as_written(path):
        return config, []
    if config.digest() == recorded.digest_of(path):
        return config, [Finding(f"{path}: was changed by hand, in settings that may change", "config")]
    what = "in settings that would give other votes"
    if not recorded.is_comparable(path):
        what = "and an earlier version of Stepmint wrote it, so that the change cannot be judged"
    return config, [Finding(f"{path}: was changed by hand, {what}: restore it")]


def _problems(store: RunStore) -> Iterator[Finding]:
    changed = [Finding(fault, "problems") for fault in problem_files.faults(store.path)]
    if changed:  # what else is wrong with them follows from it
        yield from changed
        return
    n = 0
    for shard in range(store.config.shards):
        path = problem_files.file_of(store.path, shard)
        with _reading(path) as faults:
            n += sum(1 for _ in map(Problem.model_validate_json, lines_of(path)))
        yield from (Finding(fault, "problems") for fault in faults)
    if n != (total := problem_files.total(store.path)):
        yield Finding(f"{store.path / 'problems'}: holds {n} problems, not {total}", "problems")


def _journals(store: RunStore) -> Iterator[Finding]:
    for shard in range(store.config.shards):
        path = journal.path_of(store.path, shard)
        if fault := compressed.fault_of(path, store.path):
            n = len({*filter(None, map(journal.problem_of, compressed.rescued(path)))})
            what = f"the lines of {n} problems can be read; all others of it are owed again"
            yield Finding(f"{fault}; {what}", "journal")
            continue
        if not (path.exists() or compressed_of(path).exists()) and _has_rollouts(store, shard):
            yield Finding(f"{path}: is missing; the problems of its rollouts are owed again")
        entries, damage = journal.scan(path)
        owed = "its problem is owed again, unless another line holds it"
        yield from (Finding(f"{path}: {one}; {owed}", "journal") for one in damage)
        with closing(journal.Reader(path)) as reader:
            for entry in entries.values():
                try:
                    journal.finished_of(*reader.line(entry))
                except UserError as error:
                    yield Finding(str(error), "journal")


def _has_rollouts(store: RunStore, shard: int) -> bool:
    raw, packed = packing.paths(store.path, shard)
    return packed.exists() or bool(packing.blocks_of(raw)[0])


def _rollouts(store: RunStore) -> Iterator[Finding]:
    for shard in range(store.config.shards):
        raw, packed = packing.paths(store.path, shard)
        if fault := packing.packed_fault(store.path, shard):
            said = "restore it, or remove it with its .sha256" if packed.exists() else "restore it"
            yield Finding(f"{fault}: {said}: {_NO_LABELS}")
            continue
        damage = packing.blocks_of(raw)[1] if raw.exists() else []
        yield from (Finding(f"{raw}: {one}", "rollouts") for one in damage)
        with _reading(packed) as faults:
            lost = without_rollouts(raw, packed, journal.index(journal.path_of(store.path, shard)))
            if lost:
                what = f"{raw.with_suffix('')}.*: the rollouts of {len(lost)} finished problems are missing"
                # Each unreadable line may have held one lost problem, a torn one too. More lost problems than
                # such lines means that lines are gone without a trace: then no repair should drop anything.
                if len(lost) <= packing.unreadable(raw):
                    yield Finding(f"{what}; these problems are owed again", "rollouts")
                    continue
                # Lines that are there wait for the lost ones, and sealing for both.
                aside = f", or move {raw} elsewhere" if raw.exists() else ""
                yield Finding(f"{what}: restore the file{aside}: {_NO_LABELS}")
            elif raw.exists() and not damage and not store.shard_state(shard).owed:
                yield Finding(f"{raw}: is not packed, though the shard owes nothing", "pack")
        yield from map(Finding, faults)
    for stranger in packing.strangers(store.path, store.config.shards):
        yield Finding(f"{stranger}: move it elsewhere")


_NO_LABELS = "labels do not need it, derived values do"


def without_rollouts(raw: Path, packed: Path, done: Mapping[str, Entry]) -> set[str]:
    """Finished problems whose rollouts are in none of a shard's files."""
    lost = {name for name, entry in done.items() if entry.rollouts}
    if raw.exists():
        lost -= packing.blocks_of(raw)[0].keys()
    if packed.exists():
        with pq.ParquetFile(packed) as file:
            for batch in file.iter_batches(columns=["problem_id"]):
                lost.difference_update(batch.column(0).to_pylist())
    return lost


def _records(store: RunStore) -> Iterator[Finding]:
    for path, fault in spoilt_records(store):
        yield Finding(fault, "" if path.name == "summary.json" else "records")
    for path in sorted((store.path / "derived").glob("*.parquet")):
        if fault := vouched_fault(store.path, path):
            yield Finding(f"{fault}: derive it again")


def spoilt_records(store: RunStore) -> Iterator[tuple[Path, str]]:
    """Unreadable files that commands write again by themselves: the plan, the identity, the failures and the
    summary."""
    try:
        records.read_plan(store.path, store.config.digest())
    except UserError as error:
        yield store.path / "plan.json", str(error)
    try:
        identity.recorded(store.path)
    except UserError as error:
        yield store.path / "identity.json", str(error)
    for path in sorted((store.path / "problems").glob("*.failed.jsonl")):
        try:
            list(records.read_failures(path, store.path))
        except UserError as error:
            yield path, str(error)
    summary = store.path / "summary.json"
    with _reading(summary) as faults:
        if summary.exists():
            json.loads(summary.read_bytes())
    yield from ((summary, f"{fault}: `stepmint run` writes it anew") for fault in faults)


def _dataset(store: RunStore) -> Iterator[Finding]:
    run, manifest, path = store.path, generations.read_manifest(store.path), store.path / generations.MANIFEST
    if manifest is None:
        yield from (Finding(fault, "seal") for fault in generations.faults_of(run, None))
        return
    faults = list(generations.shard_faults(run, manifest))
    yield from (Finding(fault, "seal") for fault in faults)
    yield from (Finding(f"{one}: move it elsewhere") for one in generations.strangers(run, manifest))
    if not faults:
        yield from _rows(run, manifest)
    run_file = run / "run.toml"
    if recorded.is_as_written(run_file) and manifest.config_digest != recorded.digest_of(run_file):
        yield Finding(f"{path}: was sealed from votes of other settings than {run_file} has", "seal")
    is_fine = not any(packing.faults(run, store.config.shards))
    if manifest.packed and is_fine and manifest.packed != packing.checksums(run, store.config.shards):
        yield Finding(f"{run / 'rollouts'}: other files than the manifest names", "seal")
    done = sum(len(store.shard_state(shard).done) for shard in range(store.config.shards))
    if done != manifest.problems:
        what = f"{run / 'journal'}: holds {done} finished problems, the dataset those of {manifest.problems}"
        yield Finding(f"{what}: give the run's command again", "seal")
    yield from (Finding(what, "settle") for what in generations.unsettled(run, manifest))


def _rows(run: Path, manifest: Manifest) -> Iterator[Finding]:
    n = 0
    for shard in manifest.shards:
        path = run / shard.file
        with _reading(path) as faults, pq.ParquetFile(path) as file:
            if manifest.schema_version == SCHEMA_VERSION and not file.schema_arrow.equals(SCHEMA):
                faults.append(f"{path}: has other columns than version {SCHEMA_VERSION} of the schema")
            for batch in file.iter_batches(batch_size=256):
                n += len(records_of(batch))
        yield from (Finding(fault, "seal") for fault in faults)
    if n != manifest.solutions:
        yield Finding(f"{run / generations.MANIFEST}: {n} rows, not {manifest.solutions}", "seal")


@contextmanager
def _reading(path: Path) -> Iterator[list[str]]:
    """Collects what is wrong with a file. The block ends at the error that its reading raises."""
    faults: list[str] = []
    try:
        yield faults
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's and pydantic's are among them
        faults.append(f"{path}: cannot be read: {str(error).splitlines()[0]}")


_PARTS: tuple[tuple[Callable[[RunStore], Iterator[Finding]], str], ...] = (
    (_problems, "problems"),
    (_journals, "journal"),
    (_rollouts, ""),
    (_records, ""),
    (_dataset, "seal"),
)
"""The parts that are examined, and the repair for a part that cannot be read at all."""
