"""The difficulty filter before a tree search: what it spends when it stops early, and how labels fare."""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.labels import CHECKS, PROMPT, SEED, Arm, Pairs, fused, judged, problems, told
from benchmarks.metering import metered
from pipeline.annotators.base import Context
from pipeline.annotators.formal import Verify, verifier_named
from pipeline.outputs.fidelity import first_errors
from pipeline.prm.intervals import bootstrap
from pipeline.proposers import omegaprm
from pipeline.sampling import difficulty
from pipeline.sampling.roller import Roller
from schemas.config import FilterConfig, OmegaConfig
from schemas.records import Problem

PROBLEMS = 16
ROLLOUTS = 32
SEARCH = OmegaConfig(searches=6, budget=64)


def stops() -> dict[str, Any]:
    """Tokens of an OmegaPRM search whose filter of 32 rollouts stops when its verdict is certain; baseline:
    one that draws them all. Both pass the same problems; labels are fused with the same verifiers.

    `saved` is the share of tokens that the stop saves, `f1_more` what it adds to `f1`: both with intervals
    over problems.
    """
    posed = problems(PROBLEMS)
    rows: dict[str, Any] = {}
    tokens: dict[str, list[int]] = {}
    pairs: dict[str, dict[str, Pairs]] = {}
    for stop in ("sure", "never"):
        arm = Arm()
        spent = asyncio.run(grow(arm, posed, SEARCH, stop=stop))
        labelled = fused(arm)
        of = sum(spent, Counter[str]())
        rows[stop] = {
            **judged(arm, labelled),
            "problems": len({problem.id for problem, _, _ in arm.rows}),
            "tokens_of": dict(of),
            "filter_share": round(of["filter"] / of.total(), 3),
        }
        tokens[stop] = [each.total() for each in spent]
        pairs[stop] = told(arm, labelled)
    return {
        "value": sum(tokens["sure"]),
        "unit": "tokens",
        "baseline": sum(tokens["never"]),
        "n": len(posed),
        "details": {
            "rows": rows,
            "saved": bootstrap(len(posed), lambda drawn: _saved(tokens, drawn), seed=SEED),
            "f1_more": _f1_more(pairs),
            "load": round(os.getloadavg()[0], 1),
        },
    }


def _saved(tokens: dict[str, list[int]], drawn: NDArray[np.int64]) -> float:
    sure, never = (np.asarray(tokens[stop])[drawn].sum() for stop in ("sure", "never"))
    return float(1 - sure / never)


def _f1_more(pairs: dict[str, dict[str, Pairs]]) -> dict[str, float | None]:
    """The difference of the two F1, over the problems that passed."""
    passed = sorted({*pairs["sure"], *pairs["never"]})

    def difference(drawn: NDArray[np.int64]) -> float:
        sure, never = (
            first_errors([pair for i in drawn for pair in pairs[stop].get(passed[i], [])])["label_f1"]
            for stop in ("sure", "never")
        )
        return float("nan") if sure is None or never is None else sure - never

    return bootstrap(len(passed), difference, seed=SEED)


async def grow(
    arm: Arm, posed: Sequence[Problem], search: OmegaConfig, *, stop: str = "sure"
) -> list[Counter[str]]:
    """Filter and search every problem on the embedded policy, and let the verifiers vote; returns the tokens
    of each problem by their purpose. Every token counts for the arm, those of the solutions too."""
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.transformers.policy import TransformersPolicy

    verify = Verify([verifier_named(name) for name in CHECKS])
    config = FilterConfig.model_validate({"rollouts": ROLLOUTS, "stop": stop})

    async def one(policy: Any, problem: Problem) -> Counter[str]:
        roller = Roller(policy, PROMPT, problem, seed=SEED)
        root = await difficulty.draw(roller, config, least=search.rollouts)
        outcomes = {rollout.outcome for rollout in root}
        is_kept = {"correct", "incorrect"} <= outcomes
        found = await omegaprm.propose(roller, search, root) if is_kept else []
        solutions = [candidate.solution for candidate in found]
        checked = [await verify.annotate(Context(roller), solution) for solution in solutions]
        votes = [[*c.votes, *more] for c, more in zip(found, checked, strict=True)]
        arm.rows += [(problem, s, v) for s, v in zip(solutions, votes, strict=True)]
        tokens = Counter[str]()
        for rollout in roller.taken:
            tokens[rollout.purpose] += rollout.tokens
        return tokens

    async with TransformersPolicy(str(EMBEDDED)) as policy:
        with metered(arm.took):
            spent = await asyncio.gather(*(one(policy, problem) for problem in posed))
    arm.tokens += sum(tokens.total() for tokens in spent)
    return spent
