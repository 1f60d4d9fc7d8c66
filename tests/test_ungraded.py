"""Problems without a gold answer: no rollouts that could never be graded, and labels from who can still give
them."""

import asyncio
from typing import Any

import pytest

from pipeline.labelling.shard import label_problem
from pipeline.labelling.tools import annotators_of
from pipeline.policies.simulated import SimulatedPolicy
from schemas.config import RunConfig
from schemas.records import Finished, Problem
from schemas.sources import NO_GOLD

METHODS: dict[str, Any] = {
    "filter": {"rollouts": 4},
    "annotate": [
        {"kind": "monte_carlo", "rollouts": 4},
        {"kind": "bisection"},
        {"kind": "scan"},
        {"kind": "prover", "policy": {"kind": "simulated"}},
    ],
}


def labelled(answer: str | None, **changes: object) -> tuple[Finished, SimulatedPolicy]:
    data = {"name": "r", "policy": {"kind": "simulated"}, "prompt": {"max_tokens": 300}, **METHODS, **changes}
    config, policy = RunConfig.model_validate(data), SimulatedPolicy(slip=0.1, n_steps=4)
    tools = annotators_of(config, policy)
    problem = Problem(text="a problem", answer=answer, answer_kind="text")
    return asyncio.run(label_problem(problem, tools))[0], policy


@pytest.mark.parametrize("kind", ["sample", "omegaprm"])
def test_nothing_is_rolled_out_that_could_not_be_graded(kind: str) -> None:
    judge = {"kind": "judge", "prompts": ["judge_processbench"], "votes": 3}
    item, _ = labelled(None, propose={"kind": kind}, annotate=[*METHODS["annotate"], judge])
    assert set(item.tokens) == {"propose", "judge"}
    assert item.candidates
    for candidate in item.candidates:
        silent = {vote.source for vote in candidate.votes if vote.why == NO_GOLD}
        expected = {"monte_carlo", "bisection", "scan", "prover", "answer"}
        assert silent == expected | ({"omegaprm"} if kind == "omegaprm" else set())
        assert not [vote for vote in candidate.votes if vote.source in silent and (vote.n or vote.n_failed)]
        assert sum(vote.n_failed for vote in candidate.votes if vote.step == 0) == 3  # the judge was asked


def test_where_nobody_can_label_nothing_is_drawn() -> None:
    item, policy = labelled(None)
    assert item.skipped == f"{NO_GOLD}, and the run has neither judge nor verifiers"
    assert policy.completions == 0


def test_a_problem_with_a_gold_answer_is_rolled_out() -> None:
    item, _ = labelled("right", filter=None)
    assert {"propose", "monte_carlo"} <= set(item.tokens)
