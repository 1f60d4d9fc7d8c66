"""Budgets: never exceeded, spent in order, and the same whatever finishes first."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.sampling.budget import Allowance, ShardBudget, shard_state, share_of
from schemas.config import BudgetConfig, RunConfig, parse_config
from schemas.errors import UserError


@pytest.mark.parametrize(
    ("finished", "share", "most", "expected"),
    [
        ({}, None, None, ("", "abc", "")),
        ({"a": 9, "c": 9}, None, 5, ("ac", "b", "")),
        ({}, 10, 10, ("", "abc", "")),
        ({}, 9, 10, ("", "", "abc")),
        ({"a": 4}, 10, 6, ("a", "bc", "")),
        ({"a": 5}, 10, 6, ("a", "", "bc")),
        ({"a": 5, "c": 1}, 10, 6, ("a", "", "bc")),
        ({"a": 9}, 10, None, ("a", "bc", "")),
        ({"a": 10}, 10, None, ("a", "", "bc")),
        ({"a": 5, "b": 5, "c": 1}, 10, None, ("ab", "", "c")),
    ],
)
def test_standing(
    finished: dict[str, int], share: int | None, most: int | None, expected: tuple[str, str, str]
) -> None:
    found = shard_state("abc", finished, share, most)
    assert tuple("".join(part) for part in (found.done, found.owed, found.beyond)) == expected


async def spend(costs: list[int], budget: ShardBudget, done: set[int], slots: int, seed: int) -> list[int]:
    """Problems drawn in order, `slots` at once, finishing in an order of chance; which ones were."""
    rng, queue, drawn = random.Random(seed), iter(range(len(costs))), list[int]()
    before: list[int] = []

    async def work() -> None:
        for i in queue:
            if i in done:
                before.append(costs[i])
                continue
            lying_between, before[:] = list(before), []
            if not await budget.admits(lying_between):
                return
            drawn.append(i)
            for _ in range(rng.randrange(8)):
                await asyncio.sleep(0)
            budget.settle(costs[i])

    await asyncio.gather(*(work() for _ in range(slots)))
    return drawn


@given(
    costs=st.lists(st.integers(0, 20), max_size=30),
    share=st.integers(0, 300),
    slots=st.integers(1, 12),
    seed=st.integers(0, 99),
    kept=st.randoms(use_true_random=False),
)
def test_the_purse_draws_what_the_rule_allows_and_never_more(
    costs: list[int], share: int, slots: int, seed: int, kept: random.Random
) -> None:
    names = [str(i) for i in range(len(costs))]
    allowed = shard_state(names, dict(zip(names, costs, strict=True)), share, 20).done
    done = {i for i in range(len(allowed)) if kept.random() < 0.3}  # as a kill leaves it
    drawn = asyncio.run(spend(costs, ShardBudget(share, 20), done, slots, seed))
    assert sorted({*drawn, *done}) == [int(name) for name in allowed]
    assert sum(costs[i] for i in {*drawn, *done}) <= share


@given(
    costs=st.lists(st.integers(1, 20), min_size=1, max_size=30),
    share=st.integers(1, 300),
    slots=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_without_a_limit_a_problem_the_purse_draws_at_least_what_the_rule_allows(
    costs: list[int], share: int, slots: int, seed: int
) -> None:
    names = [str(i) for i in range(len(costs))]
    allowed = shard_state(names, dict(zip(names, costs, strict=True)), share, None).done
    drawn = asyncio.run(spend(costs, ShardBudget(share, None), set(), slots, seed))
    assert sorted(drawn) == list(range(len(drawn)))
    assert len(drawn) >= len(allowed)
    assert sum(costs[i] for i in drawn[: len(drawn) - slots]) < share


def test_a_failed_problem_keeps_its_reserve() -> None:
    async def run() -> list[bool]:
        budget = ShardBudget(20, 10)
        found = [await budget.admits()]
        budget.settle(None)
        found.append(await budget.admits())
        budget.settle(3)
        return [*found, await budget.admits()]

    assert asyncio.run(run()) == [True, True, False]


@given(run=st.integers(1, 10**6), sizes=st.lists(st.integers(0, 50), min_size=1, max_size=9))
def test_shares_add_up(run: int, sizes: list[int]) -> None:
    shares = [share_of(BudgetConfig(run=run), sizes, shard) for shard in range(len(sizes))]
    if any(sizes):
        assert sum(share or 0 for share in shares) == run
        for share, size in zip(shares, sizes, strict=True):
            assert share is not None
            assert abs(share - run * size / sum(sizes)) <= 1


def test_an_allowance_is_never_exceeded_and_asks_for_as_many_as_fit() -> None:
    """A solution of the simulated policy is 3 words a step and 2 for the answer: 14 of at most 20."""

    async def run() -> tuple[list[list[str]], Allowance, int]:
        policy, allowance = SimulatedPolicy(n_steps=4), Allowance(100)

        async def ask(n: int) -> list[Completion]:
            async with allowance.one_at_a_time():
                return await allowance.draw(policy, Prompt("p", ""), n, Sampling(max_tokens=20))

        found = await asyncio.gather(*map(ask, (3, 5, 2)))
        return [[c.stopped for c in drawn] for drawn in found], allowance, policy.completions

    stopped, allowance, completions = asyncio.run(run())
    # After three 58 tokens are left: room for two at first, and for one more when they are done.
    assert stopped == [["stop"] * 3, ["stop"] * 3 + ["budget"] * 2, ["budget"] * 2]
    assert (allowance.tokens, allowance.calls, completions) == (84, 3, 6)
    assert allowance.reached


def test_what_is_drawn_under_an_allowance_are_the_first_of_what_would_be() -> None:
    async def texts(limit: int | None) -> list[str]:
        drawn = await Allowance(limit).draw(
            SimulatedPolicy(slip=0.5), Prompt("p", ""), 8, Sampling(max_tokens=40, seed=7)
        )
        return [completion.text for completion in drawn if completion.stopped == "stop"]

    free, bound = asyncio.run(texts(None)), asyncio.run(texts(130))
    assert bound == free[: len(bound)]
    assert 0 < len(bound) < len(free)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"per_problem": 255}, "less than prompt.max_tokens"),
        ({"per_problem": 256, "run": 511}, "in each of 2 shards"),
        ({"run": 1}, "in each of 2 shards"),
        ({"run": 0}, "budget.run"),
    ],
)
def test_budgets_that_buy_nothing_are_refused(budget: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_config({"name": "r", "shards": 2, "budget": budget}, "run.toml")


def test_only_the_budget_of_a_problem_belongs_to_the_runs_identity() -> None:
    plain = RunConfig(name="r")
    digests = [
        plain.model_copy(update={"budget": budget}).digest()
        for budget in (BudgetConfig(run=10**6), BudgetConfig(per_problem=999), BudgetConfig(per_problem=998))
    ]
    assert digests[0] == plain.digest()
    assert len({plain.digest(), *digests}) == 3
