"""Train a PRM: one linear head of two labels on a language model, one score at the end of every step.

The Trainer of transformers does the work; ours are the collator, the loss and the calibration. The loss
takes probabilities as targets, which label columns of integers would round away, and its mean runs over all
labelled steps of an update. Steps after the first error are masked: whether they are "right" has no agreed
meaning.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from pipeline.evaluate import calibration, step_auroc
from pipeline.folders import check_ours, replacing_folder
from pipeline.policies.opening import model_path
from pipeline.prm import PRM, Encoder, PrmCard, choose_step_end, pad_right, quiet, two_labels, write_json
from pipeline.scratch import scratch_folder
from schemas.config import TrainConfig
from schemas.errors import UserError
from schemas.records import LabelledSolution, content_id

log = logging.getLogger(__name__)
IGNORE = -100.0
"""Target of every token that is not the end of a labelled step. The Trainer counts what differs from it."""
_SMALLEST_FIT = 30
"""Fewest held-out steps of each label to fit a calibration on."""

AfterError = Literal["mask", "zero", "cut", "keep"]


@dataclass(frozen=True)
class Example:
    """One solution ready for training: P(right) for each step, None where the step is masked."""

    ids: list[int]
    ends: list[int]
    targets: list[float | None]
    group: str
    """The problem's id: the holdout takes whole problems."""


def train_prm(
    rows: Iterable[LabelledSolution], config: TrainConfig, out: Path, *, template: str, dataset_digest: str
) -> dict[str, Any]:
    """Train on labelled solutions and write checkpoint, tokenizer, `prm.json` and `metrics.json` to `out`.

    `template` is the policy's prompt with `{problem}` in it. Returns what `metrics.json` holds. UserError
    when nothing is left to train on, or when `out` is a folder of something else.
    """
    check_ours(out)
    start = time.monotonic()
    tokenizer, encoder, step_end = open_tokenizer(config.model, template)
    examples, counts, kinds = prepare(rows, config, encoder)
    training, holdout = split(examples, config)
    if not training:
        raise UserError(f"no labelled solution to train on: {dict(counts)}")
    model, steps, loss = _fit(config, tokenizer, training)
    card = PrmCard(
        template=template,
        step_end=step_end,
        max_length=config.max_length,
        base_model=config.model,
        dataset_digest=dataset_digest,
        label_kind=kinds.most_common(1)[0][0],
        targets=config.targets,
    )
    prm, held_out = calibrate(PRM(model, tokenizer, card), holdout)
    metrics = {
        "solutions": len(training),
        "holdout_solutions": len(holdout),
        "left_out": dict(counts),
        "labelled_steps": _labelled(training),
        "share_right": round(float(np.mean([t for e in training for t in e.targets if t is not None])), 4),
        "updates": steps,
        "loss": loss,
        "holdout": held_out,
        "seconds": round(time.monotonic() - start, 1),
    }
    _publish(prm, metrics, out)
    log.info("trained on %d solutions in %.0f s: %s", len(training), metrics["seconds"], held_out)
    return metrics


def open_tokenizer(model: str, template: str) -> tuple[Any, Encoder, int]:
    """Tokenizer, encoder and step-end id for a base model. UserError when transformers cannot open it."""
    folder = model_path(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=Path(folder).is_dir())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: not a model that transformers can load: {error}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    step_end = choose_step_end(tokenizer)
    return tokenizer, Encoder(tokenizer, template, step_end), step_end


def prepare(
    rows: Iterable[LabelledSolution], config: TrainConfig, encoder: Encoder
) -> tuple[list[Example], Counter[str], Counter[str]]:
    """Examples, how many rows were left out and why, and the label kinds seen."""
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for row in rows:
        targets = targets_of(row, config.targets)
        if config.rows == "consensus" and not row.kept:
            left_out["dropped by consensus"] += 1
        elif all(target is None for target in targets):
            left_out["no label"] += 1
        elif any(not step.text.strip() for step in row.solution.steps):
            left_out["empty step"] += 1
        else:
            encoded = encoder.encode(row.problem.text, row.solution.step_texts())
            if len(encoded.ids) > config.max_length:
                left_out["too long"] += 1
                continue
            kinds.update(label.kind for label in row.labels)
            examples.append(Example(encoded.ids, encoded.ends, targets, row.problem.id))
    if left_out:
        log.info("left out of training: %s", dict(left_out))
    return examples, left_out, kinds


def targets_of(row: LabelledSolution, targets: Literal["hard", "soft"]) -> list[float | None]:
    """P(right) per step as trained on: labels or probabilities, masked after the first error."""
    if targets == "hard":
        raw: list[float | None] = [None if x.label is None else float(x.label) for x in row.labels]
    else:
        raw = [label.p for label in row.labels]
    return after_error(raw, row.first_error, "mask")


def after_error(
    labels: Sequence[float | None], first_error: int | None, policy: AfterError
) -> list[float | None]:
    """Labels under one of the four policies for the steps after the first error. None masks a step."""
    kept = list(labels)
    if first_error is None or first_error < 0 or policy == "keep":
        return kept
    known, n_after = kept[: first_error + 1], len(kept) - first_error - 1
    match policy:
        case "cut":
            return known
        case "zero":
            return [*known, *[0.0] * n_after]
        case _:
            return [*known, *[None] * n_after]


def split(examples: list[Example], config: TrainConfig) -> tuple[list[Example], list[Example]]:
    """Training and holdout. A problem's side depends on its id and the seed alone: more data moves none."""
    parts: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        place = int(content_id("holdout", config.seed, example.group), 16) / 16.0**16
        parts[place < config.holdout].append(example)
    return parts


def collate(batch: list[dict[str, Any]], pad: int) -> dict[str, Tensor]:
    """Right-padded ids, and float targets of the same shape: IGNORE everywhere but at labelled step ends."""
    ids = pad_right([item["input_ids"] for item in batch], pad)
    labels = torch.full(ids.shape, IGNORE)
    for row, item in enumerate(batch):
        for end, target in zip(item["ends"], item["targets"], strict=True):
            if target is not None:
                labels[row, end] = target
    return {"input_ids": ids, "labels": labels}


def soft_loss(logits: Tensor, labels: Tensor, n_items: Tensor | int | None = None) -> Tensor:
    """Cross-entropy to P(right) in float32 over labelled steps: sum / `n_items`, by default their number."""
    known = labels != IGNORE
    margin = (logits[..., 1] - logits[..., 0]).float()[known]
    total = functional.binary_cross_entropy_with_logits(margin, labels[known].float(), reduction="sum")
    return total / (known.sum().clamp(min=1) if n_items is None else n_items)


def describe_row(row: LabelledSolution, config: TrainConfig, *, template: str) -> str:
    """The tokens of a row as the model reads them, one a line, with the target where there is one."""
    tokenizer, encoder, _ = open_tokenizer(config.model, template)
    encoded = encoder.encode(row.problem.text, row.solution.step_texts())
    targets: dict[int, object] = dict(zip(encoded.ends, targets_of(row, config.targets), strict=True))
    lines = [f"{len(encoded.ids)} tokens, {len(encoded.ends)} steps, first error {row.first_error}"]
    for at, token in enumerate(encoded.ids):
        shown = "" if at not in targets else "  <- no label" if targets[at] is None else f"  <- {targets[at]}"
        lines.append(f"{at:5d} {token:7d} {tokenizer.decode([token])!r}{shown}")
    return "\n".join(lines)


def calibrate(prm: PRM, holdout: list[Example]) -> tuple[PRM, dict[str, Any]]:
    """The PRM with Platt scaling fitted on held-out problems, and the figures before and after it.

    With too few held-out steps of either label the scores stay as they are: a fit would be worse than none.
    """
    margins, targets = _held_out(prm, holdout)
    right = int((targets >= 0.5).sum())
    found: dict[str, Any] = {"steps": len(targets), "share_right": round(right / max(1, len(targets)), 4)}
    if min(right, len(targets) - right) == 0:
        return prm, found
    found["auroc"] = step_auroc(margins, targets >= 0.5)
    found["before"] = calibration(_sigmoid(margins), targets)
    if min(right, len(targets) - right) < _SMALLEST_FIT:
        return prm, found
    a, b = fit_platt(margins, targets)
    if a <= 0:
        log.warning("the held-out scores do not rise with the labels: no calibration is applied")
        return prm, found
    found["after"] = calibration(_sigmoid(a * margins + b), targets)
    return PRM(prm.model, prm.tokenizer, prm.card.model_copy(update={"a": a, "b": b})), found


def fit_platt(margins: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> tuple[float, float]:
    """(a, b) of sigmoid(a * margin + b) by Newton's method on the cross-entropy.

    Targets are drawn in by one count a side (Platt 1999, section 2.2): separable data give finite values too.
    """
    right = targets.sum()
    low, high = 1.0 / (len(targets) - right + 2.0), (right + 1.0) / (right + 2.0)
    goal = low + (high - low) * targets
    design = np.stack([margins, np.ones_like(margins)], axis=1)

    def loss(at: np.ndarray[Any, Any]) -> float:
        z = design @ at
        return float((np.logaddexp(0.0, z) - goal * z).sum())

    weights = np.array([1.0, 0.0])
    for _ in range(100):
        p = _sigmoid(design @ weights)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (p - goal))
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-10:
            step = step / 2  # far from the optimum a full step overshoots
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return float(weights[0]), float(weights[1])


def _fit(config: TrainConfig, tokenizer: Any, training: list[Example]) -> tuple[Any, int, float]:
    """The trained model, the number of updates, and the mean training loss."""
    set_seed(config.seed)
    model = open_model(config.model, len(tokenizer))
    data: Any = [{"input_ids": e.ids, "ends": e.ends, "targets": e.targets} for e in training]
    with scratch_folder() as scratch:
        trainer = Trainer(
            model=model,
            args=training_arguments(config, str(scratch)),
            train_dataset=data,
            data_collator=lambda batch: collate(batch, tokenizer.pad_token_id),
            compute_loss_func=lambda outputs, labels, num_items_in_batch=None: soft_loss(
                outputs.logits, labels, num_items_in_batch
            ),
        )
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        if sys.stderr.isatty():
            trainer.add_callback(Bar())
        result = trainer.train()
    return trainer.model, result.global_step, round(result.training_loss, 5)


class Bar(ProgressCallback):  # type: ignore[misc, unused-ignore]
    """A progress bar without the log lines that the library writes into it."""

    def on_log(self, *_: Any, **__: Any) -> None:
        """Say nothing: the figures go to `metrics.json`."""


def training_arguments(config: TrainConfig, scratch: str) -> TrainingArguments:
    """The Trainer's settings for ours; `scratch` is for what it insists on writing."""
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=config.batch_size,
        train_sampling_strategy="group_by_length",
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        max_grad_norm=1.0,
        weight_decay=0.0,
        seed=config.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
    )


def open_model(name: str, vocabulary: int) -> Any:
    """A model of two labels to train, with the head that its checkpoint holds or else a new one, in float32.

    `vocabulary` is the tokenizer's size: embeddings grow to it. UserError when transformers cannot open it.
    """
    folder = model_path(name)
    local = Path(folder).is_dir()
    try:
        config = two_labels(AutoConfig.from_pretrained(folder, local_files_only=local))
        with quiet():  # that a head is new is no news here
            model = AutoModelForTokenClassification.from_pretrained(
                folder, config=config, dtype=torch.float32, local_files_only=local
            )
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: not a model that transformers can load: {error}") from None
    if vocabulary > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(vocabulary)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = (
                0.0  # thousands of solutions, few epochs: noise on the scores costs more than it regularises
            )
    return model


def _labelled(examples: list[Example]) -> int:
    return sum(target is not None for example in examples for target in example.targets)


def _held_out(prm: PRM, holdout: list[Example]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    margins: list[float] = []
    targets: list[float] = []
    for example, scores in zip(holdout, prm.read(holdout), strict=True):
        for margin, target in zip(scores.tolist(), example.targets, strict=True):
            if target is not None:
                margins.append(margin)
                targets.append(target)
    return np.array(margins), np.array(targets)


def _sigmoid(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))  # never overflows


def _publish(prm: PRM, metrics: dict[str, Any], out: Path) -> None:
    """A run cut short never leaves half a checkpoint."""
    with replacing_folder(out) as part:
        prm.save(part)
        write_json(part / "metrics.json", metrics)
