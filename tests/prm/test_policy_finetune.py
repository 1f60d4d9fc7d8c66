"""Fine-tuning a policy: what is learnt, what is not, and that learning works."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from pipeline.policies.opening import model_path
from pipeline.policies.transformers.policy import TransformersPolicy
from pipeline.prm.policy_finetune import Lesson, encode, fine_tune
from schemas.config import TrainConfig
from schemas.errors import UserError

LESSON = Lesson("Problem: Ivy has 2 apples.\nSolution:\n", "Ivy has 2 apples.\n#### 2")


def test_the_prompt_is_not_learnt_and_the_end_is() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path("embedded"))
    found = encode(tokenizer, LESSON, chat=False)
    assert found is not None
    learnt = [label for label in found["labels"] if label >= 0]
    assert learnt[-1] == tokenizer.eos_token_id
    assert learnt[:-1] == tokenizer.encode(LESSON.text, add_special_tokens=False)
    assert found["labels"].count(-100) == len(found["labels"]) - len(learnt) > 5
    assert len(found["input_ids"]) == len(found["labels"])


def log_prob(model: str) -> float:
    import asyncio

    from pipeline.policies import Prompt

    async def ask() -> float:
        async with TransformersPolicy(model, device="cpu", threads=1) as policy:
            (found,) = await policy.logprob(Prompt(LESSON.prompt), [LESSON.text])
            assert found
            return sum(found)

    return asyncio.run(ask())


def test_a_lesson_becomes_likelier_and_the_checkpoint_opens(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = TrainConfig(epochs=8, learning_rate=3e-4, batch_size=2)
    figures = fine_tune([LESSON, LESSON, Lesson(LESSON.prompt, "x " * 3000)], config, tmp_path / "policy")
    assert (figures["solutions"], figures["left_out"], figures["updates"]) == (2, 1, 8)
    assert log_prob(str(tmp_path / "policy")) > log_prob(model_path("embedded"))
    assert not (tmp_path / "policy.part").exists()


def test_nothing_to_learn_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of 0 right solutions"):
        fine_tune([], TrainConfig(), tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_a_training_that_diverges_writes_nothing(tmp_path: Path) -> None:
    config = TrainConfig(epochs=8, learning_rate=1e38, batch_size=1)
    with pytest.raises(UserError, match="the training diverged"):
        fine_tune([LESSON], config, tmp_path / "policy")
    assert not list(tmp_path.iterdir())
