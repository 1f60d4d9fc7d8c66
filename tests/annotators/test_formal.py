"""Verifiers on several threads: the same votes in the same order as one after the other."""

import asyncio

from pipeline.annotators.formal import annotate, verifier_named
from pipeline.embedded.problems.truth import problems
from pipeline.inputs.segment import segment
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


async def _annotated(posed: list[Problem]) -> list[list[Vote]]:
    verifiers = [verifier_named(name) for name in ("logic", "arithmetic", "algebra")]
    return await asyncio.gather(*(annotate(problem, _solved(problem), verifiers) for problem in posed))


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
    assert asyncio.run(annotate(problem, _solved(problem), [])) == []
