"""The base for PRMs: the embedded model with three more layers, taught to notice misplaced tokens.

A policy gives a low probability to many of its own slips. But it learns to write and not to look back at what
it wrote, and a few hundred labelled solutions do not teach that. So this model
learns to tell a replaced token from the one that belongs there (ELECTRA, arXiv 2003.10555, with a causal
mask), at every token of solutions with planted mistakes, and whether a step answers the question. The result
is a token-classification checkpoint from which PRM training goes on. Labels then teach it when a misplaced
token makes a step wrong.

As in ELECTRA, a generator writes the hardest replacements. Here it is the policy itself: a reader made
of the policy overlooks the mistakes that the policy makes, and random mistakes seldom look like those.
"""

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from pipeline.embedded.problems.language import PIECES
from pipeline.embedded.problems.lessons import SOLVE, case
from pipeline.embedded.training import misread
from pipeline.embedded.training.layer_init import add_nothing, look_back
from pipeline.policies.transformers.library import pad_right
from pipeline.prm.model import two_labels
from pipeline.prompts.filling import fill

LAYERS = 3
"""Added to the policy's: one to compare, one to gather over a step, one to spare."""
_UNMARKED = -1.0
_STEP_END = 4.0
"""Weight of a step's end in the loss, where a PRM will be asked."""
_PLACES, _TAKEN = 2, 0.7
"""At most so many tokens of a right solution are replaced, each with this probability."""


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
        add_nothing(model.model.layers[n:])
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


class Doubts:
    """The tokens of right solutions that a policy is least sure of, replaced by what else it might write."""

    def __init__(self, policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._policy, self._pad = policy, tokenizer.pad_token_id
        self._draw = torch.Generator(policy.device).manual_seed(seed)
        self._step_end = tokenizer.get_vocab()["\n"]
        kept = [*tokenizer.all_special_tokens, "\n", "#", " #"]  # where steps and the answer stand is given
        self._free = torch.ones(len(tokenizer), dtype=torch.bool, device=policy.device)
        self._free[tokenizer.convert_tokens_to_ids(kept)] = False

    @torch.no_grad()
    def replaced(self, group: Sequence[Marked]) -> list[Marked]:
        """The same texts; those without a mistake get some, each drawn by the policy's own probabilities."""
        found = list(group)
        plain = [index for index, text in enumerate(group) if 1.0 not in text.mistaken]
        if not plain:
            return found
        ids = pad_right([group[i].ids for i in plain], self._pad).to(self._policy.device)
        marks = pad_right([group[i].mistaken for i in plain], _UNMARKED).to(self._policy.device)
        others = self._policy(input_ids=ids, use_cache=False).logits[:, :-1].softmax(-1) * self._free
        # The token that stands there is no replacement.
        others.scatter_(2, ids[:, 1:, None], 0.0)
        # A trace of chance everywhere: some solutions leave no doubt at all.
        doubt = (others.sum(-1) + 1e-7) * self._free[ids[:, 1:]] * (marks[:, 1:] != _UNMARKED)
        # Drawn in proportion to the doubt: mistakes fall where the policy itself would slip.
        places = torch.multinomial(doubt, _PLACES, generator=self._draw)
        words = torch.multinomial(
            others.gather(1, places[..., None].expand(-1, -1, others.shape[2])).flatten(0, 1),
            1,
            generator=self._draw,
        ).view_as(places)
        taken = torch.rand(places.shape, generator=self._draw, device=places.device) < _TAKEN
        for row, index in enumerate(plain):
            swaps = zip(places[row][taken[row]].tolist(), words[row][taken[row]].tolist(), strict=True)
            found[index] = self._swapped(group[index], [(place + 1, word) for place, word in swaps])
        return found

    def _swapped(self, text: Marked, swaps: Sequence[tuple[int, int]]) -> Marked:
        ids, mistaken = list(text.ids), list(text.mistaken)
        for place, word in swaps:
            # From the replaced token to the end of its step everything is marked as mistaken; the next step
            # starts anew.
            end = text.ids.index(self._step_end, place) + 1
            ids[place], mistaken[place:end] = word, [1.0] * (end - place)
        return Marked(ids, mistaken, text.answers)


class Reader(torch.nn.Module):
    """The deepened model under two heads: for mistakes, and for answers."""

    def __init__(self, model: LlamaForCausalLM, step_end: int) -> None:
        super().__init__()
        self.model, self._step_end = model, step_end
        self.heads = torch.nn.Linear(model.config.hidden_size, 2)

    def loss(self, group: Sequence[Marked], pad: int) -> Tensor:
        """Mean cross-entropy over the marks, step ends counting more."""
        device = self.model.device
        ids = pad_right([text.ids for text in group], pad).to(device)
        rows = ([text.mistaken for text in group], [text.answers for text in group])
        marks = torch.stack([pad_right(row, _UNMARKED) for row in rows], dim=2).to(device)
        logits = self.heads(self.model.model(input_ids=ids, use_cache=False).last_hidden_state)
        losses = functional.binary_cross_entropy_with_logits(logits, marks.clamp(min=0.0), reduction="none")
        weights = (marks != _UNMARKED) * torch.where(ids == self._step_end, _STEP_END, 1.0)[..., None]
        return (losses * weights).sum() / weights.sum()

    def base(self) -> LlamaForTokenClassification:
        """A base for PRMs: the model, its first head (less the bias) telling "wrong" from "right"."""
        model = LlamaForTokenClassification(two_labels(copy.deepcopy(self.model.config)))
        model.model.load_state_dict(self.model.model.state_dict())
        with torch.no_grad():
            # The logit of "mistaken" becomes two, half of it for "wrong" and minus half for "right".
            wrong = self.heads.weight[0] / 2
            model.score.weight.copy_(torch.stack([wrong, -wrong]))
        return model
