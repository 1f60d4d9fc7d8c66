"""Writes tables as Parquet files, with the same settings everywhere, so that equal rows give equal bytes."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.atomic import Sink, replacing


def write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> tuple[int, str]:
    """Write tables as one Parquet file; returns its rows and its SHA-256. Equal rows give equal bytes within
    one pyarrow version."""
    with replacing(path) as sink:
        return parquet_into(sink, tables, schema), sink.sha256()


def parquet_into(sink: Sink, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write tables into a file that is being written; returns their rows."""
    rows = 0
    # zstd at 3 is small and fast to read; the page index lets readers skip pages by their smallest values.
    with pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=3, write_page_index=True
    ) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows
