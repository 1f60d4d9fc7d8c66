"""vLLM's engine against the transformers policy, on a tiny model."""

import asyncio
import importlib.util
import random

import pytest

from pipeline.policies.base import Completion, Prompt, Sampling

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make setup-vllm"
    ),
    # Of a library that warns about itself while it is imported and closed.
    pytest.mark.filterwarnings("ignore"),
]
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "on",
    "mat",
    ".",
    "0",
    "1",
    "2",
    "3",
    "+",
    "=",
    "?",
    "apples",
    "has",
]


def test_vllm_and_transformers_agree(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # One thread: the engine's threads spin, and other work on the machine then stops it almost.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from pipeline.policies.transformers import TransformersPolicy
    from pipeline.policies.vllm import VllmPolicy

    rng = random.Random(2)
    texts = [" mat .", "", " 3", " cat dog has 7 apples ?"]
    prompts = [Prompt("the " + " ".join(rng.choices(WORDS, k=20 + i)), " has" * (i % 2)) for i in range(24)]
    greedy, drawn = Sampling(temperature=0, max_tokens=16), Sampling(max_tokens=40, seed=9, stop=("\n",))

    async def run() -> None:
        async with TransformersPolicy(models["llama"], device="cpu", threads=1) as policy:
            expected = await asyncio.gather(*(policy.sample(prompt, 2, greedy) for prompt in prompts))
            scored = await asyncio.gather(*(policy.logprob(prompt, texts) for prompt in prompts))
        async with VllmPolicy(models["llama"], cache_gb=0.25) as policy:
            found = await asyncio.gather(*(policy.sample(prompt, 2, greedy) for prompt in prompts))
            assert found == expected
            # After drawing from them, so that the prompts lie in the prefix cache.
            for prompt, ours in zip(prompts, scored, strict=True):
                theirs = await policy.logprob(prompt, texts)
                for a, b in zip(ours, theirs, strict=True):
                    assert b == pytest.approx(a, abs=1e-3)
            assert await policy.logprob(Prompt("cat" + " cat" * 126), [" dog", " dog" * 9]) == [None, None]
            # Many seeded prompts at once: split over two steps, they once killed the engine.
            sampled = await asyncio.gather(*(policy.sample(prompt, 8, drawn) for prompt in prompts * 5))
            again = await policy.sample(prompts[3], 2, drawn)
            assert sampled[3][:2] == again
            assert {c.stopped for group in sampled for c in group} == {"stop", "length"}
            assert not any("\n" in c.text for group in sampled for c in group)
            assert (
                await policy.sample(Prompt("cat" + " cat" * 140), 2, drawn) == [Completion("", "error")] * 2
            )
            task = asyncio.create_task(policy.sample(prompts[0], 8, drawn))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
