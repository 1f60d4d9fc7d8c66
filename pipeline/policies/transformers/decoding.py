"""Decodes many sequences at once, in one batch; a row that a finished sequence frees is given to the next.

A small model spends its time reading the cache, and rollouts are many completions of one prompt. So the keys
and values of a prompt are stored once, and read once a step for all of its completions; each sequence has a
row for what it adds, and writes it in place (transformers' own caches copy everything for every token).
A uniform number fixed by (seed, position) selects every token. Rounding makes logits differ between batch
shapes; in float32, a token that rounding could change is sampled again from logits of its sequence alone. So
no completion depends on its batch; in half precision nearly all tokens would be, and there it may.
transformers' own batching has one seed for all: 8 of 8 completions changed beside other prompts, and none of
ours. It was 1.8 to 3.7 times slower on 16 sequences of the embedded model (bench `libraries.decoding`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pipeline.policies.base import Completion, Sampling
from pipeline.policies.tokens import completion_text, cut_at_stop
from pipeline.policies.transformers.token_sampling import sample_tokens
from schemas.errors import UserError
from schemas.records import StopReason

_GROWTH = 128  # cache columns added at once: growing copies the whole cache, so not for every token
_PREFILL_TOKENS = 8192  # of one prefill pass, padding included; bounds the memory of its activations
# Rows that share one stored prompt. More rows would read it fewer times, but attention computes as many
# places for every prompt as the prompt with the most rows has.
_PER_PROMPT = 8


@dataclass(eq=False)
class Job:
    """Several completions of one prompt, and where they go."""

    ids: list[int]
    sampling: Sampling
    limit: int
    results: list[Completion | None]
    settle: Callable[[list[Completion] | None, BaseException | None], None]
    over: bool = False
    """Set when the caller no longer waits, by cancellation for instance; then its rows are freed."""

    def deliver(self, index: int, completion: Completion) -> None:
        """Take one completion; the last one settles the job."""
        self.results[index] = completion
        done = [result for result in self.results if result is not None]
        if len(done) == len(self.results):
            self.settle(done, None)


class _Store:
    """Keys and values of one layer, (rows, heads, columns, size), where row i is filled from column 0 on."""

    def __init__(self, rows: int, like: Tensor) -> None:
        self.keys = self.values = like.new_zeros(rows, like.shape[1], 0, like.shape[3])

    def widen(self, columns: int) -> None:
        """Make room, in zeros: a masked column that held NaN would still spoil a sum."""
        if (missing := columns - self.keys.shape[2]) > 0:
            more = (0, 0, 0, -(-missing // _GROWTH) * _GROWTH)
            self.keys, self.values = functional.pad(self.keys, more), functional.pad(self.values, more)

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copy rows `source` over rows `target`."""
        self.keys[target] = self.keys[source]
        self.values[target] = self.values[source]


class _Layer(DynamicLayer):
    """One layer of the shared cache."""

    def __init__(self, owner: "_SharedCache", like: Tensor) -> None:
        super().__init__()
        self.is_initialized, self.keys, self.values = True, like, like
        self.prompts, self.rows = _Store(owner.slots, like), _Store(owner.slots, like)
        self._owner = owner

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token for every row; return what the rows added, that token included."""
        view = self._owner.view
        self.rows.keys[view.row, :, view.at] = key_states[:, :, 0]
        self.rows.values[view.row, :, view.at] = value_states[:, :, 0]
        n = len(view.row)
        return self.rows.keys[:n, :, : view.width], self.rows.values[:n, :, : view.width]


@dataclass
class _View:
    """Which part of the cache this step reads, and which prompt each row continues."""

    row: Tensor
    at: Tensor
    """Column that a row writes."""
    width: int
    prompts: int
    prompt_width: int
    per_prompt: int
    """Most rows of one prompt."""
    seat: Tensor
    """A row's place when rows are laid out as (prompts, per_prompt)."""


class _SharedCache(Cache):
    """The cache of all running sequences, and the attention that reads it."""

    view: _View
    steps = False  # prompts are prefilled without this cache, also those of one token

    def __init__(self, slots: int) -> None:
        super().__init__(layers=[])
        self.layers: list[Any]
        self.slots = slots

    def place(self, prompt: int, filled: Cache, index: int, length: int) -> None:
        """Store prompt `index` of a prefilled group as number `prompt`."""
        if not self.layers:
            self.layers = [_Layer(self, layer.keys) for layer in filled.layers]
        for mine, other in zip(self.layers, filled.layers, strict=True):
            mine.prompts.widen(length)
            mine.prompts.keys[prompt, :, :length] = other.keys[index, :, :length]
            mine.prompts.values[prompt, :, :length] = other.values[index, :, :length]

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        """Attention over a prompt's columns and then a row's own; `query` is (rows, heads, 1, size)."""
        if not self.steps:
            plain: tuple[Tensor, None] = sdpa_attention_forward(
                module, query, key, value, attention_mask, **options
            )
            return plain
        if options.get("s_aux") is not None or options.get("softcap") is not None:
            raise UserError(
                'attention with sinks or soft caps is not supported: use kind = "vllm" or "server"'
            )
        view, store = self.view, self.layers[module.layer_idx].prompts
        prompt_key = store.keys[: view.prompts, :, : view.prompt_width]
        prompt_value = store.values[: view.prompts, :, : view.prompt_width]
        q = query.view(len(query), key.shape[1], -1, query.shape[3]) * options["scaling"]
        shared = self._by_row(self._by_prompt(q) @ prompt_key.transpose(2, 3))
        scores = torch.cat([shared, q @ key.transpose(2, 3)], -1)
        p = scores.masked_fill_(~attention_mask, float("-inf")).softmax(-1)
        mixed = self._by_row(self._by_prompt(p[..., : view.prompt_width]) @ prompt_value)
        mixed += p[..., view.prompt_width :] @ value
        return mixed.reshape(len(query), 1, query.shape[1], -1), None

    def _by_prompt(self, x: Tensor) -> Tensor:
        """(rows, heads, group, m) -> (prompts, heads, per_prompt * group, m); empty seats are zeros."""
        view, (_, heads, group, m) = self.view, x.shape
        seats = x.new_zeros(view.prompts * view.per_prompt, heads, group, m)
        seats[view.seat] = x
        return seats.view(view.prompts, view.per_prompt, heads, group, m).transpose(1, 2).flatten(2, 3)

    def _by_row(self, x: Tensor) -> Tensor:
        view, (prompts, heads, _, m) = self.view, x.shape
        return x.view(prompts, heads, view.per_prompt, -1, m).transpose(1, 2).flatten(0, 1)[view.seat]


class _Rows:
    """State of the running sequences: row i of every tensor is sequence i, and the first `count` rows run."""

    def __init__(self, slots: int, device: torch.device) -> None:
        self.slots, self.count, self.prompts = slots, 0, 0
        self.owners: list[tuple[Job, int]] = []
        self.last = torch.zeros(slots, dtype=torch.long, device=device)
        """Token to feed next."""
        self.prompt = torch.zeros_like(self.last)
        """Number of the stored prompt."""
        self.known = torch.zeros_like(self.last)
        """Tokens of that prompt, without its last, which the first step feeds."""
        self.made = torch.zeros_like(self.last)
        self.limit = torch.zeros_like(self.last)
        self.temperature = torch.zeros(slots, device=device)
        self.top_p = torch.ones(slots, device=device)
        self.has_stop = torch.zeros(slots, dtype=torch.bool, device=device)
        self.uniform = torch.zeros(slots, 0, device=device)
        """One number per position to come."""
        self.out = torch.zeros(slots, 0, dtype=torch.long, device=device)

    def add(self, job: Job, index: int, prompt: int) -> None:
        """Start completion `index` of a job in the next free row."""
        row, self.count = self.count, self.count + 1
        self.owners.append((job, index))
        if job.limit > self.out.shape[1]:
            more = (0, job.limit - self.out.shape[1])
            self.out, self.uniform = functional.pad(self.out, more), functional.pad(self.uniform, more)
        sampling = job.sampling
        self.last[row], self.known[row], self.prompt[row] = job.ids[-1], len(job.ids) - 1, prompt
        self.made[row], self.limit[row] = 0, job.limit
        self.has_stop[row] = bool(sampling.stop or sampling.stop_token_ids)
        self.temperature[row], self.top_p[row] = sampling.temperature, sampling.top_p
        # Philox is counter-based: cheap to seed, and its first numbers do not depend on how many are taken.
        generator = np.random.Generator(np.random.Philox(key=sampling.seed + index))
        self.uniform[row, : job.limit] = torch.from_numpy(generator.random(job.limit, dtype=np.float32))

    def drop(self, gone: list[int]) -> tuple[Tensor, Tensor]:
        """Let the last rows fill the gaps that `gone` leaves; returns (from, to) for the cache."""
        source, target = _gaps(self.count, gone)
        for value in vars(self).values():
            if isinstance(value, Tensor):
                value[target] = value[source]
        for a, b in zip(source.tolist(), target.tolist(), strict=True):
            self.owners[b] = self.owners[a]
        self.count -= len(gone)
        del self.owners[self.count :]
        return source, target

    def drop_prompts(self) -> tuple[Tensor, Tensor]:
        """The same for prompts that no row continues."""
        users = torch.bincount(self.prompt[: self.count], minlength=self.prompts)
        gone = (users == 0).nonzero()[:, 0].tolist()
        source, target = _gaps(self.prompts, gone)
        renamed = torch.arange(self.prompts, device=self.prompt.device)
        renamed[source] = target.to(renamed.device)
        self.prompt[: self.count] = renamed[self.prompt[: self.count]]
        self.prompts -= len(gone)
        return source, target

    def view(self) -> _View:
        """What the next step reads."""
        n, made, prompt = self.count, self.made[: self.count], self.prompt[: self.count]
        order = prompt.argsort(stable=True)
        users = torch.bincount(prompt, minlength=self.prompts)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(n, device=order.device) - (users.cumsum(0) - users)[prompt[order]]
        most = int(users.max())
        width, prompt_width = int(made.max()) + 1, int(self.known[:n].max())
        row = torch.arange(n, device=order.device)
        return _View(row, made, width, self.prompts, prompt_width, most, prompt * most + rank)


def _gaps(count: int, gone: list[int]) -> tuple[Tensor, Tensor]:
    keep, lost = count - len(gone), set(gone)
    source = [row for row in range(keep, count) if row not in lost]
    target = [row for row in gone if row < keep]
    return torch.tensor(source, dtype=torch.long), torch.tensor(target, dtype=torch.long)


class Decoder:
    """The model and its running batch. Used by one thread only."""

    def __init__(self, model: Any, tokenizer: Any, slots: int) -> None:
        self.model, self._tokenizer = model, tokenizer
        self._device: torch.device = model.device
        self._exact = model.dtype == torch.float32
        """Whether rounding is so small that few tokens are close; only then they are sampled again alone."""
        self.rows, self._cache = _Rows(slots, self._device), _SharedCache(slots)
        name = f"stepmint-{id(self)}"  # attentions are found by name, and this one belongs to this cache
        AttentionInterface.register(name, self._cache.attend)
        AttentionMaskInterface.register(name, sdpa_mask)
        model.set_attn_implementation(name)
        config = model.config.get_text_config()
        self._window: int | None = getattr(config, "sliding_window", None)
        self._kinds = sorted(set(getattr(config, "layer_types", None) or ["full_attention"]))
        if odd := set(self._kinds) - {"full_attention", "sliding_attention"}:
            raise UserError(f'layers of kind {", ".join(sorted(odd))}: use kind = "vllm" or "server"')
        self._ends = torch.tensor(sorted(_end_ids(model, tokenizer)), device=self._device)
        self._closers: dict[str, Tensor] = {}

    def admit(self, starts: list[tuple[Job, int]]) -> None:
        """Prefill the prompts, each once, and start their completions."""
        starts_of: dict[tuple[int, ...], list[tuple[Job, int]]] = {}
        for job, index in starts:
            starts_of.setdefault(tuple(job.ids[:-1]), []).append((job, index))
        prompts = sorted(starts_of, key=len)
        while prompts:
            size = max(1, _PREFILL_TOKENS // max(1, len(prompts[-1])))
            group, prompts = prompts[-size:], prompts[:-size]
            filled = self._prefill(group)
            for i, prompt in enumerate(group):
                for at, (job, index) in enumerate(starts_of[prompt]):
                    if at % _PER_PROMPT == 0:
                        self._cache.place(self.rows.prompts, filled, i, len(prompt))
                        self.rows.prompts += 1
                    self.rows.add(job, index, self.rows.prompts - 1)

    def _prefill(self, group: list[tuple[int, ...]]) -> Cache:
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
        view = self._cache.view = rows.view()
        for layer in self._cache.layers:
            layer.rows.widen(view.width)
        self._cache.steps = True
        out = self.model(
            input_ids=rows.last[:n, None],
            position_ids=(rows.known + rows.made)[:n, None],
            attention_mask=self._mask(view),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache.steps = False
        at = rows.made[:n, None]
        uniform = rows.uniform[:n].gather(1, at)[:, 0]
        token, close = sample_tokens(out.logits[:, -1], rows.temperature[:n], rows.top_p[:n], uniform)
        if self._exact:
            for row in close.nonzero()[:, 0].tolist():
                token[row] = self._alone(row, uniform[row : row + 1])
        rows.out[:n].scatter_(1, at, token[:, None])
        rows.last[:n] = token
        rows.made[:n] += 1
        self._finish(token)

    def _alone(self, row: int, uniform: Tensor) -> Tensor:
        """The row's next token from logits computed apart from its batch, with the rounding of that alone."""
        rows, (job, _) = self.rows, self.rows.owners[row]
        ids = [*job.ids, *rows.out[row, : int(rows.made[row])].tolist()]
        out = self.model(
            input_ids=torch.tensor([ids], device=self._device), use_cache=False, logits_to_keep=1
        )
        mine = slice(row, row + 1)
        return sample_tokens(out.logits[:, -1], rows.temperature[mine], rows.top_p[mine], uniform)[0]

    def _mask(self, view: _View) -> Any:
        """True where a row may look: (rows, 1, 1, prompt's columns + own), one mask per kind of layer."""
        known, made = self.rows.known[: self.rows.count, None], self.rows.made[: self.rows.count, None]
        left = torch.arange(view.prompt_width, device=self._device).expand(len(known), -1)
        right = torch.arange(view.width, device=self._device).expand(len(known), -1)
        full = torch.cat([left < known, right <= made], 1)
        masks = {"full_attention": full[:, None, None]}
        if self._window is not None:
            near = torch.cat([left, known + right], 1) > known + made - self._window
            masks["sliding_attention"] = (full & near)[:, None, None]
        return masks if len(self._kinds) > 1 else masks[self._kinds[0]]

    def _finish(self, token: Tensor) -> None:
        rows, n = self.rows, self.rows.count
        ended = torch.isin(token, self._ends)
        full = rows.made[:n] >= rows.limit[:n]
        maybe = self._may_stop(token) if bool(rows.has_stop[:n].any()) else torch.zeros_like(full)
        look = (ended | full | maybe).nonzero()[:, 0].tolist()
        self.drop([row for row in look if self._close(row, ended=bool(ended[row]), full=bool(full[row]))])

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
        n = self.rows.count
        stops = {stop for job, _ in self.rows.owners for stop in job.sampling.stop}
        ends = {end for job, _ in self.rows.owners for end in job.sampling.stop_token_ids}
        closes = torch.isin(token, torch.tensor(sorted(ends), dtype=torch.long, device=self._device))
        for stop in stops:
            closes |= self._closing(stop[-1])[token]
        return closes & self.rows.has_stop[:n]

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
        for moves, name in ((self.rows.drop(gone), "rows"), (self.rows.drop_prompts(), "prompts")):
            for layer in self._cache.layers:
                getattr(layer, name).move(*moves)


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    found = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    return {int(end) for end in found if end is not None}
