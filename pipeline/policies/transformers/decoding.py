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

import math
import weakref
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import sdpa_mask

from pipeline.policies.base import Completion
from pipeline.policies.tokens import completion_text, cut_at_stop
from pipeline.policies.transformers.blocks import BLOCK, Numbers
from pipeline.policies.transformers.drafts import TAIL, Drafts, guesses_worth, luck_after
from pipeline.policies.transformers.library import quiet
from pipeline.policies.transformers.rows import Job, Rows
from pipeline.policies.transformers.shared_cache import SharedCache
from pipeline.policies.transformers.token_sampling import sample_tokens
from schemas.errors import UserError
from schemas.records import StopReason

# Tokens of one prefill pass, padding included; they bound the memory of its activations, which on a CPU stays
# with the allocator.
_PREFILL_TOKENS, _PREFILL_TOKENS_ON_CPU = 2048, 1024
# On a CPU nearly all of the time goes into tokens, and more rows speed that up little, but take memory.
# So blocks of keys and values bound the rows there, above a number that runs however long the prompts are.
_BLOCKS_ON_CPU, _LEAST_ROWS = 1024, 48
# Tokens that a completion is expected to write until some have been seen, and the weight of the newest.
_FIRST_LENGTH, _NEWEST = 128, 0.02
# Rows that share one stored prompt. More rows would read it fewer times, but attention computes as many
# places for every prompt as the prompt with the most rows has.
_PER_PROMPT = 8
Flags = NDArray[np.bool_]


class Decoder:
    """The model and its running batch. Used by one thread only."""

    def __init__(self, model: Any, tokenizer: Any, slots: int) -> None:
        self.model, self._tokenizer = model, tokenizer
        self._device: torch.device = model.device
        self._n_tokens = model.get_output_embeddings().weight.shape[0]
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
        self._ends = _marked(_end_ids(model, tokenizer), self._n_tokens)
        self._closers: dict[str, Flags] = {}
        self._on_cpu = self._device.type == "cpu"
        self._length: float = _FIRST_LENGTH
        """Tokens of a completion, a running average."""
        self._drafts, self._luck = Drafts(), 1.0
        """How many of the guesses that could be right were so, of late."""
        self._millions = sum(each.numel() for each in model.parameters()) / 1e6

    def fitting(self, waiting: Iterable[tuple[Job, int]]) -> list[tuple[Job, int]]:
        """The first of those that wait for which there are rows and memory now, with what all rows are
        expected to write yet."""
        free = self.rows.slots - self.rows.count
        if not self._on_cpu:
            return list(islice(waiting, free))
        each, starts = math.ceil(self._length / BLOCK), list[tuple[Job, int]]()
        used = self._cache.blocks(self.rows.count * each)
        for job, index in islice(waiting, free):
            used += each + (-(-len(job.ids) // BLOCK) if index % _PER_PROMPT == 0 else 0)
            if used > _BLOCKS_ON_CPU and self.rows.count + len(starts) >= _LEAST_ROWS:
                break
            starts.append((job, index))
        return starts

    def admit(self, starts: list[tuple[Job, int]]) -> None:
        """Prefill the prompts, each once, and start their completions."""
        chains = sorted(_chains(starts), key=lambda chain: len(chain[0][0].ids))
        most = _PREFILL_TOKENS_ON_CPU if self._on_cpu else _PREFILL_TOKENS
        while chains:
            size = max(1, most // max(1, len(chains[-1][0][0].ids) - 1))
            group, chains = chains[-size:], chains[:-size]
            filled = self._prefill([chain[0][0].ids[:-1] for chain in group])
            stored: list[tuple[int, int, int]] = []
            for i, chain in enumerate(group):
                self._drafts.learn(chain[0][0].ids)
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
        """A token for every running row, or several where they were guessed; finished rows deliver and
        leave."""
        rows, n = self.rows, self.rows.count
        guessed = self._drafts.guess(rows.tail[:n], self._guesses())
        fed = np.concatenate([rows.tail[:n, -1:], guessed], 1)
        width = fed.shape[1]
        made = rows.made[:n, None] + np.arange(width)
        self._cache.enter(rows, width)
        out = self.model(
            input_ids=self._column(fed),
            position_ids=self._column(rows.known[:n, None] + made),
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache.leave()
        uniform = torch.from_numpy(np.take_along_axis(rows.uniform[:n], made, 1)).to(self._device)
        heat, top_p = (each[:n].repeat_interleave(width) for each in (rows.temperature, rows.top_p))
        drawn, close = sample_tokens(out.logits[:, -1], heat, top_p, uniform.ravel())
        token = drawn.view(n, width).cpu().numpy()
        count = _agreed(token, guessed)
        if self._exact:
            for row, at in close.view(n, width).nonzero().tolist():
                if at < count[row]:  # else it follows a wrong guess
                    token[row, at] = self._alone(row, token[row, :at].tolist(), uniform[row, at, None])
                    count[row] = _agreed(token[row, None], guessed[row, None])[0]
        self._luck = luck_after(self._luck, count, width)
        self._finish(token, count)

    def _guesses(self) -> int:
        """How many tokens of each row to guess now, all within every row's limit."""
        rows, n = self.rows, self.rows.count
        if not self._exact:
            return 0  # there a token may depend on what it is computed beside
        left = int((rows.limit[:n] - rows.made[:n]).min()) - 1
        return min(left, guesses_worth(n, self._luck, self._millions, self._cache.blocks(0)))

    def _column(self, numbers: Numbers) -> Tensor:
        return torch.from_numpy(numbers.reshape(-1, 1)).to(self._device)

    def _alone(self, row: int, more: list[int], uniform: Tensor) -> int:
        """The row's next token after `more` from logits computed apart from its batch, with the rounding of
        that alone."""
        rows, (job, _) = self.rows, self.rows.owners[row]
        ids = [*job.ids, *rows.out[row, : rows.made[row]].tolist(), *more]
        out = self.model(
            input_ids=torch.tensor([ids], device=self._device), use_cache=False, logits_to_keep=1
        )
        mine = slice(row, row + 1)
        return int(sample_tokens(out.logits[:, -1], rows.temperature[mine], rows.top_p[mine], uniform)[0])

    def _finish(self, token: Numbers, count: Numbers) -> None:
        """Write the first `count` of each row's tokens, or those up to one that may end it."""
        rows, n = self.rows, self.rows.count
        ended = self._ends[token]
        look = ended.copy()
        if rows.has_stop[:n].any():
            look |= self._may_stop(token) & rows.has_stop[:n, None]
        count = np.minimum(count, np.where(look.any(1), look.argmax(1) + 1, count))
        last = np.arange(n), count - 1
        rows.write(token, count)
        full = rows.made[:n] >= rows.limit[:n]
        found = np.flatnonzero(look[last] | full).tolist()
        ended = ended[last]
        self.drop([i for i in found if self._close(i, ended=bool(ended[i]), full=bool(full[i]))])

    def _close(self, row: int, *, ended: bool, full: bool) -> bool:
        """Deliver the row's completion if it is over."""
        job, index = self.rows.owners[row]
        ids = self.rows.out[row, : self.rows.made[row]].tolist()
        at_stop = ids[-1] in job.sampling.stop_token_ids
        # The token that ends a completion is not part of it; it may be an ordinary one, such as a line end.
        text = completion_text(self._tokenizer, job.ids, ids[:-1] if at_stop else ids)
        ended = ended or at_stop
        cut = cut_at_stop(text, job.sampling.stop)
        if cut is None and not ended and not full:
            return False
        stopped: StopReason = "stop" if ended or cut is not None else "length"
        self._drafts.learn([*job.ids[-TAIL:], *ids])
        self._length += _NEWEST * (len(ids) - self._length)
        job.deliver(index, Completion(text if cut is None else cut, stopped, len(ids)))
        return True

    def _may_stop(self, token: Numbers) -> Flags:
        """Which new tokens are a stop token of any row, or hold a stop text's last character; to decode all
        at every step is slow."""
        stops = {stop for job, _ in self.rows.owners for stop in job.sampling.stop}
        ends = {end for job, _ in self.rows.owners for end in job.sampling.stop_token_ids}
        closes: Flags = np.isin(token, sorted(ends))
        for stop in stops:
            closes |= self._closing(stop[-1])[token]
        return closes

    def _closing(self, character: str) -> Flags:
        """For every token of the vocabulary, whether its text holds the character."""
        if character not in self._closers:
            words = self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])
            # U+FFFD is part of a letter of several bytes, which may be the character.
            holds = [i for i, word in enumerate(words) if character in word or "\ufffd" in word]
            self._closers[character] = _marked(holds, self._n_tokens)
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


def _agreed(token: Numbers, guessed: Numbers) -> Numbers:
    """How many of each row's tokens hold: those drawn after right guesses only."""
    right = token[:, :-1] == guessed
    count: Numbers = 1 + np.logical_and.accumulate(right, 1).sum(1)
    return count


def _marked(ids: Iterable[int], size: int) -> Flags:
    """For every token of a vocabulary, whether it is one of `ids`."""
    marks = np.zeros(size, np.bool_)
    marks[[i for i in ids if 0 <= i < size]] = True
    return marks


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    found = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    return {int(end) for end in found if end is not None}
