"""The repairs of `stepmint check --repair`, under the names that the findings give them (see `findings`)."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from pipeline.checking.findings import PARTS, recorded_config, spoilt_records, without_rollouts
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.runs import identity, problem_files
from pipeline.runs.run_store import RunStore
from pipeline.storage import journal, journal_packing, packing, recorded
from pipeline.storage.atomic import fresh_folder, put, replacing, sweep
from pipeline.storage.checksums import sha256_of
from pipeline.storage.generations import read_manifest, settle
from schemas.errors import UserError


def mend(run: Path, names: Collection[str]) -> list[str]:
    """Make the named repairs, in the order of `_REPAIRS`; returns the reasons of those that failed."""
    config, _ = recorded_config(run)
    failed = []
    for name, repair in _REPAIRS.items():
        if name in names and config is not None:
            try:
                repair(RunStore(run, config))
            except UserError as error:
                failed.append(str(error))
            except OSError as error:
                failed.append(f"{error.filename}: {error.strerror}")
    return failed


def _sweep(store: RunStore) -> None:
    for part in PARTS:
        sweep(store.path / part)


def _keep_config(store: RunStore) -> None:
    recorded.write_config(store.path, store.config)


def _read_problems(store: RunStore) -> None:
    """Read the problems from their source again, and take the new files if they are equal to the lost
    ones."""
    with fresh_folder(store.path) as part:
        again = RunStore(part, store.config)
        (part / "problems").mkdir()
        if known := identity.recorded(store.path):  # such as the commit of a dataset on the Hub
            identity.record(part, known)
        read_problems(again)
        found = problem_files.sums(again.path)
        try:
            wanted = problem_files.sums(store.path)
        except UserError:  # done.json itself was changed, so the files on disk are the best that is known
            wanted = {name: sha256_of(store.path / name) for name in found if (store.path / name).is_file()}
        other = [name for name in found if found[name] != wanted.get(name)]
        if other:
            raise UserError(f"{store.path / other[0]}: the source of the problems gives other ones now")
        for name in (*found, "problems/done.json"):
            put(part / name, store.path / name)


def _drop_lines(store: RunStore) -> None:
    """Drop the lines of the journals that are no finished problems, also those that are compressed."""
    for shard in range(store.config.shards):
        path = journal.path_of(store.path, shard)
        with store.locked(shard):
            if not journal_packing.is_sound(path):
                journal_packing.unpack(path)
            _keep_lines(path, journal.problem_of)


def _drop_rollouts(store: RunStore) -> None:
    """Drop the lines of rollouts that cannot be read, and let their problems be owed again."""
    for shard in range(store.config.shards):
        raw, packed = packing.paths(store.path, shard)
        if not raw.exists() or packing.packed_fault(store.path, shard):
            continue
        path = journal.path_of(store.path, shard)
        with store.locked(shard):
            lost = without_rollouts(raw, packed, journal.index(path))
            if len(lost) <= packing.unreadable(raw):
                if lost:
                    journal_packing.unpack(path)
                # The journal first: killed between the two, the rollouts' damage is still there to be found.
                # Every line of a problem goes: an older one would count in place of the last.
                _keep_lines(path, partial(_is_of_another, lost))
                _keep_lines(raw, packing.is_block)


def _is_of_another(lost: Collection[str], line: bytes) -> bool:
    return journal.problem_of(line) not in lost


def _keep_lines(path: Path, keep: Callable[[bytes], object]) -> None:
    """Drop the other lines, and a last one that a kill has torn. A whole one that lacks only its end gets it,
    as when lines are appended."""
    if not path.exists():
        return
    with path.open("rb") as lines, replacing(path) as sink:
        for line in lines:
            if keep(line) and (line.endswith(b"\n") or journal.reads(line)):
                sink.write(line.removesuffix(b"\n") + b"\n")


def _forget(store: RunStore) -> None:
    """Remove an unreadable plan, identity or list of failures: commands write them again."""
    for path, _ in list(spoilt_records(store)):
        if path.name != "summary.json":
            path.unlink()


def _settle(store: RunStore) -> None:
    manifest = read_manifest(store.path)
    if manifest is not None:
        settle(store.path, manifest)


def _pack(store: RunStore) -> None:
    failed = []
    for shard in range(store.config.shards):
        try:
            store.pack_rollouts(shard)
        except UserError as error:  # of one shard, which the others need not wait for
            failed.append(str(error))
    if failed:
        raise UserError("; ".join(failed))


def _seal(store: RunStore) -> None:
    seal(store)


# In this order, because later repairs read what earlier ones mend: sealing needs problems, journal and packed
# rollouts, and `settle` needs the manifest that sealing writes.
_REPAIRS: dict[str, Callable[[RunStore], None]] = {
    "sweep": _sweep,
    "config": _keep_config,
    "problems": _read_problems,
    "journal": _drop_lines,
    "rollouts": _drop_rollouts,
    "records": _forget,
    "pack": _pack,
    "seal": _seal,
    "settle": _settle,
}
