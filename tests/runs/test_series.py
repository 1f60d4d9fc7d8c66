"""A series of runs: each labels the problems that no earlier one has finished, and keeps what it has."""

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import planned
from schemas.config import RunConfig
from schemas.errors import NothingNew


def write(folder: Path, numbers: range | list[int], answers: dict[int, str] | None = None) -> None:
    made = [
        {"text": f"problem {i}", "answer": (answers or {}).get(i, "right"), "answer_kind": "text"}
        for i in numbers
    ]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))


def config(folder: Path, name: str, **changes: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": name,
            "root": str(folder / "runs"),
            "shards": 2,
            "series": {"name": "s"},
            "problems": {"path": str(folder / "p.jsonl")},
            "policy": {"kind": "simulated", "n_steps": 3, "slip": 0.3},
            "prompt": {"max_tokens": 1000},
            "annotate": [{"kind": "monte_carlo", "rollouts": 2}],
            **changes,
        }
    )


def run(asked: RunConfig, *, sealed: bool = True) -> set[str]:
    """The texts of a run's problems, all of them labelled."""
    store = RunStore.open(asked)
    read_problems(store)
    for shard in range(asked.shards):
        asyncio.run(run_shard(store, shard))
    if sealed:
        seal(store)
    return {problem.text for shard in range(asked.shards) for problem in store.posed(shard)}


def named(*numbers: int) -> set[str]:
    return {f"problem {i}" for i in numbers}


def test_a_run_labels_what_earlier_runs_have_not(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    assert run(config(tmp_path, "s-1")) == named(0, 1, 2, 3)
    write(tmp_path, range(6))
    assert run(config(tmp_path, "s-2", shards=3)) == named(4, 5)  # however many shards the runs have
    with pytest.raises(NothingNew, match="labelled every problem of its source, 6"):
        run(config(tmp_path, "s-3"))
    write(tmp_path, [6, 2])  # a source may forget what was labelled
    assert run(config(tmp_path, "s-3")) == named(6)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mine", {}),  # by hand, under the name of the file
        ("s-2", {"series": None}),
        ("s--2", {}),  # after the dash, a night's name begins with a letter or digit
        ("s-2", {"series": {"name": "s-"}}),
        ("other-2", {"series": {"name": "other"}}),
    ],
)
def test_only_runs_of_its_own_series_count(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    write(tmp_path, range(3))
    run(config(tmp_path, "s-1"))
    assert run(config(tmp_path, name, **changes)) == named(0, 1, 2)


def test_a_run_that_is_not_sealed_does_not_count_and_keeps_its_problems(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    first, second = config(tmp_path, "s-1"), config(tmp_path, "s-2")
    assert run(first, sealed=False) == named(0, 1, 2)
    write(tmp_path, range(4))
    assert run(second) == named(0, 1, 2, 3)
    assert run(first) == named(0, 1, 2)  # it goes on with its own, and the second has the other
    write(tmp_path, range(5))
    assert run(second) == named(0, 1, 2, 3, 4)
    for name in ("s-3", "s-0"):  # also one that was planned before them, and comes late
        with pytest.raises(NothingNew):
            run(config(tmp_path, name))


def test_a_corrected_answer_makes_a_new_problem(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    run(config(tmp_path, "s-1"))
    write(tmp_path, range(3), {1: "another"})
    assert run(config(tmp_path, "s-2")) == named(1)


def test_what_a_budget_left_is_new_to_the_next_run(tmp_path: Path) -> None:
    write(tmp_path, range(12))
    small = config(tmp_path, "s-1", budget={"run": 240, "per_problem": 120}, prompt={"max_tokens": 60})
    store = RunStore.open(small)
    run(small)
    done = {name for shard in range(2) for name in store.shard_state(shard).done}
    assert 0 < len(done) < 12
    rest = config(tmp_path, "s-2")
    run(rest)
    left = {problem.id for shard in range(2) for problem in RunStore.open(rest).posed(shard)}
    assert len(left) == 12 - len(done)
    assert not left & done


def test_a_series_is_no_part_of_the_identity(tmp_path: Path) -> None:
    asked = config(tmp_path, "s-1")
    assert asked.digest() == config(tmp_path, "s-1", series=None).digest()
    assert asked.settings() == config(tmp_path, "s-1", series=None).settings()


@pytest.mark.parametrize(
    ("at", "every", "name"),
    [
        (datetime(2026, 11, 27, 2, tzinfo=UTC), "day", "s-2026-11-27"),
        (datetime(2026, 11, 27, 2, 5, 9, 999, tzinfo=UTC), "second", "s-2026-11-27T020509"),
        # One name for one moment, wherever the worker is.
        (datetime(2026, 11, 27, 1, tzinfo=timezone(timedelta(hours=5))), "day", "s-2026-11-26"),
    ],
)
def test_a_run_is_named_by_the_time_it_was_planned_for(
    tmp_path: Path, at: datetime, every: str, name: str
) -> None:
    assert planned(config(tmp_path, "file"), at, every).name == name
    assert planned(config(tmp_path, "file", series=None), at, every).name == "file"
