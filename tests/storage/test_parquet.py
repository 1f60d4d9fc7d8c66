"""How rows come together in row groups, however the tables were cut that they came in."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage import parquet

SCHEMA = pa.schema([pa.field("n", pa.int64())])


def tables(rows: int, size: int) -> list[pa.Table]:
    whole = pa.table({"n": range(rows)}, schema=SCHEMA)
    return [whole.slice(at, size) for at in range(0, rows, size)]


def groups(path: Path) -> list[int]:
    about = pq.read_metadata(path)
    return [about.row_group(at).num_rows for at in range(about.num_row_groups)]


@pytest.mark.parametrize("size", [1000, 16_384, 40_000, 100_000])
def test_row_groups_hold_16384_rows_and_equal_rows_give_equal_bytes(tmp_path: Path, size: int) -> None:
    rows, digest = parquet.write_parquet(tmp_path / "a", tables(40_000, size), SCHEMA)
    assert rows == 40_000
    assert groups(tmp_path / "a") == [16_384, 16_384, 7_232]
    assert pq.read_table(tmp_path / "a")["n"].to_pylist() == list(range(40_000))
    assert digest == parquet.write_parquet(tmp_path / "b", tables(40_000, 777), SCHEMA)[1]


def test_rows_that_take_much_memory_make_smaller_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_BYTES", 8 * 3000)
    parquet.write_parquet(tmp_path / "a", tables(10_000, 1000), SCHEMA)
    assert groups(tmp_path / "a") == [3000, 3000, 3000, 1000]


@pytest.mark.parametrize("none", [list, lambda: tables(0, 1), lambda: [tables(1, 1)[0].slice(1)]])
def test_a_file_without_rows_is_whole(tmp_path: Path, none: Callable[[], list[pa.Table]]) -> None:
    assert parquet.write_parquet(tmp_path / "a", none(), SCHEMA)[0] == 0
    assert pq.read_table(tmp_path / "a").schema.equals(SCHEMA)
