"""Train a PRM: one linear head of two labels on a language model, one score at the end of every step.

The Trainer of transformers does the work; ours are the collator and the loss. The loss
takes probabilities as targets, which label columns of integers would round away, and its mean runs over all
labelled steps of an update. Steps after the first error are masked: whether they are "right" has no agreed
meaning.
"""

import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments, set_seed

from pipeline.policies.transformers.library import pad_right
from pipeline.prm.bases import SAMPLE, Base, check_base, open_base, open_model, refuse_unread
from pipeline.prm.calibration import calibrate
from pipeline.prm.model import PRM, PrmCard
from pipeline.prm.ranks import rank, world
from pipeline.storage.atomic import fresh_folder, write_json
from pipeline.storage.folders import check_ours, replacing_folder
from schemas.config import TrainConfig
from schemas.errors import UserError
from schemas.records import LabelledSolution, content_id

log = logging.getLogger(__name__)
IGNORE = -100.0
"""Target of every token that is not the end of a labelled step. The Trainer counts what differs from it."""
# Solutions that a processor reads at once; their gradients are summed for an update. What 16 leave behind
# between two layers does not fit its cache: an update took a quarter longer.
_AT_ONCE = 8

_REASONS = {
    "no label": "have no labelled step (`stepmint report RUN` says which sources abstained and why)",
    "dropped by consensus": 'are dropped by the consensus filter (train.rows = "all" takes them)',
    "empty step": "have an empty step",
    "unreadable": "hold the token that closes steps in their text (choose another base)",
    "too long": "are longer than the base reads (raise train.max_length, or choose another base)",
}
"""Why solutions are left out, in words, and what helps."""

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

    `template` is the policy's prompt with `{problem}` in it. Returns what `metrics.json` holds. Under
    `torchrun` all processes train one model; the first of them calibrates and writes it, the others return
    nothing. UserError when the base cannot be used, when nothing is left to train on, when training diverges,
    or when `out` is a folder of something else.
    """
    check_ours(out)
    start = time.monotonic()
    base = open_base(config)
    per_process(config)
    examples, counts, kinds, unknown = prepare(rows, config, base, template)
    training, holdout = split([learnable(example) for example in examples], config)
    if not training:
        raise UserError(_nothing_left(counts, len(holdout)))
    model, steps, loss = _fit(config, base, training)
    # All processes hold the same model; several writers would overwrite one folder.
    if rank():
        return {}
    card = PrmCard(
        template=template,
        step_end=base.step_end,
        step_token=base.tokenizer.convert_ids_to_tokens(base.step_end),
        max_length=base.max_length,
        base_model=config.model,
        dataset_digest=dataset_digest,
        label_kind=kinds.most_common(1)[0][0],
        targets=config.targets,
    )
    prm, held_out = calibrate(PRM(model, base.tokenizer, card), holdout)
    metrics = {
        "solutions": len(training),
        "holdout_solutions": len(holdout),
        "left_out": dict(counts),
        "unknown": round(unknown, 4),
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


def preview(rows: Iterable[LabelledSolution], config: TrainConfig, template: str) -> dict[str, Any]:
    """What `train_prm` would learn from, without weights: counts, and the first row token by token.

    UserError as in `train_prm`, but for what only its weights can show.
    """
    kept = list(rows)
    checked = check_base(config, template, (row.problem.text for row in kept))
    base = open_base(config)
    examples, counts, _, unknown = prepare(kept, config, base, template)
    training, holdout = split(examples, config)
    if not training:
        raise UserError(_nothing_left(counts, len(holdout)))
    return {
        **{name: checked[name] for name in ("model", "type", "step_token", "max_length")},
        "solutions": len(training),
        "holdout_solutions": len(holdout),
        "left_out": dict(counts),
        "unknown": round(unknown, 4),
        "labelled_steps": _labelled(training),
        "longest": max(len(example.ids) for example in examples),
        "first_row": describe(training[0], base.tokenizer),
    }


def _nothing_left(left_out: Counter[str], held_out: int) -> str:
    """What to say where no solution is left to train on."""
    total = left_out.total() + held_out
    why = [f"{n:,} {_REASONS[reason]}" for reason, n in left_out.most_common()]
    if held_out:
        why.append(f"{held_out:,} are held out for the calibration (lower train.holdout)")
    if not why:
        return "no labelled solution to train on: the run has no solutions at all"
    return f"no labelled solution to train on; of {total:,} solutions {'; '.join(why)}"


def describe(example: Example, tokenizer: Any) -> list[str]:
    """The tokens of a row as the model reads them, one a line, with the target where there is one."""
    targets = dict(zip(example.ends, example.targets, strict=True))
    lines = []
    for at, token in enumerate(example.ids):
        target = "no label" if targets.get(at) is None else f"{targets[at]:g}"
        shown = f"  <- {target}" if at in targets else ""
        lines.append(f"{at:5d} {token:7d} {tokenizer.decode([token])!r}{shown}")
    return lines


def prepare(
    rows: Iterable[LabelledSolution], config: TrainConfig, base: Base, template: str
) -> tuple[list[Example], Counter[str], Counter[str], float]:
    """Examples, how many rows were left out and why, the label kinds seen, and the share of unknown text.

    UserError when the base's tokenizer cannot read the rows.
    """
    encoder, texts = base.encoder(template), list[str]()
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
            steps = row.solution.step_texts()
            if len(texts) < SAMPLE:
                texts.append("\n".join((row.problem.text, *steps)))
            try:
                encoded = encoder.encode(row.problem.text, steps)
            except UserError:
                left_out["unreadable"] += 1
                continue
            if len(encoded.ids) > base.max_length:
                left_out["too long"] += 1
                continue
            kinds.update(label.kind for label in row.labels)
            examples.append(Example(encoded.ids, encoded.ends, targets, row.problem.id))
    if left_out:
        log.info("left out of training: %s", dict(left_out))
    return examples, left_out, kinds, refuse_unread(base, texts)


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
    # `mask` is what we train with; the others are there for comparison: Math-Shepherd's is `zero`, PRM800K's
    # is `cut`.
    known, n_after = kept[: first_error + 1], len(kept) - first_error - 1
    match policy:
        case "cut":
            return known
        case "zero":
            return [*known, *[0.0] * n_after]
        case _:
            return [*known, *[None] * n_after]


def learnable(example: Example) -> Example:
    """The example up to its last target. The model reads ahead of no token, so no loss depends on the rest:
    what follows a first error is one token in seventeen of the embedded default."""
    n = 1 + max(i for i, target in enumerate(example.targets) if target is not None)
    return replace(
        example,
        ids=example.ids[: example.ends[n - 1] + 1],
        ends=example.ends[:n],
        targets=example.targets[:n],
    )


def split(examples: list[Example], config: TrainConfig) -> tuple[list[Example], list[Example]]:
    """Training and holdout. A problem's side depends on its id and the seed alone: more data moves none."""
    parts: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        # The hash as a number from 0 to 1: a problem is held out if it falls below the share.
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
    # Two logits under a softmax are one under a sigmoid; float32, since a sum of many small losses loses
    # digits in bfloat16.
    margin = (logits[..., 1] - logits[..., 0]).float()[known]
    total = functional.binary_cross_entropy_with_logits(margin, labels[known].float(), reduction="sum")
    return total / (known.sum().clamp(min=1) if n_items is None else n_items)


def _fit(config: TrainConfig, base: Base, training: list[Example]) -> tuple[Any, int, float]:
    """The trained model, the number of updates, and the mean training loss.

    UserError when the loss or a weight stops being a number.
    """
    set_seed(config.seed)
    model = open_model(base)
    data: Any = [{"input_ids": e.ids, "ends": e.ends, "targets": e.targets} for e in training]
    pad = base.tokenizer.pad_token_id or 0

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        found = soft_loss(outputs.logits, labels, num_items_in_batch)
        if not bool(found.isfinite()):
            raise astray(config)
        return found

    with fresh_folder() as scratch:
        trainer = Trainer(
            model=model,
            args=training_arguments(config, str(scratch)),
            train_dataset=data,
            data_collator=lambda batch: collate(batch, pad),
            compute_loss_func=loss,
        )
        return run_trainer(trainer, config)


def run_trainer(trainer: Trainer, config: TrainConfig) -> tuple[Any, int, float]:
    """Train; returns the model, the number of updates and the mean loss. UserError when that is no number."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if sys.stderr.isatty() and not rank():
        trainer.add_callback(Bar())
    result = trainer.train()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # each process goes on alone
    weights = trainer.model.parameters()
    if not math.isfinite(result.training_loss) or not all(bool(w.isfinite().all()) for w in weights):
        raise astray(config)
    return trainer.model, result.global_step, round(result.training_loss, 5)


def astray(config: TrainConfig) -> UserError:
    """What to say when a training has left the numbers."""
    return UserError(
        f"the training diverged: its loss or a weight is not a number any more; nothing was written. Lower "
        f"learning_rate, now {config.learning_rate:g}"
    )


class Bar(ProgressCallback):  # type: ignore[misc, unused-ignore]
    """A progress bar without the log lines that the library writes into it."""

    def on_log(self, *_: Any, **__: Any) -> None:
        """Say nothing: the figures go to `metrics.json`."""


def training_arguments(config: TrainConfig, scratch: str) -> TrainingArguments:
    """The Trainer's settings for ours; `scratch` is for what it insists on writing."""
    share = per_process(config)
    at_once = share
    if not torch.cuda.is_available():  # equal parts, as large as may be
        at_once = max(n for n in range(1, _AT_ONCE + 1) if share % n == 0)
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=share // at_once,
        # Solutions of like length share a batch: little padding, at the price of a less random order.
        train_sampling_strategy="group_by_length",
        lr_scheduler_type="linear",
        # A share below 1 is of all updates. A new head gives large gradients at first, which would spoil the
        # base.
        warmup_steps=0.1,
        max_grad_norm=1.0,
        # Few epochs over a small dataset: decay would only pull the base away from what it knows.
        weight_decay=0.0,
        seed=config.seed,
        # The result is written once, whole, by `_publish`.
        save_strategy="no",
        logging_strategy="no",
        # The library would replace a loss that is no number by the mean before; we stop on it instead.
        logging_nan_inf_filter=False,
        report_to="none",
        # The collator needs `ends` and `targets`, which no model takes as arguments.
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
    )


def per_process(config: TrainConfig) -> int:
    """Solutions of an optimiser step that each process of `torchrun` reads. UserError when they do not share
    evenly."""
    share, rest = divmod(config.batch_size, world())
    if rest:
        raise UserError(
            f"train.batch_size = {config.batch_size} cannot be shared by {world()} processes: it is the "
            "solutions of one optimiser step, over all of them"
        )
    return share


def _labelled(examples: list[Example]) -> int:
    return sum(target is not None for example in examples for target in example.targets)


def _publish(prm: PRM, metrics: dict[str, Any], out: Path) -> None:
    """A run cut short never leaves half a checkpoint."""
    with replacing_folder(out) as part:
        prm.save(part)
        write_json(part / "metrics.json", metrics)
