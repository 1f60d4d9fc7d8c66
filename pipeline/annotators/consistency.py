"""Compare a solution's answer with those of other solutions: for problems without a gold answer.

The answer that most of a policy's solutions reach is right more often than any one of them (self-consistency,
arXiv 2203.11171; as a label where no answer is known: SPARK, arXiv 2512.03244). It is the policy's agreement
with itself, so it shares the policy's mistakes, and it never becomes the problem's gold answer.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.annotators.base import Context
from pipeline.sampling.roller import silence
from schemas.config import ConsistencyConfig
from schemas.records import Problem, Rollout, Solution, Vote
from schemas.sources import Sources, score_source
from verifiers.answers.grade import extract_answer, same_answer


@dataclass(frozen=True)
class Consistency:
    """Draws solutions of the bare problem, and counts those with the same answer."""

    config: ConsistencyConfig
    needs_gold: bool = False

    @property
    def sources(self) -> Sources:
        """A score of the whole solution: the share of solutions that agree with it."""
        return score_source(self.config.name)

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """One vote, on the last step; none where the problem has a gold answer, which says more."""
        problem, name = context.problem, self.config.name
        if problem.answer is not None:
            return []
        drawn = await context.roller.roll("", self.config.rollouts, name)
        # Expressions may be compared to a hundred digits, and the event loop keeps the engines busy.
        same = await asyncio.to_thread(_agreeing, problem, solution, drawn)
        agree, n = same.count(True), len(same) - same.count(None)
        return [
            Vote(
                step=len(solution.steps) - 1,
                source=name,
                asks="valid",
                p=agree / n if n else None,
                correct=agree,
                n=n,
                n_failed=same.count(None),
                why="" if n else silence(drawn, "no answer could be compared with this solution's"),
                evidence=f"{agree} of {n} other solutions end with {solution.answer!r}"[:300] if n else "",
                tokens=sum(rollout.tokens for rollout in drawn),
            )
        ]


def _agreeing(problem: Problem, solution: Solution, drawn: Sequence[Rollout]) -> list[bool | None]:
    """Of each rollout whether its answer is the solution's; None where that cannot be told."""
    if solution.answer is None:
        return [None] * len(drawn)
    answers = [extract_answer(rollout.text) if rollout.stopped == "stop" else None for rollout in drawn]
    return [
        None if answer is None else same_answer(solution.answer, answer, problem.answer_kind)
        for answer in answers
    ]
