"""The decoder alone: what begins beside running rows, or shares their prompt, changes none of them."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.policies.base import Sampling
from pipeline.policies.transformers.decoding import Decoder
from pipeline.policies.transformers.rows import Job


def test_a_prompt_of_two_tokens_may_begin_beside_running_ones(models: dict[str, str]) -> None:
    # All of it but the last token is prefilled: a pass of one token, as a step has.
    loaded = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(models["llama"])

    def drawn(prompts: list[list[int]]) -> list[object]:
        decoder = Decoder(loaded, tokenizer, 8)
        jobs = [Job(ids, Sampling(seed=3), 12, [None], lambda *_: None) for ids in prompts]
        with torch.inference_mode():
            for job in jobs:
                decoder.admit([(job, 0)])
                decoder.step()
            while decoder.rows.count:
                decoder.step()
        return [job.results[0] for job in jobs]

    long, short = [5] * 20, [6, 7]
    assert drawn([long, short]) == [*drawn([long]), *drawn([short])]


def test_beginnings_of_one_prompt_are_prefilled_once(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search asks for many beginnings of a solution: their completions are those of each prompt alone."""
    loaded = AutoModelForCausalLM.from_pretrained(models["gemma3"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(models["gemma3"])
    whole = [1, *range(5, 30), *range(40, 5, -1)]
    other = [*whole[:30], 7, 8, 9]
    prompts = [whole[:40], other, whole[:2], whole, [1], whole[:33], whole[:32], whole[:34]]
    prefilled: list[int] = []
    prefill = Decoder._prefill

    def counted(decoder: Decoder, group: list[list[int]]) -> Any:
        prefilled.extend(len(prompt) for prompt in group)
        return prefill(decoder, group)

    monkeypatch.setattr(Decoder, "_prefill", counted)

    def drawn(asked: list[tuple[int, list[int]]]) -> list[object]:
        decoder = Decoder(loaded, tokenizer, 32)
        jobs = [Job(ids, Sampling(seed=10 * i), 40, [None, None], lambda *_: None) for i, ids in asked]
        with torch.inference_mode():
            decoder.admit([(job, index) for job in jobs for index in range(2)])
            while decoder.rows.count:
                decoder.step()
        return [job.results for job in jobs]

    together = drawn(list(enumerate(prompts)))
    assert sorted(prefilled) == [len(other) - 1, len(whole) - 1]
    assert together == [found for one in enumerate(prompts) for found in drawn([one])]
