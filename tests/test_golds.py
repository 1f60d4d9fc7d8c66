"""Several accepted answers, from the file to the dataset and back: any of them is right."""

import asyncio
import json
from pathlib import Path

from pipeline.labelling.problems import read_problems
from pipeline.labelling.regrade import regrade_shard
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.outputs.report import rows_of
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig


def opened(folder: Path, answers: list[object]) -> RunStore:
    """A run whose policy answers `right` or `wrong`."""
    rows = [{"question": f"Q{i}", "answer": answer} for i, answer in enumerate(answers)]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "name": "r",
        "root": str(folder / "runs"),
        "problems": {"path": str(folder / "p.jsonl")},
        "policy": {"kind": "simulated", "n_steps": 3, "slip": 0.0},
        "monte_carlo": {"rollouts": 2},
    }
    store = RunStore.open(RunConfig.model_validate(data))
    read_problems(store)
    return store


def outcomes(store: RunStore) -> dict[str, tuple[tuple[str, ...], str]]:
    """What the sealed dataset says of each problem."""
    return {row.problem.text: (row.problem.golds, row.solution.outcome) for row in rows_of(store)}


def test_any_accepted_answer_is_right_and_all_of_them_are_kept(tmp_path: Path) -> None:
    given: list[object] = [["left", "right"], ["right", "left"], ["left", "never"], "right", None]
    store = opened(tmp_path, given)
    asyncio.run(run_shard(store, 0))
    seal(store)
    expected = {
        "Q0": (("left", "right"), "correct"),
        "Q1": (("right", "left"), "correct"),
        "Q2": (("left", "never"), "incorrect"),
        "Q3": (("right",), "correct"),
    }
    assert {name: found for name, found in outcomes(store).items() if name != "Q4"} == expected
    assert {item.problem.text: item.problem.golds for item in store.journal(0)}["Q0"] == ("left", "right")
    again = asyncio.run(regrade_shard(store, 0, advance=lambda: None))
    assert (again.changed, again.missing) == (0, 0)
    seal(store)
    assert {name: found for name, found in outcomes(store).items() if name != "Q4"} == expected


def test_an_accepted_answer_that_is_added_corrects_the_problem(tmp_path: Path) -> None:
    store = opened(tmp_path, [["left", "never"]])
    asyncio.run(run_shard(store, 0))
    seal(store)
    before = outcomes(store)
    (name,) = [problem.id for problem in store.posed(0)]
    store = opened(tmp_path, [["left", "never", "right"]])
    assert [problem.id for problem in store.posed(0)] == [name]
    assert store.stale(0)
    again = asyncio.run(regrade_shard(store, 0, only=set(store.stale(0)), advance=lambda: None))
    assert (again.changed, again.missing) == (1, 0)
    seal(store)
    assert before == {"Q0": (("left", "never"), "incorrect")}
    assert outcomes(store) == {"Q0": (("left", "never", "right"), "correct")}
