"""The files of a run's problems: `problems/SHARD.jsonl`, `problems/done.json`, and given solutions.

A shard's problems are in the order of their ids. `done.json` holds their number and the files' checksums; it
exists once the run has read its problems. All files are replaced together (`decide`, then `finish`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.runs import given_files
from pipeline.runs.given_files import GivenFile
from pipeline.storage.atomic import put
from pipeline.storage.checksums import file_fault, sha256_of
from pipeline.storage.files import lines_of
from pipeline.storage.recorded import read_record, write_record
from schemas.errors import UserError

QUARANTINE = "quarantine.jsonl"
"""Rows that could not become problems; written together with the problems, and covered by a checksum too."""
# Exists from the moment when all new files are written until they are in place. If a kill comes between, the
# next command sees it and finishes the replacement; without it the new files are ignored and written again.
_NEXT = "problems/next.json"


def done_file(run: Path) -> Path:
    """The file that exists once the problems have been read."""
    return run / "problems" / "done.json"


def file_of(run: Path, shard: int) -> Path:
    """The file of a shard's problems."""
    return run / "problems" / f"{shard:05d}.jsonl"


def next_of(file: Path) -> Path:
    """Where the new version of a file is written, before it replaces the old one."""
    return file.with_suffix(".next")


def is_prepared(run: Path) -> bool:
    """Whether the problems have been read."""
    return done_file(run).is_file()


def total(run: Path) -> int:
    """Number of problems in the run."""
    return int(_prepared(run)["problems"])


def sizes(run: Path, shards: int) -> list[int]:
    """Number of problems in each shard."""
    known: list[int] | None = _prepared(run).get("shards")
    if known is None:  # prepared by an earlier version
        return [sum(1 for _ in lines_of(file_of(run, shard))) for shard in range(shards)]
    return known


def sums(run: Path) -> dict[str, str]:
    """The checksums that the files were written with, by their path in the run."""
    return dict(_prepared(run).get("sha256", {}))


def faults(run: Path) -> Iterator[str]:
    """What is wrong with the files, one line for each fault."""
    for name, sha256 in sums(run).items():
        if fault := file_fault(run, run / name, sha256):
            yield fault


def lines(run: Path, shard: int) -> Iterator[str]:
    """The lines of a shard's problems. UserError when its file is not as it was written."""
    return lines_of(_whole(run, file_of(run, shard)))


def given(run: Path, shard: int) -> GivenFile:
    """The given solutions of a shard. UserError when their file is not as it was written."""
    return GivenFile(_whole(run, given_files.file_of(run, shard)))


def _whole(run: Path, path: Path) -> Path:
    sha256 = sums(run).get(str(path.relative_to(run)))
    if sha256 and (fault := file_fault(run, path, sha256)):
        raise UserError(f"{fault}: see `stepmint check {run}`")
    return path


def decide(run: Path, counts: dict[str, Any]) -> None:
    """Record that all new files are written, under the names of `next_of`. From here on `finish` puts them in
    place, even if this process is killed."""
    write_record(run / _NEXT, counts)


def unvouch(run: Path) -> None:
    """Drop the checksums before the files are replaced. Killed in the middle, some files are new and some
    old, and would be called damaged although the next command finishes the replacement."""
    if is_prepared(run):
        kept = {key: value for key, value in _prepared(run).items() if key != "sha256"}
        write_record(done_file(run), kept)


def finish(run: Path, shards: int) -> None:
    """Replace the old files by the new ones, if `decide` was called; else do nothing."""
    decided = run / _NEXT
    if decided.is_file():
        unvouch(run)
        files = [run / QUARANTINE, *(file_of(run, shard) for shard in range(shards))]
        given = (given_files.file_of(run, shard) for shard in range(shards))
        files += [file for file in given if file.is_file() or next_of(file).is_file()]
        for file in files:
            if (written := next_of(file)).is_file():
                put(written, file)
        sums = {str(file.relative_to(run)): sha256_of(file) for file in files}
        write_record(done_file(run), {**read_record(decided, run), "sha256": sums})
        decided.unlink()


def _prepared(run: Path) -> dict[str, Any]:
    return read_record(done_file(run), run)
