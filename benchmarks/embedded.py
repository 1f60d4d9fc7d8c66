"""What the embedded checkpoint can do: how many held-out problems it solves, and how it judges."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.annotators import judge
from pipeline.embedded.truth import first_error, problems
from pipeline.policies import open_policy
from pipeline.policies.base import Policy
from pipeline.proposers.sample import to_solution
from pipeline.rollouts import Roller
from schemas.config import JudgeConfig, RunConfig, load_config
from schemas.records import Problem, Solution

Figures = dict[str, Any]
PROBLEMS, SAMPLES = 200, 8


def solves() -> Figures:
    """Share of held-out problems (3 to 8 steps) that the embedded checkpoint solves at temperature 1.

    Baseline: the same with one judge reply a solution, where those it finds no error in are kept: the share
    of right ones among them. Details: by domain, and what the judge names against the exact first error.
    """
    config = load_config(Path("configs/embedded.toml"), ("prompt.temperature=1.0",))
    drawn = asyncio.run(_drawn(config))
    right = {
        domain: [s.outcome == "correct" for p, s, _ in drawn if p.domain == domain]
        for domain in ("arithmetic", "logic")
    }
    solved = [outcome for group in right.values() for outcome in group]
    verdicts = Counter(_verdict(problem, solution, named) for problem, solution, named in drawn)
    kept = [s.outcome == "correct" for _, s, named in drawn if named == -1]
    return {
        "value": sum(solved) / len(solved),
        "unit": "solved",
        "baseline": sum(kept) / len(kept),
        "n": len(solved),
        "details": {
            "problems": PROBLEMS,
            "solved": {domain: round(sum(group) / len(group), 3) for domain, group in right.items()},
            "judge": dict(sorted(verdicts.items())),
        },
    }


async def _drawn(config: RunConfig) -> list[tuple[Problem, Solution, int | None]]:
    """Solutions with the first error that one judge reply names."""
    async with open_policy(config.policy) as policy:
        posed = problems(PROBLEMS, seed=config.seed, steps=(3, 8), split="held-out")
        groups = await asyncio.gather(*(_one(policy, config, problem) for problem in posed))
    return [item for group in groups for item in group]


async def _one(
    policy: Policy, config: RunConfig, problem: Problem
) -> list[tuple[Problem, Solution, int | None]]:
    roller = Roller(policy, config.prompt, problem, seed=config.seed)
    found = [to_solution(roller, r) for r in await roller.roll("", SAMPLES, "held-out")]
    asked = (config.judge or JudgeConfig()).model_copy(update={"votes": 1})
    votes = await asyncio.gather(*(judge.annotate(roller, s, asked.prompts[0], asked, policy) for s in found))
    return [(problem, s, judge.first_error_of(v, len(s.steps))) for s, v in zip(found, votes, strict=True)]


def _verdict(problem: Problem, solution: Solution, named: int | None) -> str:
    truth = first_error(problem, solution.step_texts())
    if truth is None:
        return "no truth"
    kind = "right" if truth == -1 else "wrong"
    if named is None:
        return f"{kind}: silent"
    return f"{kind}: {'passed' if named == -1 else 'named' if named == truth else 'another step'}"
