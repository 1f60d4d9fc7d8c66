"""Arrays made and read without pandas are those of pyarrow, which would import it."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import arrow_values
from schemas.arrow_values import column, numbers, numpy_of, scalar, table, texts

KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(),
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.data())
def test_a_column_is_what_pyarrow_makes(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | KINDS[kind], max_size=20))
    made = column(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != pa.string()], ids=str)
@given(data=st.data())
def test_a_part_of_a_column_is_read_as_numpy_has_it(kind: pa.DataType, data: st.DataObject) -> None:
    values = np.array(data.draw(st.lists(KINDS[kind], max_size=20)), kind.to_pandas_dtype())
    found = numpy_of(numbers(values)[2:])
    assert found.dtype == values.dtype
    assert found.tolist() == values[2:].tolist()


def test_a_real_number_that_is_null_is_read_as_none() -> None:
    found = numpy_of(column([0.5, None, math.nan], pa.float64())).tolist()
    assert found[0] == 0.5
    assert all(map(math.isnan, found[1:]))


def test_a_number_that_is_no_number_is_not_null() -> None:
    assert column([math.nan, None], pa.float64()).null_count == 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [([2**31], pa.int32()), ([1.5], pa.int32()), ([128], pa.int8()), ([-129, None], pa.int8())],
)
def test_what_a_type_cannot_hold_is_refused(values: list[Any], kind: pa.DataType) -> None:
    with pytest.raises(pa.ArrowInvalid):
        column(values, kind)


def test_numbers_may_be_missing() -> None:
    missing = np.array([False, True, False])
    assert numbers(np.array([1, 2, 3]), pa.int32(), missing).to_pylist() == [1, None, 3]


@pytest.mark.parametrize("value", [3, -1, 0.5, "", "valid", "ä"])
def test_a_scalar_is_what_pyarrow_makes(value: float | str) -> None:
    assert scalar(value).equals(pa.scalar(value))


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        texts(["\ud800"])


def test_texts_that_one_array_cannot_hold_are_pyarrows(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["abc", None, "ä"]
    monkeypatch.setattr(arrow_values, "_MOST_BYTES", 4)
    assert texts(values).to_pylist() == values


def test_a_table_has_the_columns_of_its_schema_and_null_where_a_row_lacks_one() -> None:
    schema = pa.schema([pa.field("a", pa.string(), nullable=False), pa.field("b", pa.int32())], {"k": "v"})
    rows = [{"a": "x", "b": 1}, {"a": "y"}]
    assert table(rows, schema).equals(pa.Table.from_pylist(rows, schema), check_metadata=True)
    assert table([], schema).num_rows == 0


def test_pandas_is_not_imported() -> None:
    code = (
        "import sys, numpy as np, pyarrow as pa; from schemas.arrow_values import *;"
        "t = table([{'a': 'x', 'b': 1.5}, {'b': None}], pa.schema({'a': pa.string(), 'b': pa.float64()}));"
        "numpy_of(t['b'].combine_chunks()), scalar('x'), numbers(np.array([1]), pa.int8());"
        "before = 'pandas' in sys.modules; pa.array([1]); sys.exit(str([before, 'pandas' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # The second is why there is such a module: where it is False, pyarrow's own functions will do.
    assert done.stderr.strip() == "[False, True]"
