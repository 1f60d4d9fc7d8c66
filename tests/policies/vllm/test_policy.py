"""vLLM's engine against the transformers policy, on a tiny model."""

import asyncio
import importlib.util
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import label_all
from pipeline.labelling.tools import annotators_of
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.server.policy import ServerPolicy
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make setup-vllm"
    ),
    # Of a library that warns about itself while it is imported and closed.
    pytest.mark.filterwarnings("ignore"),
]
WORDS = "the a cat dog sat on mat . 0 1 2 3 + = ? apples has".split()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The engine's threads spin while they wait for one another: with two of them, beside other work, these
    tests took fifteen minutes. Engines in processes of their own read the variables when they start. In this
    one torch has read them, if other tests ran before, and vLLM leaves its threads as they are."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_vllm_and_transformers_agree(models: dict[str, str]) -> None:
    from pipeline.policies.transformers.policy import TransformersPolicy
    from pipeline.policies.vllm.policy import VllmPolicy

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
                await policy.sample(Prompt("cat" + " cat" * 140), 2, drawn) == [Completion("", "length")] * 2
            )
            task = asyncio.create_task(policy.sample(prompts[0], 8, drawn))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


def save_adapter(folder: Path, model: str, rank: int = 4) -> str:
    """A LoRA adapter of random weights, in the files that the library peft writes."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig

    shape = AutoConfig.from_pretrained(model)
    rng, size, weights = torch.Generator().manual_seed(5), shape.hidden_size, {}
    for layer in range(shape.num_hidden_layers):
        for name in ("q_proj", "v_proj"):
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{stem}.lora_A.weight"] = torch.randn(rank, size, generator=rng)
            weights[f"{stem}.lora_B.weight"] = torch.randn(size, rank, generator=rng)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps({**said, "base_model_name_or_path": model}))
    return str(folder)


def merged(adapter: str, model: str, folder: Path) -> str:
    """A checkpoint with the adapter's weights added to the model's: W + B A, as alpha equals the rank."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = AutoModelForCausalLM.from_pretrained(model)
    low = load_file(Path(adapter) / "adapter_model.safetensors")
    with torch.no_grad():
        for stem in {name.rpartition(".lora_")[0] for name in low}:
            module = found.get_submodule(stem.removeprefix("base_model.model."))
            module.weight += low[f"{stem}.lora_B.weight"] @ low[f"{stem}.lora_A.weight"]
    found.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return str(folder)


def test_an_adapter_an_engine_argument_and_stop_tokens(models: dict[str, str], tmp_path: Path) -> None:
    """One engine for three settings: to start one takes half a minute."""
    from pipeline.policies.transformers.policy import TransformersPolicy
    from pipeline.policies.vllm.policy import VllmPolicy

    adapter = save_adapter(tmp_path / "adapter", models["llama"])
    whole = merged(adapter, models["llama"], tmp_path / "merged")
    prompts = [Prompt(f"the cat has {i} apples", system="on the mat") for i in range(8)]
    ends = tuple(range(5, 15))  # the first of the tiny tokenizer's words
    free = Sampling(temperature=0, max_tokens=16)
    held = Sampling(temperature=0, max_tokens=16, stop_token_ids=ends)

    async def run() -> None:
        async with TransformersPolicy(models["llama"], device="cpu", threads=1) as policy:
            plain = [await policy.sample(prompt, 1, free) for prompt in prompts]
        async with TransformersPolicy(whole, device="cpu", threads=1) as policy:
            expected = [await policy.sample(prompt, 1, how) for how in (free, held) for prompt in prompts]
        engine = {"max_logprobs": 3, "block_size": 64}
        async with VllmPolicy(models["llama"], cache_gb=0.25, lora=adapter, engine=engine) as policy:
            assert policy._engine.vllm_config.cache_config.block_size == 64
            assert policy._engine.model_config.max_logprobs == 3
            found = [await policy.sample(prompt, 1, how) for how in (free, held) for prompt in prompts]
        assert found == expected
        assert found[:8] != plain
        assert found[:8] != found[8:]

    asyncio.run(run())


def test_a_resumed_run_repeats_nothing_that_the_store_holds(tmp_path: Path) -> None:
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.vllm.policy import VllmPolicy

    config = {
        **{"name": "r", "root": str(tmp_path), "prompt": {"max_tokens": 100}},
        "problems": {"source": "embedded", "limit": 10, "steps": [3, 4]},
        "propose": {"kind": "omegaprm", "rollouts": 4, "searches": 2, "budget": 12},
    }
    asked: list[str] = []

    class Heard(VllmPolicy):
        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            asked.append(prompt.text)
            return await super().sample(prompt, n, sampling)

    async def label(policy: Heard, store: RunStore, advance: Callable[[], None]) -> None:
        with store.writing(0) as writer:
            tools = annotators_of(store.config, policy)
            budget = store.shard_budget(0)
            work = await label_all(store.owed(0), tools, writer, budget, advance=advance)
            assert not work.failures

    async def run(policy: Heard) -> None:
        store = RunStore.open(RunConfig.model_validate(config))
        read_problems(store)
        journal, rollouts = (store.path / kind / "00000.jsonl" for kind in ("journal", "rollouts"))

        def pull_the_plug() -> None:
            if len(journal.read_bytes().splitlines()) >= 4:
                raise InterruptedError("the power is gone")

        with pytest.raises(InterruptedError):
            await label(policy, store, pull_the_plug)
        held, paid = journal.read_bytes(), rollouts.read_bytes()
        known = [item.problem for item in store.journal(0)]
        assert 4 <= len(known) < 10
        asked.clear()
        await label(policy, RunStore.open(RunConfig.model_validate(config)), lambda: None)
        assert not any(problem.text in text for problem in known for text in asked)
        assert journal.read_bytes().startswith(held)
        assert rollouts.read_bytes().startswith(paid)
        assert len(list(store.journal(0))) == len(journal.read_bytes().splitlines()) == 10

    async def opened() -> None:
        async with Heard(str(EMBEDDED), max_batch=8, cache_gb=0.25) as policy:
            await run(policy)

    asyncio.run(opened())


def test_vllms_own_server_behind_the_server_policy() -> None:
    from benchmarks.engine import serving

    prompts = [Prompt(f"Problem: {i} + {i}?\nSolution:\n", "So" * (i % 2)) for i in range(12)]
    drawn = Sampling(max_tokens=24, seed=3)

    async def run(url: str) -> None:
        # The first endpoint is a closed port: it must cost nothing but a warning.
        async with ServerPolicy(["http://127.0.0.1:9/v1", url], "embedded", backoff_s=0.05) as policy:
            assert [endpoint.well for endpoint in policy.endpoints.all] == [False, True]
            assert policy._gate.tokens > 10_000  # as its metrics say
            found = await asyncio.gather(*(policy.sample(prompt, 4, drawn) for prompt in prompts))
            assert {c.stopped for group in found for c in group} <= {"stop", "length"}
            assert all(0 < sum(c.tokens for c in group) <= 4 * 24 for group in found)
            assert await policy.sample(prompts[5], 4, drawn) == found[5]

    with serving() as url:
        asyncio.run(run(url))
