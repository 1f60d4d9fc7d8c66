"""The difficulty filter before a tree search: what it spends when it stops early, and how labels fare."""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.labels import CHECKS, PROMPT, SEED, Arm, fused, judged, problems
from benchmarks.metering import metered
from pipeline.annotators.base import Context
from pipeline.annotators.formal import Verify, verifier_named
from pipeline.proposers import omegaprm
from pipeline.sampling import difficulty
from pipeline.sampling.roller import Roller
from schemas.config import FilterConfig, OmegaConfig
from schemas.records import Problem

PROBLEMS = 12
ROLLOUTS = 32
SEARCH = OmegaConfig(searches=6, budget=64)


def stops() -> dict[str, Any]:
    """Tokens of an OmegaPRM search whose filter of 32 rollouts stops when its verdict is certain; baseline:
    one that draws them all. Both pass the same problems; labels are fused with the same verifiers."""
    posed = problems(PROBLEMS)
    rows, spent = {}, {}
    for stop in ("sure", "never"):
        arm = Arm()
        tokens = asyncio.run(grow(arm, posed, SEARCH, stop=stop))
        rows[stop] = {**judged(arm, fused(arm)), "tokens_of": dict(tokens)}
        spent[stop] = arm.tokens
    return {
        "value": spent["sure"],
        "unit": "tokens",
        "baseline": spent["never"],
        "n": len(posed),
        "details": {"rows": rows, "load": round(os.getloadavg()[0], 1)},
    }


async def grow(
    arm: Arm, posed: Sequence[Problem], search: OmegaConfig, *, stop: str = "sure"
) -> Counter[str]:
    """Filter and search every problem on the embedded policy, and let the verifiers vote; returns the tokens
    by their purpose. Every token counts for the arm, those of the solutions too."""
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.transformers.policy import TransformersPolicy

    verify, tokens = Verify([verifier_named(name) for name in CHECKS]), Counter[str]()
    config = FilterConfig.model_validate({"rollouts": ROLLOUTS, "stop": stop})

    async def one(policy: Any, problem: Problem) -> None:
        roller = Roller(policy, PROMPT, problem, seed=SEED)
        root = await difficulty.draw(roller, config, least=search.rollouts)
        outcomes = {rollout.outcome for rollout in root}
        is_kept = {"correct", "incorrect"} <= outcomes
        found = await omegaprm.propose(roller, search, root) if is_kept else []
        solutions = [candidate.solution for candidate in found]
        checked = [await verify.annotate(Context(roller), solution) for solution in solutions]
        for rollout in roller.taken:
            tokens[rollout.purpose] += rollout.tokens
        votes = [[*c.votes, *more] for c, more in zip(found, checked, strict=True)]
        arm.rows += [(problem, s, v) for s, v in zip(solutions, votes, strict=True)]

    async with TransformersPolicy(str(EMBEDDED)) as policy:
        with metered(arm.took):
            await asyncio.gather(*(one(policy, problem) for problem in posed))
    arm.tokens += sum(tokens.values())
    return tokens
