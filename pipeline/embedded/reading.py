"""The base for PRMs: the embedded model, three layers deeper, taught to notice what should not stand there.

A policy knows its own slips: the token it wrote was not the one it thought likely. But it learns to write,
not to look back at what it wrote, and a few hundred labelled solutions do not teach that. So this model
learns to tell a replaced token from the one that belongs there (ELECTRA, arXiv 2003.10555, with a causal
mask), at every token of solutions with planted mistakes, and whether a step answers the question. Both heads
are thrown away: where a step goes wrong for good is left to be learnt from labels.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.embedded import misread
from pipeline.embedded.language import PIECES
from pipeline.embedded.lessons import SOLVE, case
from pipeline.embedded.looking import look_back
from pipeline.rollouts import fill

LAYERS = 3
"""Added to the policy's: one to compare, one to gather over a step, one to spare."""
_UNMARKED = -1.0
_STEP_END = 4.0
"""Weight of a step's end in the loss, where a PRM will be asked."""


@dataclass(frozen=True)
class Marked:
    """Token ids, and for each of them two marks: a mistake stands here or before it in this step; the step
    answers the question. What is unmarked (-1) is not learnt."""

    ids: list[int]
    mistaken: list[float]
    answers: list[float]


def deepened(policy: LlamaForCausalLM, seed: int) -> LlamaForCausalLM:
    """The same model with more layers, which add nothing yet, and two of whose heads look back."""
    torch.manual_seed(seed)
    n = policy.config.num_hidden_layers
    config = LlamaConfig.from_dict({**policy.config.to_dict(), "num_hidden_layers": n + LAYERS})
    model = LlamaForCausalLM(config).float()
    model.load_state_dict(policy.state_dict(), strict=False)
    with torch.no_grad():
        for layer in model.model.layers[n:]:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        look_back(model, (1, 2), layer=n)
    return model


class Readings:
    """An endless stream of solutions to read."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._rng, self._vocabulary = random.Random(seed), tokenizer.get_vocab()
        self._bos = tokenizer.bos_token_id

    def text(self) -> Marked:
        """One solution with its problem before it."""
        posed = case(self._rng, self._rng.randint(1, 8))
        ids = [self._bos, *self._pieces(fill(SOLVE, problem=posed.text))]
        mistaken, answers = [_UNMARKED] * len(ids), [_UNMARKED] * len(ids)
        for step in misread.solution(posed, self._rng):
            pieces = self._pieces(step.text + "\n")
            ids += pieces
            at = len(pieces) if step.mistaken_from is None else step.mistaken_from
            mistaken += [float(i >= at) for i in range(len(pieces))]
            answers += [*[_UNMARKED] * (len(pieces) - 1), float(step.answers)]
        return Marked(ids, mistaken, answers)

    def _pieces(self, text: str) -> list[int]:
        return [self._vocabulary[piece] for piece in PIECES.findall(text)]


class Reader(torch.nn.Module):
    """The deepened model under two heads."""

    def __init__(self, model: LlamaForCausalLM, step_end: int) -> None:
        super().__init__()
        self.model, self._step_end = model, step_end
        self.heads = torch.nn.Linear(model.config.hidden_size, 2)

    def loss(self, group: Sequence[Marked], pad: int) -> Tensor:
        """Mean cross-entropy over the marks, step ends counting more."""
        width = max(len(text.ids) for text in group)
        ids = torch.tensor([text.ids + [pad] * (width - len(text.ids)) for text in group])
        marks = torch.tensor(
            [
                [row + [_UNMARKED] * (width - len(row)) for row in (text.mistaken, text.answers)]
                for text in group
            ]
        ).transpose(1, 2)
        ids, marks = ids.to(self.model.device), marks.to(self.model.device)
        logits = self.heads(self.model.model(input_ids=ids, use_cache=False).last_hidden_state)
        losses = functional.binary_cross_entropy_with_logits(logits, marks.clamp(min=0.0), reduction="none")
        weights = (marks != _UNMARKED) * torch.where(ids == self._step_end, _STEP_END, 1.0)[..., None]
        return (losses * weights).sum() / weights.sum()
