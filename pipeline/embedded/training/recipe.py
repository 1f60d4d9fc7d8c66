"""Train the embedded models from nothing: `python -m pipeline.embedded.training.recipe --out DIR`.

First the policy learns to solve and then to review; then the reader (see `reading`) is made of it. The reader
in the repository comes from another run than the policy, because a reader made of the policy overlooks that
policy's own mistakes. Look-ups and bare equations come first, then problems of growing length; every batch
holds texts of like length, so almost no token is padding. Everything is float32: on processors without fast
bfloat16 it is quicker, and it costs nothing elsewhere. The run is seeded; another processor rounds otherwise
and gives other models of the same ability.
"""

import argparse
import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from pipeline.embedded.problems import lessons
from pipeline.embedded.problems.language import PIECES, build_tokenizer
from pipeline.embedded.problems.lessons import Lesson
from pipeline.embedded.training.layer_init import add_nothing, look_back
from pipeline.embedded.training.reading import Doubts, Reader, Readings, deepened
from pipeline.policies.transformers.library import pad_right, quiet
from pipeline.storage.atomic import fresh_folder

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parents[1]
Stage = Literal["solve", "review", "read"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class Recipe:
    """What the training run is; the defaults made the checkpoint in the repository."""

    tokens: int = 24_000_000
    """Tokens of the first stage, padding left out: to solve."""
    review_tokens: int = 4_000_000
    """Tokens of the second stage: to review by redoing each step, which needs the solver first."""
    read_tokens: int = 7_000_000
    """Tokens of the third stage: the reader's."""
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
    rate_read: float = 0.5
    """The same of the third: at the full rate the reader forgets what it was made of."""
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
        # A smaller head makes the first guesses nearly even, so that training does not begin by unlearning
        # them.
        model.lm_head.weight.mul_(0.5)
        add_nothing(model.model.layers)
        look_back(model, (1, 2, 3))
    return model


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
        # A few look-ups and equations stay in to the end, or they would be forgotten.
        if kind < (0.7 if early else 0.04):
            return lessons.recalling(rng)
        if early or kind < 0.08:
            return lessons.calculating(rng)
        progress = (seen - recipe.recall_tokens) / recipe.tokens
        # Problems of 1 or 2 steps first; after half of the tokens of all lengths up to 8.
        posed = lessons.case(rng, rng.randint(1, min(8, 2 + int(12 * progress))))
        # A model that cannot solve yet learns nothing from a review.
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


class HasIds(Protocol):
    """Anything made of token ids."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        ...


Item = TypeVar("Item", bound=HasIds)


def batches(text: Callable[[int], Item], recipe: Recipe, tokens: int) -> Iterator[tuple[float, list[Item]]]:
    """Progress and a batch of like-length texts, until `tokens` are spent.

    `text` gives one when so many tokens have gone by.
    """
    rng = random.Random(recipe.seed)
    seen = 0
    while seen < tokens:
        # 600 texts are some dozens of batches: enough to sort by length, few enough to keep the curriculum's
        # order.
        pool = sorted((text(seen) for _ in range(600)), key=lambda one: len(one.ids))
        groups: list[list[Item]] = [[]]
        for one in pool:
            if (len(groups[-1]) + 1) * len(one.ids) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(one)
        rng.shuffle(groups)
        for group in groups:
            if seen >= tokens:
                return
            seen += sum(len(one.ids) for one in group)
            yield min(1.0, seen / tokens), group


def tensors(group: list[Text], pad: int) -> tuple[Tensor, Tensor]:
    """Padded ids, and the weight of each as a target; both (batch, length)."""
    return pad_right([text.ids for text in group], pad), pad_right([text.weights for text in group], 0.0)


def learning_rate(progress: float) -> float:
    """Factor on the rates: a short warm-up, a plateau, then a straight line to zero over the last 70%."""
    return min(1.0, progress / 0.01, (1.0 - progress) / 0.7 + 0.01)


def train(recipe: Recipe, out: Path, *, device: str, first: Stage = "solve") -> dict[str, float]:
    """Train and save `checkpoint` and `reader` in `out`; returns the loss at every stage's end.

    Stages before `first` are taken from what `out` holds.
    """
    tokenizer, began = build_tokenizer(), time.monotonic()
    policy, figures = out / "checkpoint", dict[str, float]()
    stages = STAGES[STAGES.index(first) :]
    if first == "solve":
        model = build_model(recipe, tokenizer).to(device)
    else:
        model = LlamaForCausalLM.from_pretrained(policy, dtype=torch.float32).to(device)
    for stage in stages[:-1]:
        curriculum = Curriculum(tokenizer, recipe, second=stage == "review")
        budget, share = (
            (recipe.tokens, 1.0) if stage == "solve" else (recipe.review_tokens, recipe.rate_second)
        )
        figures[stage] = _stage(
            model,
            batches(curriculum.text, recipe, budget),
            lambda group: language_loss(model, group, tokenizer.pad_token_id),
            rate=recipe.rate * share,
            save=lambda: _save(model, tokenizer, policy),
        )
    readings = Readings(tokenizer, recipe.seed + 2)
    doubts = Doubts(model, tokenizer, recipe.seed + 3)
    reader = Reader(deepened(model, recipe.seed), tokenizer.get_vocab()["\n"]).to(device)
    figures["read"] = _stage(
        reader,
        batches(lambda _: readings.text(), recipe, recipe.read_tokens),
        lambda group: reader.loss(doubts.replaced(group), tokenizer.pad_token_id),
        rate=recipe.rate * recipe.rate_read,
        save=lambda: _save(reader.base().to(torch.bfloat16), tokenizer, out / "reader"),
    )
    return {**figures, "seconds": round(time.monotonic() - began)}


def _stage(
    model: torch.nn.Module,
    stream: Iterator[tuple[float, list[Item]]],
    loss_of: Callable[[list[Item]], Tensor],
    *,
    rate: float,
    save: Callable[[], None],
) -> float:
    """Train through one stage, saving at every tenth of it; returns the smoothed loss at its end."""
    # Muon is made for the matrices inside layers; embeddings, biases and the head learn by AdamW, as its
    # authors advise.
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    inside = set(map(id, matrices))
    others = [p for p in model.parameters() if id(p) not in inside]
    optimizers = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=rate / 10, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    start, tokens, smooth, saved = time.monotonic(), 0, math.nan, 0
    for step, (progress, group) in enumerate(stream):
        for optimizer, peak in zip(optimizers, (rate, rate / 10), strict=True):
            optimizer.param_groups[0]["lr"] = peak * learning_rate(progress)
        loss = loss_of(group)
        _update(model, optimizers, loss)
        tokens += sum(len(one.ids) for one in group)
        value = loss.item()
        # The mean of about the last 50 batches: single ones differ by their lengths.
        smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
        if int(10 * progress) > saved:  # a run cut short still leaves a model
            saved = int(10 * progress)
            save()
        if step % 50 == 0:
            speed = tokens / (time.monotonic() - start)
            log.info("%5.1f%% loss %.4f, %.0f tokens/s", 100 * progress, smooth, speed)
    return round(smooth, 4)


def _update(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], loss: Tensor) -> None:
    loss.backward()
    # One odd batch must not undo what thousands have taught.
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def language_loss(model: LlamaForCausalLM, group: list[Text], pad: int) -> Tensor:
    """Weighted mean cross-entropy of the next token."""
    ids, weights = (t.to(model.device) for t in tensors(group, pad))
    # Right padding under a causal mask never reaches a real token, so no attention mask is passed.
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return losses @ weights[:, 1:].flatten() / weights.sum()


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write beside `out`, then rename file by file: a reader of `out` never maps half a file."""
    out.mkdir(parents=True, exist_ok=True)
    with fresh_folder(out.parent) as part:
        with quiet():
            model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        for file in part.iterdir():
            file.replace(out / file.name)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded policy and reader from nothing.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="gets checkpoint/ and reader/")
    parser.add_argument(
        "--tokens", type=int, default=Recipe.tokens, help="tokens of the first stage (default: %(default)s)"
    )
    parser.add_argument(
        "--first", choices=STAGES, default="solve", help="begin with this stage, from what --out holds"
    )
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="of everything (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    figures = train(
        Recipe(tokens=args.tokens, seed=args.seed), args.out, device=args.device, first=args.first
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
