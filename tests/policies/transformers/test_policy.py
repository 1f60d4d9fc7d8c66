"""The transformers policy against the library's own decoding, and completions against their batch."""

import asyncio
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.tokens import text_start
from pipeline.policies.transformers.decoding import Decoder
from pipeline.policies.transformers.policy import TransformersPolicy, convert_gguf
from pipeline.policies.transformers.scoring import Score
from schemas.errors import BackendError, UserError

Call = tuple[Prompt, int, Sampling]
WORDS = "the a cat dog sat on mat . 0 1 2 3 + = ? apples has".split()


def prompts(n: int) -> list[Prompt]:
    rng = random.Random(4)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(n)]
    return [Prompt("the " + text, " has" * (index % 3)) for index, text in enumerate(texts)]


def ask(model: str, calls: Sequence[Call], max_batch: int = 256) -> list[list[Completion]]:
    async def run() -> list[list[Completion]]:
        async with TransformersPolicy(model, device="cpu", max_batch=max_batch, threads=1) as policy:
            return await asyncio.gather(*(policy.sample(*call) for call in calls))

    return asyncio.run(run())


def generate(model: str, asked: list[Prompt], n_tokens: int) -> list[str]:
    """What the library itself writes, greedily."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    texts = []
    for prompt in asked:
        ids = tokenizer(prompt.text + prompt.prefix, return_tensors="pt").input_ids
        mask = torch.ones_like(ids)
        out = loaded.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=n_tokens)
        texts.append(str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)))
    return texts


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3"])
def test_greedy_is_what_generate_writes(models: dict[str, str], kind: str) -> None:
    asked = prompts(6)
    greedy = Sampling(temperature=0, max_tokens=24)
    found = ask(
        models[kind], [(prompt, 1 + index, greedy) for index, prompt in enumerate(asked)], max_batch=7
    )
    for text, completions in zip(generate(models[kind], asked, 24), found, strict=True):
        assert {c.text for c in completions} == {text}


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_completion_does_not_depend_on_its_batch(models: dict[str, str], kind: str) -> None:
    asked = prompts(8)
    calls = [
        (p, 5, Sampling(max_tokens=20 + 3 * i, seed=1000 * i, top_p=1 - i / 10)) for i, p in enumerate(asked)
    ]
    together = ask(models[kind], calls)
    assert together == ask(models[kind], calls[::-1], max_batch=6)[::-1]
    assert together[3] == ask(models[kind], [calls[3]])[0]
    assert len({c.text for completions in together for c in completions}) > 30


def test_the_ith_completion_is_the_next_seeds_first(models: dict[str, str]) -> None:
    prompt = prompts(1)[0]
    many, one = ask(models["llama"], [(prompt, 9, Sampling(seed=50)), (prompt, 1, Sampling(seed=58))])
    assert many[8:] == one


def test_why_a_completion_stopped(models: dict[str, str]) -> None:
    found = [
        c
        for group in ask(models["llama"], [(p, 16, Sampling(max_tokens=30)) for p in prompts(8)])
        for c in group
    ]
    assert {c.stopped for c in found} == {"stop", "length"}
    assert all(c.tokens == 30 for c in found if c.stopped == "length")
    assert all(c.tokens <= 30 for c in found if c.stopped == "stop")
    assert not any("</s>" in c.text for c in found)


def test_stop_texts_end_a_completion_and_stay_out(models: dict[str, str]) -> None:
    free = ask(models["llama"], [(p, 8, Sampling(max_tokens=40)) for p in prompts(6)])
    stops = (" cat dog", "\n", " 7")
    held = ask(models["llama"], [(p, 8, Sampling(max_tokens=40, stop=stops)) for p in prompts(6)])
    cuts = 0
    for before, after in zip(sum(free, []), sum(held, []), strict=True):
        ends = [at for stop in stops if (at := before.text.find(stop)) >= 0]
        assert after.text == (before.text[: min(ends)] if ends else before.text)
        if ends:
            cuts += 1
            assert after.stopped == "stop"
            assert after.tokens <= before.tokens
    assert cuts > 5


def test_stop_tokens_end_a_completion_and_stay_out(models: dict[str, str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models["llama"])
    cat, line = (tokenizer.convert_tokens_to_ids(word) for word in (" cat", "\n"))
    free = ask(models["llama"], [(p, 8, Sampling(max_tokens=40)) for p in prompts(6)])
    mixed = [Sampling(max_tokens=40, stop_token_ids=(cat, line) if i % 2 else ()) for i in range(6)]
    held = ask(models["llama"], [(p, 8, how) for p, how in zip(prompts(6), mixed, strict=True)])
    assert held[::2] == free[::2]  # a row's stop tokens end no other row
    cuts = 0
    for before, after in zip(sum(free[1::2], []), sum(held[1::2], []), strict=True):
        ends = [at for stop in (" cat", "\n") if (at := before.text.find(stop)) >= 0]
        assert after.text == (before.text[: min(ends)] if ends else before.text)
        assert after.stopped == ("stop" if ends else before.stopped)
        cuts += bool(ends)
    assert cuts > 5


def test_thinking_that_the_chat_template_begins_is_part_of_the_answer(
    models: dict[str, str], tmp_path: Path
) -> None:
    model = tmp_path / "thinks"
    shutil.copytree(models["llama"], model)
    template = "{{ messages[0].content }}{% if add_generation_prompt %}A:<think>\n{% endif %}"
    (model / "chat_template.jinja").write_text(template)

    async def run() -> list[list[Completion]]:
        async with TransformersPolicy(str(model), device="cpu", threads=1, chat=True) as policy:
            asked = [Prompt("the cat", prefix) for prefix in ("", "<think>\n", " has")]
            return [await policy.sample(prompt, 2, Sampling(max_tokens=9, seed=3)) for prompt in asked]

    fresh, begun, answer = asyncio.run(run())
    assert [one.text for one in fresh] == [f"<think>\n{one.text}" for one in begun]
    assert not any("<think>" in one.text for one in (*begun, *answer))


def test_a_prompt_that_fills_the_model_is_an_error(models: dict[str, str]) -> None:
    long, nearly = Prompt("cat" + " cat" * 127), Prompt("cat" + " cat" * 117)
    too_long, short = ask(models["llama"], [(long, 2, Sampling()), (nearly, 2, Sampling(max_tokens=50))])
    assert too_long == [Completion("", "length")] * 2
    assert all(c.tokens <= 9 for c in short)
    assert {c.stopped for c in short} <= {"length", "stop"}


def test_cancelled_calls_free_their_rows(models: dict[str, str]) -> None:
    async def run() -> list[Completion]:
        async with TransformersPolicy(models["llama"], device="cpu", max_batch=4, threads=1) as policy:
            tasks = [asyncio.create_task(policy.sample(p, 4, Sampling(max_tokens=60))) for p in prompts(30)]
            await asyncio.sleep(0.01)
            for task in tasks[:-1]:
                task.cancel()
            await asyncio.gather(*tasks[:-1], return_exceptions=True)
            return await tasks[-1]

    assert len(asyncio.run(run())) == 4


def test_leaving_fails_what_is_owed(models: dict[str, str]) -> None:
    async def run() -> None:
        policy = TransformersPolicy(models["llama"], device="cpu", max_batch=1, threads=1)
        async with policy:
            tasks = [asyncio.create_task(policy.sample(p, 8, Sampling(max_tokens=60))) for p in prompts(20)]
            await asyncio.sleep(0)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, BackendError | list)
        with pytest.raises(BackendError, match="not running"):
            await policy.sample(prompts(1)[0], 1, Sampling())

    asyncio.run(run())


def test_callers_whose_prompts_cannot_be_prefilled_are_told(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    async def run() -> list[object]:
        async with TransformersPolicy(models["llama"], device="cpu", max_batch=4, threads=1) as policy:
            asked = [policy.sample(p, 2, Sampling(max_tokens=9)) for p in prompts(3)]
            return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)

    monkeypatch.setattr(Decoder, "_prefill", fail)
    assert [type(found) for found in asyncio.run(run())] in (
        [MemoryError] * 3,
        [MemoryError, *[BackendError] * 2],
    )


def test_who_asks_while_the_decoder_ends_does_not_wait_for_it(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with TransformersPolicy(models["llama"], device="cpu", threads=1) as policy:

            def ends(*args: Any, **options: Any) -> Any:
                worker, fault = policy._worker, Score([None], lambda *_: None)
                fault.entries = None  # type: ignore[assignment]
                policy._waiting.put(fault)
                assert worker is not None
                worker.join()
                return text_start(*args, **options)

            monkeypatch.setattr("pipeline.policies.transformers.policy.text_start", ends)
            with pytest.raises(BackendError, match="not running"):
                await asyncio.wait_for(policy.logprob(prompts(1)[0], [" cat"]), 20)

    asyncio.run(run())


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a model"):
        ask(str(tmp_path), [])


def test_revisions_tell_checkpoints_apart(models: dict[str, str]) -> None:
    revisions = {TransformersPolicy(folder).revision for folder in models.values()}
    assert len(revisions) == 3
    assert all(len(revision) == 16 for revision in revisions)


class NoModel:
    def save_pretrained(self, folder: Path) -> None:
        pass


def test_a_converted_model_reads_bos_behind_a_server_too(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GGUF files say of BOS what their reader forgets, and a server asks the tokenizer alone."""
    read = AutoTokenizer.from_pretrained(models["llama"])
    read.backend_tokenizer.post_processor = None
    assert read("the cat").input_ids[0] != read.bos_token_id
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *a, **o: NoModel())
    with monkeypatch.context() as patch:
        patch.setattr(AutoTokenizer, "from_pretrained", lambda *a, **o: read)
        convert_gguf(tmp_path / "model.gguf", tmp_path / "done", begins=True)
    ids = AutoTokenizer.from_pretrained(tmp_path / "done")("the cat").input_ids
    assert ids[0] == read.bos_token_id
    assert ids.count(read.bos_token_id) == 1
