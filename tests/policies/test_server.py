"""The server policy: what it sends, and that no reply, however hostile, becomes a crash or a wrong answer."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.server import ServerPolicy
from schemas.errors import BackendError, UserError

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=64, stop=("\n\n",), seed=5)
PROMPT = Prompt("Problem: 1 + 1?\nSolution:\n", "1 + 1")
Handler = Callable[[httpx.Request], httpx.Response]


def reply(*texts: str, reason: str | None = "stop", **extra: Any) -> dict[str, Any]:
    choices = [{"index": i, "text": text, "finish_reason": reason} for i, text in enumerate(texts)]
    return {"choices": choices, "usage": {"completion_tokens": 7}, **extra}


def ask(handler: Handler, n: int = 1, prompt: Prompt = PROMPT, **options: Any) -> list[Completion]:
    async def run() -> list[Completion]:
        # Every policy first asks how large the server's cache is; only vLLM's tells.
        transport = httpx.MockTransport(lambda r: handler(r) if r.method == "POST" else httpx.Response(404))
        options.setdefault("backoff_s", 0.001)
        async with ServerPolicy("http://there/v1/", "m", transport=transport, **options) as policy:
            return await policy.sample(prompt, n, SAMPLING)

    return asyncio.run(run())


def test_the_request_holds_everything_that_was_asked() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=reply(" = 2", " = 3"))

    found = ask(handler, 2, api_key="k")
    assert found == [Completion(" = 2", "stop", 4), Completion(" = 3", "stop", 3)]
    assert str(seen[0].url) == "http://there/v1/completions"
    assert seen[0].headers["authorization"] == "Bearer k"
    assert json.loads(seen[0].content) == {
        "model": "m",
        "prompt": PROMPT.text + PROMPT.prefix,
        "n": 2,
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 64,
        "seed": 5,
        "stop": ["\n\n"],
    }


def test_chat_continues_the_assistants_message() -> None:
    seen: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        choice = {"message": {"content": " = 2"}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice]})

    assert ask(handler, chat=True) == [Completion(" = 2", "stop", 0)]
    assert ask(handler, prompt=Prompt("hello"), chat=True)[0].stopped == "stop"
    assert seen[0]["messages"][1] == {"role": "assistant", "content": "1 + 1"}
    assert (seen[0]["continue_final_message"], seen[0]["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in seen[1]


def test_an_answer_started_again_is_refused() -> None:
    prefix = "Ann has 3 + 4 = 7 apples.\n"
    choice = {"message": {"content": prefix + "#### 7"}, "finish_reason": "stop"}
    found = ask(
        lambda _: httpx.Response(200, json={"choices": [choice]}), prompt=Prompt("q", prefix), chat=True
    )
    assert found[0].stopped == "error"


def test_cut_off_is_not_stopped() -> None:
    assert ask(lambda _: httpx.Response(200, json=reply("a", reason="length")))[0].stopped == "length"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"choices": [{"text": "a", "finish_r',
        b"null",
        b"[]",
        b'{"choices": null}',
        b'{"choices": []}',
        b'{"choices": [1]}',
        b'{"choices": [{"text": null, "finish_reason": "stop"}]}',
        b'{"choices": [{"text": "", "finish_reason": "stop"}]}',
        b'{"choices": [{"text": "a"}]}',
        b'{"choices": [{"text": "a", "finish_reason": null}]}',
        b'{"choices": [{"text": "a", "finish_reason": ["stop"]}]}',
        b'{"choices": [{"text": "a", "finish_reason": "content_filter"}]}',
        b'{"choices": [{"text": "a\\ud800", "finish_reason": "stop"}]}',
        b"[" * 10_000,
        b"9" * 9_000,
        b"\xff\xfe\x00",
        json.dumps(reply("9" * 15_000)).encode(),
        json.dumps(reply("9" * 1_000_000)).encode(),
    ],
    ids=lambda body: repr(body[:48]),
)
def test_an_unusable_reply_is_an_error_completion(body: bytes) -> None:
    found = ask(lambda _: httpx.Response(200, content=body))
    assert [(c.text, c.stopped) for c in found] == [("", "error")]


def test_fewer_choices_than_asked_fail_together() -> None:
    assert [c.stopped for c in ask(lambda _: httpx.Response(200, json=reply("a")), 2)] == ["error", "error"]


def test_one_bad_choice_spoils_only_itself() -> None:
    assert [c.stopped for c in ask(lambda _: httpx.Response(200, json=reply("a", "")), 2)] == [
        "stop",
        "error",
    ]


@pytest.mark.parametrize("tokens", [-1, True, "7", 1.5, 2**60])
def test_usage_is_not_believed_blindly(tokens: object) -> None:
    body = {**reply("a"), "usage": {"completion_tokens": tokens}}
    assert ask(lambda _: httpx.Response(200, json=body))[0] == Completion("a", "stop", 0)


def test_an_endless_reply_is_given_up() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 4096
            yield b" " * 4096

    assert ask(lambda _: httpx.Response(200, content=endless()))[0].stopped == "error"
    assert sent < 100_000


def test_a_compressed_reply_is_not_unpacked() -> None:
    headers = {"content-encoding": "gzip"}
    assert (
        ask(lambda _: httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"x")))[0].stopped
        == "error"
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_asked_again(status: int) -> None:
    answers = iter([httpx.Response(status), httpx.Response(status), httpx.Response(200, json=reply("a"))])
    assert ask(lambda _: next(answers))[0].text == "a"


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (400, 1), (422, 1), (302, 1)])
def test_a_failing_call_is_an_error_completion(status: int, tries: int) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, text="no")

    assert ask(handler)[0].stopped == "error"
    assert len(seen) == tries


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_is_the_users_to_fix(status: int) -> None:
    with pytest.raises(UserError, match=f"answered {status} for model 'm'"):
        ask(lambda _: httpx.Response(status))


@pytest.mark.parametrize("fault", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_a_broken_connection_is_an_error_completion(fault: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise fault("broken")

    assert ask(handler)[0].stopped == "error"


def test_nobody_there_ends_the_run() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(BackendError, match="is the server running"):
        ask(handler)


def test_a_dripping_server_runs_out_of_time() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b" "

    found = ask(lambda _: httpx.Response(200, content=drip()), timeout_s=0.05, retries=0)
    assert found[0].stopped == "error"


class _Server(BaseHTTPRequestHandler):
    """Repeats the prompt; `busy` counts calls under way."""

    protocol_version = "HTTP/1.1"
    lock, busy, most = threading.Lock(), 0, 0

    def do_POST(self) -> None:
        with _Server.lock:
            _Server.busy += 1
            _Server.most = max(_Server.most, _Server.busy)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        threading.Event().wait(0.02)
        body = json.dumps(reply(*[asked["prompt"].upper()] * asked["n"])).encode()
        with _Server.lock:
            _Server.busy -= 1
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_many_calls_over_a_real_connection(url: str) -> None:
    async def run() -> list[list[Completion]]:
        async with ServerPolicy(url, "m", in_flight=4) as policy:
            prompts = [Prompt(f"abc {index}", "x") for index in range(12)]
            return await asyncio.gather(*(policy.sample(prompt, 2, SAMPLING) for prompt in prompts))

    found = asyncio.run(run())
    assert [[c.text for c in pair] for pair in found] == [[f"ABC {index}X"] * 2 for index in range(12)]
    assert 1 < _Server.most <= 4


def test_a_closed_port_is_a_gone_backend() -> None:
    async def run() -> None:
        async with ServerPolicy("http://127.0.0.1:9/v1", "m", retries=1, backoff_s=0.001) as policy:
            await policy.sample(PROMPT, 1, SAMPLING)

    with pytest.raises(BackendError):
        asyncio.run(run())
