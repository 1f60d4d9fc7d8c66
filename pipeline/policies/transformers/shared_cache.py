"""The keys and values of all running sequences, and the attention that reads them.

A prompt is stored once for the completions that share it; each has blocks of its own for what it adds. A
block is read once a step: all rows that it is for ask it together. Each row then weighs the answers of its
blocks, as flash decoding does (https://pytorch.org/blog/flash-decoding/).
"""

import math
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from pipeline.policies.transformers.blocks import BLOCK, Blocks, Numbers, Pool
from pipeline.policies.transformers.rows import Rows
from schemas.errors import UserError

# Added to the score of a column that a row may not see. It is finite, and half of the least that float16 has
# is so there: a block may be hidden as a whole, and infinity less infinity is no number.
_HIDDEN = -1e30
# What some models add to an attention's scores; it is not supported here.
_ODD = "s_aux", "softcap", "position_bias"

# Prompts are kept apart by how many rows share them at first, at most so many: the blocks of a pool are read
# together, with as many seats for each as the one with the most rows needs.
_SHARING = 2, 1 << 62


@dataclass
class _Reading:
    """How the blocks of one pool are read."""

    pool: Pool
    rows: Tensor
    """(blocks, seats): the token in each seat of a block. Row 0 sits in the empty ones, and that answer is
    ignored."""
    columns: Tensor
    """(blocks, 1, BLOCK): which column of its prompt or row each column is."""
    hidden: dict[str, Tensor] = field(default_factory=dict)
    """(blocks, seats, BLOCK) for each kind of layer: where a row may not look."""
    bias: dict[tuple[str, int, int], Tensor] = field(default_factory=dict)
    """The same as numbers to add to scores, for each kind and numbers of heads."""

    def hide(self, kind: str, hidden: Tensor) -> None:
        """Set what layers of a kind may not see from now on."""
        self.hidden[kind] = hidden
        self.bias = {key: bias for key, bias in self.bias.items() if key[0] != kind}

    def bias_of(self, kind: str, q: Tensor) -> Tensor:
        """(blocks * heads, seats * group, BLOCK), made once for all layers of one kind."""
        _, heads, group, _ = q.shape
        key = kind, heads, group
        if key not in self.bias:
            blocks, seats, _ = self.hidden[kind].shape
            least = max(_HIDDEN, torch.finfo(q.dtype).min / 2)
            bias = self.hidden[kind].to(q.dtype).mul_(least)[:, None, :, None]
            wide = bias.expand(blocks, heads, seats, group, BLOCK)
            self.bias[key] = wide.reshape(blocks * heads, seats * group, BLOCK)
        return self.bias[key]


@dataclass
class _View:
    """What the steps read until a row comes or goes or takes a block."""

    width: int
    """Tokens of each row that a step is fed. Each is asked for as if it were a row of its own: token j of row
    i has number i * width + j."""
    own: _Reading
    prompts: list[_Reading]
    blocks: Numbers
    """(rows, most blocks): where the blocks of a row's own lie."""
    spots: Tensor
    """(rows, most blocks): where a row finds the answers of its blocks among all answers."""
    absent: Tensor
    """(rows, most blocks, 1, 1, 1): minus infinity where a row has fewer blocks."""


class _Layer(DynamicLayer):
    """One layer of the shared cache."""

    def __init__(self, owner: "SharedCache", index: int, like: Tensor) -> None:
        super().__init__()
        # A model may ask how long they are; the prompts that came first would stay in memory for that.
        self.keys = self.values = like[:1, :, :1].clone()
        self.is_initialized, self._index = True, index
        self._owner: Any = weakref.proxy(owner)  # else their memory would wait for the collector

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token for every row. Attention reads the blocks, and not what is returned here."""
        owner = self._owner
        assert owner.view is not None  # only a step writes here
        pair = owner.own.layers[self._index]
        for blocks, states in zip(pair, (key_states, value_states), strict=True):
            blocks.all[owner.block, :, owner.column] = states[:, :, 0]
        return key_states, value_states


class SharedCache(Cache):
    """The cache of all running sequences. `kinds` names each layer's kind of attention."""

    def __init__(self, kinds: list[str], window: int | None) -> None:
        super().__init__(layers=[])
        self.layers: list[Any]
        self.prompts, self.own = [Pool() for _ in _SHARING], Pool()
        self.view: _View | None = None
        """What the step under way reads. None outside a step: a prompt is prefilled without this cache, even
        where it is one token long."""
        self.block: Tensor
        """Block that each token is written to."""
        self.column: Tensor
        """Column of that block."""
        self._kinds, self._window = kinds, window
        self._known: _View | None = None

    def blocks(self, own: int) -> int:
        """Blocks in use, where the rows' own will be at least `own`."""
        return max(self.own.count, own) + sum(pool.count for pool in self.prompts)

    def place(self, first: int, filled: Cache, stored: list[tuple[int, int, int]]) -> None:
        """Store prompts of a prefilled group as number `first` and following: (index in the group, length,
        rows that share it) of each."""
        if not self.layers:
            self._begin(filled)
        index, length, sharing = np.array(stored, np.int64).T
        which = np.searchsorted(_SHARING, sharing)
        for i, pool in enumerate(self.prompts):
            mine = np.flatnonzero(which == i)
            if len(mine):
                _store(pool, first + mine, filled, index[mine], length[mine])
        self._known = None

    def _begin(self, filled: Cache) -> None:
        for i, layer in enumerate(filled.layers):
            self.layers.append(_Layer(self, i, layer.keys))
            for pool in (self.own, *self.prompts):
                pool.layers.append((Blocks(layer.keys), Blocks(layer.values)))

    def drop(self, rows: Numbers, prompts: Numbers) -> None:
        """Rename rows and prompts, and free the blocks of those whose new number is below 0."""
        self.own.drop(rows)
        for pool in self.prompts:
            pool.drop(prompts)
        self._known = None

    def enter(self, rows: Rows, width: int = 1) -> None:
        """Begin a step of `width` tokens a row, at most BLOCK: each has a column to write, and it is known
        what it reads."""
        made, own = rows.made[: rows.count, None] + np.arange(width), self.own
        has = np.bincount(own.owners, minlength=rows.count)
        if len(need := np.flatnonzero(made[:, -1] // BLOCK >= has)):
            new = own.take(need, has[need])
            for blocks in (each for layer in own.layers for each in layer):
                blocks.all[new] = 0  # a row before may have left NaN
            self._known = None
        if self._known is None or self._known.width != width:
            self._known = self._look(rows, width)
        self.view = self._known
        block = np.take_along_axis(self.view.blocks, made // BLOCK, 1)
        self.block, self.column = (torch.from_numpy(x.ravel()).to(rows.device) for x in (block, made % BLOCK))
        self._hide(self.view, rows.known[: rows.count], made, rows.device)

    def leave(self) -> None:
        """End the step."""
        self.view = None

    def _look(self, rows: Rows, width: int) -> _View:
        device, n, own = rows.device, rows.count, self.own
        prompt, seats, places = rows.prompt[:n], rows.seats(), np.arange(width)
        users = np.bincount(prompt, minlength=rows.prompts)
        seated = np.zeros((rows.prompts, int(users.max())), np.int64)
        seated[prompt, seats] = np.arange(n)

        # All answers stand in one list: of the rows' own blocks, then of every seat of the prompts' blocks.
        of_row = np.full((n, int(own.places.max()) + 1), -1)
        of_row[own.owners, own.places] = np.arange(own.count)
        of_prompt = np.full((rows.prompts, max(int(p.places.max(initial=-1)) for p in self.prompts) + 1), -1)
        end, prompts = own.count * width, []
        for pool in self.prompts:
            if pool.count:
                n_seats = int(users[pool.owners].max())
                of_prompt[pool.owners, pool.places] = end + n_seats * width * np.arange(pool.count)
                end += n_seats * width * pool.count
                prompts.append(_reading(pool, seated[pool.owners, :n_seats], width, device))
        mine = of_prompt[prompt]
        first = np.concatenate([of_row * width, np.where(mine < 0, mine, mine + seats[:, None] * width)], 1)
        absent = np.where(first < 0, np.float32(-np.inf), np.float32(0)).repeat(width, 0)
        # An absent answer weighs nothing, but nothing times NaN is NaN: so it is one of the row's own.
        spots = np.where(first < 0, first[:, :1], first)[:, None] + places[:, None]
        at = (torch.from_numpy(x).to(device) for x in (spots.reshape(len(absent), -1), absent))
        spot, lacks = at
        mine_read = _reading(own, own.owners[:, None], width, device)
        return _View(width, mine_read, prompts, of_row, spot, lacks[:, :, None, None, None])

    def _hide(self, view: _View, known: Numbers, made: Numbers, device: torch.device) -> None:
        """Make the biases of this step: a token sees its row's prompt, what the row made up to it, and within
        a window the last of these."""
        ends = torch.from_numpy(known.repeat(view.width)).to(device)
        at = torch.from_numpy(made.ravel()).to(device)
        for kind in set(self._kinds):
            window = self._window if kind == "sliding_attention" else None
            own = view.own
            hidden = own.columns > at[own.rows, None]
            if window is not None:
                hidden |= own.columns <= at[own.rows, None] - window
            own.hide(kind, hidden)
            for prompts in view.prompts:
                # What is hidden of a prompt is so at every step, unless a window moves over it.
                if kind not in prompts.hidden or window is not None:
                    hidden = prompts.columns >= ends[prompts.rows, None]
                    if window is not None:
                        hidden |= prompts.columns <= (ends + at)[prompts.rows, None] - window
                    prompts.hide(kind, hidden)

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        """Attention over a prompt's blocks and a row's own; `query` is (rows, heads, 1, size)."""
        if any(options.get(name) is not None for name in _ODD):
            raise _unsupported("attention with sinks, soft caps or biases")
        if (view := self.view) is None:
            plain: tuple[Tensor, None] = sdpa_attention_forward(
                module, query, key, value, attention_mask, **options
            )
            return plain
        n, heads, _, size = query.shape
        at, scale = module.layer_idx, options["scaling"]
        if at >= len(self.layers) or self.own.layers[at][0].all.shape[1::2] != key.shape[1::2]:
            raise _unsupported("attention that reads other keys than its layer stores")
        q = query.view(n, key.shape[1], -1, size)
        answers = [_answers(q, at, each, self._kinds[at], scale) for each in (view.own, *view.prompts)]
        found = torch.cat(answers).index_select(0, view.spots.flatten())
        found = found.view(*view.spots.shape, *answers[0].shape[1:])
        top = found[..., -1:] + view.absent
        mixed = ((top - top.amax(1, keepdim=True)).exp2_() * found[..., :-1]).sum(1)
        mixed = mixed[..., :-1] / mixed[..., -1:]
        return mixed.to(query.dtype).view(n, 1, heads, size), None


def _unsupported(what: str) -> UserError:
    return UserError(f'{what} is not supported: use kind = "vllm" or "server"')


def _store(pool: Pool, owners: Numbers, filled: Cache, index: Numbers, length: Numbers) -> None:
    counts = -(-length // BLOCK)
    ends = counts.cumsum()
    place = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    new = pool.take(np.repeat(owners, counts), place)
    source = torch.from_numpy(np.repeat(index, counts)), torch.from_numpy(place)
    for pair, layer in zip(pool.layers, filled.layers, strict=True):
        for blocks, columns in zip(pair, (layer.keys, layer.values), strict=True):
            whole = functional.pad(columns, (0, 0, 0, -columns.shape[2] % BLOCK))
            blocks.all[new] = whole.unflatten(2, (-1, BLOCK)).transpose(1, 2)[source]


def _reading(pool: Pool, rows: Numbers, width: int, device: torch.device) -> _Reading:
    columns = pool.places[:, None, None] * BLOCK + np.arange(BLOCK)
    rows = (rows[:, :, None] * width + np.arange(width)).reshape(len(rows), -1)
    return _Reading(pool, torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device))


def _answers(q: Tensor, at: int, reading: _Reading, kind: str, scale: float) -> Tensor:
    """(blocks * seats, heads, group, size + 2): for every seat the sum of values by weight, the sum of the
    weights, and the logarithm by which all weights are less than they should be: the largest score.

    Logarithms are to the base 2, of which torch computes powers fast; `exp` takes eight times as long where
    columns are hidden.
    """
    (blocks, seats), (_, heads, group, size) = reading.rows.shape, q.shape
    keys, values = (each.all[:blocks].flatten(0, 1) for each in reading.pool.layers[at])
    bias = reading.bias_of(kind, q)
    asked = q.index_select(0, reading.rows.flatten()).view(blocks, seats, heads, group, size)
    asked = asked.transpose(1, 2).reshape(blocks * heads, seats * group, size)
    scores = torch.baddbmm(bias, asked, keys.transpose(1, 2), alpha=scale * math.log2(math.e))
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp2_()
    total = weights.sum(-1, keepdim=True, dtype=torch.float32)
    answers = torch.cat([torch.bmm(weights, values).float(), total, top.float()], -1)
    by_block = answers.view(blocks, heads, seats, group, size + 2)
    return by_block.transpose(1, 2).reshape(blocks * seats, heads, group, size + 2)
