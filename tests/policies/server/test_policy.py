"""The server policy: what it sends, and that no reply, however hostile, becomes a crash or a wrong answer."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from pipeline.policies.base import Completion, Prompt, Sampling, Unfinished
from pipeline.policies.server.policy import ServerPolicy
from schemas.errors import BackendError, BackendGone, UserError

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=64, stop=("\n\n",), seed=5)
PROMPT = Prompt("Problem: 1 + 1?\nSolution:\n", "1 + 1")
Handler = Callable[[httpx.Request], httpx.Response]


def reply(*texts: str, reason: str | None = "stop", **extra: Any) -> dict[str, Any]:
    choices = [{"index": i, "text": text, "finish_reason": reason} for i, text in enumerate(texts)]
    return {"choices": choices, "usage": {"completion_tokens": 7}, **extra}


def ask(
    handler: Handler, n: int = 1, prompt: Prompt = PROMPT, sampling: Sampling = SAMPLING, **options: Any
) -> list[Completion]:
    async def run() -> list[Completion]:
        # Every policy first asks how large the server's cache is; only vLLM's tells.
        transport = httpx.MockTransport(lambda r: handler(r) if r.method == "POST" else httpx.Response(404))
        options.setdefault("backoff_s", 0.001)
        async with ServerPolicy("http://there/v1/", "m", transport=transport, **options) as policy:
            return await policy.sample(prompt, n, sampling)

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
        return httpx.Response(200, json={"choices": [choice], "usage": {"completion_tokens": 3}})

    assert ask(handler, chat=True) == [Completion(" = 2", "stop", 3)]
    assert ask(handler, prompt=Prompt("hello"), chat=True)[0].stopped == "stop"
    assert seen[0]["messages"][1] == {"role": "assistant", "content": "1 + 1"}
    assert (seen[0]["continue_final_message"], seen[0]["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in seen[1]


def test_an_answer_started_again_stops_the_run() -> None:
    prefix = "Ann has 3 + 4 = 7 apples.\n"

    def handler(request: httpx.Request) -> httpx.Response:
        begun = "Count" in request.content.decode()
        text = "1, 2, 3, 4" if begun else prefix + "#### 7"
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice], "usage": {"completion_tokens": 9}})

    with pytest.raises(BackendGone, match="starts the answer again"):
        ask(handler, prompt=Prompt("q", prefix), chat=True)


def test_a_line_said_twice_is_no_new_answer_on_a_server_that_continues() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        text = "0, 11" if "Count" in request.content.decode() else "1 + 1 + 0 = 2"
        return httpx.Response(200, json=reply(text))

    assert ask(handler, prompt=Prompt("q", "1 + 1 + 0 = 2"))[0].text == "1 + 1 + 0 = 2"


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
        b'{"choices": [{"text": "a"}]}',
        b'{"choices": [{"text": "a", "finish_reason": null}]}',
        b'{"choices": [{"text": "a", "finish_reason": ["stop"]}]}',
        b'{"choices": [{"text": "a", "finish_reason": "abort"}]}',
        b'{"choices": [{"text": "a\\u0000", "finish_reason": "stop"}]}',
        b'{"choices": [{"text": "a", "finish_reason": "stop"}], "usage": {"completion_tokens": NaN}}',
        b'{"choices": [{"text": "a\\ud800", "finish_reason": "stop"}]}',
        b"[" * 10_000,
        b"9" * 9_000,
        b"\xff\xfe\x00",
        json.dumps(reply("9" * 15_000)).encode(),
        json.dumps(reply("9" * 1_000_000)).encode(),
    ],
    ids=lambda body: repr(body[:48]),
)
def test_an_unusable_reply_is_no_completion(body: bytes) -> None:
    with pytest.raises(Unfinished) as failed:
        ask(lambda _: httpx.Response(200, content=body))
    assert failed.value.drawn == {}
    assert len(str(failed.value)) < 250
    assert str(failed.value).isprintable()


def test_what_a_reply_lacks_is_asked_for_alone_with_its_own_seed() -> None:
    seeds: list[tuple[int, int]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        seeds.append((asked["n"], asked["seed"]))
        return httpx.Response(200, json=reply(f"from {asked['seed']}"))

    assert [c.text for c in ask(handler, 3)] == ["from 5", "from 6", "from 7"]
    assert seeds[0] == (3, 5)
    assert sorted(seeds[1:]) == [(1, 6), (1, 7)]


def test_what_was_drawn_of_an_unfinished_request_is_told() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return httpx.Response(200, json=reply(*["a"] * (asked["n"] - 1)))

    with pytest.raises(Unfinished, match="a reply without choices") as failed:
        ask(handler, 3)
    assert [failed.value.drawn[place].text for place in (0, 1)] == ["a", "a"]
    assert 2 not in failed.value.drawn


@pytest.mark.parametrize("indexes", [[2, 0, 1], [0, 0, 0], [None, None, None], [7, 1, 5]])
def test_the_index_of_a_choice_is_honoured(indexes: list[int | None]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        body = reply(*(f"t{i}" for i in range(3)) if asked["n"] == 3 else [f"s{asked['seed']}"])
        for choice, index in zip(body["choices"], indexes, strict=False):
            choice["index"] = index
        return httpx.Response(200, json=body)

    texts = [c.text for c in ask(handler, 3)]
    match indexes:
        case [2, 0, 1]:
            assert texts == ["t1", "t2", "t0"]
        case [7, 1, 5]:
            assert texts == ["s5", "t1", "s7"]
        case _:
            assert texts == ["t0", "t1", "t2"]


def test_an_empty_text_counts_once_the_server_has_been_seen_to_write() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=reply("words" if b"sentence" in request.content else ""))

    assert ask(handler)[0] == Completion("", "stop", 7)
    with pytest.raises(BackendGone, match="empty text, whatever"):
        ask(lambda _: httpx.Response(200, json=reply("")))


TOO_LONG = [
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
    "the request exceeds the available context size, try increasing it",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 and 200",
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "prompt is too long: 213000 tokens > 200000 maximum",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "max_tokens=400 cannot be greater than max_model_len=256. Please request fewer output tokens.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
]


@pytest.mark.parametrize("words", TOO_LONG)
def test_a_prompt_without_room_is_cut_off_and_not_owed(words: str) -> None:
    found = ask(lambda _: httpx.Response(400, json={"error": {"message": words}}), 2)
    assert found == [Completion("", "length")] * 2


REFUSALS = [
    ("Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead.", "max_tokens"),
    ("n must be 1", "n"),
    ("json: cannot unmarshal number into Go struct field .seed of type int32", "seed"),
    ("`stop` is not supported", "stop"),
]


@pytest.mark.parametrize(("words", "name"), REFUSALS)
def test_what_a_server_refuses_is_said_otherwise(words: str, name: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if {"n": asked["n"] > 1, "seed": asked["seed"] >= 2**31}.get(name, name in asked):
            return httpx.Response(400, json={"error": {"message": words}})
        text = f"{asked['seed']}\n\nmore" if name == "stop" else f"{asked['seed']}"
        return httpx.Response(200, json=reply(*[text] * asked["n"]))

    base = 2**40 + 9 if name == "seed" else 5
    found = ask(handler, 2, sampling=replace(SAMPLING, seed=base))
    assert [c.text for c in found] == (["5", "6"] if name == "n" else [str(base % 2**31)] * 2)


def test_every_call_in_vain_stops_the_run_with_the_servers_words() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            400, json={"detail": [{"loc": ["body", "top_p"], "msg": "no\x1b[31m such\nthing"}]}
        )

    async def run() -> None:
        transport = httpx.MockTransport(handler)
        async with ServerPolicy("http://there/v1", "m", transport=transport) as policy:
            for number in range(12):
                kind = Unfinished if number < 11 else BackendGone
                with pytest.raises(kind) as failed:
                    await policy.sample(PROMPT, 1, SAMPLING)
            said = '400 "no\N{REPLACEMENT CHARACTER}[31m such thing (top_p)"'
            assert str(failed.value) == f"12 of 12 calls failed: {said}"

    asyncio.run(run())


def test_an_endless_reply_is_given_up() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 4096
            yield b" " * 4096

    with pytest.raises(Unfinished, match="more than"):
        ask(lambda _: httpx.Response(200, content=endless()), retries=0)
    assert sent < 100_000


def test_a_compressed_reply_is_not_unpacked() -> None:
    headers = {"content-encoding": "gzip"}
    with pytest.raises(Unfinished, match="compressed"):
        ask(lambda _: httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"x")), retries=0)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_asked_again(status: int) -> None:
    answers = iter([httpx.Response(status), httpx.Response(status), httpx.Response(200, json=reply("a"))])
    assert ask(lambda _: next(answers))[0].text == "a"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header", ["0.01", "date", ""])
def test_being_busy_is_waited_for_however_often(status: int, header: str) -> None:
    when = formatdate(usegmt=True) if header == "date" else header
    busy = [httpx.Response(status, headers={"retry-after": when})] * 20
    answers = iter([*busy, httpx.Response(200, json=reply("a"))])
    assert ask(lambda _: next(answers), backoff_s=1e-6)[0].text == "a"


@pytest.mark.parametrize(
    ("wait", "words"), [("", "nothing was answered for"), ("9000", "asks to wait for 9000 s")]
)
def test_patience_ends(wait: str, words: str) -> None:
    busy = httpx.Response(429, headers={"retry-after": wait}, text="quota is spent")
    with pytest.raises(BackendGone, match=f"quota is spent.*{words}"):
        ask(lambda _: busy, patience_s=0.05)


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (400, 1), (422, 1), (302, 3)])
def test_a_failing_call_is_no_completion(status: int, tries: int) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, text="no", headers={"location": "http://elsewhere/"})

    with pytest.raises(Unfinished, match=str(status)):
        ask(handler)
    assert len(seen) == tries
    assert {request.url.host for request in seen} == {"there"}


def test_the_key_is_never_repeated() -> None:
    with pytest.raises(UserError) as refused:
        ask(lambda _: httpx.Response(401, text="the key sk-secret is wrong"), api_key="sk-secret")
    assert "sk-secret" not in str(refused.value)
    assert "[the key]" in str(refused.value)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_is_the_users_to_fix(status: int) -> None:
    with pytest.raises(UserError, match=f"answered {status} for model 'm'"):
        ask(lambda _: httpx.Response(status))


@pytest.mark.parametrize("fault", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_a_broken_connection_is_no_completion(fault: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise fault("broken")

    with pytest.raises(Unfinished, match="broken"):
        ask(handler)


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

    with pytest.raises(Unfinished, match="no reply within"):
        ask(lambda _: httpx.Response(200, content=drip()), timeout_s=0.05, retries=0)


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
