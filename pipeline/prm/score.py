"""Score every step of a solution with a process reward model, in plain transformers.

This file stands beside the checkpoint and needs nothing but torch and transformers:

    python score.py "What is 2 + 3 + 4?" "2 + 3 = 5." "5 + 4 = 10."

It prints P(step is right) for each step. Import `load` and `Reader` to score from Python.
"""

import json
import re
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel
from transformers.modeling_layers import GenericForTokenClassification
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
)
from transformers.utils.logging import disable_progress_bar

MOST_UNREAD = 0.1
"""Share of a text that a model may not know: with more it scores words it never saw, all by one token."""
UNREAD = (
    "the tokenizer of this PRM reads more than a tenth of a solution as unknown tokens: such scores mean "
    "nothing; take a PRM whose base knows these words"
)


def classifier(config: Any) -> Any:
    """The class of the model: token classification, made here for families that have no such class.

    KeyError when the configuration is of no causal language model.
    """
    if type(config) in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING:
        return MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING[type(config)]
    causal = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    # The family's own base class holds its weight initialisation and names; the head goes on top of it.
    family = next(base for base in causal.__mro__ if PreTrainedModel in base.__bases__)
    name = (
        re.sub("(ForCausalLM|LMHeadModel|ModelWithLMHead)$", "", causal.__name__) + "ForTokenClassification"
    )
    about = {"config_class": type(config), "base_model_prefix": family.base_model_prefix or "model"}
    return type(name, (_Headed, family), about)


class _Headed(GenericForTokenClassification):  # type: ignore[misc, unused-ignore]
    """A language model under one linear head, `score`: two logits at every token."""

    def forward(self, input_ids: Any, **others: Any) -> TokenClassifierOutput:
        read = getattr(self, self.base_model_prefix)(input_ids, **others)
        return TokenClassifierOutput(logits=self.score(self.dropout(read.last_hidden_state)))


def special_tokens(tokenizer: Any) -> set[str]:
    """Names of the tokens that are no text."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {*tokenizer.all_special_tokens, *(str(token) for token in added if token.special)}


class Reader:
    """Problem and steps to token ids, as in training: every step is tokenised alone and closed by one token.

    Names of control tokens that stand in a text stay text: it is cut inside them before it is tokenised.
    """

    def __init__(self, tokenizer: Any, template: str, step_end: int) -> None:
        self.tokenizer, self._template, self._step_end = tokenizer, template, step_end
        names = special_tokens(tokenizer)
        self._is_unique = tokenizer.convert_ids_to_tokens(step_end) in names
        self._names = sorted(name.lower() for name in names if len(name) > 1)

    def encode(self, problem: str, steps: Any) -> tuple[list[int], list[int]]:
        """Token ids, and the position of every step's last token.

        ValueError for a step without text, and for a text that holds the step-end token however it is cut.
        """
        # The template is tokenised as one text with the problem in it, cut only where the problem names a
        # control token.
        text, cuts = "", [0]
        for part in re.split(r"(\{problem\})", self._template):
            if part == "{problem}":
                cuts += [len(text) + cut for cut in self._cuts(problem)]
            text += problem if part == "{problem}" else part
        ids: list[int] = []
        for start, end in pairwise([*cuts, len(text)]):
            ids += self.tokenizer.encode(text[start:end], add_special_tokens=start == 0)
            if start == 0 and ids and ids[-1] == self.tokenizer.eos_token_id:
                ids.pop()  # an encoder's habit; after an end there is nothing to continue
        bos = self.tokenizer.bos_token_id
        if bos is not None:
            ids = [bos, *ids[sum(id == bos for id in ids[:2]) :]]  # one, whatever template and tokenizer add
        ends = []
        for index, step in enumerate(steps):
            if not step.strip():
                raise ValueError(f"step {index} of a solution is empty: a PRM can only score text")
            ids += [*self._ids(step), self._step_end]
            ends.append(len(ids) - 1)
        if self._is_unique and ids.count(self._step_end) > len(ends):
            raise ValueError("the token that closes steps also stands inside them")
        return ids, ends

    def _ids(self, text: str) -> list[int]:
        pieces = (text[start:end] for start, end in pairwise([0, *self._cuts(text), len(text)]))
        return [i for piece in pieces for i in self.tokenizer.encode(piece, add_special_tokens=False)]

    def _cuts(self, text: str) -> list[int]:
        lower = text.lower()
        named = [f"(?={re.escape(name)})" for name in self._names if name in lower]
        return sorted({m.start() + 1 for name in named for m in re.finditer(name, text, re.IGNORECASE)})


def unread(tokenizer: Any, texts: Sequence[str]) -> float:
    """Share of the characters, spaces apart, that no known token stands for; 0 for no text at all."""
    missed = total = 0
    unknown = tokenizer.unk_token_id  # looked up once: the library searches for it at every asking
    for text in texts:
        seen = bytearray(len(text))
        if tokenizer.is_fast:
            found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            for token, (start, end) in zip(found["input_ids"], found["offset_mapping"], strict=True):
                if token != unknown:
                    seen[start:end] = b"\1" * (end - start)
        else:  # no offsets: as if all tokens were equally long
            ids = tokenizer.encode(text, add_special_tokens=False)
            known = sum(token != unknown for token in ids)
            seen[: len(text) * known // max(1, len(ids))] = b"\1" * (len(text) * known // max(1, len(ids)))
        solid = [not character.isspace() for character in text]
        total += sum(solid)
        missed += sum(is_solid and not hit for is_solid, hit in zip(solid, seen, strict=True))
    return missed / max(1, total)


def warn_of_unread(tokenizer: Any, ids: Sequence[int], texts: Sequence[str]) -> None:
    """Warn of texts that the tokenizer hardly knows, once and not for each of them. `ids` are theirs: where
    no token is unknown, which is soon seen, the texts are not measured."""
    if tokenizer.unk_token_id in ids and unread(tokenizer, texts) > MOST_UNREAD:
        warnings.warn(UNREAD, stacklevel=2)


def load(folder: Path) -> tuple[Any, Reader, dict[str, Any]]:
    """Model, reader and card (`prm.json`) of a checkpoint."""
    card = json.loads((folder / "prm.json").read_text(encoding="utf-8"))
    reader = Reader(AutoTokenizer.from_pretrained(folder), card["template"], card["step_end"])
    model = classifier(AutoConfig.from_pretrained(folder)).from_pretrained(folder, dtype=torch.float32)
    return model.eval(), reader, card


def score(model: Any, reader: Reader, card: dict[str, Any], problem: str, steps: list[str]) -> list[float]:
    """P(right) of every step. Keep to `card["max_length"]` tokens: the model was trained with no more."""
    ids, ends = reader.encode(problem, steps)
    warn_of_unread(reader.tokenizer, ids, [problem, *steps])
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, ends].double()
    margins = logits[:, 1] - logits[:, 0]  # label 1 is right
    return torch.sigmoid(card["a"] * margins + card["b"]).tolist()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python score.py PROBLEM STEP [STEP ...]")
    disable_progress_bar()  # else transformers draws one even into a log
    print(json.dumps(score(*load(Path(__file__).parent), sys.argv[1], sys.argv[2:])))
