"""Writing files so that they appear whole or not at all, and reading them without holding them.

A finished file takes its place by a rename, after its bytes are on the disk.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size`, the last one shorter (`itertools.batched` needs Python 3.12)."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write tables as one Parquet file; returns its rows. Equal rows give equal bytes within one pyarrow
    version."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    rows = 0
    with pq.ParquetWriter(
        temporary, schema, compression="zstd", compression_level=3, write_page_index=True
    ) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    publish(temporary, path)
    return rows


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield line.rstrip("\n")


def append_lines(path: Path, lines: Iterable[str], *, anew: bool) -> None:
    """Add lines to a file that nobody reads yet, or begin it `anew`."""
    with path.open("w" if anew else "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of these lines."""
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    temporary.write_bytes(data)
    publish(temporary, path)


def publish(temporary: Path, path: Path) -> None:
    """Let a finished file take its place."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
