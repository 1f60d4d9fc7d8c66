"""What a PRM of the embedded default could reach: trained on exact truth instead of labels."""

import asyncio
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.outputs.report import Samples, evaluate_samples, held_out_samples
from pipeline.policies import open_policy
from pipeline.policies.base import Prompt, scorer
from pipeline.prompts.filling import fill
from pipeline.prompts.templates import load_template
from pipeline.sampling.roller import Roller
from schemas.config import RunConfig, SampleConfig, TrainConfig, load_config
from schemas.records import LabelledSolution, Problem, Solution, StepLabel

Figures = dict[str, Any]
# About what a small run has: what labels can bring is asked at its size.
PROBLEMS, SAMPLES = 400, 4


def exact_labels() -> Figures:
    """Best-of-8 accuracy of a PRM trained on the exact truth of 400 problems' solutions; baseline: pass@1.

    What labels cannot improve any more: where this gains nothing, more or better labels would not either.
    Beside it, what the base knows before any label (`base`), and what the policy itself knows of its
    solutions: the choice by their likelihood, whole (`likelihood`) and at the least likely token
    (`least_token`).
    """
    from pipeline.prm.train import train_prm

    config, began = load_config(Path("configs/embedded.toml")), time.monotonic()
    settings, template = config.train or TrainConfig(), load_template(config.prompt.template)
    rows = asyncio.run(_rows(config))
    with TemporaryDirectory() as scratch:
        checkpoint, bare = Path(scratch) / "prm", Path(scratch) / "base"
        trained = train_prm(rows, settings, checkpoint, template=template, dataset_digest="")
        samples = asyncio.run(held_out_samples(config))
        found = evaluate_samples(samples, checkpoint)
        # The same base without training: what is gained must come from the labels.
        _save_base(settings, template, bare)
        base = evaluate_samples(samples, bare)
    likely = asyncio.run(_by_likelihood(config, samples))
    seconds = time.monotonic() - began
    chosen = found["best_of_n"]
    by_prm = ("prm_product", "prm_min", "prm_last", "weighted_vote")
    return {
        "value": chosen["prm_product"]["value"],
        "unit": "best-of-8 accuracy",
        "baseline": chosen["pass_at_1"]["value"],
        "n": chosen["problems"],
        "details": {
            "solutions": trained["solutions"],
            "first_error_f1": found["first_error"]["f1"],
            "auroc": found["auroc"],
            **{name: chosen[name] for name in ("gain", *by_prm, "majority", "pass_at_n")},
            "base": {
                "first_error_f1": base["first_error"]["f1"],
                **{name: base["best_of_n"][name] for name in by_prm},
            },
            **likely,
            "seconds": round(seconds, 1),
        },
    }


def _save_base(config: TrainConfig, template: str, out: Path) -> None:
    """What training begins with, as a PRM."""
    from pipeline.prm.bases import open_base, open_model
    from pipeline.prm.model import PRM, PrmCard

    base = open_base(config)
    card = PrmCard(template=template, step_end=base.step_end, max_length=base.max_length)
    out.mkdir()
    PRM(open_model(base), base.tokenizer, card).save(out)


async def _by_likelihood(config: RunConfig, samples: Samples) -> dict[str, float]:
    """Best-of-n accuracy of the solution that the policy finds most likely."""
    template = load_template(config.prompt.template)
    right = {"likelihood": 0, "least_token": 0}
    async with open_policy(config.policy) as policy:
        for problem, solutions in samples:
            prompt = Prompt(fill(template, problem=problem.text))
            found = await scorer(policy).logprob(prompt, [solution.text for solution in solutions])
            # The sum favours short solutions, the minimum does not; both are shown.
            for name, of in (("likelihood", sum), ("least_token", min)):
                scores = [of(tokens) if tokens else -math.inf for tokens in found]
                right[name] += solutions[scores.index(max(scores))].outcome == "correct"
    return {name: round(count / len(samples), 4) for name, count in right.items()}


async def _rows(config: RunConfig) -> list[LabelledSolution]:
    """Solutions of training problems with their true labels; those with an unreadable step are left out."""
    from pipeline.embedded.problems.truth import first_error, problems
    from pipeline.proposers import sample

    posed = problems(PROBLEMS, seed=config.seed, steps=config.problems.steps)
    async with open_policy(config.policy) as policy:
        rollers = [Roller(policy, config.prompt, problem, seed=config.seed) for problem in posed]
        found = await asyncio.gather(*(sample.propose(r, SampleConfig(n=SAMPLES)) for r in rollers))
    pairs = [(p, c.solution) for p, group in zip(posed, found, strict=True) for c in group]
    truths = [(p, s, first_error(p, s.step_texts())) for p, s in pairs]
    return [_row(problem, solution, truth) for problem, solution, truth in truths if truth is not None]


def _row(problem: Problem, solution: Solution, truth: int) -> LabelledSolution:
    def label(step: int) -> StepLabel:
        if 0 <= truth < step:
            return StepLabel()  # what comes after an error has no truth
        return StepLabel(label=int(step != truth), p=float(step != truth))

    labels = tuple(label(step) for step in range(len(solution.steps)))
    return LabelledSolution(problem=problem, solution=solution, labels=labels, first_error=truth)
