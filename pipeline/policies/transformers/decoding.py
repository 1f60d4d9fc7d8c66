"""Decodes many sequences at once, in one batch; a row that a finished sequence frees is given to the next.

A small model spends its time reading the cache, and rollouts are many completions of one prompt. So a prompt
is stored once for all of its completions, and attention reads only what is in flight (`shared_cache`).
transformers' own caches copy everything for every token.
A uniform number fixed by (seed, position) selects every token. Rounding makes logits differ between batch
shapes; in float32, a token that rounding could change is sampled again from logits of its sequence alone. So
no completion depends on its batch; in half precision nearly all tokens would be, and there it may.
transformers' own batching has one seed for all: 8 of 8 completions changed beside other prompts, and none of
ours. It was 1.8 to 3.7 times slower on 16 sequences of the embedded model (bench `libraries.decoding`).
"""

import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import sdpa_mask

from pipeline.policies.base import Completion
from pipeline.policies.tokens import completion_text, cut_at_stop
from pipeline.policies.transformers.blocks import Numbers
from pipeline.policies.transformers.library import quiet
from pipeline.policies.transformers.rows import Job, Rows
from pipeline.policies.transformers.shared_cache import SharedCache
from pipeline.policies.transformers.token_sampling import sample_tokens
from schemas.errors import UserError
from schemas.records import StopReason

_PREFILL_TOKENS = 2048  # of one prefill pass, padding included; bounds the memory of its activations
# Rows that share one stored prompt. More rows would read it fewer times, but attention computes as many
# places for every prompt as the prompt with the most rows has.
_PER_PROMPT = 8


class Decoder:
    """The model and its running batch. Used by one thread only."""

    def __init__(self, model: Any, tokenizer: Any, slots: int) -> None:
        self.model, self._tokenizer = model, tokenizer
        self._device: torch.device = model.device
        self._exact = model.dtype == torch.float32
        """Whether rounding is so small that few tokens are close; only then they are sampled again alone."""
        config = model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        # Models without a list have one kind of layer: with a window (Mistral, Phi-3), or without.
        kind = "full_attention" if window is None else "sliding_attention"
        kinds = list(getattr(config, "layer_types", None) or [kind] * config.num_hidden_layers)
        if odd := set(kinds) - {"full_attention", "sliding_attention"}:
            raise UserError(f'layers of kind {", ".join(sorted(odd))}: use kind = "vllm" or "server"')
        self.rows = Rows(slots, self._device)
        self._cache = SharedCache(kinds, window)
        _set_attention(model, self._cache)
        # The cache knows what each row may see. A model passes on a mask that has four dimensions.
        seen = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self._device)
        self._mask = dict.fromkeys(kinds, seen) if len(set(kinds)) > 1 else seen
        self._ends = torch.tensor(sorted(_end_ids(model, tokenizer)), device=self._device)
        self._closers: dict[str, Tensor] = {}

    def admit(self, starts: list[tuple[Job, int]]) -> None:
        """Prefill the prompts, each once, and start their completions."""
        chains = sorted(_chains(starts), key=lambda chain: len(chain[0][0].ids))
        while chains:
            size = max(1, _PREFILL_TOKENS // max(1, len(chains[-1][0][0].ids) - 1))
            group, chains = chains[-size:], chains[:-size]
            filled = self._prefill([chain[0][0].ids[:-1] for chain in group])
            stored: list[tuple[int, int, int]] = []
            for i, chain in enumerate(group):
                for at in range(0, len(chain), _PER_PROMPT):
                    sharing = chain[at : at + _PER_PROMPT]
                    for job, index in sharing:
                        self.rows.add(job, index, self.rows.prompts + len(stored))
                    stored.append((i, len(sharing[0][0].ids) - 1, len(sharing)))
            self._cache.place(self.rows.prompts, filled, stored)
            self.rows.prompts += len(stored)

    def _prefill(self, group: list[list[int]]) -> Cache:
        # All but the last token of a prompt, so that its first draw is an ordinary step. Padding on the right
        # under a causal mask never reaches a real token: no attention mask is needed.
        ids = torch.zeros(len(group), max(1, len(group[-1])), dtype=torch.long)
        for i, prompt in enumerate(group):
            ids[i, : len(prompt)] = torch.tensor(prompt)
        filled = DynamicCache()
        self.model.base_model(input_ids=ids.to(self._device), past_key_values=filled, use_cache=True)
        return filled

    def step(self) -> None:
        """One token for every running row; finished rows deliver and leave."""
        rows, n = self.rows, self.rows.count
        self._cache.enter(rows)
        out = self.model(
            input_ids=rows.last[:n, None],
            position_ids=self._on_device(rows.known[:n] + rows.made[:n])[:, None],
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache.leave()
        at = self._on_device(rows.made[:n])[:, None]
        uniform = rows.uniform[:n].gather(1, at)[:, 0]
        token, close = sample_tokens(out.logits[:, -1], rows.temperature[:n], rows.top_p[:n], uniform)
        if self._exact:
            for row in close.nonzero()[:, 0].tolist():
                token[row] = self._alone(row, uniform[row : row + 1])
        rows.out[:n].scatter_(1, at, token[:, None])
        rows.last[:n] = token
        rows.made[:n] += 1
        self._finish(token)

    def _on_device(self, numbers: Numbers) -> Tensor:
        return torch.from_numpy(numbers).to(self._device)

    def _alone(self, row: int, uniform: Tensor) -> Tensor:
        """The row's next token from logits computed apart from its batch, with the rounding of that alone."""
        rows, (job, _) = self.rows, self.rows.owners[row]
        ids = [*job.ids, *rows.out[row, : int(rows.made[row])].tolist()]
        out = self.model(
            input_ids=torch.tensor([ids], device=self._device), use_cache=False, logits_to_keep=1
        )
        mine = slice(row, row + 1)
        return sample_tokens(out.logits[:, -1], rows.temperature[mine], rows.top_p[mine], uniform)[0]

    def _finish(self, token: Tensor) -> None:
        rows, n = self.rows, self.rows.count
        ended = torch.isin(token, self._ends).cpu().numpy()
        full = rows.made[:n] >= rows.limit[:n]
        look = ended | full
        if rows.has_stop[:n].any():
            look |= self._may_stop(token).cpu().numpy() & rows.has_stop[:n]
        found = np.flatnonzero(look).tolist()
        self.drop([i for i in found if self._close(i, ended=bool(ended[i]), full=bool(full[i]))])

    def _close(self, row: int, *, ended: bool, full: bool) -> bool:
        """Deliver the row's completion if it is over."""
        job, index = self.rows.owners[row]
        ids = self.rows.out[row, : int(self.rows.made[row])].tolist()
        at_stop = ids[-1] in job.sampling.stop_token_ids
        # The token that ends a completion is not part of it; it may be an ordinary one, such as a line end.
        text = completion_text(self._tokenizer, job.ids, ids[:-1] if at_stop else ids)
        ended = ended or at_stop
        cut = cut_at_stop(text, job.sampling.stop)
        if cut is None and not ended and not full:
            return False
        stopped: StopReason = "stop" if ended or cut is not None else "length"
        job.deliver(index, Completion(text if cut is None else cut, stopped, len(ids)))
        return True

    def _may_stop(self, token: Tensor) -> Tensor:
        """Rows whose new token is a stop token of any row, or holds a stop text's last character; to decode
        all at every step is slow."""
        stops = {stop for job, _ in self.rows.owners for stop in job.sampling.stop}
        ends = {end for job, _ in self.rows.owners for end in job.sampling.stop_token_ids}
        closes = torch.isin(token, torch.tensor(sorted(ends), dtype=torch.long, device=self._device))
        for stop in stops:
            closes |= self._closing(stop[-1])[token]
        return closes

    def _closing(self, character: str) -> Tensor:
        """For every token of the vocabulary, whether its text holds the character."""
        if character not in self._closers:
            size = self.model.get_output_embeddings().weight.shape[0]
            words = self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])
            # U+FFFD is part of a letter of several bytes, which may be the character.
            holds = [character in word or "\ufffd" in word for word in words[:size]]
            holds += [False] * (size - len(holds))
            self._closers[character] = torch.tensor(holds, device=self._device)
        return self._closers[character]

    def drop(self, gone: list[int]) -> None:
        """Free rows, and prompts without rows."""
        if not gone:
            return
        rows = self.rows.drop(gone)
        self._cache.drop(rows, self.rows.drop_prompts())


def _set_attention(model: Any, cache: SharedCache) -> None:
    """Let the model attend through the cache. UserError where its layers have an attention of their own: they
    would read one token of the cache."""
    name = f"stepmint-{id(cache)}"  # attentions are found by name, and this one belongs to this cache
    known = weakref.ref(cache)  # the library keeps what it is given, and would keep the memory

    def attend(*args: Any, **options: Any) -> tuple[Tensor, None]:
        mine = known()
        assert mine is not None  # whoever decodes holds it
        return mine.attend(*args, **options)

    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, sdpa_mask)
    with quiet():  # else it warns of what is said below
        model.set_attn_implementation(name)
    if model.config.get_text_config()._attn_implementation != name:
        raise UserError(
            f"{model.config.model_type} has an attention of its own, which is not supported: "
            'use kind = "vllm" or "server"'
        )


def _chains(starts: list[tuple[Job, int]]) -> list[list[tuple[Job, int]]]:
    """Groups of completions where every prompt is the beginning of the one before; the longest is first.

    Of such a group one prompt is prefilled. A search for the first error asks for many beginnings of one
    solution at once.
    """
    chains: list[list[tuple[Job, int]]] = []
    for start in sorted(starts, key=lambda start: start[0].ids[:-1], reverse=True):
        known = start[0].ids[:-1]
        if chains and chains[-1][-1][0].ids[:-1][: len(known)] == known:
            chains[-1].append(start)
        else:
            chains.append([start])
    return chains


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    found = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    return {int(end) for end in found if end is not None}
