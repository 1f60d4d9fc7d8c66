"""Fine-tune a policy on solutions that were found right: plain supervised learning of their tokens.

The prompt is written by the same function as in sampling and is not learnt; the end of text is, or the policy
would no longer stop. The Trainer of transformers does the work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, set_seed

from pipeline.policies.base import Prompt
from pipeline.policies.opening import model_path
from pipeline.policies.tokens import text_start
from pipeline.policies.transformers.library import pad_right, quiet
from pipeline.prm.model import UNLOADABLE, unloadable
from pipeline.prm.train import run_trainer, training_arguments
from pipeline.storage.atomic import fresh_folder
from pipeline.storage.folders import replacing_folder
from schemas.config import TrainConfig
from schemas.errors import UserError

_IGNORED = -100
"""The label of a token that is not learnt, by the library's own convention."""


@dataclass(frozen=True)
class Lesson:
    """A prompt, and the text that is to be written after it."""

    prompt: str
    text: str


def fine_tune(
    lessons: Iterable[Lesson], config: TrainConfig, out: Path, *, chat: bool = False
) -> dict[str, Any]:
    """Train `config.model` on the lessons and write a checkpoint to `out`, which it replaces whole.

    Returns counts and the mean loss. UserError when nothing fits `config.max_length`, and when training
    diverges.
    """
    folder = model_path(config.model)
    local = Path(folder).is_dir()
    set_seed(config.seed)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=local)
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=local)
    except UNLOADABLE as error:
        raise unloadable(folder, error) from None
    # Padding is not learnt (`_IGNORED`), so any token may stand there.
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    encoded = [encode(tokenizer, lesson, chat=chat) for lesson in lessons]
    # Some models (those with relative positions) state no limit; a million tokens stands for none.
    most = getattr(model.config, "max_position_embeddings", None) or 1 << 20
    longest = min(config.max_length or most, most)
    data = [item for item in encoded if item and len(item["input_ids"]) <= longest]
    if not data:
        raise UserError(f"none of {len(encoded)} right solutions fits {longest} tokens to learn from")
    updates, loss = _fit(model, data, config, pad)
    _publish(model, tokenizer, out)
    return {"solutions": len(data), "left_out": len(encoded) - len(data), "updates": updates, "loss": loss}


def encode(tokenizer: Any, lesson: Lesson, *, chat: bool) -> dict[str, list[int]] | None:
    """Ids and labels of prompt, text and end; None where tokens merge between prompt and text."""
    found = text_start(tokenizer, Prompt(lesson.prompt), lesson.text, chat=chat)
    # A token that spans the end of the prompt and the beginning of the text would be learnt in part; sampling
    # never produces it.
    if found is None:
        return None
    ids, start = [*found[0], tokenizer.eos_token_id], found[1]
    return {"input_ids": ids, "labels": [*[_IGNORED] * start, *ids[start:]]}


def _fit(model: Any, data: Any, config: TrainConfig, pad: int) -> tuple[int, float]:
    def collate(batch: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        return {
            "input_ids": pad_right([item["input_ids"] for item in batch], pad),
            "labels": pad_right([item["labels"] for item in batch], _IGNORED),
        }

    with fresh_folder() as scratch:
        trainer = Trainer(
            model=model,
            args=training_arguments(config, str(scratch)),
            train_dataset=data,
            data_collator=collate,
        )
        return run_trainer(trainer, config)[1:]


def _publish(model: Any, tokenizer: Any, out: Path) -> None:
    """Whoever opens it finds a whole checkpoint or none."""
    with replacing_folder(out) as part:
        with quiet():
            model.save_pretrained(part)
        tokenizer.save_pretrained(part)
