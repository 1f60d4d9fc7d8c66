"""Every way of going wrong that completion servers have, each as what is done with one call.

It is done byte by byte, so that the bytes can be wrong too. Whatever is asked for, the good answer is
fixed by prompt, prefix and seed: a run that a fault has held up must end in the rows of a run without one.
"""

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from pipeline.policies.base import Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy

STOP = "\n\nProblem:"
_AFTER = f"{STOP} another one\n#### wrong"
_HEAD = "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
Data = dict[str, Any]


@dataclass
class Call:
    """One request under way."""

    asked: Data
    chat: bool
    good: Data
    writer: asyncio.StreamWriter

    async def send(self, body: bytes | str | Data, status: int = 200, more: str = "") -> None:
        """A whole reply; `more` are further header lines."""
        raw = json.dumps(body) if isinstance(body, dict) else body
        raw = raw.encode() if isinstance(raw, str) else raw
        self.writer.write(_HEAD.format(status=status, length=len(raw), more=more).encode() + raw)
        await self.writer.drain()

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def changed(self, change: Callable[[Data], None]) -> None:
        """The good reply with something done to each of its choices."""
        for choice in self.good["choices"]:
            change(choice)
        await self.send(self.good)

    def texts(self, change: Callable[[str], Any]) -> Callable[[Data], None]:
        """A change of a choice's text."""

        def change_one(choice: Data) -> None:
            where, name = (choice["message"], "content") if self.chat else (choice, "text")
            where[name] = change(where[name])

        return change_one


Fault = Callable[[Call], Awaitable[None]]


async def _forever(call: Call, piece: bytes, pause_s: float = 0.0) -> None:
    while not call.writer.is_closing():
        await call.raw(piece)
        await asyncio.sleep(pause_s)


def _status(status: int, body: str, more: str = "") -> Fault:
    async def fault(call: Call) -> None:
        await call.send(body, status, more)

    return fault


def _choice(**values: Any) -> Fault:
    async def fault(call: Call) -> None:
        await call.changed(lambda choice: choice.update(values))

    return fault


def _text(change: Callable[[str], Any]) -> Fault:
    async def fault(call: Call) -> None:
        await call.changed(call.texts(change))

    return fault


def _body(change: Callable[[bytes], bytes | str]) -> Fault:
    async def fault(call: Call) -> None:
        await call.send(change(json.dumps(call.good).encode()))

    return fault


def _refuses(name: str, words: str, applies: Callable[[Data], bool]) -> Fault:
    async def fault(call: Call) -> None:
        if applies(call.asked):
            await call.send({"error": {"message": words, "param": name}}, 400)
        else:
            await call.send(call.good)

    return fault


def _usage(**values: Any) -> Fault:
    async def fault(call: Call) -> None:
        await call.send({**call.good, "usage": values})

    return fault


def _indexes(new: Callable[[int, int], Any]) -> Fault:
    async def fault(call: Call) -> None:
        choices = call.good["choices"]
        for place, choice in enumerate(choices):
            choice["index"] = new(place, len(choices))
        await call.send(call.good)

    return fault


async def _fewer(call: Call) -> None:
    await call.send({**call.good, "choices": call.good["choices"][:1]})


async def _more(call: Call) -> None:
    # More than were asked for: taken as they come, they would stand in for others.
    extra = [{**choice, "index": 100 + i} for i, choice in enumerate(call.good["choices"])]
    await call.send({**call.good, "choices": [*extra, *call.good["choices"], *extra]})


async def _shuffled(call: Call) -> None:
    await call.send({**call.good, "choices": call.good["choices"][::-1]})


async def _closes(call: Call) -> None:
    call.writer.close()


async def _drops_later(call: Call) -> None:
    await call.send(call.good)
    call.writer.close()


async def _resets(call: Call) -> None:
    body = json.dumps(call.good).encode()
    await call.raw(_HEAD.format(status=200, length=len(body), more="").encode() + body[: len(body) // 2])
    call.writer.transport.abort()


async def _promises_more(call: Call) -> None:
    body = json.dumps(call.good).encode()
    # The client waits for bytes that never come, or takes a whole reply for half of one.
    await call.raw(_HEAD.format(status=200, length=len(body) + 500, more="").encode() + body)
    call.writer.close()


async def _promises_less(call: Call) -> None:
    body = json.dumps(call.good).encode()
    # What follows the promised bytes would be read as the beginning of the next reply.
    await call.raw(_HEAD.format(status=200, length=len(body) // 2, more="").encode() + body)
    call.writer.close()


async def _drips(call: Call) -> None:
    await call.raw(_HEAD.format(status=200, length=10**6, more="").encode())
    # Always a byte before a read times out: only a limit on the whole reply ends it.
    await _forever(call, b" ", 0.02)


async def _hangs(_: Call) -> None:
    await asyncio.sleep(30)


async def _slow_headers(call: Call) -> None:
    await call.raw(b"HTTP/1.1 200 OK\r\n")
    await _forever(call, b"x", 0.02)


async def _endless_headers(call: Call) -> None:
    await call.raw(b"HTTP/1.1 200 OK\r\n")
    await _forever(call, b"x-more: " + b"y" * 4000 + b"\r\n")


async def _endless_body(call: Call) -> None:
    await call.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    await _forever(call, b" " * 65_536)


async def _bad_chunks(call: Call) -> None:
    await call.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nnothing\r\n-5\r\n")
    call.writer.close()


async def _no_http(call: Call) -> None:
    await call.raw(b"\x00\x16\x03\x01 hello\r\n\r\n")
    call.writer.close()


async def _bomb(call: Call) -> None:
    await call.send(_BOMB, more="content-encoding: gzip\r\n")


async def _dated(call: Call) -> None:
    when = formatdate(time.time() + 1, usegmt=True)
    await call.send("slow down", 429, f"retry-after: {when}\r\n")


# 20 MB from 20 KB: it must be refused by its unpacked size.
_BOMB = gzip.compress(b" " * 20_000_000)
# Engines that keep a seed in 32 bits with a sign refuse larger ones.
_LARGE = 2**31
FAULTS: dict[str, Fault] = {
    "429, come back in 0.1 s": _status(429, "slow down", "retry-after: 0.1\r\n"),
    "429, come back at a date": _dated,
    "429, no more said": _status(429, '{"error": "rate limit"}'),
    "503 while loading": _status(503, '{"message": "Loading model"}'),
    "500 in HTML": _status(500, "<html><style>b{}</style><h1>Internal\nServer Error</h1></html>"),
    "502 empty": _status(502, ""),
    "400 for no reason": _status(400, '{"detail": [{"loc": ["body", "x"], "msg": "nonsense"}]}'),
    # The message repeats the key, as some servers do: it must reach no log and no file.
    "401 midway": _status(401, '{"error": {"message": "Incorrect API key provided: faulty-key"}}'),
    "404, model gone": _status(404, '{"error": {"message": "model unloaded"}}'),
    "204": _status(204, ""),
    # A client that follows it would hand its key to another server.
    "a redirect elsewhere": _status(307, "", "location: http://127.0.0.1:9/steal\r\n"),
    "closes unanswered": _closes,
    "closes after a reply": _drops_later,
    "resets in the body": _resets,
    "promises more bytes": _promises_more,
    "promises fewer bytes": _promises_less,
    "drips": _drips,
    "hangs": _hangs,
    "slow headers": _slow_headers,
    "endless headers": _endless_headers,
    "endless body": _endless_body,
    "bad chunks": _bad_chunks,
    "no HTTP": _no_http,
    "gzip bomb": _bomb,
    "half JSON": _body(lambda body: body[: len(body) // 2]),
    "a page as 200": _body(lambda _: "<html><body>Please log in</body></html>"),
    "empty as 200": _body(lambda _: b""),
    "an error as 200": _body(lambda _: '{"error": {"message": "CUDA out of memory"}}'),
    "bad UTF-8": _body(lambda body: body.replace(b"step", b"st\xff\xfep")),
    "NaN": _body(lambda body: body.replace(b'"index": 0', b'"index": NaN')),
    "deep nesting": _body(lambda _: b"[" * 20_000),
    "a number of 9000 digits": _body(lambda body: body.replace(b'"index": 0', b'"index": ' + b"9" * 9000)),
    "no choices": _body(lambda _: '{"choices": []}'),
    "ignores n": _fewer,
    "more choices": _more,
    "choices in another order": _shuffled,
    "indexes out of range": _indexes(lambda place, n: place + n),
    "indexes of the wrong type": _indexes(lambda place, _: [str(place)]),
    "text is null": _text(lambda _: None),
    "text is a list": _text(lambda text: [text]),
    "empty texts": _text(lambda _: ""),
    "a megabyte of text": _text(lambda text: text * 20_000),
    "lone surrogates": _text(lambda text: text + "\ud800"),
    "NUL characters": _text(lambda text: "\0" + text),
    "1e11 tokens": _usage(completion_tokens=10**11, prompt_tokens=-4),
    "tokens of the wrong type": _usage(completion_tokens="NaN", prompt_tokens=True),
    "finish_reason eos_token": _choice(finish_reason="eos_token"),
    "finish_reason null": _choice(finish_reason=None),
    "finish_reason abort": _choice(finish_reason="abort"),
    "finish_reason of the wrong type": _choice(finish_reason=["stop"]),
    "refuses n": _refuses("n", "n must be 1", lambda asked: asked.get("n", 1) > 1),
    "refuses large seeds": _refuses(
        "seed", "seed: Input should be less than or equal to 2147483647", lambda a: a.get("seed", 0) >= _LARGE
    ),
    "refuses max_tokens": _refuses(
        "max_tokens",
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        lambda asked: "max_tokens" in asked,
    ),
    "refuses return_token_ids": _refuses(
        "return_token_ids",
        "Unrecognized request argument supplied: return_token_ids",
        lambda asked: "return_token_ids" in asked,
    ),
    "ignores stop": _text(lambda text: text + _AFTER),
}


async def _echoes(call: Call) -> None:
    await call.changed(call.texts(lambda text: call.asked["_prefix"] + text))


async def _restarts(call: Call) -> None:
    call.good = await good_reply(call.asked, call.asked["_prompt"], "", chat=call.chat)
    await call.send(call.good)


async def _says_sure(call: Call) -> None:
    # Chat models begin anew where they should continue; such a text is no continuation of the prefix.
    said = "Sure, here is the full solution:\n" if call.asked["_prefix"] else ""
    call.good = await good_reply(call.asked, call.asked["_prompt"], "", chat=call.chat)
    await call.changed(call.texts(lambda text: said + text))


FAULTS |= {
    "the prefix is echoed": _echoes,
    "the answer is started again": _restarts,
    "sure, here is the solution": _says_sure,
}
CHAT = frozenset({"the answer is started again", "sure, here is the solution", "text is null"})
"""Kinds that are tried on `/chat/completions`."""
# A server that does not know a parameter never did, so these faults begin with the first call.
FROM_THE_START = frozenset(name for name in FAULTS if name.startswith(("refuses", "ignores")))
BEHIND = SimulatedPolicy(slip=0.4, recover=0.3, n_steps=3)


async def good_reply(asked: Data, prompt: str, prefix: str, *, chat: bool) -> Data:
    """What a good server answers. Its seeds have 31 bits, as those of many engines."""
    limit = asked.get("max_tokens", asked.get("max_completion_tokens", 16))
    seed, n = asked.get("seed", 0), asked.get("n", 1)
    choices, total = [], 0
    for place in range(n):
        stop = tuple(asked.get("stop", ()))
        sampling = Sampling(max_tokens=limit, stop=stop, seed=(seed + place) % _LARGE)
        (done,) = await BEHIND.sample(Prompt(prompt, prefix), 1, sampling)
        choice: Data = {"index": place, "finish_reason": done.stopped}
        choice |= {"message": {"role": "assistant", "content": done.text}} if chat else {"text": done.text}
        if asked.get("return_token_ids"):
            choice["token_ids"] = list(range(done.tokens))
        choices.append(choice)
        total += done.tokens
    return {"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": total}}
