"""The decoder alone: what begins beside running rows, or shares their prompt, changes none of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.policies.base import Sampling
from pipeline.policies.transformers import decoding
from pipeline.policies.transformers.blocks import Numbers
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


def test_guesses_change_the_steps_and_not_the_completions(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right and wrong guesses, over the borders of blocks, up to limits, ends and stop texts."""
    loaded = AutoModelForCausalLM.from_pretrained(models["gemma3"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(models["gemma3"])
    cat = tokenizer.convert_tokens_to_ids(" cat")
    ends = [{"stop": (" dog has", " 7")}, {"stop_token_ids": (cat,)}]
    hows = [{}, {"temperature": 0.0}, {"top_p": 0.8}, *ends]

    def drawn(guess: Callable[[int, int, int], int], most: int) -> tuple[list[object], int, list[list[int]]]:
        """What the jobs write, the steps that it took, and the tokens."""
        decoder, steps, wrote = Decoder(loaded, tokenizer, 16), 0, [list[int]() for _ in hows]
        jobs = [Job([1, 5 + i, 6], Sampling(seed=50 * i, **how), 45, [None], lambda *_: None)  # type: ignore[arg-type]
                for i, how in enumerate(hows)]  # fmt: skip
        rows = decoder.rows

        def guessed(tails: Numbers, count: int) -> Numbers:
            places = [
                (jobs.index(job), int(made)) for (job, _), made in zip(rows.owners, rows.made, strict=False)
            ]
            found = [[guess(job, made + j, made) for j in range(count)] for job, made in places]
            return np.array(found, np.int64).reshape(len(tails), count)

        monkeypatch.setattr(decoder._drafts, "guess", guessed)
        monkeypatch.setattr(decoding, "guesses_worth", lambda *_: most)
        monkeypatch.setattr(decoder._drafts, "learn", lambda ids: wrote[ids[1] - 5].extend(ids[3:]))
        with torch.inference_mode():
            decoder.admit([(job, 0) for job in jobs])
            while rows.count:
                decoder.step()
                steps += 1
        return [job.results for job in jobs], steps, wrote

    alone, slow, wrote = drawn(lambda *_: 0, 0)
    assert max(map(len, wrote)) == 45
    assert min(map(len, wrote)) < 45

    def right(job: int, at: int, _: int) -> int:
        return wrote[job][at] if at < len(wrote[job]) else 9

    def mixed(job: int, at: int, made: int) -> int:
        return 9 if (at + made) % 4 == 0 else right(job, at, made)

    for guess, most, fewer in ((right, 7, 3), (mixed, 5, 2), (lambda *_: 9, 3, 1)):
        found, steps, _ = drawn(guess, most)
        assert found == alone
        assert steps <= slow / fewer + 3


def test_memory_bounds_the_rows_and_changes_no_completion(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(models["llama"])

    def drawn(blocks: int) -> tuple[list[object], int, int]:
        """What the jobs write, and the most blocks and rows at any time."""
        monkeypatch.setattr(decoding, "_BLOCKS_ON_CPU", blocks)
        monkeypatch.setattr(decoding, "_LEAST_ROWS", 4)
        decoder, most, rows = Decoder(loaded, tokenizer, 64), 0, 0
        lengths = [90, 3, 40, 66, 5, 100, 33, 64] * 2
        jobs = [Job([1, *range(5 + i, 5 + i + n % 34), *[6] * n], Sampling(seed=9 * i), 20, [None] * 3,
                    lambda *_: None) for i, n in enumerate(lengths)]  # fmt: skip
        waiting = [(job, index) for job in jobs for index in range(3)]
        with torch.inference_mode():
            while waiting or decoder.rows.count:
                starts = decoder.fitting(waiting)
                decoder.admit(starts)
                waiting = waiting[len(starts) :]
                rows = max(rows, decoder.rows.count)
                decoder.step()
                most = max(most, decoder._cache.blocks(0))
        return [job.results for job in jobs], most, rows

    free, many, all_rows = drawn(1 << 20)
    held, few, some_rows = drawn(50)
    tight, _, least_rows = drawn(1)
    assert free == held == tight
    assert all_rows == 48
    assert many > 80
    assert few <= 50
    assert 8 < some_rows < 24
    assert least_rows == 4


def test_an_end_that_is_no_token_ends_nothing(models: dict[str, str]) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(models["llama"])
    loaded.generation_config.eos_token_id = [-1, 2, 1 << 20]
    assert np.flatnonzero(Decoder(loaded, tokenizer, 1)._ends).tolist() == [2]
