"""Token sampling: one token for each row of logits, selected by a uniform number that the request fixes.

It also says whether rounding could have selected another token: then the decoder samples it again, alone.
"""

import torch
from torch import Tensor
from torch.nn import functional

CLOSE = 1e-4
"""A uniform number this near to another token's share of the distribution counts as close. Rounding moves a
cumulated probability by up to about 1e-5 in float32, with the batch that a row is computed in
(`benchmarks/determinism.py`); ten times that is safe, and few tokens are close."""
# The same for greedy rows, between the two largest logits: there the larger is taken, whatever the number.
_CLOSE_LOGITS = 1e-3


def sample_tokens(
    logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """One token id for each row of `logits` (rows, vocabulary), and whether another token was close.

    The cumulative distribution is inverted at `uniform`; at temperature 0 the largest logit is taken. Rows
    with top_p below 1 use a sorted distribution and the others do not, whichever rows share the batch: else
    a row's token would depend on its neighbours.
    """
    samples = temperature > 0
    if not bool(samples.all()):
        best = logits.topk(2, -1)
        greedy, near = best.indices[:, 0], best.values[:, 0] - best.values[:, 1] < _CLOSE_LOGITS
        if not bool(samples.any()):
            return greedy, near
        # Greedy rows go along at temperature 1, to avoid a division by 0; their results are replaced below.
        chosen, close = sample_tokens(logits, temperature.where(samples, 1.0), top_p, uniform)
        return chosen.where(samples, greedy), close.where(samples, near)
    p = torch.softmax(logits.float() / temperature[:, None], -1)
    chosen, close = _invert(p, uniform)
    if bool((cut := top_p < 1).any()):
        ranked, order = p[cut].sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(-1) - ranked
        # Rounding can change two more things here: which token is the last within top_p, and which of two
        # equally likely tokens is sorted first.
        at_end = ((before - top_p[cut, None]).abs() < CLOSE).any(-1)
        ranked[before >= top_p[cut, None]] = 0
        rank, at_rank = _invert(ranked, uniform[cut])
        steps = functional.pad(-ranked.diff(dim=-1), (1, 1), value=1.0)
        equals = torch.minimum(_at(steps, rank), _at(steps, rank + 1)) < CLOSE
        chosen[cut], close[cut] = _at(order, rank), at_rank | at_end | equals
    return chosen, close


def _invert(p: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    total = p.cumsum(-1)
    # Just below the total, so that rounding never selects a token of probability 0 behind the last real one.
    target = (uniform * (1 - 1e-6)) * total[:, -1]
    index = torch.searchsorted(total, target[:, None], right=True)[:, 0].clamp_max(p.shape[-1] - 1)
    upper = _at(total, index)
    return index, torch.minimum(upper - target, target - upper + _at(p, index)) < CLOSE


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(-1, index[:, None])[:, 0]
