"""Train the embedded language model from nothing: `python -m pipeline.embedded.recipe --out DIR`.

Look-ups and bare equations come first, then problems of growing length; every batch holds texts of like
length, so almost no token is padding. Everything is float32: on processors without fast bfloat16 it is
quicker, and it costs nothing elsewhere. The run is seeded; another processor's rounding gives a slightly
different model of the same ability.
"""

import argparse
import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.embedded import lessons
from pipeline.embedded.language import PIECES, build_tokenizer
from pipeline.embedded.lessons import Lesson
from pipeline.prm import quiet

log = logging.getLogger(__name__)
CHECKPOINT = Path(__file__).parent / "checkpoint"


@dataclass(frozen=True)
class Recipe:
    """What the training run is; the defaults made the checkpoint in the repository."""

    tokens: int = 24_000_000
    """Tokens of the first stage, padding left out: to solve."""
    review_tokens: int = 4_000_000
    """Tokens of the second stage: to review by redoing each step, which needs the solver first."""
    recall_tokens: int = 800_000
    """The first so many are spent on look-ups and equations alone."""
    batch_tokens: int = 2048
    hidden: int = 128
    layers: int = 5
    heads: int = 4
    feed_forward: int = 384
    rate: float = 0.008
    """Muon's learning rate for the matrices; everything else uses AdamW at a tenth of it."""
    reviews: float = 0.35
    """Share of solutions that are reviewed in the first stage, once solving has been begun."""
    reviews_second: float = 0.75
    """The same in the second stage."""
    rate_second: float = 0.3
    """Peak rates of the second stage, as a share of the first's."""
    seed: int = 20


@dataclass(frozen=True)
class Text:
    """Token ids, and the weight of each in the loss."""

    ids: list[int]
    weights: list[float]


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A freshly initialised model of the recipe's shape.

    Words enter at unit scale and every layer adds nothing at first: at the usual scales a word is lost in
    the noise of the layers, and matching one word with another ("Tom has" with an earlier "Tom has") is not
    learnt in ten million tokens. Three heads of the first layer begin by looking one, two and three tokens
    back, the first half of such a match (induction heads, arXiv 2209.11895); with both, it takes half a
    million.
    """
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        attention_bias=True,
        initializer_range=0.04,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config).float()
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_()
        model.lm_head.weight.mul_(0.5)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        _look_back(model, (1, 2, 3))
    return model


def _look_back(model: LlamaForCausalLM, offsets: tuple[int, ...], sharpness: float = 20.0) -> None:
    """Let the first heads of the first layer attend that many tokens back, whatever the tokens are.

    Rotary positions turn constant keys and queries into a function of the distance alone: with the query
    turned back by `offset`, the score is sharpness * sum(cos((distance - offset) * frequency)).
    """
    attention = model.model.layers[0].self_attn
    size: int = attention.head_dim
    frequency = model.model.rotary_emb.inv_freq
    scale = (sharpness * size**0.5) ** 0.5
    for head, offset in enumerate(offsets):
        rows = slice(head * size, (head + 1) * size)
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[rows] = 0.0
        angle = offset * frequency
        attention.q_proj.bias[rows] = scale * torch.cat([angle.cos(), -angle.sin()])
        attention.k_proj.bias[rows] = scale * torch.cat([torch.ones_like(angle), torch.zeros_like(angle)])


class Curriculum:
    """An endless stream of texts whose length and mixture depend on how much has been learnt."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, *, second: bool = False) -> None:
        self._rng, self._recipe, self._second = random.Random(recipe.seed + second), recipe, second
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._bos, self._eos = tokenizer.bos_token_id, tokenizer.eos_token_id

    def text(self, seen: int) -> Text:
        """One text when `seen` tokens have gone by."""
        return self._encode(self._lesson(seen))

    def _lesson(self, seen: int) -> Lesson:
        rng, recipe = self._rng, self._recipe
        if self._second:
            posed = lessons.case(rng, rng.randint(1, 8))
            is_reviewed = rng.random() < recipe.reviews_second
            return lessons.reviewing(posed, rng, redone=True) if is_reviewed else lessons.solving(posed)
        kind, early = rng.random(), seen < recipe.recall_tokens
        if kind < (0.7 if early else 0.04):
            return lessons.recalling(rng)
        if early or kind < 0.08:
            return lessons.calculating(rng)
        progress = (seen - recipe.recall_tokens) / recipe.tokens
        posed = lessons.case(rng, rng.randint(1, min(8, 2 + int(12 * progress))))
        is_reviewed = progress > 0.05 and rng.random() < recipe.reviews
        return lessons.reviewing(posed, rng, redone=False) if is_reviewed else lessons.solving(posed)

    def _encode(self, lesson: Lesson) -> Text:
        ids = [self._bos, *(self._vocabulary[piece] for piece in PIECES.findall(lesson.prompt))]
        weights = [0.0] * len(ids)
        for piece in PIECES.finditer(lesson.reply):
            ids.append(self._vocabulary[piece.group()])
            inside = (w for a, b, w in lesson.spans if a <= piece.start() and piece.end() <= b)
            weights.append(next(inside, 0.0))
        return Text([*ids, self._eos], [*weights, float(lesson.ends)])


def batches(curriculum: Curriculum, recipe: Recipe, tokens: int) -> Iterator[tuple[float, list[Text]]]:
    """Progress and a batch of like-length texts, until `tokens` are spent."""
    rng = random.Random(recipe.seed)
    seen = 0
    while seen < tokens:
        pool = sorted((curriculum.text(seen) for _ in range(600)), key=lambda text: len(text.ids))
        groups: list[list[Text]] = [[]]
        for text in pool:
            if (len(groups[-1]) + 1) * len(text.ids) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(text)
        rng.shuffle(groups)
        for group in groups:
            if seen >= tokens:
                return
            seen += sum(len(text.ids) for text in group)
            yield min(1.0, seen / tokens), group


def tensors(group: list[Text], pad: int) -> tuple[Tensor, Tensor]:
    """Padded ids, and the weight of each as a target; both (batch, length)."""
    width = max(len(text.ids) for text in group)
    ids = torch.tensor([text.ids + [pad] * (width - len(text.ids)) for text in group])
    weights = torch.tensor([text.weights + [0.0] * (width - len(text.ids)) for text in group])
    return ids, weights


def learning_rate(progress: float) -> float:
    """Factor on the rates: a short warm-up, a plateau, then a straight line to zero over the last 70%."""
    return min(1.0, progress / 0.01, (1.0 - progress) / 0.7 + 0.01)


def train(recipe: Recipe, out: Path, *, device: str, start: Path | None = None) -> dict[str, float]:
    """Train and save; returns the figures of the run. `start` holds a model that has done the first
    stage."""
    tokenizer = build_tokenizer()
    began, figures = time.monotonic(), {}
    if start is None:
        model = build_model(recipe, tokenizer).to(device)
        figures["solving"] = _stage(model, tokenizer, recipe, out, second=False)
    else:
        model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32).to(device)
    figures["reviewing"] = _stage(model, tokenizer, recipe, out, second=True)
    return {**figures, "seconds": round(time.monotonic() - began)}


def _stage(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, out: Path, *, second: bool
) -> float:
    """Train through one stage, saving at every tenth of it; returns the smoothed loss at its end."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = set(map(id, matrices))
    others = [p for p in model.parameters() if id(p) not in inside]
    rate = recipe.rate * (recipe.rate_second if second else 1.0)
    optimizers = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=rate / 10, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    start, tokens, smooth, saved = time.monotonic(), 0, math.nan, 0
    budget = recipe.review_tokens if second else recipe.tokens
    stream = batches(Curriculum(tokenizer, recipe, second=second), recipe, budget)
    for step, (progress, group) in enumerate(stream):
        for optimizer, peak in zip(optimizers, (rate, rate / 10), strict=True):
            optimizer.param_groups[0]["lr"] = peak * learning_rate(progress)
        ids, weights = (t.to(model.device) for t in tensors(group, tokenizer.pad_token_id))
        loss = _update(model, optimizers, ids, weights)
        tokens += sum(len(text.ids) for text in group)
        smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
        if int(10 * progress) > saved:  # a run cut short still leaves a model
            saved = int(10 * progress)
            _save(model, tokenizer, out)
        if step % 50 == 0:
            speed = tokens / (time.monotonic() - start)
            log.info("%5.1f%% loss %.4f, %.0f tokens/s", 100 * progress, smooth, speed)
    return round(smooth, 4)


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write beside `out`, then rename file by file: a reader of `out` never maps half a file."""
    part = out.with_name(f"{out.name}.part")
    with quiet():
        model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    out.mkdir(parents=True, exist_ok=True)
    for file in part.iterdir():
        file.replace(out / file.name)
    part.rmdir()


def _update(
    model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], ids: Tensor, weights: Tensor
) -> float:
    # Right padding under a causal mask never reaches a real token, so no attention mask is passed.
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    loss = losses @ weights[:, 1:].flatten() / weights.sum()
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
        "--tokens", type=int, default=Recipe.tokens, help="tokens of the first stage (default: %(default)s)"
    )
    parser.add_argument("--start", type=Path, help="a model that has done the first stage (to solve)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    figures = train(Recipe(tokens=args.tokens), args.out, device=args.device, start=args.start)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
