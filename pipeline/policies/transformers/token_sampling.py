"""One token a row, from logits and a uniform number fixed by what is asked; and whether rounding could have
drawn another."""

import torch
from torch import Tensor
from torch.nn import functional

CLOSE = 1e-4
"""In probability. Rounding makes a row's logits differ with the batch it is computed in: in float32 by up to
about 1e-5 in a cumulated probability (`benchmarks/determinism.py`). A draw that is farther from every other
token than this is the same in any batch."""
_CLOSE_LOGITS = 1e-3
"""The same for the two largest logits, where the larger is taken."""


def draw(logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One token id per row of `logits` (rows, vocabulary): the distribution inverted at `uniform`; greedy at
    0. With it, for every row, whether another token was close.

    Rows with top_p below 1 go through a sorted distribution, the others do not: a row's token must not depend
    on which kind of row is beside it.
    """
    samples = temperature > 0
    if not bool(samples.all()):
        best = logits.topk(2, -1)
        greedy, near = best.indices[:, 0], best.values[:, 0] - best.values[:, 1] < _CLOSE_LOGITS
        if not bool(samples.any()):
            return greedy, near
        chosen, close = draw(logits, temperature.where(samples, 1.0), top_p, uniform)
        return chosen.where(samples, greedy), close.where(samples, near)
    p = torch.softmax(logits.float() / temperature[:, None], -1)
    chosen, close = _invert(p, uniform)
    if bool((cut := top_p < 1).any()):
        ranked, order = p[cut].sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(-1) - ranked
        # Two more things hang by rounding: where the distribution ends, and which of two equals is first.
        at_end = ((before - top_p[cut, None]).abs() < CLOSE).any(-1)
        ranked[before >= top_p[cut, None]] = 0
        rank, at_rank = _invert(ranked, uniform[cut])
        steps = functional.pad(-ranked.diff(dim=-1), (1, 1), value=1.0)
        equals = torch.minimum(_at(steps, rank), _at(steps, rank + 1)) < CLOSE
        chosen[cut], close[cut] = _at(order, rank), at_rank | at_end | equals
    return chosen, close


def _invert(p: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    total = p.cumsum(-1)
    # Just below the total, so that rounding can never pick a token of probability 0 after the last real one.
    target = (uniform * (1 - 1e-6)) * total[:, -1]
    index = torch.searchsorted(total, target[:, None], right=True)[:, 0].clamp_max(p.shape[-1] - 1)
    upper = _at(total, index)
    return index, torch.minimum(upper - target, target - upper + _at(p, index)) < CLOSE


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(-1, index[:, None])[:, 0]
