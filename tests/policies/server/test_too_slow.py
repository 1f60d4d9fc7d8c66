"""A server that writes more completions at once than it can end in time."""

import asyncio
import json
import logging
import time
from typing import Any

import httpx
import pytest

from pipeline.policies.admission import run_in_order
from pipeline.policies.base import Prompt, Sampling, Unfinished
from pipeline.policies.server.policy import ServerPolicy

STEP_S = 0.01


class Shared:
    """Shares its speed among the calls under way: `work_s` is what one takes alone. It gives up a call whose
    client has gone, as vLLM does."""

    def __init__(self, work_s: float) -> None:
        self.work_s, self.busy, self.most = work_s, 0, 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """One completion, after its share of the time."""
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        self.busy += 1
        self.most = max(self.most, self.busy)
        left, last = self.work_s, time.monotonic()
        try:
            while left > 0:
                await asyncio.sleep(STEP_S)
                now = time.monotonic()
                left, last = left - (now - last) / self.busy, now
        finally:
            self.busy -= 1
        prompt = json.loads(request.content)["prompt"]
        choices = [{"text": f"to {prompt}", "finish_reason": "stop"}]
        return httpx.Response(200, json={"choices": choices, "usage": {"completion_tokens": 9}})


def policy(server: Shared, **options: Any) -> ServerPolicy:
    transport = httpx.MockTransport(server)
    return ServerPolicy("http://a/v1", "m", backoff_s=0.01, transport=transport, in_flight=256, **options)


def test_too_many_calls_at_once_become_fewer_until_they_are_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run of 112 problems had all of them under way on a CPU, where none was answered within two minutes:
    each was begun again, and again, and nothing was done."""
    server, answered = Shared(0.05), list[str]()

    async def run() -> None:
        async with policy(server, timeout_s=1.0) as asked:

            async def job(number: int) -> None:
                [found] = await asked.sample(Prompt(str(number)), 1, Sampling(max_tokens=9))
                answered.append(found.text)

            await run_in_order(range(60), job)

    asyncio.run(run())
    assert sorted(answered) == sorted(f"to {number}" for number in range(60))
    assert server.most == 60
    eased = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    # One wave of failures is one: else the load would fall to a single call at once.
    assert "no reply within policy.timeout_s = 1 s; asking for 15 completions at once" in eased
    assert sum("asking for" in line for line in eased) <= 2


def test_a_call_that_is_too_slow_alone_says_what_to_raise() -> None:
    async def run() -> None:
        async with policy(Shared(9.0), timeout_s=0.1) as asked:
            await asked.sample(Prompt("a"), 1, Sampling(max_tokens=9))

    with pytest.raises(Unfinished, match=r"policy.timeout_s = 0.1 s: raise it, or lower policy.in_flight"):
        asyncio.run(run())
