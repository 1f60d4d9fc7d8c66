"""Another policy, the prover, finishes the solution from every prefix (PAV, arXiv 2410.08146, section 3.2).

Its success rates are votes like Monte Carlo's, under a source of their own. The bare problem is rolled out
too: advantages are differences, and the first step needs a state before it.
"""

import asyncio

from pipeline.annotators.monte_carlo import vote_of
from pipeline.inputs.segment import prefix_of
from pipeline.sampling.roller import Roller
from schemas.config import ProverConfig
from schemas.records import Solution, Vote

SOURCE = "prover"


async def annotate(roller: Roller, solution: Solution, config: ProverConfig) -> list[Vote]:
    """One vote for every step but the last, which the grade answers. `roller` is the prover's."""
    prefixes = [prefix_of(solution.text, solution.steps, i) for i in range(1, len(solution.steps))]
    asked = [roller.roll(prefix, config.rollouts, SOURCE) for prefix in ("", *prefixes)]
    _, *drawn = await asyncio.gather(*asked)
    return [vote_of(step, rollouts, SOURCE, roller.doubts) for step, rollouts in enumerate(drawn)]
