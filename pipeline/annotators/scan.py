"""Roll out from step to step until no rollout succeeds (SCAN, arXiv 2509.16548, section 4).

Only wrong solutions of problems that the policy mostly solves are rolled out. On such a problem, eight
failures in a row are strong evidence of an error; on a hard problem they happen after sound steps, too.
"""

from dataclasses import dataclass

from pipeline.annotators.base import Context
from pipeline.annotators.monte_carlo import vote_of
from pipeline.inputs.segment import prefix_of
from pipeline.sampling.roller import counts
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
        """A vote for every step up to the first without a success. None for right solutions, whose steps SCAN
        takes to be right, and none where the policy is not confident. The last step is graded, not rolled
        out."""
        roller, name = context.roller, self.config.name
        correct, n, _ = counts([r for r in roller.taken if not r.prefix and r.purpose in ROOT])
        # Where the policy solves the problem in 3 of 4 attempts, eight failures in a row after a sound step
        # have a chance of 0.00002; where it solves 1 of 10, one of 0.43.
        if solution.outcome != "incorrect" or n == 0 or correct / n < self.config.confidence:
            return []
        votes: list[Vote] = []
        for step in range(len(solution.steps) - 1):
            prefix = prefix_of(solution.text, solution.steps, step + 1, roller.prompt.reasoning)
            drawn = await roller.roll(prefix, self.config.rollouts, name)
            votes.append(vote_of(step, drawn, name, roller.doubts))
            if votes[-1].p == 0:
                break
        return votes
