"""Arrow arrays of Python's and numpy's values, made without pandas.

Whatever `pa.array`, `pa.scalar` and `Table.from_pylist` are given, they first ask pandas whether it is one of
its own, and import pandas for that where it is installed; so does `to_numpy`. This takes a fifth of a second
of every process. Arrow's buffers are filled and read here instead; the arrays are equal to those of pyarrow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
_MOST_BYTES = 2**31 - 1
"""Of the texts of one array: its offsets are 32 bits wide."""


def numbers(values: NDArray[Any], kind: pa.DataType | None = None, missing: Bools | None = None) -> pa.Array:
    """An array of numbers or of truth values, of the values' own type if no other is asked for. Those that
    are `missing` are null. Raises pyarrow's ArrowInvalid where the type cannot hold a number."""
    own = pa.from_numpy_dtype(values.dtype)
    # Arrow keeps truth values as it keeps what is null: eight to a byte.
    data = _bits(values) if values.dtype == bool else pa.py_buffer(np.ascontiguousarray(values))
    found = pa.Array.from_buffers(own, len(values), [None if missing is None else _bits(~missing), data])
    return found if kind in (None, own) else found.cast(kind)


def numpy_of(array: pa.Array) -> NDArray[Any]:
    """The numbers or truth values of an array. A real number that is null is NaN; others may not be null."""
    if pa.types.is_boolean(array.type):
        return np.from_dlpack(array.cast(pa.uint8())).view(bool)
    if pa.types.is_floating(array.type) and array.null_count:
        array = array.fill_null(scalar(np.nan, array.type))
    return np.from_dlpack(array)


def texts(values: Sequence[str | None]) -> pa.StringArray | pa.ChunkedArray:
    """An array of texts; None is null. Of more than 2 GiB it is a chunked one."""
    known = [value or "" for value in values]
    whole = "".join(known)
    data = whole.encode()
    # Most texts are ASCII, of which the sizes are known without encoding each.
    sizes = map(len, known if len(data) == len(whole) else map(str.encode, known))
    ends = np.cumsum([0, *sizes], dtype=np.int64)
    if len(data) > _MOST_BYTES:
        return pa.array(values, pa.string())  # noqa: TID251
    missing = _missing(values)
    buffers = pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)
    return pa.StringArray.from_buffers(len(known), *buffers, None if missing is None else _bits(~missing))


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """An array of texts, numbers or truth values; None is null."""
    if pa.types.is_string(kind):
        return texts(values)
    missing = _missing(values)
    known = values if missing is None else [0 if value is None else value for value in values]
    return numbers(np.array(known), kind, missing)


def scalar(value: float | str, kind: pa.DataType | None = None) -> pa.Scalar:
    """One value, for pyarrow's functions to compare with."""
    return (texts([value]) if isinstance(value, str) else numbers(np.array([value]), kind))[0]


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; a column that a row lacks is null there. Only for columns such as `column` makes."""
    columns = [column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _missing(values: Sequence[Any]) -> Bools | None:
    return np.array([value is None for value in values], bool) if None in values else None


def _bits(values: NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
