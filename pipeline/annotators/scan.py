"""Roll out from step to step until no rollout succeeds (SCAN, arXiv 2509.16548, section 4).

Only wrong solutions of problems that the policy mostly solves are rolled out. On such a problem, eight
failures in a row are strong evidence of an error; on a hard problem they happen after sound steps, too.
"""

from dataclasses import dataclass

from pipeline.annotators.base import Context
from pipeline.annotators.monte_carlo import vote_of
from pipeline.inputs.segment import prefix_of
from pipeline.sampling.counted import counts
from pipeline.sampling.roller import Roller
from schemas.config import ScanConfig
from schemas.records import Solution, Vote
from schemas.sources import Sources, rollout_source

ROOT = frozenset({"propose", "filter", "omegaprm"})
"""Purposes of rollouts of the bare problem; their success rate is the policy's self-confidence."""


@dataclass(frozen=True)
class Scan:
    """Rolls out from step to step in wrong solutions of problems that are mostly solved."""

    config: ScanConfig
    needs_gold: bool = True

    @property
    def sources(self) -> Sources:
        """Counts of the policy's rollouts."""
        return rollout_source(self.config.name)

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """A vote for every step up to the first without a success. Abstentions for right solutions, whose
        steps SCAN takes to be right, and where the policy is not confident. The last step is graded, not
        rolled out."""
        roller, name = context.roller, self.config.name
        if why := self._why_not(roller, solution):
            steps = range(len(solution.steps) - 1)
            return [Vote(step=step, source=name, asks="solvable", why=why) for step in steps]
        votes: list[Vote] = []
        for step in range(len(solution.steps) - 1):
            prefix = prefix_of(solution.text, solution.steps, step + 1, roller.prompt.reasoning)
            drawn = await roller.roll(prefix, self.config.rollouts, name)
            votes.append(vote_of(step, drawn, name, roller.doubts))
            if votes[-1].p == 0:
                break
        return votes

    def _why_not(self, roller: Roller, solution: Solution) -> str:
        """Why a solution is not scanned; empty where it is."""
        if solution.outcome != "incorrect":
            right = solution.outcome == "correct"
            return "right answer: not scanned" if right else "the answer was not graded"
        correct, n, _ = counts([r for r in roller.taken if not r.prefix and r.purpose in ROOT])
        least = self.config.confidence
        # Where the policy solves the problem in 3 of 4 attempts, eight failures in a row after a sound step
        # have a chance of 0.00002; where it solves 1 of 10, one of 0.43.
        if n and correct / n >= least:
            return ""
        why = (
            f"not scanned: {correct} of {n} draws of the bare problem are right, the least share is {least:g}"
        )
        # Of two draws one became the wrong solution, so that no share of them reaches 3/4.
        return (
            f"{why}; of {n} draws none can reach it: draw more (propose.n)"
            if n and 1 - 1 / n < least
            else why
        )
