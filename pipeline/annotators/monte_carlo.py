"""Monte Carlo step values by brute force: k rollouts after every step (Math-Shepherd, arXiv 2312.08935,
section 3.3)."""

import asyncio

from pipeline.rollouts import Roller, counts, silence
from pipeline.segment import prefix_of
from schemas.config import MonteCarloConfig
from schemas.records import Rollout, Solution, Vote

SOURCE = "monte_carlo"
ANSWER = "answer"
"""The source of the last step's vote: a finished solution is graded, never rolled out."""


async def annotate(roller: Roller, solution: Solution, config: MonteCarloConfig) -> list[Vote]:
    """One vote a step: is the gold answer still in reach after it? The last step is answered by the grade."""
    prefixes = [prefix_of(solution.text, solution.steps, i) for i in range(1, len(solution.steps))]
    drawn = await asyncio.gather(*(roller.roll(prefix, config.rollouts, SOURCE) for prefix in prefixes))
    votes = [vote_of(step, rollouts, SOURCE) for step, rollouts in enumerate(drawn)]
    return [*votes, answer_vote(solution)]


def vote_of(step: int, rollouts: list[Rollout], source: str) -> Vote:
    """Counts of the rollouts after a step, as a vote; an abstention when none could be read."""
    correct, n, n_failed = counts(rollouts)
    return Vote(
        step=step,
        source=source,
        asks="solvable",
        p=correct / n if n else None,
        correct=correct,
        n=n,
        n_failed=n_failed,
        why="" if n else silence(rollouts, f"none of {n_failed} rollouts could be graded"),
        tokens=sum(rollout.tokens for rollout in rollouts),
    )


def answer_vote(solution: Solution) -> Vote:
    """The last step's vote, by grading the solution's own answer."""
    known = solution.outcome != "unknown"
    return Vote(
        step=len(solution.steps) - 1,
        source=ANSWER,
        asks="solvable",
        p=float(solution.outcome == "correct") if known else None,
        correct=int(solution.outcome == "correct"),
        n=int(known),
        n_failed=int(not known),
        why="" if known else "the final answer could not be graded",
    )
