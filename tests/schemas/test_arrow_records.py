"""What no record allows is found by column as it is found by record."""

import copy
import gc
import math
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.storage.packing import ROLLOUTS
from schemas.arrow import SCHEMA, from_row, to_row
from schemas.arrow_records import _is_sound, records_of, rollouts_of
from schemas.records import (
    GoldLabels,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Rollout,
    Solution,
    Source,
    Step,
    StepLabel,
    Table,
    UnitTest,
    Vote,
)


def item(number: int) -> LabelledSolution:
    problem = Problem(
        text=f"problem {number}",
        answer="2",
        alternatives=("two",),
        premises=("a = 1",),
        table=Table(columns=("a", "b"), rows=(("1", "2"),)) if number else None,
        tests=(UnitTest(call="f(1)", expected="2"), UnitTest(assertion="assert f(1)")),
        source=Source(dataset="d", row=number),
    )
    steps = (Step(text="1 + 1", start=0, end=5), Step(text="= 2", start=6, end=9))
    return LabelledSolution(
        problem=problem,
        solution=Solution(
            problem_id=problem.id,
            text="1 + 1\n= 2",
            steps=steps,
            outcome="correct",
            policy=PolicyIdentity(kind="k", model="m"),
        ),
        labels=(StepLabel(label=1, p=0.75, rate_low=0.5, rate_high=1), StepLabel()),
        first_error=-1,
        votes=(Vote(step=1, source="s", asks="valid", p=0.5, correct=1, n=2),),
        gold=GoldLabels(labels=(1, None), first_error=-1, by="somebody") if number else None,
    )


ITEMS = [item(number) for number in range(3)]


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def test_all_kinds_of_rows_are_made_as_they_were() -> None:
    batch = batch_of([to_row(one) for one in ITEMS])
    assert _is_sound(batch)
    assert records_of(batch) == ITEMS
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("solution_id",), ""),
        (("problem_id",), ""),
        (("problem",), ""),
        (("answer_kind",), "odd"),
        (("premises", 0), None),
        (("alternatives", 0), None),
        (("source", "row"), -1),
        (("steps",), ["1 + 1"]),
        (("steps", 0), None),
        (("step_start", 1), -1),
        (("step_end", 1), None),
        (("outcome",), "maybe"),
        (("stopped",), "never"),
        (("tokens",), -1),
        (("policy", "max_tokens"), -1),
        (("policy", "temperature"), math.inf),
        (("policy", "top_p"), math.nan),
        (("labels", 0), 2),
        (("labels",), [1]),
        (("p", 0), 1.5),
        (("p", 0), math.nan),
        (("rate_low", 0), -0.5),
        (("rate_high", 0), math.inf),
        (("label_kind", 0), "odd"),
        (("decided_by", 0), None),
        (("reason", 1), None),
        (("first_error",), -2),
        (("votes", 0), None),
        (("votes", 0, "step"), 2),
        (("votes", 0, "step"), -1),
        (("votes", 0, "asks"), "odd"),
        (("votes", 0, "p"), 1.5),
        (("votes", 0, "p"), math.nan),
        (("votes", 0, "correct"), 3),
        (("votes", 0, "n"), -1),
        (("votes", 0, "n_failed"), -1),
        (("votes", 0, "tokens"), -1),
        (("gold", "labels"), [2, None]),
        (("gold", "labels"), [1]),
        (("gold", "first_error"), -2),
    ],
)
def test_what_no_record_allows_is_no_sound_column(path: tuple[Any, ...], value: object) -> None:
    rows = [to_row(one) for one in ITEMS]
    place: Any = rows[1]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    batch = batch_of(copy.deepcopy(rows))
    assert not _is_sound(batch)
    # The row decides, and says what is wrong: an empty id alone is no fault, but made anew.
    try:
        expected = [from_row(row) for row in batch.to_pylist()]
    except (ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            records_of(batch)
    else:
        assert path[0] in ("solution_id", "problem_id")
        assert records_of(batch) == expected


@pytest.mark.parametrize(
    ("path", "value"),
    [(("table", "rows"), [["1"]]), (("tests", 0, "assertion"), "assert True")],
)
def test_tables_and_unit_tests_are_checked_one_by_one(path: tuple[Any, ...], value: object) -> None:
    rows = [to_row(one) for one in ITEMS]
    place: Any = rows[1]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"cells for 2 columns|stands alone"):
        records_of(batch_of(rows))
    assert gc.isenabled()


ROLLOUT = {"problem_id": "a", "purpose": "p", "prefix": "", "text": "t", "seed": -7, "tokens": 3}
ROLLOUT |= {"outcome": "correct", "stopped": "length"}


def test_rollouts_are_made_as_they_were() -> None:
    rows = [ROLLOUT, {**ROLLOUT, "text": "", "outcome": "unknown"}]
    found = rollouts_of(pa.RecordBatch.from_pylist(rows, ROLLOUTS))
    assert found == [Rollout.model_validate(row) for row in rows]
    assert [one.model_fields_set for one in found] == [{*ROLLOUT}] * 2


@pytest.mark.parametrize("bad", [{"outcome": "odd"}, {"stopped": ""}, {"tokens": -1}, {"text": None}])
def test_a_rollout_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    schema = pa.schema([field.with_nullable(True) for field in ROLLOUTS])
    with pytest.raises(ValidationError, match=next(iter(bad))):
        rollouts_of(pa.RecordBatch.from_pylist([ROLLOUT, {**ROLLOUT, **bad}], schema))
