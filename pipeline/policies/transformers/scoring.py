"""Log-probabilities of given texts on plain transformers: forward passes only, no token is sampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.policies.base import TokenLogprobs

# Most tokens of one pass, padding included; bounds the memory of its activations.
_TOKENS = 8192
# Most logits of one pass, in numbers (256 MiB as float32, and again for their softmax). With Gemma's
# vocabulary of 262 144 that is 256 positions; without this limit 8192 tokens would take 8 GiB.
_LOGITS = 1 << 26


@dataclass(eq=False)
class Score:
    """Texts to be scored together, and where the result goes.

    An entry is the ids of prompt and text, and where the text's begin (at least 1); None is passed through.
    """

    entries: list[tuple[list[int], int] | None]
    settle: Callable[[Any, BaseException | None], None]
    over: bool = False


def score(model: Any, jobs: Sequence[Score]) -> None:
    """Score the texts of all jobs and settle the jobs; texts of similar length share a pass."""
    found: list[list[TokenLogprobs | None]] = [[None] * len(job.entries) for job in jobs]
    waiting: list[tuple[list[int], int, int, int]] = []
    for j, job in enumerate(jobs):
        for e, entry in enumerate(job.entries):
            if entry is None or job.over:
                continue
            ids, start = entry
            if len(ids) == start:
                found[j][e] = ()
            else:
                waiting.append((ids, start, j, e))
    waiting.sort(key=lambda item: len(item[0]))
    size = model.get_output_embeddings().weight.shape[0]
    while waiting:
        group = _group(waiting, size)
        del waiting[-len(group) :]
        for (_, _, j, e), logprobs in zip(group, _read(model, group), strict=True):
            found[j][e] = logprobs
    for job, result in zip(jobs, found, strict=True):
        job.settle(result, None)


def _group(
    waiting: list[tuple[list[int], int, int, int]], size: int
) -> list[tuple[list[int], int, int, int]]:
    """The longest texts, as many as fit a pass; always at least one."""
    width = len(waiting[-1][0])
    n = min(len(waiting), max(1, _TOKENS // width))
    while n > 1:
        # Logits are computed from one position before the first text token on: that position predicts it.
        kept = width - min(start for _, start, _, _ in waiting[-n:]) + 1
        if n * kept * size <= _LOGITS:
            break
        n = n // 2
    return waiting[-n:]


def _read(model: Any, group: list[tuple[list[int], int, int, int]]) -> list[TokenLogprobs]:
    width = max(2, len(group[-1][0]))  # the attention of `decoding` takes one token for a decoding step
    ids = torch.zeros(len(group), width, dtype=torch.long)
    for row, (tokens, *_) in enumerate(group):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    first = min(start for _, start, _, _ in group) - 1
    # Padding on the right under a causal mask never reaches a real token.
    logits: Tensor = model(
        input_ids=ids.to(model.device), use_cache=False, logits_to_keep=torch.arange(first, width)
    ).logits
    logprobs = torch.log_softmax(logits.float(), -1)
    results = []
    for row, (tokens, start, _, _) in enumerate(group):
        target = torch.tensor(tokens[start:], device=logprobs.device)
        at = logprobs[row, start - 1 - first : len(tokens) - 1 - first]
        results.append(tuple(at.gather(-1, target[:, None])[:, 0].tolist()))
    return results
