"""Budgets in tokens: what one problem may draw, and which problems of a shard are drawn at all.

Both are kept by reserving before drawing, so neither is ever exceeded, and both decide by what earlier draws
have cost and by nothing else: a run ends in the same rows whatever its concurrency.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace

from pipeline.policies.base import Completion, Prompt, Sampler, Sampling
from schemas.config import BudgetConfig


class Allowance:
    """What one problem draws, counted; with a limit, in turn, and nothing that could exceed it."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        # Requests are served in the order of asking. Two at once would finish in any order, and which of
        # their followers still fits would depend on it.
        self._turn = asyncio.Lock()
        self.calls = self.tokens = 0
        self.reached = False

    def turn(self) -> AbstractAsyncContextManager[object]:
        """To be held while a request is drawn and graded. Without a limit everyone's turn is now."""
        return nullcontext() if self._limit is None else self._turn

    async def draw(self, policy: Sampler, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions; those that could exceed the limit are not drawn and come as `budget`."""
        if self._limit is None:
            return await self._sample(policy, prompt, n, sampling)
        drawn: list[Completion] = []
        # Near the limit by parts: most completions are shorter than the longest that must be allowed for.
        while (most := min(n - len(drawn), (self._limit - self.tokens) // sampling.max_tokens)) > 0:
            part = replace(sampling, seed=sampling.seed + len(drawn))
            drawn += await self._sample(policy, prompt, most, part)
        self.reached |= len(drawn) < n
        return [*drawn, *(Completion("", "budget") for _ in range(n - len(drawn)))]

    async def _sample(self, policy: Sampler, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        drawn = await policy.sample(prompt, n, sampling)
        self.calls += 1
        self.tokens += sum(completion.tokens for completion in drawn)
        return drawn


class Purse:
    """A shard's share of the run's tokens, spent on whole problems in their order.

    A problem is within the share when what all problems before it cost leaves room for `per_problem` more.
    It is admitted as soon as that is certain, with a reserve for every problem under way. Without
    `per_problem` the reserve is the dearest problem so far: a guess, so a few problems more than the share
    allows may be drawn. They stay in the journal and become rows when the budget is raised.
    """

    def __init__(self, share: int | None, per_problem: int | None) -> None:
        self._share, self._per_problem = share, per_problem
        self._spent = self._dearest = self._under_way = 0
        self._turn, self._changed = asyncio.Lock(), asyncio.Event()
        self._closed = False

    async def admits(self, before: Iterable[int] = ()) -> bool:
        """Whether the next problem in order may start; waits for those under way where it hangs on them.

        `before` are the tokens of problems that lie between it and the last one, and were finished earlier.
        """
        if self._share is None:
            return True
        async with self._turn:
            for tokens in before:
                self._charge(tokens)
            while self._under_way and self._spent + (self._under_way + 1) * self._reserve() > self._share:
                self._changed.clear()
                await self._changed.wait()
            if not self._under_way:
                self._closed |= self._spent + (self._per_problem or 1) > self._share
            self._under_way += not self._closed
            return not self._closed

    def settle(self, tokens: int | None) -> None:
        """A problem is over; None when it failed, and then its reserve stays taken until it is done again."""
        self._under_way -= 1
        self._charge(self._reserve() if tokens is None and self._share is not None else tokens or 0)
        self._changed.set()

    def _charge(self, tokens: int) -> None:
        self._spent += tokens
        self._dearest = max(self._dearest, tokens)

    def _reserve(self) -> int:
        return self._per_problem or self._dearest or self._share or 0


@dataclass(frozen=True)
class Standing:
    """Where a shard stands: the ids of its problems that are done, owed, and beyond the budget."""

    done: list[str] = field(default_factory=list)
    owed: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)


def standing(
    ids: Iterable[str], finished: Mapping[str, int], share: int | None, per_problem: int | None
) -> Standing:
    """Sort problems, given in their order, by the rule of `Purse`; `finished` holds the tokens of each one.

    The first problem that does not fit is beyond the budget, and so are all after it, drawn or not.
    """
    found, spent = Standing(), 0
    for name in ids:
        if share is not None and (found.beyond or spent + (per_problem or 1) > share):
            found.beyond.append(name)
        elif name in finished:
            found.done.append(name)
            spent += finished[name]
        else:
            found.owed.append(name)
    return found


def share_of(budget: BudgetConfig, sizes: list[int], shard: int) -> int | None:
    """A shard's tokens, by its part of the run's problems; the shares of all shards add up to the budget."""
    total = sum(sizes)
    if budget.run is None or not total:
        return None
    before, after = sum(sizes[:shard]), sum(sizes[: shard + 1])
    return budget.run * after // total - budget.run * before // total
