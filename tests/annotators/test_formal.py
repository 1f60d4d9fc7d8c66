"""Verifiers on several threads: the same votes in the same order as one after the other."""

import asyncio

from pipeline.annotators.base import Context
from pipeline.annotators.formal import Verify, verifier_named
from pipeline.embedded.problems.truth import problems
from pipeline.inputs.segment import segment
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.sampling.roller import Roller
from schemas.config import PromptConfig
from schemas.records import PolicyIdentity, Problem, Solution, Vote
from verifiers.base import StepContext


def _solved(problem: Problem) -> Solution:
    text = problem.reference or ""
    return Solution(
        problem_id=problem.id,
        text=text,
        steps=tuple(segment(text)),
        policy=PolicyIdentity(kind="reference", model=""),
    )


def _context(problem: Problem) -> Context:
    return Context(Roller(SimulatedPolicy(), PromptConfig(), problem, seed=0))


async def _annotated(posed: list[Problem]) -> list[list[Vote]]:
    verify = Verify([verifier_named(name) for name in ("logic", "arithmetic", "algebra")])
    jobs = (verify.annotate(_context(problem), _solved(problem)) for problem in posed)
    return await asyncio.gather(*jobs)


def test_votes_come_step_by_step_in_the_order_asked_for():
    posed = problems(12, seed=3)
    for problem, votes in zip(posed, asyncio.run(_annotated(posed)), strict=True):
        steps = tuple(_solved(problem).step_texts())
        expected = []
        for index in range(len(steps)):
            for name in ("logic", "arithmetic", "algebra"):
                found = verifier_named(name).check(StepContext(problem, steps[: index + 1]))
                expected.append((index, name, {"holds": 1.0, "fails": 0.0, "abstains": None}[found.verdict]))
        assert [(vote.step, vote.source, vote.p) for vote in votes] == expected


def test_no_verifiers_no_votes():
    (problem,) = problems(1, seed=0)
    assert asyncio.run(Verify([]).annotate(_context(problem), _solved(problem))) == []
