"""What sealing counts, and what it warns of."""

import asyncio
from pathlib import Path

import pyarrow as pa

from pipeline.labelling.problems import read_problems
from pipeline.labelling.remarks import remarks, unread
from pipeline.labelling.sealing import manifest_of, seal
from pipeline.labelling.shard import run_shard
from pipeline.labelling.tally import Tally
from pipeline.outputs.report import summarise
from pipeline.runs.run_store import RunStore
from pipeline.storage import journal
from pipeline.storage.finished import tables
from schemas.arrow import SCHEMA, to_row
from schemas.config import RunConfig
from schemas.manifest import Manifest, Trust
from schemas.records import (
    Finished,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Solution,
    Step,
    StepLabel,
    Vote,
)
from schemas.sources import NO_GOLD


def table_of(rows: list[LabelledSolution]) -> pa.Table:
    return pa.Table.from_pylist([to_row(row) for row in rows], SCHEMA)


def row(*votes: Vote) -> LabelledSolution:
    problem = Problem(text="What is 6*7?", answer="42")
    solution = Solution(
        problem_id=problem.id,
        text="42",
        steps=(Step(text="42", start=0, end=2),),
        answer="42",
        outcome="correct",
        policy=PolicyIdentity(kind="k", model="m"),
    )
    return LabelledSolution(
        problem=problem, solution=solution, labels=(StepLabel(),), votes=votes, first_error=None
    )


YES = Vote(step=0, source="judge:a", asks="valid", p=1.0)
NO = Vote(step=0, source="logic", asks="valid", p=0.0)


def sealed(tally: Tally, tmp_path: Path) -> Manifest:
    store = RunStore.open(RunConfig.model_validate({"name": "r", "root": str(tmp_path)}))

    return manifest_of(store, Trust(hazard=0.1, tables={}), tally)


def test_a_source_that_never_says_no_is_named_once_it_has_said_enough(tmp_path: Path) -> None:
    tally = Tally()
    for index in range(120):
        tally.rows(table_of([row(YES, NO if index == 7 else YES.model_copy(update={"source": "logic"}))]))
        if index in (98, 99):
            said = [line for line in remarks(sealed(tally, tmp_path)) if "never said no" in line]
            judge = "note: judge:a never said no in 100 votes: it tells nothing apart here"
            assert said == ([judge] if index == 99 else [])


def test_a_source_of_which_nothing_could_be_read_is_an_error(tmp_path: Path) -> None:
    tally, reply = Tally(), "I cannot\x1b[2J help\nwith that. " * 50
    for index in range(5):
        why = "it names no step" if index else "the call failed"
        votes = [
            YES.model_copy(update={"p": None, "n_failed": 4, "why": why, "evidence": reply}),
            Vote(step=0, source="algebra", asks="valid", p=None, why="nothing to check"),
            NO,
        ]
        tally.rows(table_of([row(*votes)]))
    manifest = sealed(tally, tmp_path)
    error, note = remarks(manifest)
    assert error.startswith("error: judge:a abstained in every one of 5 votes (it names no step; one reply: ")
    assert error.endswith("; the labels stand on logic")
    assert error.isprintable()
    assert len(error) < 600
    assert note.startswith("note: algebra abstained in every one of 5 votes (nothing to check)")
    assert unread(manifest) == ["judge:a"]
    assert manifest.sources["judge:a"].failed == 20
    assert manifest.sources["judge:a"].reasons == {"it names no step": 4, "the call failed": 1}


def test_reasons_to_abstain_are_counted_also_where_a_source_speaks(tmp_path: Path) -> None:
    """The commonest are named. Reasons may hold parts of replies, and be as many as the votes."""
    tally = Tally()
    reasons = ["cut off", "cut off", "no number", *(f"not readable: {n}" for n in range(1200))]
    for why in reasons:
        tally.rows(table_of([row(YES.model_copy(update={"p": None, "why": why}), YES, NO)]))
    count = sealed(tally, tmp_path).sources["judge:a"]
    assert (count.votes, count.abstained, count.sample) == (2 * len(reasons), len(reasons), "")
    assert count.reasons == {"cut off": 2, "other reasons": 1201}
    assert count.commonest == "cut off"
    assert not sealed(tally, tmp_path).sources["logic"].reasons


def test_equal_solutions_are_one_row_and_counted(tmp_path: Path) -> None:
    """A policy that makes no mistake writes one text however often it is asked."""
    config = {
        "name": "r",
        "root": str(tmp_path),
        "problems": {"limit": 2},
        "policy": {"kind": "simulated", "slip": 0, "n_steps": 3},
        "propose": {"kind": "sample", "n": 5},
        "verify": {"verifiers": ["arithmetic"]},
    }
    store = RunStore.open(RunConfig.model_validate(config))
    read_problems(store)
    asyncio.run(run_shard(store, 0))
    manifest = seal(store)
    assert (manifest.solutions, manifest.merged) == (2, 8)
    assert summarise(store)["merged"] == 8


def test_problems_without_a_gold_answer_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    items = [Finished(problem=Problem(text=str(i), answer="1" if i else None)) for i in range(3)]
    path = tmp_path / "lines"
    path.write_bytes(b"".join(journal.signed(item.model_dump_json().encode()) for item in items))
    for table in tables(path, journal.index(path).values()):
        tally.problems(table)
    manifest = sealed(tally, tmp_path)
    assert manifest.ungraded == 1
    assert remarks(manifest)[0].startswith("note: 1 of 3 problems have no gold answer")


def test_that_no_problem_has_a_gold_answer_is_said_once(tmp_path: Path) -> None:
    """And not again of each source that needs one."""
    tally, silent = Tally(), Vote(step=0, source="answer", asks="solvable", p=None, why=NO_GOLD)
    tally.rows(table_of([row(silent, NO)]))
    manifest = sealed(tally, tmp_path).model_copy(update={"problems": 2, "ungraded": 2})
    assert len(remarks(manifest)) == 1
    graded = remarks(manifest.model_copy(update={"ungraded": 1}))
    assert graded[0].startswith(f"note: answer abstained in every one of 1 votes ({NO_GOLD})")
