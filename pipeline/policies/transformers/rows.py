"""State of the running sequences: what each of them has, and what it may still write."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.policies.base import Completion, Sampling
from pipeline.policies.transformers.blocks import Numbers, gaps
from pipeline.policies.transformers.drafts import TAIL


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


class Rows:
    """Row i of every array is sequence i, and the first `count` rows run."""

    def __init__(self, slots: int, device: torch.device) -> None:
        self.slots, self.count, self.prompts, self.device = slots, 0, 0, device
        self.owners: list[tuple[Job, int]] = []
        self.prompt = np.zeros(slots, np.int64)
        """Number of the stored prompt."""
        self.known = np.zeros(slots, np.int64)
        """Tokens of that prompt, without its last, which the first step feeds."""
        self.made = np.zeros(slots, np.int64)
        self.limit = np.zeros(slots, np.int64)
        self.has_stop = np.zeros(slots, np.bool_)
        self.tail = np.zeros((slots, TAIL), np.int64)
        """Its last tokens; the last one is to be fed next."""
        self.temperature = torch.zeros(slots, device=device)
        self.top_p = torch.ones(slots, device=device)
        self.uniform: NDArray[np.float32] = np.zeros((slots, 0), np.float32)
        """One number per position to come."""
        self.out = np.zeros((slots, 0), np.int64)

    def add(self, job: Job, index: int, prompt: int) -> None:
        """Start completion `index` of a job in the next free row."""
        row, self.count = self.count, self.count + 1
        self.owners.append((job, index))
        if job.limit > self.out.shape[1]:
            more = (0, 0), (0, job.limit - self.out.shape[1])
            self.out, self.uniform = np.pad(self.out, more), np.pad(self.uniform, more)
        sampling = job.sampling
        self.known[row], self.prompt[row] = len(job.ids) - 1, prompt
        # No text holds -1: what a short prompt lacks is found nowhere.
        self.tail[row] = [*[-1] * (TAIL - len(job.ids)), *job.ids[-TAIL:]]
        self.made[row], self.limit[row] = 0, job.limit
        self.has_stop[row] = bool(sampling.stop or sampling.stop_token_ids)
        self.temperature[row], self.top_p[row] = sampling.temperature, sampling.top_p
        # Philox is counter-based: cheap to seed, and its first numbers do not depend on how many are taken.
        generator = np.random.Generator(np.random.Philox(key=sampling.seed + index))
        self.uniform[row, : job.limit] = generator.random(job.limit, dtype=np.float32)

    def write(self, token: Numbers, count: Numbers) -> None:
        """Append the first `count` of each running row's new tokens (rows, width)."""
        n, width = token.shape
        np.put_along_axis(self.out[:n], self.made[:n, None] + np.arange(width), token, 1)
        self.made[:n] += count
        both = np.concatenate([self.tail[:n], token], 1)
        self.tail[:n] = np.take_along_axis(both, count[:, None] + np.arange(TAIL), 1)

    def drop(self, gone: list[int]) -> Numbers:
        """Let the last rows fill the gaps that `gone` leaves; returns the rows' new numbers, -1 for none."""
        lost = np.array(gone, np.int64)
        source, target = gaps(self.count, lost)
        for value in vars(self).values():
            match value:
                case Tensor():
                    value[target] = value[source]
                case np.ndarray():
                    value[target] = value[source]
        for a, b in zip(source.tolist(), target.tolist(), strict=True):
            self.owners[b] = self.owners[a]
        renamed = _renamed(self.count, lost, source, target)
        self.count -= len(gone)
        del self.owners[self.count :]
        return renamed

    def drop_prompts(self) -> Numbers:
        """The same for prompts that no row continues."""
        users = np.bincount(self.prompt[: self.count], minlength=self.prompts)
        lost = np.flatnonzero(users == 0)
        renamed = _renamed(self.prompts, lost, *gaps(self.prompts, lost))
        self.prompt[: self.count] = renamed[self.prompt[: self.count]]
        self.prompts -= len(lost)
        return renamed

    def seats(self) -> Numbers:
        """Of each row, how many rows before it continue the same prompt."""
        prompt = self.prompt[: self.count]
        order = np.argsort(prompt, kind="stable")
        users = np.bincount(prompt, minlength=self.prompts)
        seats = np.empty_like(order)
        seats[order] = np.arange(len(order)) - np.repeat(users.cumsum() - users, users)
        return seats


def _renamed(count: int, gone: Numbers, source: Numbers, target: Numbers) -> Numbers:
    renamed = np.arange(count)
    renamed[gone] = -1
    renamed[source] = target
    return renamed
