"""Packs a shard's rollouts, which were appended line by line, into one Parquet file.

The lines are removed last, and packing them twice gives the same file. So a kill loses nothing, and the next
command finishes the packing.
"""

import heapq
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.atomic import sync_folder
from pipeline.storage.checksums import sha256_of, vouched_fault, write_vouched
from pipeline.storage.files import batches, opened
from pipeline.storage.journal import Damage, Entry, body_of
from schemas.arrow_values import table
from schemas.errors import UserError
from schemas.records import Record, Rollout

# The problem's id at the beginning of a block, with or without the space that earlier versions wrote. It is
# read without parsing the line, which may hold megabytes of rollouts.
_BLOCK_OF = re.compile(rb'\{"problem": ?"([^"]*)"')
ROLLOUTS = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("prefix", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("stopped", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)
Row = dict[str, Any]
_ROLLOUTS_PER_WRITE = 4096  # of one Parquet row group; bounds how many rollouts are in memory at once


class Block(Record):
    """A line of rollouts: all that were sampled for a problem."""

    problem: str
    rollouts: tuple[Rollout, ...]


def pack(run: Path, shard: int, done: Mapping[str, Entry]) -> int:
    """Write a shard's old and new rollouts to a Parquet file that replaces the old one. Where a problem had
    to be done again, only its new rollouts are kept. Returns how many the file then holds.

    UserError when the file is not as it was written, or rollouts of a finished problem cannot be found.
    """
    raw, packed = paths(run, shard)
    if not raw.exists():
        return 0
    if fault := packed_fault(run, shard):
        raise UserError(f"{fault}: see `stepmint check {run}`")
    # Every finished problem with rollouts must be found, or nothing is replaced: the lines that are removed
    # at the end may be the only copy.
    missing = {problem for problem, entry in done.items() if entry.rollouts}

    def all_found() -> None:
        if missing:
            raise UserError(lost(run, raw, min(missing)))

    rows = batches(_found(raw, packed, missing), _ROLLOUTS_PER_WRITE)
    n = write_vouched(packed, (table(some, ROLLOUTS) for some in rows), ROLLOUTS, all_found)
    raw.unlink()
    sync_folder(raw.parent)
    return n


def _found(raw: Path, packed: Path, missing: set[str]) -> Iterator[Row]:
    for problem, rows in stored_rollouts(raw, packed):
        missing.discard(problem)
        yield from rows


def lost(run: Path, raw: Path, problem: str) -> str:
    """The one line about a finished problem whose rollouts are in none of a shard's files."""
    damage = blocks_of(raw)[1] if raw.exists() else []
    where = f"{raw}: {damage[0]}; " if damage else f"{raw.with_suffix('')}.*: "
    return f"{where}the rollouts of problem {problem} are missing: see `stepmint check {run}`"


def packed_fault(run: Path, shard: int) -> str:
    """How a shard's packed rollouts differ from what was written; empty if they do not, or there are none."""
    raw, packed = paths(run, shard)
    # While the first Parquet file of a shard is put in place there is a checksum and no file yet.
    begun = raw.exists() and not packed.exists()
    return "" if begun else vouched_fault(run, packed)


def faults(run: Path, shards: int) -> Iterator[str]:
    """What is wrong with the packed rollouts of a run, one line for each fault."""
    yield from (fault for shard in range(shards) if (fault := packed_fault(run, shard)))
    yield from strangers(run, shards)


def strangers(run: Path, shards: int) -> Iterator[str]:
    """Parquet files in `rollouts` that no shard of the run has, one line for each."""
    known = {paths(run, shard)[1] for shard in range(shards)}
    for path in sorted((run / "rollouts").glob("*.parquet")):
        if path not in known:
            yield f"{path}: is not of this run, but would be read as rollouts/*.parquet"


def checksums(run: Path, shards: int) -> dict[str, str]:
    """Checksums of a run's packed rollouts by their path in the run. UserError when one is not as it was."""
    for fault in faults(run, shards):
        raise UserError(f"{fault}: see `stepmint check {run}`")
    found = (paths(run, shard)[1] for shard in range(shards))
    return {str(packed.relative_to(run)): sha256_of(packed) for packed in found if packed.exists()}


def paths(run: Path, shard: int) -> tuple[Path, Path]:
    """A shard's rollouts as they are appended, and packed."""
    raw = run / "rollouts" / f"{shard:05d}.jsonl"
    return raw, raw.with_suffix(".parquet")


def stored_rollouts(raw: Path, packed: Path) -> Iterator[tuple[str, list[Row]]]:
    """Rollouts as rows, by problem in the order of their ids: those packed before, and those of `raw`, which
    replace a problem's older ones."""
    blocks = blocks_of(raw)[0]
    # Both are sorted by problem, so they are merged without holding either: a shard may have gigabytes.
    older = ((k, rows) for k, rows in _packed(packed) if k not in blocks)
    yield from heapq.merge(older, _blocks(raw, blocks), key=itemgetter(0))


def blocks_of(raw: Path) -> tuple[dict[str, int], list[Damage]]:
    """Where the last block of every problem begins, and the lines that cannot be read; a last line without
    its end was torn by a kill."""
    blocks: dict[str, int] = {}
    damage: list[Damage] = []
    offset = 0
    with raw.open("rb") if raw.exists() else nullcontext(()) as file:
        for number, line in enumerate(file, start=1):
            if (head := _BLOCK_OF.match(line)) and is_block(line):
                blocks[head[1].decode()] = offset
            elif line.endswith(b"\n"):
                damage.append(Damage(number, offset))
            offset += len(line)
    return blocks, damage


def is_block(line: bytes) -> bool:
    """Whether a line holds the rollouts of a problem, each of which can be packed."""
    try:
        Block.model_validate_json(body_of(line))
    except ValueError:
        return False
    return True


def unreadable(raw: Path) -> int:
    """How many of the lines cannot be read, a last one that was torn among them."""
    with opened(raw) as file:
        return sum(not is_block(line) for line in file)


def _blocks(raw: Path, blocks: dict[str, int]) -> Iterator[tuple[str, list[Row]]]:
    if not blocks:
        return
    with raw.open("rb") as file:
        for problem, offset in sorted(blocks.items()):
            file.seek(offset)
            yield problem, json.loads(body_of(file.readline()))["rollouts"]


def _packed(path: Path) -> Iterator[tuple[str, list[Row]]]:
    if path.exists():
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(batch_size=1024) for row in batch.to_pylist())
            for problem, group in groupby(rows, key=itemgetter("problem_id")):
                yield problem, list(group)
