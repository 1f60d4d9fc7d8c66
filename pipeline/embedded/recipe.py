"""Train the embedded language model from nothing: `python -m pipeline.embedded.recipe --out DIR`.

Short problems come first and bare equations with them; every batch holds texts of like length, so almost no
token is padding. Everything is float32: on processors without fast bfloat16 it is quicker, and it costs
nothing elsewhere. The run is seeded; another processor's rounding gives a slightly different model of the
same ability.
"""

import argparse
import json
import logging
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.embedded.language import PIECES, build_tokenizer
from pipeline.embedded.lessons import drill, lesson

log = logging.getLogger(__name__)
CHECKPOINT = Path(__file__).parent / "checkpoint"


@dataclass(frozen=True)
class Recipe:
    """What the training run is; the defaults made the checkpoint in the repository."""

    tokens: int = 9_000_000
    """Tokens seen, padding left out."""
    batch_tokens: int = 4096
    hidden: int = 128
    layers: int = 5
    heads: int = 4
    feed_forward: int = 384
    rate: float = 0.01
    """Muon's learning rate for the matrices; embeddings and gains use AdamW at a tenth of it."""
    seed: int = 20


@dataclass(frozen=True)
class Text:
    """Token ids, and for each whether the loss covers it."""

    ids: list[int]
    learn: list[bool]


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A freshly initialised model of the recipe's shape."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.04,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config).float()


class Curriculum:
    """An endless stream of texts whose length and mixture depend on how much has been learnt."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._rng = random.Random(seed)
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._bos, self._eos = tokenizer.bos_token_id, tokenizer.eos_token_id

    def text(self, progress: float) -> Text:
        """One text at `progress` (0 to 1) through the run."""
        if self._rng.random() < max(0.03, 0.4 - 2.0 * progress):
            return self._encode("", drill(self._rng), None)
        hardest = min(8, 2 + int(12 * progress))
        prompt, reply, spans = lesson(self._rng, self._rng.randint(1, hardest))
        return self._encode(prompt, reply, spans)

    def _encode(self, prompt: str, reply: str, spans: list[tuple[int, int]] | None) -> Text:
        ids, learn = [self._bos], [False]
        ids += (known := [self._vocabulary[piece] for piece in PIECES.findall(prompt)])
        learn += [False] * len(known)
        for piece in PIECES.finditer(reply):
            ids.append(self._vocabulary[piece.group()])
            if spans is None:  # a drill: only the results can be known
                learn.append(bool(re.search(r"= ?\d*$", reply[: piece.start()])) or piece.group() == "\n")
            else:
                learn.append(any(a <= piece.start() and piece.end() <= b for a, b in spans))
        return Text([*ids, self._eos], [*learn, spans is not None])


def batches(curriculum: Curriculum, recipe: Recipe) -> Iterator[tuple[float, list[Text]]]:
    """Progress and a batch of like-length texts, until the token budget is spent."""
    rng = random.Random(recipe.seed)
    seen = 0
    while seen < recipe.tokens:
        pool = sorted(
            (curriculum.text(seen / recipe.tokens) for _ in range(2000)), key=lambda text: len(text.ids)
        )
        groups: list[list[Text]] = [[]]
        for text in pool:
            if (len(groups[-1]) + 1) * len(text.ids) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(text)
        rng.shuffle(groups)
        for group in groups:
            seen += sum(len(text.ids) for text in group)
            yield min(1.0, seen / recipe.tokens), group


def tensors(group: list[Text], pad: int) -> tuple[Tensor, Tensor]:
    """Padded ids and targets (-100 where nothing is learnt), both (batch, length)."""
    width = max(len(text.ids) for text in group)
    ids = torch.full((len(group), width), pad)
    targets = torch.full((len(group), width), -100)
    for row, text in enumerate(group):
        known = torch.tensor(text.ids)
        ids[row, : len(text.ids)] = known
        targets[row, : len(text.ids)] = torch.where(torch.tensor(text.learn), known, -100)
    return ids, targets


def learning_rate(progress: float) -> float:
    """Factor on the rates: a short warm-up, a plateau, then a straight line to zero over the last 70%."""
    return min(1.0, progress / 0.01, (1.0 - progress) / 0.7 + 0.01)


def train(recipe: Recipe, out: Path, *, device: str) -> dict[str, float]:
    """Train and save; returns the figures of the run."""
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer).to(device)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [
        torch.optim.Muon(matrices, lr=recipe.rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=recipe.rate / 10, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peaks = [recipe.rate, recipe.rate / 10]
    start, tokens, smooth, saved = time.monotonic(), 0, math.nan, 0
    for step, (progress, group) in enumerate(batches(Curriculum(tokenizer, recipe.seed), recipe)):
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * learning_rate(progress)
        loss = _update(model, optimizers, *(t.to(device) for t in tensors(group, tokenizer.pad_token_id)))
        tokens += sum(len(text.ids) for text in group)
        smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
        if int(10 * progress) > saved:  # a run cut short still leaves a model
            saved = int(10 * progress)
            _save(model, tokenizer, out)
        if step % 50 == 0:
            log.info(
                "%5.1f%% loss %.4f, %.0f tokens/s",
                100 * progress,
                smooth,
                tokens / (time.monotonic() - start),
            )
    _save(model, tokenizer, out)
    return {"tokens": tokens, "seconds": round(time.monotonic() - start), "loss": round(smooth, 4)}


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _update(
    model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], ids: Tensor, targets: Tensor
) -> float:
    # Right padding under a causal mask never reaches a real token, so no attention mask is passed.
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    loss = functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded language model from nothing.")
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument(
        "--tokens", type=int, default=Recipe.tokens, help="training tokens (default: %(default)s)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    figures = train(Recipe(tokens=args.tokens), args.out, device=args.device)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
