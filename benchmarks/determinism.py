"""What the batch does to a draw on transformers: how far rounding moves probabilities, and how many draws are
close enough to be made again apart from their batch."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.embedded.problems.truth import problems
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.opening import EMBEDDED
from pipeline.policies.transformers import decoding
from pipeline.policies.transformers.policy import TransformersPolicy
from pipeline.policies.transformers.token_sampling import CLOSE, sample_tokens
from pipeline.prompts.filling import fill
from pipeline.prompts.templates import load_template

Figures = dict[str, Any]
PROMPTS, EACH, LONGEST = 40, 8, 160
# 7 is no multiple of the widths of matrix kernels, which may then round otherwise.
BATCHES = (256, 64, 7)
Seen = dict[tuple[float, int], tuple[float, float]]
"""(uniform number, token) -> the cumulated probabilities before and after the token."""


def rounding() -> Figures:
    """Embedded model, float32, the same completions in batches of 256, 64 and 7: greatest change of a
    cumulated probability around a drawn token, against the distance below which draws are made again."""
    seen, close, found = zip(*(_sample(batch) for batch in BATCHES), strict=True)
    moved = [
        np.array([np.abs(np.subtract(other[key], seen[0][key])).max() for key in other if key in seen[0]])
        for other in seen[1:]
    ]
    n = len(seen[0])
    return {
        "value": max(float(x.max()) for x in moved),
        "unit": "probability",
        "baseline": CLOSE,
        "n": n,
        "details": {
            "batches": BATCHES,
            "mean_change": [float(f"{x.mean():.3g}") for x in moved],
            "compared": [len(x) for x in moved],
            "close_share": round(close[0] / n, 6),
            "completions": PROMPTS * EACH,
            "completions_that_differ": [
                sum(a != b for a, b in zip(found[0], x, strict=True)) for x in found[1:]
            ],
        },
    }


def _sample(batch: int) -> tuple[Seen, int, list[Completion]]:
    template = load_template("embedded_solve")
    prompts = [fill(template, problem=problem.text) for problem in problems(PROMPTS, seed=5)]
    # Another order for each size, so that a draw meets other neighbours in its batch.
    order = random.Random(batch).sample(range(PROMPTS), PROMPTS)

    async def run() -> list[Completion]:
        drawn: dict[int, list[Completion]] = {}

        async def one(i: int) -> None:
            sampling = Sampling(max_tokens=LONGEST, seed=77 + 1000 * i)
            drawn[i] = await policy.sample(Prompt(prompts[i]), EACH, sampling)

        async with TransformersPolicy(str(EMBEDDED), device="cpu", max_batch=batch) as policy:
            await asyncio.gather(*map(one, order))
        return [completion for i in range(PROMPTS) for completion in drawn[i]]

    with _watching() as (seen, close):
        found = asyncio.run(run())
    return seen, sum(close), found


@contextmanager
def _watching() -> Iterator[tuple[Seen, list[int]]]:
    """Looks at every draw of a batch while it lasts."""
    seen: Seen = {}
    close: list[int] = []

    def watched(logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        token, near = sample_tokens(logits, temperature, top_p, uniform)
        p = torch.softmax(logits, -1)
        after = p.cumsum(-1).gather(-1, token[:, None])[:, 0]
        before = after - p.gather(-1, token[:, None])[:, 0]
        for u, t, *ends, again in zip(
            *(x.tolist() for x in (uniform, token, before, after, near)), strict=True
        ):
            if (u, t) not in seen:  # a draw that is made again comes by twice
                seen[u, t] = (ends[0], ends[1])
                close.append(again)
        return token, near

    guesses = decoding.guesses_worth
    # After a wrong guess a token is drawn from another text's distribution, and thrown away.
    decoding.sample_tokens, decoding.guesses_worth = watched, lambda *_: 0
    try:
        yield seen, close
    finally:
        decoding.sample_tokens, decoding.guesses_worth = sample_tokens, guesses
