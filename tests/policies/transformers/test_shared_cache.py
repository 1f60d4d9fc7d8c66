"""The decoder's memory: what is stored stays, and its size follows what is in flight."""

import math
import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.policies.base import Sampling
from pipeline.policies.transformers.decoding import Decoder, Job
from pipeline.policies.transformers.shared_cache import Store


def store_of(heads: int = 2, size: int = 3) -> Store:
    return Store(torch.zeros(1, heads, 1, size))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_stored_stays_and_the_store_is_never_far_larger(seed: int) -> None:
    rng, store = random.Random(seed), store_of()
    rows, columns = 1, 1
    store.fit(rows, columns)
    store.keys[0, :, 0] = 7.0
    for _ in range(60):
        rows, columns = rng.choice([(1, 1), (3, 200), (256, 5), (256, 400), (40, 70), (rows, columns + 1)])
        store.fit(rows, columns)
        has_rows, _, has_columns, _ = store.keys.shape
        assert has_rows >= rows
        assert has_columns >= columns
        assert has_rows * has_columns <= 2 * math.ceil(rows / 32) * 32 * math.ceil(columns / 64) * 64
        assert bool((store.keys[0, :, 0] == 7.0).all())
        assert store.values.shape == store.keys.shape


def test_new_places_are_zeros_and_old_ones_are_kept_on_both_axes() -> None:
    store = store_of()
    store.fit(2, 3)
    store.keys[:2, :, :3] = torch.arange(2 * 2 * 3 * 3, dtype=torch.float32).view(2, 2, 3, 3)
    before = store.keys[:2, :, :3].clone()
    store.fit(100, 3)
    store.fit(100, 300)
    assert torch.equal(store.keys[:2, :, :3], before)
    assert not bool(store.keys[2:].any())
    assert not bool(store.keys[:, :, 3:].any())


def test_a_store_is_not_copied_for_every_token() -> None:
    store, copies = store_of(), 0
    for width in range(1, 257):
        before = store.keys
        store.fit(8, width)
        copies += store.keys is not before
    assert copies == 4


def test_holding_more_prompts_keeps_those_there_are() -> None:
    store = store_of()
    store.hold(1, 150)
    store.keys[0, :, 149] = 1.0
    store.hold(2, 10)
    assert bool((store.keys[0, :, 149] == 1.0).all())


def test_a_batch_that_empties_gives_its_memory_back(models: dict[str, str]) -> None:
    """Many long completions, then one: its stores are small, whatever came before."""
    model = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32).eval()
    decoder = Decoder(model, AutoTokenizer.from_pretrained(models["llama"]), 128)

    def places() -> int:
        layer = decoder._cache.layers[0]
        return sum(store.keys.shape[0] * store.keys.shape[2] for store in (layer.rows, layer.prompts))

    def job(n: int, limit: int, prompt: int) -> Job:
        return Job([5] * prompt, Sampling(seed=n), limit, [None] * n, lambda *_: None)

    with torch.inference_mode():
        many = [job(1, 3, 90 + i) for i in range(100)]
        decoder.admit([(one, 0) for one in many])
        decoder.step()
        full = places()
        while decoder.rows.count:
            decoder.step()
        decoder.admit([(job(1, 2, 4), 0)])
        decoder.step()
    # 128 rows and 128 prompts of up to 189 tokens; then one of each, in the smallest stores there are.
    assert full == 128 * 64 + 128 * 192
    assert places() <= 2 * 2 * 32 * 64


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
