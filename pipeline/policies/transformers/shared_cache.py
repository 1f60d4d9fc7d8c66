"""The keys and values of all running sequences, and the attention that reads them.

A prompt is stored once for all of its completions; each completion has a row for what it adds. Memory follows
what is in flight: stores for a full batch of the longest texts would take a hundred times a small model's
weights, and hardly ever be full.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from schemas.errors import UserError

# Columns and rows by which a store grows: growing copies the store, so not for every token.
_COLUMNS, _ROWS = 64, 32
# A store that is more than so many times as large as what it must hold is made smaller. Well above 1, so that
# a batch that empties and fills again in turn is not copied each time.
_SPARE = 2


class Store:
    """Keys and values of one layer, (rows, heads, columns, size), where row i is filled from column 0 on.

    It is as large as what it holds, and a little larger, so that it is not copied for every token and row.
    """

    def __init__(self, like: Tensor) -> None:
        self.keys = self.values = like.new_zeros(0, like.shape[1], 0, like.shape[3])

    def fit(self, rows: int, columns: int) -> None:
        """Make room for so much, and give back what is far more. New places are zeros: a masked column that
        held NaN would still spoil a sum."""
        has_rows, _, has_columns, _ = self.keys.shape
        least = _up(rows, _ROWS), _up(columns, _COLUMNS)
        is_small = rows > has_rows or columns > has_columns
        if is_small or has_rows * has_columns > _SPARE * math.prod(least):
            self.keys, self.values = _resized(self.keys, least), _resized(self.values, least)

    def hold(self, rows: int, columns: int) -> None:
        """Make room for so much beside what there is."""
        self.fit(max(rows, self.keys.shape[0]), max(columns, self.keys.shape[2]))

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copy rows `source` over rows `target`."""
        if len(source):
            self.keys[target] = self.keys[source]
            self.values[target] = self.values[source]


def _up(number: int, unit: int) -> int:
    return max(1, -(-number // unit)) * unit


def _resized(old: Tensor, size: tuple[int, int]) -> Tensor:
    new = old.new_zeros(size[0], old.shape[1], size[1], old.shape[3])
    rows, columns = min(size[0], old.shape[0]), min(size[1], old.shape[2])
    new[:rows, :, :columns] = old[:rows, :, :columns]
    return new


@dataclass
class View:
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


class Layer(DynamicLayer):
    """One layer of the shared cache."""

    def __init__(self, owner: "SharedCache", like: Tensor) -> None:
        super().__init__()
        self.is_initialized, self.keys, self.values = True, like, like
        self.prompts, self.rows = Store(like), Store(like)
        self._owner = owner

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token for every row; return what the rows added, that token included."""
        view = self._owner.view
        assert view is not None  # only a step writes here
        self.rows.keys[view.row, :, view.at] = key_states[:, :, 0]
        self.rows.values[view.row, :, view.at] = value_states[:, :, 0]
        n = len(view.row)
        return self.rows.keys[:n, :, : view.width], self.rows.values[:n, :, : view.width]


class SharedCache(Cache):
    """The cache of all running sequences, and the attention that reads it."""

    view: View | None = None
    """What the step under way reads; None outside a step: a prompt is prefilled without this cache, even
    where it is one token long."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.layers: list[Any]

    def read(self, view: View) -> None:
        """Take the view of the next step; memory follows it."""
        self.view = view
        for layer in self.layers:
            layer.rows.fit(len(view.row), view.width)
            layer.prompts.fit(view.prompts, view.prompt_width)

    def place(self, prompt: int, filled: Cache, index: int, length: int) -> None:
        """Store prompt `index` of a prefilled group as number `prompt`."""
        if not self.layers:
            self.layers = [Layer(self, layer.keys) for layer in filled.layers]
        for mine, other in zip(self.layers, filled.layers, strict=True):
            mine.prompts.hold(prompt + 1, length)
            mine.prompts.keys[prompt, :, :length] = other.keys[index, :, :length]
            mine.prompts.values[prompt, :, :length] = other.values[index, :, :length]

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        """Attention over a prompt's columns and then a row's own; `query` is (rows, heads, 1, size)."""
        if (view := self.view) is None:
            plain: tuple[Tensor, None] = sdpa_attention_forward(
                module, query, key, value, attention_mask, **options
            )
            return plain
        if options.get("s_aux") is not None or options.get("softcap") is not None:
            raise UserError(
                'attention with sinks or soft caps is not supported: use kind = "vllm" or "server"'
            )
        store = self.layers[module.layer_idx].prompts
        prompt_key = store.keys[: view.prompts, :, : view.prompt_width]
        prompt_value = store.values[: view.prompts, :, : view.prompt_width]
        q = query.view(len(query), key.shape[1], -1, query.shape[3]) * options["scaling"]
        shared = _by_row(_by_prompt(q, view) @ prompt_key.transpose(2, 3), view)
        scores = torch.cat([shared, q @ key.transpose(2, 3)], -1)
        p = scores.masked_fill_(~attention_mask, float("-inf")).softmax(-1)
        mixed = _by_row(_by_prompt(p[..., : view.prompt_width], view) @ prompt_value, view)
        mixed += p[..., view.prompt_width :] @ value
        return mixed.reshape(len(query), 1, query.shape[1], -1), None


def _by_prompt(x: Tensor, view: View) -> Tensor:
    """(rows, heads, group, m) -> (prompts, heads, per_prompt * group, m); empty seats are zeros."""
    _, heads, group, m = x.shape
    seats = x.new_zeros(view.prompts * view.per_prompt, heads, group, m)
    seats[view.seat] = x
    return seats.view(view.prompts, view.per_prompt, heads, group, m).transpose(1, 2).flatten(2, 3)


def _by_row(x: Tensor, view: View) -> Tensor:
    prompts, heads, _, m = x.shape
    return x.view(prompts, heads, view.per_prompt, -1, m).transpose(1, 2).flatten(0, 1)[view.seat]
