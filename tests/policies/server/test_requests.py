"""What the server policy asks for: system messages, stop tokens, and choices that a server left out."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx

from pipeline.policies.base import Completion, Prompt, Sampling, Usage
from pipeline.policies.server.policy import ServerPolicy

SAMPLING = Sampling(temperature=0.7, max_tokens=64, seed=5)
PROMPT = Prompt("Problem: 1 + 1?\nSolution:\n", "1 + 1")
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def reply(*texts: str, **extra: Any) -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": "stop"} for text in texts], **extra}


def asking(
    answer: Answer, calls: list[tuple[Prompt, int, Sampling]], **options: Any
) -> tuple[ServerPolicy, list[list[Completion]]]:
    """The policy after some requests one after the other, and what came of them."""

    def handler(request: httpx.Request) -> httpx.Response:
        # Every policy first asks how large the server's cache is; only vLLM's tells.
        if request.method == "GET":
            return httpx.Response(404)
        return httpx.Response(200, json=answer(json.loads(request.content)))

    async def run() -> tuple[ServerPolicy, list[list[Completion]]]:
        transport = httpx.MockTransport(handler)
        async with ServerPolicy("http://there/v1", "m", transport=transport, **options) as policy:
            return policy, [await policy.sample(*call) for call in calls]

    return asyncio.run(run())


def test_a_system_message_and_stop_tokens_are_sent() -> None:
    seen: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        seen.append(body)
        place = {"message": {"content": "a"}} if "messages" in body else {"text": "a"}
        return {"choices": [{**place, "finish_reason": "stop"}]}

    call = (Prompt("What?", "", "You are brief."), 1, replace(SAMPLING, stop_token_ids=(7, 9)))
    asking(answer, [call], chat=True)
    asking(answer, [call])
    assert seen[0]["messages"] == [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "What?"},
    ]
    assert seen[1]["prompt"] == "You are brief.\n\nWhat?"
    assert [body["stop_token_ids"] for body in seen] == [[7, 9], [7, 9]]


def test_a_server_that_ignores_n_is_soon_asked_for_one_at_a_time() -> None:
    asked: list[tuple[int, int]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked.append((body["n"], body["seed"]))
        return reply(f"from {body['seed']}")

    policy, found = asking(answer, [(PROMPT, 3, replace(SAMPLING, seed=seed)) for seed in range(0, 50, 10)])
    for call, completions in enumerate(found):
        assert [c.text for c in completions] == [f"from {10 * call + i}" for i in range(3)]
    assert [n for n, _ in asked].count(3) == 3  # the third time it is noticed
    assert len(asked) == 5 * 3
    assert "it gives one completion where several are asked for" in policy.dialect.notes[-1]


def test_a_server_that_loses_choices_now_and_then_is_asked_for_several_on() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return reply(*["a"] * (1 if body["seed"] % 20 == 0 else body["n"]))

    policy, _ = asking(answer, [(PROMPT, 3, replace(SAMPLING, seed=seed)) for seed in range(0, 200, 10)])
    assert policy.dialect.many


def test_prompt_tokens_are_added_up() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}
    policy, _ = asking(lambda _: reply("a", "b", usage=usage), [(PROMPT, 2, SAMPLING)] * 3)
    assert policy.usage == Usage(27, 15)
