"""A trained process reward model: one reading of a solution gives P(step is right) for every step.

The checkpoint is an ordinary token-classification model of two labels (1 is right), so any tool that opens
those can serve it; `prm.json` beside it holds what such a tool cannot know, and `score.py` reads both. Every
step is tokenised alone and closed by one step-end token, by the same function in training and here: tokenised
as one text, a full stop and the newline after it can merge, and the score would then be read where none was
learnt.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from pipeline.policies.transformers.library import pad_right, quiet
from pipeline.prm import score
from pipeline.storage.atomic import write_json
from schemas.errors import UserError
from schemas.records import Record

CARD = "prm.json"
# Tokens of a batch, padding included: what bounds the memory of a forward pass, whatever the lengths. What
# lies between two layers must fit a processor's cache: batches of 8192 took half as long again.
_BATCH_TOKENS, _ON_A_CPU = 8192, 2048
UNLOADABLE = (
    *(OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, TypeError),
    *(StrictDataclassError, SafetensorError),
)
"""What transformers raises for a folder, a configuration or a weights file that it cannot make a model of."""


class PrmCard(Record):
    """What a checkpoint's own files do not say: how its input is written and how its scores are read."""

    template: str
    """The text before the first step, with `{problem}` in it."""
    step_end: int
    """Id of the token that closes every step, and stands nowhere else; the score is read there."""
    step_token: str = ""
    """That token's name."""
    max_length: int
    base_model: str = ""
    dataset_digest: str = ""
    label_kind: str = "first_error"
    """What the labels spoke of: each step (`local`), it and all before (`cumulative`), or `first_error`."""
    targets: str = "hard"
    a: float = 1.0
    """P(right) = sigmoid(a * margin + b), the margin being the logit of label 1 less that of label 0."""
    b: float = 0.0


@dataclass(frozen=True)
class Encoded:
    """Token ids of a problem with its solution, and the position of every step's last token."""

    ids: list[int]
    ends: list[int]


class Tokens(Protocol):
    """Anything that carries ids and step ends."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        ...

    @property
    def ends(self) -> list[int]:
        """Position of every step's last token."""
        ...


class Encoder:
    """Text to token ids: the one way for training, scoring, and `score.py` beside a checkpoint."""

    def __init__(self, tokenizer: Any, template: str, step_end: int) -> None:
        self._reader = score.Reader(tokenizer, template, step_end)

    def encode(self, problem: str, steps: Sequence[str]) -> Encoded:
        """One end per step, whatever the steps hold. UserError for a step without any text."""
        try:
            return Encoded(*self._reader.encode(problem, steps))
        except ValueError as error:
            raise UserError(str(error)) from None


def two_labels(config: Any) -> Any:
    """The same configuration, set to what a PRM is: label 1 for right, no dropout, no bias in its head."""
    config.num_labels, config.id2label = 2, {0: "wrong", 1: "right"}
    config.label2id = {"wrong": 0, "right": 1}
    config.classifier_dropout = 0.0
    config.token_classification_bias = False  # some servers drop a head's bias in silence
    return config


class PRM:
    """A checkpoint with its tokenizer and card. Scores are calibrated probabilities, computed in float32."""

    def __init__(self, model: Any, tokenizer: Any, card: PrmCard) -> None:
        self.model, self.tokenizer, self.card = model.eval(), tokenizer, card
        self._encoder = Encoder(tokenizer, card.template, card.step_end)

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto") -> Self:
        """A checkpoint written by `train_prm`. UserError when the folder holds none."""
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; `stepmint train RUN` makes a checkpoint")
        try:
            card = PrmCard.model_validate_json((folder / CARD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else "") or error
            raise UserError(f"{folder}: not a PRM of `stepmint train`: {CARD}: {why}") from None
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            with quiet():
                model, found = score.classifier(config).from_pretrained(
                    folder,
                    config=config,
                    dtype=torch.float32,
                    local_files_only=True,
                    output_loading_info=True,
                )
        except UNLOADABLE as error:
            raise unloadable(folder, error) from None
        # transformers fills missing weights with random numbers and only warns: the scores would be noise.
        if found["missing_keys"]:
            raise UserError(f"{folder}: weights are missing: {', '.join(sorted(found['missing_keys'])[:3])}")
        if model.config.num_labels != 2:
            raise UserError(f"{folder}: expected 2 labels, found {model.config.num_labels}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device), tokenizer, card)

    def save(self, folder: Path) -> None:
        """Write checkpoint, tokenizer, card, and the code that scores with them, into a folder."""
        with quiet():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        # The very module that training encodes with: whoever downloads a checkpoint reads texts as it was
        # trained.
        shutil.copyfile(score.__file__, folder / "score.py")
        write_json(folder / CARD, self.card.model_dump())

    def encode(self, problem: str, steps: Sequence[str]) -> Encoded:
        """Token ids and step ends as the model reads them."""
        return self._encoder.encode(problem, steps)

    def readable(self, problem: str, steps: Sequence[str]) -> bool:
        """Whether `score_many` takes the solution: it has steps, none is empty, and all fit the length."""
        if not steps or not all(step.strip() for step in steps):
            return False
        try:
            return len(self.encode(problem, steps).ids) <= self.card.max_length
        except UserError:
            return False

    def score_steps(self, problem: str, steps: Sequence[str]) -> list[float]:
        """P(right) of every step."""
        return self.score_many([(problem, steps)])[0]

    def score_many(self, items: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        """P(right) of every step of many solutions. UserError when one has an empty step or is too long."""
        # Platt scaling; 1 and 0 where too few steps were held out to fit it.
        a, b = self.card.a, self.card.b
        return [torch.sigmoid(a * margins + b).tolist() for margins in self.margins(items)]

    def margins(self, items: Sequence[tuple[str, Sequence[str]]]) -> list[Tensor]:
        """Uncalibrated scores: per solution the logit of right less that of wrong, (steps,) in float64."""
        encoded = [self.encode(problem, steps) for problem, steps in items]
        for item, (problem, steps) in zip(encoded, items, strict=True):
            score.warn_of_unread(self.tokenizer, item.ids, [problem, *steps])
            if len(item.ids) > self.card.max_length:
                raise UserError(
                    f"a solution of {_shown(problem)} has {len(item.ids)} tokens, over the "
                    f"{self.card.max_length} this PRM was trained with: train with a larger max_length, or "
                    "leave it out"
                )
        found = self.read(encoded)
        for margins, (problem, _) in zip(found, items, strict=True):
            if not bool(margins.isfinite().all()):
                step = margins.isfinite().tolist().index(False)
                raise UserError(
                    f"the PRM's score of step {step} of a solution of {_shown(problem)} is not a number: the "
                    "checkpoint is damaged, or its training went astray"
                )
        return found

    def read(self, encoded: Sequence[Tokens]) -> list[Tensor]:
        """Margins of solutions that are token ids already, whatever their length."""
        # Like lengths together, so that little is padding; the longest come first and show at once if memory
        # is short.
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
        found: list[Tensor] = [torch.empty(0)] * len(encoded)
        most = _ON_A_CPU if self.model.device.type == "cpu" else _BATCH_TOKENS
        while order:
            size = max(1, most // len(encoded[order[-1]].ids))
            batch, order = order[-size:], order[:-size]
            for i, margins in zip(batch, self._forward([encoded[i] for i in batch]), strict=True):
                found[i] = margins
        return found

    @torch.inference_mode()
    def _forward(self, batch: Sequence[Tokens]) -> list[Tensor]:
        # Padding on the right under a causal mask never reaches a real token, so no attention mask is passed.
        ids = pad_right([item.ids for item in batch], self.tokenizer.pad_token_id or 0)
        logits = self.model(input_ids=ids.to(self.model.device), use_cache=False).logits.double().cpu()
        margins = logits[..., 1] - logits[..., 0]
        return [margins[row, torch.tensor(item.ends, dtype=torch.long)] for row, item in enumerate(batch)]


def unloadable(folder: str | Path, error: Exception) -> UserError:
    """What to say of a model that transformers cannot load."""
    said = str(error).strip().partition("\n")[0][:300]
    return UserError(f"{folder}: not a model that transformers can load: {said or type(error).__name__}")


def _shown(problem: str) -> str:
    return repr(problem if len(problem) <= 60 else problem[:57] + "...")
