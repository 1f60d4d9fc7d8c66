"""Token sampling: its distribution, which tokens rounding could change, and that it does not change them."""

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.transformers import decoding, token_sampling
from pipeline.policies.transformers.policy import TransformersPolicy
from pipeline.policies.transformers.token_sampling import sample_tokens


def test_token_sampling_follows_the_distribution() -> None:
    uniform = torch.from_numpy(np.random.default_rng(0).random(20_000, dtype=np.float32))
    logits = torch.log(torch.tensor([[0.5, 0.2, 0.0, 0.3]])).expand(20_000, -1)
    ones = torch.ones(20_000)
    free = torch.bincount(sample_tokens(logits, ones, ones, uniform)[0], minlength=4) / 20_000
    assert free.tolist() == pytest.approx([0.5, 0.2, 0.0, 0.3], abs=0.02)
    nucleus = torch.bincount(sample_tokens(logits, ones, 0.7 * ones, uniform)[0], minlength=4) / 20_000
    assert nucleus.tolist() == pytest.approx([0.625, 0, 0, 0.375], abs=0.02)
    assert sample_tokens(logits, 0 * ones, ones, uniform)[0].unique().tolist() == [0]
    edges = torch.tensor([0.0, 1.0])
    assert sample_tokens(logits[:2], ones[:2], ones[:2], edges)[0].tolist() == [0, 3]


@pytest.mark.parametrize(
    ("p", "temperature", "top_p", "uniform", "close"),
    [
        ((0.5, 0.3, 0.2), 1.0, 1.0, 0.25, False),
        ((0.5, 0.3, 0.2), 1.0, 1.0, 0.49998, True),
        ((0.5, 0.3, 0.2), 1.0, 1.0, 0.50002, True),
        ((0.5, 0.3, 0.2), 1.0, 1.0, 0.5002, False),
        ((0.5, 0.3, 0.2), 0.0, 1.0, 0.5, False),
        ((0.40001, 0.4, 0.19999), 0.0, 1.0, 0.9, True),
        ((0.5, 0.3, 0.2), 1.0, 0.9, 0.25, False),
        ((0.5, 0.3, 0.2), 1.0, 0.79995, 0.25, True),  # is the third token in the nucleus?
        ((0.4, 0.40001, 0.19999), 1.0, 0.9, 0.2, True),  # which of the two is first?
        ((0.6, 0.20001, 0.19999), 1.0, 0.9, 0.2, False),  # whichever it is, the first token is drawn
    ],
)
def test_a_draw_that_rounding_could_turn_is_close(
    p: tuple[float, ...], temperature: float, top_p: float, uniform: float, close: bool
) -> None:
    arguments = (torch.tensor([value]) for value in (temperature, top_p, uniform))
    assert sample_tokens(torch.log(torch.tensor([p])), *arguments)[1].tolist() == [close]


def ask(model: str) -> list[list[Completion]]:
    async def run() -> list[list[Completion]]:
        async with TransformersPolicy(model, device="cpu", threads=1) as policy:
            settings = [
                Sampling(max_tokens=40, seed=1000 * i, temperature=i % 5 / 4, top_p=1 - (i % 3) / 10)
                for i in range(15)
            ]
            return await asyncio.gather(
                *(policy.sample(Prompt("the cat has " + "3 " * i), 4, one) for i, one in enumerate(settings))
            )

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_token_drawn_alone_is_the_one_drawn_in_the_batch(
    models: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_batch = ask(models[kind])
    monkeypatch.setattr(token_sampling, "CLOSE", 2.0)  # so that every token is
    assert ask(models[kind]) == in_batch


def test_noise_as_of_rounding_turns_no_draw(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise on the batch's logits, a hundred times that of rounding; `CLOSE` is wider by as much."""
    still = ask(models["llama"])
    generator = torch.Generator().manual_seed(1)
    exact = True

    def noisy(logits: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        if len(logits) > 1:
            logits = logits + 3e-3 * torch.randn(logits.shape, generator=generator)
        token, close = sample_tokens(logits, *rest)
        return token, close & exact

    monkeypatch.setattr(decoding, "sample_tokens", noisy)
    monkeypatch.setattr(token_sampling, "CLOSE", 1e-2)
    monkeypatch.setattr(token_sampling, "_CLOSE_LOGITS", 1e-1)
    assert ask(models["llama"]) == still
    exact = False
    assert ask(models["llama"]) != still
