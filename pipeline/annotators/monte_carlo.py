"""Monte Carlo step values: rollouts after every step (Math-Shepherd, arXiv 2312.08935, section 3.3).

Each step gets k rollouts or, with `stop`, only as many as a sequential test needs. The vote holds the counts
in both cases, so a reader sees where the test was still open when the largest number was reached.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.annotators.base import Context
from pipeline.annotators.stopping import is_known, least_to_decide, least_to_know, ratio_test
from pipeline.inputs.segment import prefix_of
from pipeline.sampling.counted import counts
from pipeline.sampling.roller import Roller, silence
from schemas.config import MonteCarloConfig
from schemas.records import Rollout, Solution, Vote
from schemas.sources import ANSWER, GRADE, Sources, rollout_source
from verifiers.answers.grade import read_answer


@dataclass(frozen=True)
class MonteCarlo:
    """Rolls out from after every step."""

    config: MonteCarloConfig
    needs_gold: bool = True

    @property
    def sources(self) -> Sources:
        """Counts of the policy's rollouts, and the grade."""
        return {**rollout_source(self.config.name), **GRADE}

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """One vote a step: is the gold answer still in reach after it? The last step is answered by the
        grade."""
        how = context.roller.prompt.reasoning
        prefixes = [prefix_of(solution.text, solution.steps, i, how) for i in range(1, len(solution.steps))]
        # All steps at once: the engine batches them, and no step's rollouts depend on another's.
        drawn = await asyncio.gather(*(self._roll(context.roller, prefix) for prefix in prefixes))
        name, doubts = self.config.name, context.roller.doubts
        votes = [vote_of(step, rollouts, name, doubts) for step, rollouts in enumerate(drawn)]
        return [*votes, answer_vote(solution, doubts)]

    async def _roll(self, roller: Roller, prefix: str) -> list[Rollout]:
        drawn: list[Rollout] = []
        while more := next_batch(drawn, self.config):
            drawn += await roller.roll(prefix, more, self.config.name, start=len(drawn))
        return drawn


def next_batch(drawn: Sequence[Rollout], config: MonteCarloConfig) -> int:
    """How many rollouts to draw next; 0 when no more are needed or allowed.

    At least as many as could end the test, and half as many again as there are: so requests stay few.
    Looking only between batches cannot raise a test's error, which holds at any time of stopping.
    """
    room = config.rollouts - len(drawn)
    if config.stop == "never" or room <= 0:
        return max(0, room)
    correct, n, _ = counts(drawn)
    if config.stop == "hard":
        test = {"low": config.low, "high": config.high, "error": config.error}
        if ratio_test(correct, n, **test) != "open":
            return 0
        least = least_to_decide(correct, n, **test)
    else:
        if is_known(correct, n, width=config.width, error=config.error):
            return 0
        least = least_to_know(correct, n, width=config.width, error=config.error, most=room)
    # With 8 drawn, at least 4 more are asked for at once: a request for each would take a round trip each.
    return min(room, max(least, len(drawn) // 2))


def vote_of(
    step: int, rollouts: Sequence[Rollout], source: str, doubts: Mapping[int, str] | None = None
) -> Vote:
    """Counts of the rollouts after a step, as a vote; an abstention when none could be read.

    `doubts` say why by the rollouts' seeds; they are the roller's.
    """
    correct, n, n_failed = counts(rollouts)
    return Vote(
        step=step,
        source=source,
        asks="solvable",
        # No graded rollout is no evidence; p = 0 would be read as "out of reach".
        p=correct / n if n else None,
        correct=correct,
        n=n,
        n_failed=n_failed,
        why="" if n else silence(rollouts, f"none of {n_failed} rollouts could be graded", doubts),
        tokens=sum(rollout.tokens for rollout in rollouts),
    )


def answer_vote(solution: Solution, doubts: Mapping[int, str] | None = None) -> Vote:
    """The last step's vote, by grading the solution's own answer.

    `doubts` say why it could not be graded, or how many tests it passes, by the seed that it was drawn with;
    they are the roller's.
    """
    # The grade of the finished text is one exact draw: rollouts after the last step would all repeat it.
    known = solution.outcome != "unknown"
    doubt = (doubts or {}).get(solution.policy.seed, "")
    # Many solutions that came with their rows state no answer (PRM800K's rows of one step). Nobody was asked
    # for one, so nothing failed.
    silent = solution.policy.kind == "given" and solution.answer is None and not doubt
    if silent and not known:
        doubt = f"it states no answer: {read_answer(solution.text).why}"
    return Vote(
        step=len(solution.steps) - 1,
        source=ANSWER,
        asks="solvable",
        p=float(solution.outcome == "correct") if known else None,
        correct=int(solution.outcome == "correct"),
        n=int(known),
        n_failed=int(not known and not silent),
        why="" if known else f"the final answer could not be graded{doubt and f': {doubt}'}",
        # The share of its tests that a program passes is no probability: one that fails any is wrong.
        evidence=doubt if known else "",
    )
