"""The Arrow schema of finished problems, as they stand in a journal's lines, and whether columns keep it.

Votes, policies, tables and gold labels have the types of the dataset's columns, so that sealing hands whole
columns on and makes no record of them.
"""

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import GOLD, POLICY, SOURCE, TABLE, TEST, VOTE


def _required(*fields: tuple[str, pa.DataType]) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name, kind in fields]


_TEXTS = pa.list_(pa.string())
STEP = pa.struct(_required(("text", pa.string()), ("start", pa.int32()), ("end", pa.int32())))
PROBLEM = pa.struct(
    [
        *_required(("id", pa.string()), ("text", pa.string())),
        pa.field("answer", pa.string()),
        *_required(("alternatives", _TEXTS), ("answer_kind", pa.string()), ("premises", _TEXTS)),
        pa.field("reference", pa.string()),
        pa.field("table", TABLE),
        *_required(("tests", pa.list_(TEST)), ("domain", pa.string()), ("source", SOURCE)),
        pa.field("licence", pa.string()),
    ]
)
SOLUTION = pa.struct(
    [
        *_required(("id", pa.string()), ("text", pa.string()), ("steps", pa.list_(STEP))),
        pa.field("answer", pa.string()),
        *_required(("outcome", pa.string()), ("policy", POLICY)),
        *_required(("stopped", pa.string()), ("tokens", pa.int32())),
    ]
)
CANDIDATE = pa.struct(
    [
        *_required(("solution", SOLUTION), ("votes", pa.list_(VOTE)), ("drawn", pa.int32())),
        pa.field("gold", GOLD),
    ]
)
FINISHED = pa.schema(
    [
        *_required(("problem", PROBLEM), ("candidates", pa.list_(CANDIDATE)), ("skipped", pa.string())),
        *_required(("n_rollouts", pa.int64()), ("n_calls", pa.int64()), ("over_budget", pa.bool_())),
    ]
)


def _loose(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _loose(field.type)) for field in kind])
    return pa.list_(_loose(kind.value_type)) if pa.types.is_list(kind) else kind


LOOSE = pa.schema([pa.field(field.name, _loose(field.type)) for field in FINISHED])
"""The same, every field of which may be null: what JSON is read as, since below a null all is null."""


def strict(table: pa.Table) -> pa.Table:
    """Columns read as `LOOSE`, without gaps, as those of `FINISHED`. Nothing is copied: pyarrow's own cast
    refuses what is null only because the struct around it is."""
    columns = [column.combine_chunks() for column in table.columns]
    pairs = zip(columns, FINISHED, strict=True)
    return pa.Table.from_arrays([_strict(column, field) for column, field in pairs], schema=FINISHED)


def _strict(array: pa.Array, field: pa.Field) -> pa.Array:
    kind, buffers, children = field.type, array.buffers(), list[pa.Array]()
    if pa.types.is_struct(kind):
        children = [_strict(array.field(at), kind.field(at)) for at in range(kind.num_fields)]
        buffers = buffers[:1]
    elif pa.types.is_list(kind):
        children, buffers = [_strict(array.values, kind.value_field)], buffers[:2]
    if not field.nullable:
        # What is null below a null struct becomes an empty text, an empty list or 0: Parquet has no null for
        # a field that is required.
        buffers[0] = None
    return pa.Array.from_buffers(kind, len(array), buffers, -1, 0, children)


def has_gaps(table: pa.Table) -> bool:
    """Whether columns read as `LOOSE` lack something that `FINISHED` requires."""
    pairs = zip(FINISHED, table.combine_chunks().columns, strict=True)
    return any(_gaps(chunk, field) for field, column in pairs for chunk in column.chunks)


def _gaps(array: pa.Array, field: pa.Field, above: int = 0) -> bool:
    """`above` are the nulls of the struct that the array is part of: there it is null, too."""
    if not field.nullable and array.null_count > above:
        return True
    if pa.types.is_struct(field.type):
        return any(_gaps(pc.struct_field(array, part.name), part, array.null_count) for part in field.type)
    if pa.types.is_list(field.type):
        return _gaps(array.flatten(), field.type.value_field)
    return False
