"""Records of whole columns: a batch of rows is checked by column, and then made into records.

pydantic checks each field of each vote by itself, which takes most of the time of reading. Columns are
checked at once, for the same rules. A batch that breaks one, or is of an earlier version, is read row by row
(`schemas.arrow.from_row`), so that the error names the field.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import SCHEMA, from_row
from schemas.arrow_values import column, numbers, scalar, texts
from schemas.records import (
    LONGEST,
    AnswerKind,
    Asks,
    GoldLabels,
    LabelKind,
    LabelledSolution,
    Outcome,
    PolicyIdentity,
    Problem,
    Record,
    Rollout,
    Solution,
    Source,
    Step,
    StepLabel,
    StopReason,
    Table,
    UnitTest,
    Vote,
)

Kind = TypeVar("Kind", bound=Record)
_OF_STEPS = {"text": "steps", "start": "step_start", "end": "step_end"}
_OF_LABELS = {
    "label": "labels",
    "kind": "label_kind",
    **{name: name for name in ("p", "rate_low", "rate_high", "decided_by", "reason")},
}
_OF_SOLUTIONS = {
    "id": "solution_id",
    "text": "solution",
    **{name: name for name in ("problem_id", "answer", "outcome", "stopped", "tokens")},
}
_OF_PROBLEMS = {
    "id": "problem_id",
    "text": "problem",
    "answer": "gold_answer",
    **{name: name for name in ("answer_kind", "reference", "domain", "licence")},
}
_PER_STEP = (*_OF_STEPS.values(), *_OF_LABELS.values())
_NONE_EMPTY = ("solution_id", "problem_id", "problem")
_NO_GAPS = ("alternatives", "premises", *_OF_STEPS.values(), "label_kind", "decided_by", "reason")


def records_of(rows: pa.RecordBatch) -> list[LabelledSolution]:
    """The labelled solutions of a batch of the dataset; without votes where it has no such column. Raises
    pydantic's ValidationError for a row that is none."""
    if "votes" not in rows.schema.names:
        field, starts = SCHEMA.field("votes"), numbers(np.zeros(rows.num_rows + 1, np.int32))
        nothing = pa.ListArray.from_arrays(starts, pa.nulls(0, field.type.value_type))
        rows = rows.append_column(field, nothing)
    is_ours = {*SCHEMA.names} == {*rows.schema.names} and rows.select(SCHEMA.names).schema.equals(SCHEMA)
    if not is_ours or not _is_sound(rows):
        return [from_row(row) for row in rows.to_pylist()]
    with _uncollected():
        return _records(rows)


def rollouts_of(rows: pa.RecordBatch) -> list[Rollout]:
    """The rollouts of a batch of a shard's packed ones. Raises pydantic's ValidationError for a row that is
    none."""
    is_ours = {*rows.schema.names} == {*Rollout.model_fields} and rows.nbytes <= LONGEST
    if not is_ours or any(column.null_count for column in rows.columns) or not _all(_rules_of_rollouts(rows)):
        return [Rollout.model_validate(row) for row in rows.to_pylist()]
    with _uncollected():
        return _made(Rollout, {name: rows.column(name).to_pylist() for name in rows.schema.names})


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's garbage collector, which would look through the new records for cycles every 700 of
    them, and take as long as it takes to make them."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


# Checking


def _is_sound(rows: pa.RecordBatch) -> bool:
    """Whether all rows keep the rules of their records, but those of tables and unit tests."""
    if rows.nbytes > LONGEST:  # a text may be longer than a record allows
        return False
    lengths = pc.list_value_length(rows.column("steps"))
    gold = rows.column("gold")
    return (
        all(pc.list_value_length(rows.column(name)).equals(lengths) for name in _PER_STEP)
        and not any(rows.column(name).flatten().null_count for name in _NO_GAPS)
        and _all(pc.greater(pc.binary_length(rows.column(name)), scalar(0)) for name in _NONE_EMPTY)
        and _all(_rules(rows))
        and _all(_rules_of_votes(rows.column("votes"), lengths))
        and _all(_rules_of_gold(gold.drop_null(), lengths.filter(gold.is_valid())))
    )


def _all(rules: Iterable[pa.BooleanArray]) -> bool:
    """Whether no value breaks a rule; what is null breaks none."""
    return all(pc.all(rule, min_count=0).as_py() is not False for rule in rules)


def _rules(rows: pa.RecordBatch) -> Iterator[pa.BooleanArray]:
    policy = rows.column("policy")
    for name in ("p", "rate_low", "rate_high"):
        yield _is_share(rows.column(name).flatten())
    for name in ("step_start", "step_end"):
        yield pc.greater_equal(rows.column(name).flatten(), scalar(0))
    yield pc.is_in(rows.column("labels").flatten().drop_null(), column([0, 1], pa.int8()))
    yield _is_one_of(rows.column("label_kind").flatten(), LabelKind)
    yield _is_one_of(rows.column("outcome"), Outcome)
    yield _is_one_of(rows.column("stopped"), StopReason)
    yield _is_one_of(rows.column("answer_kind"), AnswerKind)
    yield pc.greater_equal(rows.column("tokens"), scalar(0))
    yield pc.greater_equal(rows.column("first_error"), scalar(-1))
    yield pc.greater_equal(pc.struct_field(rows.column("source"), "row"), scalar(0))
    yield pc.greater_equal(pc.struct_field(policy, "max_tokens"), scalar(0))
    yield pc.is_finite(pc.struct_field(policy, "temperature"))
    yield pc.is_finite(pc.struct_field(policy, "top_p"))


def _rules_of_votes(votes: pa.ListArray, n_steps: pa.Array) -> Iterator[pa.BooleanArray]:
    flat, step = votes.flatten(), pc.struct_field(votes.flatten(), "step")
    yield flat.is_valid()
    yield pc.less(step, n_steps.take(pc.list_parent_indices(votes)))
    for name in ("step", "correct", "n", "n_failed", "tokens"):
        yield pc.greater_equal(pc.struct_field(flat, name), scalar(0))
    yield pc.less_equal(pc.struct_field(flat, "correct"), pc.struct_field(flat, "n"))
    yield _is_share(pc.struct_field(flat, "p"))
    yield _is_one_of(pc.struct_field(flat, "asks"), Asks)


def _rules_of_gold(gold: pa.StructArray, n_steps: pa.Array) -> Iterator[pa.BooleanArray]:
    labels = pc.struct_field(gold, "labels")
    yield pc.equal(pc.list_value_length(labels), n_steps)
    yield pc.is_in(labels.flatten().drop_null(), column([0, 1], pa.int8()))
    yield pc.greater_equal(pc.struct_field(gold, "first_error"), scalar(-1))


def _rules_of_rollouts(rows: pa.RecordBatch) -> Iterator[pa.BooleanArray]:
    yield _is_one_of(rows.column("outcome"), Outcome)
    yield _is_one_of(rows.column("stopped"), StopReason)
    yield pc.greater_equal(rows.column("tokens"), scalar(0))


def _is_share(values: pa.Array) -> pa.BooleanArray:
    # False for what is no number.
    return pc.and_(pc.greater_equal(values, scalar(0.0)), pc.less_equal(values, scalar(1.0)))


def _is_one_of(values: pa.Array, names: Any) -> pa.BooleanArray:
    return pc.is_in(values, texts(get_args(names)))


# Making


def _records(rows: pa.RecordBatch) -> list[LabelledSolution]:
    def of(name: str) -> list[Any]:
        return list(rows.column(name).to_pylist())

    def lists(name: str) -> list[tuple[Any, ...]]:
        return _lists(rows.column(name), rows.column(name).flatten().to_pylist())

    def by_step(kind: type[Kind], names: Mapping[str, str]) -> list[tuple[Kind, ...]]:
        columns = {field: rows.column(name).flatten().to_pylist() for field, name in names.items()}
        return _lists(rows.column("steps"), _made(kind, columns))

    problems = {
        **{field: of(name) for field, name in _OF_PROBLEMS.items()},
        "alternatives": lists("alternatives"),
        "premises": lists("premises"),
        "table": [table and Table.model_validate(table) for table in of("table")],
        "tests": [tuple(map(UnitTest.model_validate, tests)) for tests in of("tests")],
        "source": _structs(Source, rows.column("source")),
    }
    solutions = {
        **{field: of(name) for field, name in _OF_SOLUTIONS.items()},
        "steps": by_step(Step, _OF_STEPS),
        "policy": _structs(PolicyIdentity, rows.column("policy")),
    }
    votes = rows.column("votes")
    columns: dict[str, Sequence[Any]] = {
        "problem": _made(Problem, problems),
        "solution": _made(Solution, solutions),
        "labels": by_step(StepLabel, _OF_LABELS),
        **{name: of(name) for name in ("first_error", "kept", "consensus")},
        "votes": _lists(votes, _structs(Vote, votes.flatten())),
        "gold": _golds(rows.column("gold")),
    }
    return _made(LabelledSolution, columns)


def _golds(column: pa.StructArray) -> list[GoldLabels | None]:
    gold = column.drop_null()
    labels = pc.struct_field(gold, "labels")
    columns = {name: pc.struct_field(gold, name).to_pylist() for name in ("first_error", "by")}
    columns["labels"] = _lists(labels, labels.flatten().to_pylist())
    found = iter(_made(GoldLabels, columns))
    return [next(found) if there else None for there in column.is_valid().to_pylist()]


def _structs(kind: type[Kind], column: pa.StructArray) -> list[Kind]:
    names = (field.name for field in column.type)
    return _made(kind, {name: pc.struct_field(column, name).to_pylist() for name in names})


def _lists(column: pa.ListArray, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The values of a column of lists, as those lists."""
    left = iter(values)
    return [tuple(islice(left, n)) for n in pc.list_value_length(column).to_pylist()]


def _made(kind: type[Kind], columns: Mapping[str, Sequence[Any]]) -> list[Kind]:
    """Records of columns that were checked, one of each field: what `kind.model_validate` gives, which here
    would check them again, one by one."""
    names, made = tuple(kind.model_fields), list[Kind]()
    fields_set, new, put = set(names), object.__new__, object.__setattr__
    for values in zip(*(columns[name] for name in names), strict=True):
        one = new(kind)
        put(one, "__dict__", dict(zip(names, values, strict=False)))
        # Shared: records are frozen, and a copy of one copies it.
        put(one, "__pydantic_fields_set__", fields_set)
        put(one, "__pydantic_extra__", None)
        put(one, "__pydantic_private__", None)
        made.append(one)
    return made
