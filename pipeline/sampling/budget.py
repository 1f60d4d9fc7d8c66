"""Token budgets: how much may be sampled for one problem, and which problems of a shard are sampled at all.

Tokens are reserved before a request is sent, so no budget is exceeded. Both budgets depend only on what
earlier requests cost, not on which one finished first: a run ends in the same rows whatever its concurrency.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace

from pipeline.policies.base import Completion, Prompt, Sampler, Sampling
from schemas.config import BudgetConfig


class Allowance:
    """Counts what is sampled for one problem. With a limit, one request runs at a time, and none that could
    exceed the limit."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        # Requests are served in the order of asking. Two at once would finish in any order, and which of
        # their followers still fits would depend on it.
        self._lock = asyncio.Lock()
        self.calls = self.tokens = 0
        self.reached = False

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit, and so one request at a time."""
        return self._limit is not None

    def one_at_a_time(self) -> AbstractAsyncContextManager[object]:
        """The lock to hold while a request is sampled and graded; without a limit, nothing has to wait."""
        return nullcontext() if self._limit is None else self._lock

    async def draw(self, policy: Sampler, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions. Those that could exceed the limit are not sampled: they have the stop
        reason `budget`."""
        if self._limit is None:
            return await self._sample(policy, prompt, n, sampling)
        drawn: list[Completion] = []
        # Each completion is reserved with `max_tokens`, but most are shorter. So near the limit the request
        # is sent in parts: what the first part did not use allows a second one. Example: 100 tokens left at
        # 25 each allow 4 completions; if these wrote 40 tokens, 60 are left for 2 more.
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


class ShardBudget:
    """A shard's share of the run's token budget, spent on whole problems in their order.

    A problem is within the share when the cost of all problems before it leaves room for `per_problem` more
    tokens. It is admitted as soon as that is certain: every problem under way is reserved with `per_problem`
    tokens. Without `per_problem`, the reserve is the cost of the dearest problem so far. That is a guess, so
    a few problems too many may be sampled; they stay in the journal, and become rows when the budget grows.
    """

    def __init__(self, share: int | None, per_problem: int | None) -> None:
        self._share, self._per_problem = share, per_problem
        self._spent = self._dearest = self._under_way = 0
        self._lock, self._changed = asyncio.Lock(), asyncio.Event()
        self._closed = False

    async def admits(self, before: Iterable[int] = ()) -> bool:
        """Whether the next problem in order may start. Waits while that depends on the problems under way.

        `before` are the tokens of the problems between the last one and this one that were finished earlier.
        """
        if self._share is None:
            return True
        async with self._lock:
            for tokens in before:
                self._charge(tokens)
            # With nothing under way the cost so far is exact, and nothing is left to wait for.
            while self._under_way and self._spent + (self._under_way + 1) * self._reserve() > self._share:
                self._changed.clear()
                await self._changed.wait()
            if not self._under_way:
                self._closed |= self._spent + (self._per_problem or 1) > self._share
            self._under_way += not self._closed
            return not self._closed

    def settle(self, tokens: int | None) -> None:
        """Charge a problem that is over. None: it failed, and its reserve is kept for the next attempt."""
        self._under_way -= 1
        self._charge(self._reserve() if tokens is None and self._share is not None else tokens or 0)
        self._changed.set()

    def _charge(self, tokens: int) -> None:
        self._spent += tokens
        self._dearest = max(self._dearest, tokens)

    def _reserve(self) -> int:
        return self._per_problem or self._dearest or self._share or 0


@dataclass(frozen=True)
class ShardState:
    """A shard's problems by their state, as ids: done, owed (still to be done), and beyond the budget."""

    done: list[str] = field(default_factory=list)
    owed: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)


def shard_state(
    ids: Iterable[str], finished: Mapping[str, int], share: int | None, per_problem: int | None
) -> ShardState:
    """Sort problems, given in their order, by the rule of `ShardBudget`; `finished` has their tokens.

    The first problem that does not fit is beyond the budget, and so are all after it, drawn or not.
    """
    found, spent = ShardState(), 0
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
    # The difference of two rounded-down sums: shares that are rounded one by one would not add up.
    return budget.run * after // total - budget.run * before // total
