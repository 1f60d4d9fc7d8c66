"""Log-probabilities against the library's own logits, and against what was drawn with them."""

import asyncio
import math
from collections.abc import Sequence

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.policies import Prompt, Sampling, Scorer, scorer
from pipeline.policies.base import TokenLogprobs
from pipeline.policies.server.policy import ServerPolicy
from pipeline.policies.simulated import SimulatedPolicy, solution_text
from pipeline.policies.tokens import text_start
from pipeline.policies.transformers.policy import TransformersPolicy
from schemas.errors import BackendError, UserError

PROMPTS = [Prompt("the cat sat on", " the"), Prompt("a dog"), Prompt("1 + 2 =", ""), Prompt("the " * 90)]
TEXTS = [" mat .", "", " 3", " cat dog has 7 apples ?"]


def ask(model: str, asked: Sequence[tuple[Prompt, Sequence[str]]]) -> list[list[TokenLogprobs | None]]:
    async def run() -> list[list[TokenLogprobs | None]]:
        # Drawing goes on beside scoring: what shares a batch depends on the clock, and with it float32's
        # rounding, which at -17 passes the bound of 1e-4 at times. In float64 it cannot.
        async with TransformersPolicy(model, device="cpu", threads=1, dtype="float64") as policy:
            drawing = asyncio.gather(*(policy.sample(p, 2, Sampling(max_tokens=12)) for p in PROMPTS))
            found = await asyncio.gather(*(policy.logprob(*one) for one in asked))
            await drawing
            return list(found)

    return asyncio.run(run())


def expected(model: str, prompt: Prompt, text: str) -> list[float]:
    """What the library's logits say, one text alone."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    before = tokenizer(prompt.text + prompt.prefix).input_ids
    ids = tokenizer(prompt.text + prompt.prefix + text).input_ids
    with torch.inference_mode():
        logprobs = loaded(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(logprobs[i - 1, ids[i]]) for i in range(len(before), len(ids))]


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3"])
def test_they_are_the_librarys(models: dict[str, str], kind: str) -> None:
    found = ask(models[kind], [(prompt, TEXTS) for prompt in PROMPTS])
    for prompt, scored in zip(PROMPTS, found, strict=True):
        for text, logprobs in zip(TEXTS, scored, strict=True):
            assert logprobs == pytest.approx(expected(models[kind], prompt, text), abs=1e-4)
    assert {len(logprobs or ()) for scored in found for logprobs in scored} == {0, 1, 2, 6}


def test_one_alone_is_as_one_of_many(models: dict[str, str]) -> None:
    many = ask(models["llama"], [(prompt, TEXTS * 8) for prompt in PROMPTS])
    alone = ask(models["llama"], [(PROMPTS[0], TEXTS[3:])])
    assert many[0][3] == pytest.approx(alone[0][0], abs=1e-3)


def test_what_does_not_fit_is_unknown_and_not_unlikely(models: dict[str, str]) -> None:
    (found,) = ask(models["llama"], [(Prompt("cat" + " cat" * 120), [" dog" * 20, " dog"])])
    assert found[0] is None
    assert found[1] is not None


def test_an_answer_that_merges_with_its_prompt_is_unknown() -> None:
    class Merging:
        """A tokenizer of one token for the whole text."""

        bos_token_id = eos_token_id = None

        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            return [len(text)]

    assert text_start(Merging(), Prompt("1 +"), " 2", chat=False) is None


def test_nobody_to_ask(models: dict[str, str]) -> None:
    with pytest.raises(BackendError, match="not running"):
        asyncio.run(TransformersPolicy(models["llama"]).logprob(Prompt("the"), [" cat"]))
    server = ServerPolicy("http://127.0.0.1:9/v1", "m")
    assert not isinstance(server, Scorer)
    with pytest.raises(UserError, match="server policy gives no log-probabilities"):
        scorer(server)


def test_the_simulated_policy_knows_its_own_chances() -> None:
    policy = SimulatedPolicy(slip=0.15, n_steps=6)
    prompt = Prompt("x", solution_text([True, True]).removesuffix("#### right") + "\n####")
    found = asyncio.run(policy.logprob(prompt, [" right", " wrong", "", " 7"]))
    assert found == [(pytest.approx(math.log(0.85**4)),), (pytest.approx(math.log(1 - 0.85**4)),), (), None]
