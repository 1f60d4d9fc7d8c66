"""What becomes of a problem that no solution came of."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import label_problem, run_shard
from pipeline.labelling.tools import annotators_of
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig
from schemas.records import Finished, Problem, Quarantined

PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")


class Ends(SimulatedPolicy):
    """Its completions end as planned."""

    def __init__(self, *ends: Completion) -> None:
        super().__init__()
        self.ends = ends

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:  # noqa: ARG002
        """The planned completions, and the last one again where more are asked for."""
        return [self.ends[min(index, len(self.ends) - 1)] for index in range(n)]


def labelled(policy: SimulatedPolicy, **sections: Any) -> Finished:
    config = RunConfig.model_validate({"name": "r", "policy": {"kind": "simulated"}, **sections})
    return asyncio.run(label_problem(PROBLEM, annotators_of(config, policy)))[0]


CUT, WITHHELD, EMPTY = Completion("step", "length"), Completion("", "withheld"), Completion(" ", "stop")


@pytest.mark.parametrize("kind", ["sample", "omegaprm"])
def test_a_problem_without_a_finished_solution_says_why_and_how_often(kind: str) -> None:
    many = {"n": 4} if kind == "sample" else {"rollouts": 4}
    found = labelled(Ends(CUT, EMPTY, CUT, WITHHELD), propose={"kind": kind, **many})
    assert found.candidates == ()
    assert found.skipped == (
        "no solution was finished: cut off at the token limit (2), no step in it (1), "
        "withheld by the server (1)"
    )


def test_a_search_whose_first_rollouts_are_all_wrong_labels_them() -> None:
    """It was recorded as "no solution was finished", and lost the wrong solutions of every hard problem."""
    found = labelled(
        SimulatedPolicy(slip=1.0, n_steps=3),
        propose={"kind": "omegaprm"},
        annotate=[{"kind": "monte_carlo", "rollouts": 2}],
    )
    assert found.skipped == ""
    [candidate] = found.candidates
    assert {vote.source for vote in candidate.votes} == {"answer", "monte_carlo"}


def test_why_a_shard_stopped_is_forgotten_once_its_policies_answer(tmp_path: Path) -> None:
    """After a kill, `stepmint status` told an error of a server's address that was mended long ago."""
    config = {"name": "r", "root": str(tmp_path), "problems": {"limit": 2}, "policy": {"kind": "simulated"}}
    store = RunStore.open(RunConfig.model_validate(config))
    read_problems(store)
    records.set_aside(store.path, 0, [Quarantined(file="shard 0", reason="404: no such model")])
    told: list[int] = []
    asyncio.run(run_shard(store, 0, opened=lambda: told.append(len(records.failures(store.path)))))
    assert told == [0]
