"""The prover's votes: another policy's success, at every state, under a name of its own."""

import asyncio

from pipeline.annotators.base import Context
from pipeline.annotators.prover import Prover
from pipeline.fusion.first_error import measured
from pipeline.policies.simulated import SimulatedPolicy, solution_text
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller
from schemas.config import PolicyConfig, PromptConfig, ProverConfig
from schemas.records import Problem, Rollout
from schemas.sources import EARLIER

PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")


def test_the_prover_is_asked_and_not_the_policy() -> None:
    policy, other = SimulatedPolicy(n_steps=4, slip=1.0), SimulatedPolicy(n_steps=4, slip=0.0)
    roller = Roller(policy, PromptConfig(max_tokens=1000), PROBLEM, seed=0)
    text = solution_text([True, True, False, False])
    drawn = Rollout(
        problem_id=PROBLEM.id, purpose="x", prefix="", text=text, outcome="incorrect", stopped="stop"
    )
    solution = to_solution(roller, drawn)
    config = ProverConfig(policy=PolicyConfig(kind="simulated"), rollouts=5)
    votes = asyncio.run(Prover(config).annotate(Context(roller, roller.of(other, "prover")), solution))
    assert [(vote.p, vote.n) for vote in votes] == [(1.0, 5), (1.0, 5), (0.0, 5)]
    assert policy.completions == 0
    assert other.completions == 20  # the bare problem too
    assert {(r.purpose, r.outcome) for r in roller.taken if r.prefix == ""} == {("prover", "correct")}
    assert roller.of(other, "prover") is roller.of(other, "prover")
    # Its rates say nothing about what the policy itself can still reach.
    assert measured(4, votes, EARLIER) == (None, 0)
