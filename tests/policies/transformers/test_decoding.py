"""The decoder alone: what begins beside running rows changes none of them."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.policies.base import Sampling
from pipeline.policies.transformers.decoding import Decoder, Job


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
