"""Rows survive Arrow, and what does not fit is refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.arrow import SCHEMA, SCHEMA_VERSION, from_row, to_row
from schemas.arrow_records import records_of
from schemas.records import (
    GoldLabels,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Solution,
    Source,
    Step,
    StepLabel,
    Vote,
)


def table_of(rows: list[LabelledSolution]) -> pa.Table:
    return pa.Table.from_pylist([to_row(row) for row in rows], SCHEMA)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SHARE = st.none() | st.floats(0, 1)
COUNT = st.integers(0, 1000)


@st.composite
def votes(draw: st.DrawFn, n_steps: int) -> Vote:
    n = draw(COUNT)
    return Vote(
        step=draw(st.integers(0, n_steps - 1)),
        source=draw(TEXT),
        asks=draw(st.sampled_from(["valid", "solvable"])),
        p=draw(SHARE),
        correct=draw(st.integers(0, n)),
        n=n,
        n_failed=draw(COUNT),
        why=draw(TEXT),
        evidence=draw(TEXT),
        tokens=draw(COUNT),
    )


def gold_labels(n_steps: int) -> st.SearchStrategy[GoldLabels]:
    return st.builds(
        GoldLabels,
        labels=st.tuples(*[st.sampled_from([0, 1, None])] * n_steps),
        first_error=st.none() | st.integers(-1, n_steps - 1),
        by=TEXT,
    )


@st.composite
def rows(draw: st.DrawFn) -> LabelledSolution:
    problem = Problem(
        text=draw(TEXT.filter(bool)),
        answer=draw(st.none() | TEXT),
        alternatives=tuple(draw(st.lists(TEXT, max_size=2))),
        answer_kind=draw(st.sampled_from(["number", "expression", "choice", "text"])),
        premises=tuple(draw(st.lists(TEXT, max_size=3))),
        reference=draw(st.none() | TEXT),
        domain=draw(TEXT),
        source=Source(dataset=draw(TEXT), split=draw(TEXT), row=draw(COUNT)),
        licence=draw(st.none() | TEXT),
    )
    n_steps = draw(st.integers(1, 4))
    solution = Solution(
        problem_id=problem.id,
        text=draw(TEXT),
        steps=tuple(Step(text=draw(TEXT), start=draw(COUNT), end=draw(COUNT)) for _ in range(n_steps)),
        answer=draw(st.none() | TEXT),
        outcome=draw(st.sampled_from(["correct", "incorrect", "unknown"])),
        policy=PolicyIdentity(kind=draw(TEXT), model=draw(TEXT), seed=draw(st.integers(0, 2**48))),
        stopped=draw(st.sampled_from(["stop", "length", "error"])),
        tokens=draw(COUNT),
    )
    label = st.builds(
        StepLabel,
        label=st.sampled_from([0, 1, None]),
        p=SHARE,
        rate_low=SHARE,
        rate_high=SHARE,
        kind=st.sampled_from(["local", "cumulative", "first_error"]),
        decided_by=TEXT,
        reason=TEXT,
    )
    return LabelledSolution(
        problem=problem,
        solution=solution,
        labels=tuple(draw(label) for _ in range(n_steps)),
        first_error=draw(st.none() | st.integers(-1, n_steps - 1)),
        kept=draw(st.booleans()),
        consensus=draw(TEXT),
        votes=tuple(draw(st.lists(votes(n_steps), max_size=4))),
        gold=draw(st.none() | gold_labels(n_steps)),
    )


@settings(max_examples=60)
@given(items=st.lists(rows(), max_size=3))
def test_rows_survive_arrow(items: list[LabelledSolution]) -> None:
    table = table_of(items)
    assert [from_row(row) for row in table.to_pylist()] == items
    (batch,) = table.to_batches() or [pa.RecordBatch.from_pylist([], SCHEMA)]
    found = records_of(batch)
    assert found == items
    # In full: equal records may still be written otherwise, as 1 and 1.0 are.
    assert [row.model_dump_json() for row in found] == [row.model_dump_json() for row in items]
    assert [row.model_copy(deep=True) for row in found] == items
    assert records_of(batch.slice(1)) == items[1:]
    without = [item.model_copy(update={"votes": ()}) for item in items]
    assert records_of(batch.drop_columns(["votes"])) == without


@settings(max_examples=10)
@given(item=rows())
def test_rows_survive_parquet_with_the_schema_version(
    item: LabelledSolution, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.parquet"
    pq.write_table(table_of([item]), path)
    assert [from_row(row) for row in pq.read_table(path).to_pylist()] == [item]
    assert pq.read_schema(path).metadata[b"stepmint_schema_version"] == str(SCHEMA_VERSION).encode()


@settings(max_examples=10)
@given(item=rows())
def test_every_column_is_written(item: LabelledSolution) -> None:
    assert list(to_row(item)) == SCHEMA.names


@settings(max_examples=5)
@given(item=rows())
def test_parallel_lists_of_unequal_length_are_refused(item: LabelledSolution) -> None:
    row = to_row(item)
    with pytest.raises(ValueError, match="zip"):
        from_row({**row, "labels": [*row["labels"], 1]})


def test_unknown_fields_and_impossible_counts_are_refused() -> None:
    with pytest.raises(ValidationError, match="txt"):
        Problem.model_validate({"text": "a", "txt": "b"})
    with pytest.raises(ValidationError, match="correct=3 exceeds n=2"):
        Vote(step=0, source="s", asks="valid", correct=3, n=2)


def test_ids_are_hashes_of_content() -> None:
    one, same = Problem(text="1 + 1?", answer="2", domain="a"), Problem(text="1 + 1?", answer="2", domain="b")
    assert one.id == same.id != Problem(text="1 + 1?", answer="3").id
    several = Problem(text="1 + 1?", answer="2", alternatives=("two",))
    assert several.id not in (one.id, Problem(text="1 + 1?", answer="2", alternatives=("zwei",)).id)
    assert one.id == "046411d0d212af3a"  # runs of earlier versions know their problems by this


@given(rows())
def test_rows_of_version_2_are_read(item: LabelledSolution) -> None:
    row = to_row(item)
    for end in ("low", "high"):
        row[f"p_{end}"] = row.pop(f"rate_{end}")
    del row["alternatives"], row["gold"]
    problem = item.problem.model_copy(update={"alternatives": ()})
    assert from_row(row) == item.model_copy(update={"problem": problem, "gold": None})
