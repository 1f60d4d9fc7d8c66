"""Parquet files with checksums beside them: NAME.parquet, and NAME.sha256 with those that it may have.

While a new file takes the place of an old one the checksums of both are there, so that a kill anywhere leaves
a file that is vouched for.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from pipeline.storage.files import lines_of, parquet_into, replacing, write_lines
from pipeline.storage.generations import file_fault, sha256_of


def write_vouched(
    path: Path, tables: Iterable[pa.Table], schema: pa.Schema, accept: Callable[[], None] = lambda: None
) -> int:
    """Write a Parquet file with its checksum; returns its rows. `accept` is called when all are written, and
    may raise to leave everything as it was."""
    sums = path.with_suffix(".sha256")
    before = [sha256_of(path)] if path.exists() else []
    with replacing(path) as sink:
        rows = parquet_into(sink, tables, schema)
        accept()
        write_lines(sums, [*before, sink.sha256()])
    write_lines(sums, [sink.sha256()])
    return rows


def vouched_fault(run: Path, path: Path) -> str:
    """Why a file is not as it was written; empty when it is, or has no checksum (of an earlier version)."""
    sums = path.with_suffix(".sha256")
    if not sums.exists():
        return ""
    try:
        known = list(lines_of(sums))
    except (OSError, ValueError) as error:
        return f"{sums}: cannot be read: {error}"
    faults = [file_fault(run, path, sha256) for sha256 in known or [""]]
    return f"{faults[-1]}, by {sums.name}" if all(faults) else ""
