"""Reads finished problems of a journal as Arrow columns, many lines at once.

A line with a checksum that fits is as its record wrote it, so pyarrow's JSON reader takes it without making a
record. Lines of earlier versions have no checksum, or lack fields that were added since: they are read as
records first, which fills in the defaults and names the line that is none.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from pipeline.storage.journal import Entry, Line, Reader, body_of, finished_of, is_signed
from schemas.arrow_finished import LOOSE, has_gaps, strict
from schemas.arrow_values import scalar, texts

_BYTES = 1 << 23
"""Of lines read at once: what bounds the memory. One line alone may be longer."""
_STATES = {
    "outcome": ("correct", "incorrect", "unknown"),
    "stopped": ("stop", "length", "withheld", "error", "budget"),
}


def tables(path: Path, entries: Iterable[Entry]) -> Iterator[pa.Table]:
    """The problems of some entries of a journal's `index`, in their order, as tables of `FINISHED`. UserError
    names a line that is no record."""
    return lines_at((path, entry) for entry in entries)


def lines_at(places: Iterable[tuple[Path, Entry]]) -> Iterator[pa.Table]:
    """The same of entries of several journals."""
    with ExitStack() as stack:
        readers: dict[Path, Reader] = {}
        waiting, size = list[Line](), 0
        for path, entry in places:
            if path not in readers:
                readers[path] = stack.enter_context(closing(Reader(path)))
            line = readers[path].line(entry)
            if waiting and size + len(line.data) > _BYTES:
                yield _table(waiting)
                waiting, size = [], 0
            waiting.append(line)
            size += len(line.data)
        if waiting:
            yield _table(waiting)


def _table(lines: list[Line]) -> pa.Table:
    try:
        found = _read([_body(line.data) for line in lines])
    except ValueError:  # pyarrow's are among them
        found = None
    if found is None or found.num_rows != len(lines) or has_gaps(found) or not _is_sound(found):
        records = (finished_of(*line) for line in lines)
        found = _read([record.model_dump_json().encode() for record in records])
    return strict(found)


def _body(line: bytes) -> bytes:
    if not is_signed(line):
        raise ValueError("it has no checksum")
    return body_of(line)


def _read(bodies: list[bytes]) -> pa.Table:
    data = b"\n".join(bodies)
    return pj.read_json(
        pa.BufferReader(data),
        # In one block: a line may not stand in two. Other threads would gain little: shards are read in
        # processes of their own.
        read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pj.ParseOptions(explicit_schema=LOOSE, unexpected_field_behavior="ignore"),
    )


def _is_sound(table: pa.Table) -> bool:
    """Whether counts, steps and p are such as records allow. What they are was checked when they were
    written; this keeps numbers that would spoil all others out of the arithmetic."""
    candidates = table.column("candidates").combine_chunks().flatten()
    solution, votes = pc.struct_field(candidates, "solution"), pc.struct_field(candidates, "votes")
    of_its_steps = pc.list_value_length(pc.struct_field(solution, "steps")).take(
        pc.list_parent_indices(votes)
    )
    flat = votes.flatten()
    step, p, correct, n = (pc.struct_field(flat, name) for name in ("step", "p", "correct", "n"))
    holds = [
        pc.less(step, of_its_steps),
        pc.greater_equal(step, scalar(0)),
        pc.and_(pc.greater_equal(p, scalar(0.0)), pc.less_equal(p, scalar(1.0))),
        pc.and_(pc.greater_equal(correct, scalar(0)), pc.less_equal(correct, n)),
        pc.is_in(pc.struct_field(flat, "asks"), value_set=texts(["valid", "solvable"])),
        *(
            pc.is_in(pc.struct_field(solution, name), value_set=texts(known))
            for name, known in _STATES.items()
        ),
    ]
    return all(pc.all(one).as_py() is not False for one in holds)
