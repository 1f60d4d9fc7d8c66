"""Another policy, the prover, finishes the solution from every prefix (PAV, arXiv 2410.08146, section 3.2).

Its success rates are votes like Monte Carlo's, under a source of their own. The bare problem is rolled out
too: advantages are differences, and the first step needs a state before it.
"""

import asyncio
from dataclasses import dataclass

from pipeline.annotators.base import Context
from pipeline.annotators.monte_carlo import vote_of
from pipeline.inputs.segment import prefix_of
from schemas.config import ProverConfig
from schemas.records import Solution, Vote
from schemas.sources import Sources, rollout_source

PURPOSE = "prover"
"""What its rollouts are stored as; those of a prover with a name of its own as `prover:NAME`."""


@dataclass(frozen=True)
class Prover:
    """Rolls out from every prefix with its own policy."""

    config: ProverConfig
    needs_gold: bool = True

    @property
    def sources(self) -> Sources:
        """Counts of the prover's rollouts, which are never added to those of another policy."""
        return rollout_source(self.config.name, by=self.config.name)

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """One vote for every step but the last, which the grade answers."""
        name, roller = self.config.name, context.own
        how = roller.prompt.reasoning
        prefixes = [prefix_of(solution.text, solution.steps, i, how) for i in range(1, len(solution.steps))]
        # The empty prefix is the bare problem.
        asked = [roller.roll(prefix, self.config.rollouts, PURPOSE) for prefix in ("", *prefixes)]
        # The count of the bare problem is stored with the rollouts; it belongs to no step, so it is no vote.
        _, *drawn = await asyncio.gather(*asked)
        return [vote_of(step, rollouts, name, roller.doubts) for step, rollouts in enumerate(drawn)]
