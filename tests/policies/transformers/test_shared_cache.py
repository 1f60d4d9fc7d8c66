"""The attention over blocks: every step's logits are those of a plain forward pass over the whole text."""

import copy
import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer

from pipeline.policies.base import Completion, Sampling
from pipeline.policies.transformers import decoding
from pipeline.policies.transformers.blocks import Numbers
from pipeline.policies.transformers.decoding import Decoder
from pipeline.policies.transformers.rows import Job
from pipeline.policies.transformers.scoring import Score, score
from schemas.errors import UserError

VOCABULARY = 55
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 1, "head_dim": 16}),
    "gemma3": ("Gemma3", {"head_dim": 16, "sliding_window": 40, "layer_types": MIXED}),
    "mistral": ("Mistral", {"sliding_window": 9}),
    "gpt_oss": ("GptOss", {"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "gemma2": ("Gemma2", {"head_dim": 16}),
}


def model_of(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    name, more = KINDS[kind]
    config = getattr(transformers, f"{name}TextConfig" if kind == "gemma3" else f"{name}Config")
    return getattr(transformers, f"{name}ForCausalLM")(config(**{**SHAPE, **more})).to(dtype).eval()


@pytest.fixture(scope="module")
def tokenizer(models: dict[str, str]) -> Any:
    return AutoTokenizer.from_pretrained(models["llama"])


class Checked:
    """A decoder whose logits are compared with those of an untouched copy of its model."""

    def __init__(self, model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plain = copy.deepcopy(model)
        self.decoder = Decoder(model, tokenizer, 24)
        self.decoder._ends[:] = False  # a row is over at its limit
        self.logits: list[Tensor] = []
        real, guess = decoding.sample_tokens, self.decoder._drafts.guess

        def sample(logits: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
            self.logits.append(logits)
            return real(logits, *others)

        def guessed(tails: Numbers, count: int) -> Numbers:
            self.guessed = guess(tails, count)
            return self.guessed

        monkeypatch.setattr(decoding, "sample_tokens", sample)
        monkeypatch.setattr(self.decoder._drafts, "guess", guessed)

    def step(self) -> float:
        """Make a step; the largest difference of a logit, as a share of the largest logit."""
        rows, most = self.decoder.rows, 0.0
        texts = [[*job.ids, *rows.out[row, : rows.made[row]]] for row, (job, _) in enumerate(rows.owners)]
        self.logits.clear()
        self.decoder._luck = 1.0  # these models write what nobody can guess
        self.decoder.step()
        # Also after wrong guesses: what a right one would read is then known to be right.
        fed = [[*text, *more[:n]] for text, more in zip(texts, self.guessed, strict=True)
               for n in range(len(more) + 1)]  # fmt: skip
        for ids, found in zip(fed, self.logits[0], strict=True):
            wanted = self.plain(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            most = max(most, float((found - wanted).abs().max() / wanted.abs().max()))
            assert bool(found.isfinite().all())
        return most


def job_of(ids: list[int], limit: int, n: int = 1, seed: int = 0) -> Job:
    return Job(ids, Sampling(seed=seed), limit, [None] * n, lambda *_: None)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3", "mistral"])
def test_rows_that_come_and_go_attend_as_a_plain_model_does(
    kind: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(kind)
    checked = Checked(model_of(kind), tokenizer, monkeypatch)
    rows, base = checked.decoder.rows, [rng.randrange(3, VOCABULARY) for _ in range(70)]
    longest = 0
    with torch.inference_mode():
        for step in range(44):
            if step % 11 == 0:
                # Beginnings of one text about the borders of blocks, and texts of their own.
                lengths = rng.sample([1, 2, 3, 31, 32, 33, 34, 63, 64, 65, 66, 70], 2)
                texts = [base[:n] for n in lengths]
                texts.append([rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, 40))])
                limits = 70, 35, rng.randint(1, 30)
                jobs = [job_of(*one, 2, seed=100 * step) for one in zip(texts, limits, strict=True)]
                starts = [(job, index) for job in jobs for index in range(2)]
                checked.decoder.admit(rng.sample(starts, min(len(starts), rows.slots - rows.count)))
            if step % 7 == 3:  # callers that no longer wait
                checked.decoder.drop(sorted(rng.sample(range(rows.count), rows.count // 4)))
            if rows.count:
                assert checked.step() < 1e-4
                longest = max(longest, int(rows.made[: rows.count].max(initial=0)))
    assert longest > 32


def test_a_block_that_is_hidden_as_a_whole_is_no_nan_in_float16(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The longest prompt is stored for all three; of its blocks the shorter ones see some or none.
    checked = Checked(model_of("llama", torch.float16), tokenizer, monkeypatch)
    text = [3 + i % 50 for i in range(75)]
    with torch.inference_mode():
        checked.decoder.admit([(job_of(text[:n], 4, seed=n), 0) for n in (75, 34, 1)])
        assert checked.step() < 0.1


def test_what_is_no_number_in_one_row_spoils_no_other(tokenizer: Any) -> None:
    sick, well, late = (job_of([*range(3, 3 + n)], 40, seed=n) for n in (50, 5, 9))
    model = model_of("llama")

    def drawn(jobs: list[Job], *, spoil: bool) -> list[Completion | None]:
        decoder = Decoder(model, tokenizer, 8)
        decoder._ends[:] = False
        with torch.inference_mode():
            decoder.admit([(job, 0) for job in jobs if job is not late])
            while decoder.rows.count:
                decoder.step()
                if spoil and (mine := [r for r, (job, _) in enumerate(decoder.rows.owners) if job is sick]):
                    blocks = torch.from_numpy(np.flatnonzero(decoder._cache.own.owners == mine[0]))
                    for keys, values in decoder._cache.own.layers:
                        keys.all[blocks], values.all[blocks] = torch.nan, torch.nan
            if late in jobs:
                decoder.admit([(late, 0)])
                while decoder.rows.count:
                    decoder.step()
        return [job.results[0] for job in jobs if job is not sick]

    assert drawn([sick, well, late], spoil=True) == [*drawn([well], spoil=False), *drawn([late], spoil=False)]


def test_a_decoder_that_is_gone_keeps_no_memory(tokenizer: Any) -> None:
    model = model_of("llama")
    decoder = Decoder(model, tokenizer, 8)
    with torch.inference_mode():
        decoder.admit([(job_of([5] * 40, 9), 0)])
        decoder.step()
    kept = weakref.ref(decoder._cache)
    del decoder
    assert kept() is None


@pytest.mark.parametrize("kind", ["gpt_oss", "gemma2"])
def test_sinks_and_soft_caps_are_refused_for_scores_too(kind: str, tokenizer: Any) -> None:
    model = model_of(kind)
    decoder = Decoder(model, tokenizer, 8)
    with torch.inference_mode(), pytest.raises(UserError, match="sinks, soft caps or biases"):
        score(model, [Score([([3, 4, 5], 1)], lambda *_: None)])
    del decoder


def falcon() -> Any:
    config = transformers.FalconConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    return transformers.FalconForCausalLM(config)


def gptj() -> Any:
    config = transformers.GPTJConfig(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2, rotary_dim=8)
    return transformers.GPTJForCausalLM(config)


@pytest.mark.parametrize("make", [falcon, gptj])
def test_a_model_that_attends_by_itself_is_refused(make: Callable[[], Any], tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"(falcon|gptj) has an attention of its own"):
        Decoder(make(), tokenizer, 8)


def test_keys_that_are_stored_in_another_form_are_refused(tokenizer: Any) -> None:
    sizes = {"kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16}
    shape = {**SHAPE, "num_key_value_heads": 4, "first_k_dense_replace": 3, "q_lora_rank": None}
    config = transformers.DeepseekV3Config(**shape, **sizes)
    decoder = Decoder(transformers.DeepseekV3ForCausalLM(config).eval(), tokenizer, 8)
    with torch.inference_mode():
        decoder.admit([(job_of([5] * 40, 9), 0)])
        with pytest.raises(UserError, match="reads other keys than its layer stores"):
            decoder.step()
