"""Writes tables as Parquet files, with the same settings everywhere, so that equal rows give equal bytes."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.atomic import Sink, replacing

_ROWS = 1 << 14
"""Of a row group. Each has a header and dictionaries of its own: with 512 a file is half as large again."""
_BYTES = 1 << 27
"""In memory, of a row group: what long solutions may take."""


def write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> tuple[int, str]:
    """Write tables as one Parquet file; returns its rows and its SHA-256. Equal rows give equal bytes within
    one pyarrow version."""
    with replacing(path) as sink:
        return parquet_into(sink, tables, schema), sink.sha256()


def parquet_into(sink: Sink, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write tables into a file that is being written; returns their rows. Each is a row group, unless many
    small ones come together in one."""
    rows = 0
    # zstd at 3 is small and fast to read; the page index lets readers skip pages by their smallest values.
    with pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=3, write_page_index=True
    ) as writer:
        for table in _row_groups(tables):
            writer.write_table(table)
            rows += table.num_rows
    return rows


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of `_ROWS`, or of fewer that take `_BYTES`, however they came."""
    waiting, n, size = list[pa.Table](), 0, 0
    for table in tables:
        waiting.append(table)
        n, size = n + table.num_rows, size + table.nbytes
        while n >= _ROWS or size >= _BYTES:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, _ROWS)
            left = whole.slice(_ROWS)
            waiting, n, size = ([left], left.num_rows, left.nbytes) if left.num_rows else ([], 0, 0)
    if n:
        yield pa.concat_tables(waiting)
