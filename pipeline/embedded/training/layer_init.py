"""How layers begin: they add nothing, and some of their heads look back a fixed number of tokens."""

from collections.abc import Iterable
from typing import Any

import torch
from transformers import LlamaForCausalLM


def add_nothing(layers: Iterable[Any]) -> None:
    """Let Llama layers pass on what they are given; they still learn."""
    for layer in layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()


def look_back(
    model: LlamaForCausalLM, offsets: tuple[int, ...], *, layer: int = 0, sharpness: float = 20.0
) -> None:
    """Let the first heads of a layer attend that many tokens back, whatever the tokens are.

    Rotary positions turn constant keys and queries into a function of the distance alone: with the query
    turned back by `offset`, the score is sharpness * sum(cos((distance - offset) * frequency)).
    """
    attention = model.model.layers[layer].self_attn
    size: int = attention.head_dim
    frequency = model.model.rotary_emb.inv_freq
    # Half of the sharpness goes into the query and half into the key; attention divides by the root of the
    # size.
    scale = (sharpness * size**0.5) ** 0.5
    for head, offset in enumerate(offsets):
        rows = slice(head * size, (head + 1) * size)
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[rows] = 0.0
        # The query is turned back by `offset` positions, so that it meets keys that far behind at angle 0,
        # where the cosine is largest.
        angle = offset * frequency
        attention.q_proj.bias[rows] = scale * torch.cat([angle.cos(), -angle.sin()])
        attention.k_proj.bias[rows] = scale * torch.cat([torch.ones_like(angle), torch.zeros_like(angle)])
