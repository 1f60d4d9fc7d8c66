"""Generations of a dataset: a new one is written beside the old one, and one rename replaces the old one.

    manifest.json          names the files of one generation, with their checksums; it decides
    sealed/DIGEST/         the shards of a generation, in a folder named by the digest of the rows
    shards -> sealed/...   the generation as other tools read it: shards/*.parquet

The order of the steps is: the new folder, complete and on the disk; the manifest; the link; the removal of
the old folder. After a kill between any two of them, manifest and link each name a whole generation, and the
next sealing does the steps that are missing.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from pipeline.storage.atomic import fresh_folder, put, swap, sweep, write_bytes
from pipeline.storage.checksums import file_fault, sha256_of
from pipeline.storage.locks import locked
from pipeline.storage.parquet import write_parquet
from pipeline.storage.recorded import changed, read_record, write_record, wrong_fields
from schemas.arrow import SCHEMA
from schemas.errors import UserError
from schemas.manifest import Manifest, ShardEntry

SEALED, SHARDS, MANIFEST, CARD = "sealed", "shards", "manifest.json", "README.md"
# What `datasets.load_dataset(FOLDER)` reads first: without it, it would take every JSON and Parquet file of
# the run for one dataset.
_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: shards/*.parquet
---
Step-labelled solutions. `datasets.load_dataset` reads this folder; manifest.json says how they came about.
"""
_GENERATION = re.compile(r"[0-9a-f]{16}")
# Shards of ours, `00000.parquet`; earlier versions also left unfinished ones, `00000.parquet.tmp-4711`.
_SHARD = re.compile(r"\d{5,}\.parquet(\.tmp-\d+)?")


@contextmanager
def sealing(run: Path) -> Iterator[Path]:
    """A new folder for the shards of a generation. UserError when another process seals the run, or when
    `shards` holds files that are not ours."""
    with locked(run / "journal" / "seal.lock", f"{run}: is being sealed by another process"):
        _refuse_strangers(run / SHARDS)  # before any work: at the end the folder is replaced by a link
        sweep(run)
        (run / SEALED).mkdir(exist_ok=True)
        with fresh_folder(run / SEALED) as part:
            yield part


def write_shard(folder: Path, shard: int, tables: Iterable[pa.Table]) -> ShardEntry:
    """Write the rows of one shard into the folder of a new generation; equal rows give equal bytes within one
    pyarrow version."""
    name = f"{shard:05d}.parquet"
    rows, sha256 = write_parquet(folder / name, tables, SCHEMA)
    return ShardEntry(file=f"{SHARDS}/{name}", rows=rows, sha256=sha256)


def change_over(run: Path, part: Path, manifest: Manifest) -> Manifest:
    """Make the shards in `part` the dataset; returns the manifest as it is written."""
    # The folder is named by its rows, so sealing the same votes again gives the same folder and changes
    # nothing.
    place = f"{SEALED}/{manifest.digest()}"
    shards = tuple(
        shard.model_copy(update={"file": f"{place}/{Path(shard.file).name}"}) for shard in manifest.shards
    )
    manifest = manifest.model_copy(update={"shards": shards})
    _refuse_strangers(run / place)
    swap(part, run / place)
    write_record(run / MANIFEST, manifest.model_dump(mode="json"))
    _settle(run, manifest)
    return manifest


def settle(run: Path, manifest: Manifest) -> None:
    """Finish a sealing that was killed half way. UserError names a shard that is not as it was written."""
    shards_of(run, manifest)
    with sealing(run):
        _settle(run, manifest)


def _settle(run: Path, manifest: Manifest) -> None:
    """Point `shards` at the manifest's generation and remove the others, as far as their files are ours."""
    place = _place(manifest)
    if place == SHARDS:
        return
    if not (run / CARD).exists():  # one of the owner's own stays
        write_bytes(run / CARD, _CARD.encode())
    if not points_at(run, place):
        # A file system without links (FAT, some shares) raises PermissionError. The manifest names the files,
        # so the link is only a convenience.
        with fresh_folder(run) as part, suppress(PermissionError):
            (part / SHARDS).symlink_to(place)
            _put(part / SHARDS, run / SHARDS)
    for folder in (run / SEALED).iterdir():
        if _GENERATION.fullmatch(folder.name) and folder.name != Path(place).name:
            _remove(folder)


def _place(manifest: Manifest) -> str:
    """The folder of a dataset; `shards` itself in runs sealed by an earlier version."""
    return str(Path(manifest.shards[0].file).parent) if manifest.shards else SHARDS


def unsettled(run: Path, manifest: Manifest) -> Iterator[str]:
    """What `settle` would change, one line for each thing."""
    place = _place(manifest)
    if place == SHARDS:
        return
    if not points_at(run, place) and not _is_copy(run, manifest):
        yield f"{run / SHARDS}: is not the dataset of the manifest"
    for folder in sorted((run / SEALED).glob("*")):
        if _GENERATION.fullmatch(folder.name) and folder.name != Path(place).name:
            yield f"{folder}: is an older dataset that was not removed"


def _is_copy(run: Path, manifest: Manifest) -> bool:
    """Whether `shards` is a folder with equal files: a program that follows links has copied the run."""
    wanted = {Path(shard.file).name: shard.sha256 for shard in manifest.shards}
    if (run / SHARDS).is_symlink() or not (run / SHARDS).is_dir():
        return False
    return {path.name: sha256_of(path) for path in (run / SHARDS).iterdir() if path.is_file()} == wanted


def points_at(run: Path, place: str) -> bool:
    """Whether `shards` is a link to a generation's folder."""
    return (run / SHARDS).is_symlink() and os.readlink(run / SHARDS) == place


def _put(link: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():  # the folder of an earlier version, or a copy of ours
        swap(link, target)
    else:
        put(link, target)


def _refuse_strangers(shards: Path) -> None:
    if shards.is_symlink() or not shards.is_dir():
        return
    for entry in sorted(shards.iterdir()):
        if not _SHARD.fullmatch(entry.name):
            raise UserError(f"{entry}: is not a file of ours: move it elsewhere, then seal again")


def _remove(folder: Path) -> None:
    # Only files of ours: somebody may have put theirs beside them.
    for entry in folder.iterdir():
        if _SHARD.fullmatch(entry.name):
            entry.unlink()
    with suppress(OSError):  # somebody else's file lies in it
        folder.rmdir()


def read_manifest(run: Path) -> Manifest | None:
    """The manifest, or None while the run is open. UserError when it was changed."""
    path = run / MANIFEST
    if not path.exists():
        return None
    data = read_record(path, run)
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise UserError(changed(path, run, wrong_fields(error))) from None


def sealed_manifest(run: Path) -> Manifest:
    """The manifest; UserError while the run is open, and when it was changed."""
    manifest = read_manifest(run)
    if manifest is None:
        raise UserError(
            f"{run}: not sealed yet: `stepmint run {run}` finishes it, and `stepmint fuse {run} --partial` "
            "seals what is done of it"
        )
    return manifest


def shards_of(run: Path, manifest: Manifest) -> list[Path]:
    """The Parquet files of a dataset, each as it was written. UserError names the first that is not."""
    for fault in faults_of(run, manifest):
        # The old files may be gone because another process has just sealed the run: that is no damage.
        now = read_manifest(run)
        if now is None or now.digest() != manifest.digest():
            raise UserError(f"{run}: was sealed anew while it was read: give the same command again")
        raise UserError(f"{fault}: see `stepmint check {run}`")
    return [run / shard.file for shard in manifest.shards]


def faults_of(run: Path, manifest: Manifest | None) -> Iterator[str]:
    """What is wrong with the dataset of a run, one line for each fault."""
    if manifest is None:
        if any((run / SEALED).glob("*/*.parquet")):
            yield f"{run / MANIFEST}: is missing"
        return
    yield from shard_faults(run, manifest)
    yield from strangers(run, manifest)


def shard_faults(run: Path, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the Parquet files of a dataset, one line for each file."""
    for shard in manifest.shards:
        if fault := file_fault(run, run / shard.file, shard.sha256):
            yield fault


def strangers(run: Path, manifest: Manifest) -> Iterator[str]:
    """Parquet files in the dataset's folders that the manifest does not name, one line for each."""
    known = {run / shard.file for shard in manifest.shards}
    for folder in sorted({path.parent for path in known}):
        for path in sorted(folder.glob("*.parquet")):
            if path not in known:
                yield f"{path}: is not of this dataset, but would be read as {SHARDS}/*.parquet"
