"""Rollouts written by hand, and sealed runs on the simulated policy, whose every success rate is known."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.methods.stored import Run
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig
from schemas.records import Outcome, Rollout, StopReason

Drawn = Callable[..., Rollout]
MakeRun = Callable[..., Run]


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """A rollout of a text: right, wrong, or (None) ungraded."""

    def make(
        text: str,
        right: bool | None,
        *,
        prefix: str = "",
        purpose: str = "propose",
        stopped: StopReason = "stop",
    ) -> Rollout:
        outcome: Outcome = "unknown" if right is None else "correct" if right else "incorrect"
        return Rollout(
            problem_id="p", purpose=purpose, prefix=prefix, text=text, outcome=outcome, stopped=stopped
        )

    return make


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """A sealed run on simulated problems; sections of the run file by keyword."""

    def make(n: int = 6, **sections: Any) -> Run:
        folder: Path = tmp_path_factory.mktemp("run")
        lines = [json.dumps({"text": f"Problem {i}", "answer": "right"}) for i in range(n)]
        (folder / "problems.jsonl").write_text("\n".join(lines) + "\n")
        plain = {
            "name": "demo",
            "root": str(folder),
            "shards": 2,
            "problems": {"source": "jsonl", "path": str(folder / "problems.jsonl")},
            "policy": {"kind": "simulated", "slip": 0.25, "n_steps": 5},
            "annotate": [{"kind": "monte_carlo", "rollouts": 8}],
        }
        store = RunStore.open(RunConfig.model_validate(plain | sections))
        read_problems(store)
        for shard in range(store.config.shards):
            asyncio.run(run_shard(store, shard))
        seal(store)
        return Run(store)

    return make


@pytest.fixture(scope="session")
def run(make_run: MakeRun) -> Run:
    """One of them with everything that samples. Read it, do not change it."""
    return make_run(
        filter={"rollouts": 16, "stop": "never"},
        annotate=[
            {"kind": "monte_carlo", "rollouts": 8},
            {"kind": "scan", "rollouts": 8, "confidence": 0.1},
            {"kind": "prover", "rollouts": 8, "policy": {"kind": "simulated", "slip": 0.1, "n_steps": 5}},
        ],
    )
