"""What the embedded checkpoint can do: how many held-out problems it solves, and how it judges."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.annotators.base import Context
from pipeline.annotators.judge import Judge
from pipeline.embedded.problems.truth import first_error
from pipeline.fusion.first_error import first_error_of
from pipeline.outputs.report import Samples, held_out_samples
from pipeline.policies import open_policy
from pipeline.prompts.templates import load_judge
from pipeline.sampling.roller import Roller
from schemas.config import JudgeConfig, RunConfig, load_config
from schemas.records import Problem, Solution

Figures = dict[str, Any]
# The share of 200 problems has a standard error of 3.5 points at most.
PROBLEMS = 200


def solves() -> Figures:
    """Share of held-out problems (3 to 8 steps) that the embedded checkpoint solves at temperature 1.

    Baseline: the same with one judge reply a solution, where those it finds no error in are kept: the share
    of right ones among them. Details: by domain, and what the judge names against the exact first error.
    """
    config = load_config(
        Path("configs/embedded.toml"), ("prompt.temperature=1.0", f"evaluate.problems={PROBLEMS}")
    )
    drawn = asyncio.run(_judged(config, asyncio.run(held_out_samples(config))))
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


async def _judged(config: RunConfig, samples: Samples) -> list[tuple[Problem, Solution, int | None]]:
    """Every solution with the first error that one judge reply names."""
    # One vote, so that the figure is that of the judge and not of a majority.
    asked = next(iter(config.annotators(JudgeConfig)), JudgeConfig()).model_copy(update={"votes": 1})
    judge = Judge(asked, load_judge(asked.prompts[0]))
    pairs = [(problem, solution) for problem, solutions in samples for solution in solutions]
    async with open_policy(config.policy) as policy:
        votes = await asyncio.gather(
            *(
                judge.annotate(Context(Roller(policy, config.prompt, p, seed=config.seed)), s)
                for p, s in pairs
            )
        )
    return [(p, s, first_error_of(v, len(s.steps))) for (p, s), v in zip(pairs, votes, strict=True)]


def _verdict(problem: Problem, solution: Solution, named: int | None) -> str:
    truth = first_error(problem, solution.step_texts())
    if truth is None:
        return "no truth"
    kind = "right" if truth == -1 else "wrong"
    if named is None:
        return f"{kind}: silent"
    return f"{kind}: {'passed' if named == -1 else 'named' if named == truth else 'another step'}"
