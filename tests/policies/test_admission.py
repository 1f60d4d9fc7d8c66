"""The gate admits what an engine has use for, oldest problem first, and problems begin as it has room."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.policies.admission import Gate, run_in_order


class Engine:
    """Holds each request for as many turns of the loop as its longest completion has tokens."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.now, self.most, self.order = gate, 0, 0, list[int]()

    async def ask(self, name: int, prompt: int, lengths: list[int]) -> None:
        async with self.gate.hold(prompt, len(lengths), 1000) as request:
            self.order.append(name)
            self.now += len(lengths)
            self.most = max(self.most, self.now)
            for _ in range(max(lengths)):
                await asyncio.sleep(0)
            self.now -= len(lengths)
            request.wrote = lengths


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_everything_is_done_and_never_too_much_at_once(seed: int) -> None:
    rng = random.Random(seed)
    searches = [
        [[rng.randint(1, 9)] * rng.randint(1, 4) for _ in range(rng.randint(0, 5))] for _ in range(30)
    ]

    async def run() -> Engine:
        engine = Engine(Gate(8))

        async def job(name: int) -> None:
            for lengths in searches[name]:
                await engine.ask(name, 3, lengths)

        await run_in_order(range(30), job)
        return engine

    engine = asyncio.run(run())
    assert sorted(engine.order) == sorted(name for name, search in enumerate(searches) for _ in search)
    assert engine.most <= 10  # a quarter more than 8; equal lengths are alive all the time


def test_the_next_problem_begins_only_when_none_waits() -> None:
    begun: list[int] = []

    async def run() -> None:
        gate, release = Gate(4), asyncio.Event()

        async def job(name: int) -> None:
            begun.append(name)
            async with gate.hold(1, 2, 10):
                await release.wait()

        running = asyncio.create_task(run_in_order(range(50), job))
        for _ in range(100):
            await asyncio.sleep(0)
        assert begun == [0, 1, 2]  # 5 sequences have room: two problems, and one that waits
        release.set()
        await running

    asyncio.run(run())
    assert begun == list(range(50))


def test_long_and_short_searches_together_leave_no_row_empty() -> None:
    rows: list[int] = []

    async def run() -> None:
        engine, begun = Engine(Gate(64)), 0

        async def job(name: int) -> None:
            nonlocal begun
            begun += 1
            for _ in range(40 if name % 10 == 0 else 1):
                await engine.ask(name, 1, [60, 60])

        async def watch() -> None:
            while begun < 800:
                rows.append(engine.now)
                await asyncio.sleep(0)

        await asyncio.gather(run_in_order(range(800), job), watch())

    asyncio.run(run())
    filled = next(turn for turn, count in enumerate(rows) if count >= 64)
    assert filled < 400
    assert min(rows[filled:]) >= 64


def test_tokens_bound_it_too() -> None:
    async def run() -> int:
        engine = Engine(Gate(1000, tokens=500))
        await asyncio.gather(*(engine.ask(name, 90, [10]) for name in range(40)))
        return engine.most

    # A quarter of the limit, 250, is held for a completion until one has ended, then what was seen.
    assert 4 <= asyncio.run(run()) <= 5


def test_a_request_larger_than_the_engine_runs_alone() -> None:
    async def run() -> int:
        engine = Engine(Gate(2, tokens=10))
        await asyncio.gather(*(engine.ask(name, 100, [3] * 8) for name in range(5)))
        return engine.most

    assert asyncio.run(run()) == 8


def test_completions_that_end_early_make_room() -> None:
    async def run() -> list[int]:
        engine, most = Engine(Gate(16)), []
        for _ in range(2):
            engine.most = 0
            await asyncio.gather(*(engine.ask(0, 1, [1, 1, 1, 17]) for _ in range(400)))
            most.append(engine.most)
        return most

    first, later = asyncio.run(run())
    assert later > 40  # of four only a third is alive on average
    assert first <= later


def test_older_problems_go_first() -> None:
    order: list[str] = []

    async def run() -> None:
        gate, asked = Gate(1), asyncio.Event()

        async def ask(name: str) -> None:
            async with gate.hold(1, 1, 10):
                order.append(name)
                await asked.wait()

        async def job(name: str) -> None:
            if name == "new":
                await ask(name)
                return
            first = asyncio.create_task(ask(name))
            for _ in range(20):  # the new problem waits for its turn by then
                await asyncio.sleep(0)
            rest = [asyncio.create_task(ask(name)) for _ in range(3)]
            await asyncio.sleep(0)
            asked.set()
            await asyncio.gather(first, *rest)

        await run_in_order(["old", "new"], job)

    asyncio.run(run())
    assert order == ["old", "old", "old", "old", "new"]


@pytest.mark.parametrize("after", range(6))
def test_a_cancelled_request_leaves_no_trace(after: int) -> None:
    async def run() -> None:
        engine = Engine(Gate(1))
        tasks = [asyncio.create_task(engine.ask(name, 1, [3])) for name in range(6)]
        for _ in range(after):
            await asyncio.sleep(0)
        for task in tasks[:4]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        engine.order.clear()
        async with asyncio.timeout(5):
            await engine.ask(9, 1, [3])
        assert engine.order == [9]

    asyncio.run(run())


def test_the_first_fault_ends_the_line_as_itself() -> None:
    async def job(item: int) -> None:
        if item == 3:
            raise KeyError("three")
        await asyncio.sleep(0.01)

    with pytest.raises(KeyError, match="three"):
        asyncio.run(run_in_order(range(10), job))


def test_jobs_that_ask_nothing_are_bounded() -> None:
    under_way = most = 0

    async def run() -> None:
        gate = Gate(1000)

        async def job(_: int) -> None:
            nonlocal under_way, most
            async with gate.hold(1, 1, 1):
                pass
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1

        await run_in_order(range(60), job, most=7)

    asyncio.run(run())
    assert most == 7


def test_a_busy_server_is_asked_for_less_and_slowly_for_more_again() -> None:
    gate = Gate(64)
    for _ in range(40):
        gate.slow_down()
    assert gate.share == 1 / 64
    for _ in range(64 * 10):
        gate.speed_up()
    assert 0.9 < gate.share <= 1.0


def test_less_at_once_is_still_one_at_a_time() -> None:
    async def run() -> None:
        gate = Gate(8)
        for _ in range(20):
            gate.slow_down()
        async with gate.hold(1, 8, 10):
            waits = asyncio.create_task(_held(gate))
            await asyncio.sleep(0)
            assert not waits.done()
        await waits

    asyncio.run(run())


async def _held(gate: Gate) -> None:
    async with gate.hold(1, 1, 10):
        return
