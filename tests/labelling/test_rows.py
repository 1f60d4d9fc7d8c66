"""Rows made of a journal's columns are those made of its records, whatever the lines hold."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.fusion.trust import Model, fit, model_of
from pipeline.labelling.rows import label, labelled, ungraded
from pipeline.storage.finished import tables
from pipeline.storage.journal import index, signed
from schemas.arrow import SCHEMA, to_row
from schemas.config import FusionConfig
from schemas.errors import UserError
from schemas.records import (
    Candidate,
    Finished,
    GoldLabels,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Solution,
    Source,
    Step,
    Table,
    UnitTest,
    Vote,
)
from schemas.sources import EARLIER, judge_source


def table_of(rows: list[LabelledSolution]) -> pa.Table:
    return pa.Table.from_pylist([to_row(row) for row in rows], SCHEMA)


SOURCES = {**EARLIER, **judge_source("judge:a")}
WHO = PolicyIdentity(kind="k", model="m", seed=-5)
UNFITTED = Model(0.1, 0.1, {}, SOURCES)


def solution(problem: Problem, n_steps: int, text: str = "") -> Solution:
    steps = tuple(Step(text=f"s{i}{text}", start=4 * i, end=4 * i + 2) for i in range(n_steps))
    return Solution(problem_id=problem.id, text=f"{n_steps}{text}", steps=steps, policy=WHO)


def vote(step: int, source: str, correct: int, n: int, why: str = "") -> Vote:
    p = correct / n if n else None
    asks = SOURCES[source].asks
    return Vote(step=step, source=source, asks=asks, p=p, correct=correct, n=n, why=why, evidence="e" * step)


def finished() -> list[Finished]:
    """Problems with every field that may be missing, there and not."""
    plain = Problem(text="What is 6*7?", answer="42")
    table = Table(columns=("a", "b"), rows=(("1", "2"), ("", "x\ny")))
    rich = Problem(
        text='a "quoted" \u2028 text\n],"skipped":"x" \U0001f600 \x00',
        alternatives=("1", "2"),
        answer="1",
        premises=("p",),
        reference="r",
        table=table,
        tests=(UnitTest(call="f(1)", expected="2"), UnitTest(assertion="assert f(1)")),
        source=Source(dataset="d", split="s", row=2**40),
        licence="MIT",
    )
    bare = Problem(text="Nobody knows.")
    gold = GoldLabels(labels=(1, 0, None), first_error=1, by="people")
    votes = (
        vote(0, "monte_carlo", 8, 8),
        vote(0, "judge:a", 1, 1),
        vote(1, "monte_carlo", 0, 8),
        vote(1, "judge:a", 0, 1),
        vote(1, "arithmetic", 0, 1, "2 + 3 is 5, not 6"),
        Vote(step=2, source="algebra", asks="valid", why="no claim"),
        vote(2, "answer", 0, 1),
    )
    return [
        Finished(
            problem=plain,
            candidates=(
                Candidate(solution=solution(plain, 3), votes=votes, drawn=4, gold=gold),
                Candidate(solution=solution(plain, 2), votes=(vote(1, "answer", 1, 1),)),
                Candidate(solution=solution(plain, 1, '\\"],"skipped":"')),
            ),
            n_rollouts=7,
            tokens={"propose": 3},
        ),
        Finished(problem=rich, candidates=(Candidate(solution=solution(rich, 3, "é"), votes=votes[2:]),)),
        Finished(problem=bare, candidates=(Candidate(solution=solution(bare, 2)),), over_budget=True),
        Finished(problem=Problem(text="too hard", answer="1"), skipped="filter: too hard"),
    ]


def journal(path: Path, lines: list[bytes]) -> pa.Table:
    path.write_bytes(b"".join(lines))
    return pa.concat_tables(tables(path, index(path).values()))


def lines_of(items: list[Finished]) -> list[bytes]:
    return [signed(item.model_dump_json().encode()) for item in items]


@pytest.mark.parametrize("consensus", [True, False])
def test_rows_of_columns_are_those_of_records(tmp_path: Path, consensus: bool) -> None:
    items, rules = finished(), FusionConfig(consensus=consensus)
    trust = fit([(len(c.solution.steps), c.votes) for item in items for c in item.candidates], SOURCES)
    for model in (UNFITTED, model_of(trust, SOURCES)):
        expected = table_of(list(label(items, model, rules)))
        found = labelled(journal(tmp_path / "j", lines_of(items)), model, rules)
        assert found.schema.equals(SCHEMA)
        assert found.to_pylist() == expected.to_pylist()
        assert found.num_rows == 5


def test_the_labels_are_those_that_are_known(tmp_path: Path) -> None:
    rows = labelled(journal(tmp_path / "j", lines_of(finished()[:1])), UNFITTED, FusionConfig()).to_pylist()
    assert [row["labels"] for row in rows] == [[1, 0, None], [1, 1], [None]]
    assert [row["first_error"] for row in rows] == [1, -1, None]
    assert rows[0]["reason"] == ["", "arithmetic: 2 + 3 is 5, not 6", "after the first error"]
    assert rows[0]["decided_by"] == ["judge:a+monte_carlo", "arithmetic+judge:a+monte_carlo", ""]
    assert rows[1]["decided_by"] == ["answer", "answer"]
    assert [row["consensus"] for row in rows] == ["agree_error", "", ""]


def test_lines_of_earlier_versions_are_read_with_their_defaults(tmp_path: Path) -> None:
    """Without checksums, with spaces, without the fields that were added since."""
    items = finished()[2:]
    old = []
    for item in items:
        data = item.model_dump(mode="json")
        for name in ("alternatives", "table", "tests"):
            del data["problem"][name]
        for candidate in data["candidates"]:
            del candidate["gold"], candidate["drawn"]
        del data["n_calls"], data["given"]
        old.append(data)
    plain = [json.dumps(one).encode() + b"\n" for one in old]
    shortened = [signed(json.dumps(one, separators=(",", ":")).encode()) for one in old]
    expected = journal(tmp_path / "new", lines_of(items)).to_pylist()
    for name, lines in (("plain", plain), ("shortened", shortened), ("mixed", [plain[0], shortened[1]])):
        assert journal(tmp_path / name, lines).to_pylist() == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [("p", 1.5), ("p", -0.1), ("correct", 9), ("step", -1), ("asks", "what"), ("n", 2**31), ("source", None)],
)
def test_a_signed_line_that_is_no_record_is_named(tmp_path: Path, field: str, value: object) -> None:
    data = finished()[0].model_dump(mode="json")
    data["candidates"][0]["votes"][0][field] = value
    line = signed(json.dumps(data, separators=(",", ":")).encode())
    with pytest.raises(UserError, match=r"j: the line at byte 0 is no finished problem"):
        journal(tmp_path / "j", [line])


def test_a_candidate_without_an_answer_is_counted_as_ungraded(tmp_path: Path) -> None:
    found = journal(tmp_path / "j", lines_of(finished()))
    assert ungraded(found) == 1
    assert np.asarray(found["n_rollouts"]).sum() == 7
