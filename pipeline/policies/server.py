"""A policy behind any OpenAI-compatible HTTP server. A reply is hostile until it has been read in bounds."""

import asyncio
import json
import logging
import random
from typing import Any, Self

import httpx

from pipeline.policies.base import Completion, Prompt, Sampling
from schemas.errors import BackendError, UserError
from schemas.records import StopReason

log = logging.getLogger(__name__)
_STOPS: dict[str, StopReason] = {"stop": "stop", "length": "length"}
_CHARS_PER_TOKEN = 32
"""More than this many characters a token is not the text that was asked for."""
_BYTES_PER_TOKEN = 128
_BYTES_PER_REPLY = 16_384
_LONGEST_WAIT_S = 30.0
_RESTART_CHARS = 16
_LOCAL = ("localhost", "127.0.0.1", "::1")


class _Failed(Exception):
    """A call that cannot be used, in one sentence; `gone` when nobody answered at all."""

    def __init__(self, why: str, *, retry: bool, gone: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry, self.gone, self.wait_s = retry, gone, wait_s


class ServerPolicy:
    """Completions from `base_url`, at most `in_flight` calls at once.

    Prompts go to `/completions` as text, so the prefix is continued verbatim. With `chat` they go to
    `/chat/completions`; continuing a prefix there needs a server that knows `continue_final_message`, as
    vLLM's does. This is the one retry layer for HTTP faults. A reply that is malformed, too long, empty or
    short of choices gives `error` completions; BackendError means that nobody answers, UserError that the
    server refuses the key or model.
    """

    kind = "server"

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        in_flight: int = 64,
        timeout_s: float = 120.0,
        retries: int = 2,
        chat: bool = False,
        backoff_s: float = 0.5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.model, self.revision = model, ""
        self._url = base_url.rstrip("/") + ("/chat/completions" if chat else "/completions")
        self._timeout_s, self._retries, self._backoff_s, self._chat = timeout_s, retries, backoff_s, chat
        self._slots = asyncio.Semaphore(in_flight)
        # No compression: a small body could unpack to gigabytes before its length is known.
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight),
            transport=transport,
            # A proxy from the environment has no way to this machine's own servers.
            trust_env=httpx.URL(base_url).host not in _LOCAL,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, `error` ones when the call failed or its reply cannot be used."""
        body = json.dumps(self._request(prompt, n, sampling)).encode()
        limit = _BYTES_PER_REPLY + n * (2048 + _BYTES_PER_TOKEN * sampling.max_tokens)
        async with self._slots:
            try:
                reply = await self._call(body, limit)
                return self._read(reply, prompt, n, sampling)
            except _Failed as failure:
                if failure.gone:
                    raise BackendError(f"{self._url}: {failure}; is the server running?") from failure
                log.warning("%s: %s", self._url, failure)
                return [Completion("", "error") for _ in range(n)]

    def _request(self, prompt: Prompt, n: int, sampling: Sampling) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "model": self.model,
            "n": n,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
        }
        if sampling.stop:
            asked["stop"] = list(sampling.stop)
        if not self._chat:
            return {**asked, "prompt": prompt.text + prompt.prefix}
        asked["messages"] = [{"role": "user", "content": prompt.text}]
        if prompt.prefix:
            asked["messages"].append({"role": "assistant", "content": prompt.prefix})
            asked |= {"continue_final_message": True, "add_generation_prompt": False}
        return asked

    async def _call(self, body: bytes, limit: int) -> bytes:
        """The body of a good reply, after as many tries as allowed."""
        for attempt in range(self._retries + 1):
            try:
                return await self._try(body, limit)
            except _Failed as failure:
                if not failure.retry or attempt == self._retries:
                    raise
                wait = max(failure.wait_s, self._backoff_s * 2**attempt * random.uniform(0.5, 1.5))
                await asyncio.sleep(min(wait, _LONGEST_WAIT_S))
        raise AssertionError("the last attempt returns or raises")

    async def _try(self, body: bytes, limit: int) -> bytes:
        try:
            # httpx times single reads; this bounds the whole call, against a server that drips.
            async with asyncio.timeout(self._timeout_s):
                async with self._client.stream("POST", self._url, content=body) as reply:
                    self._check_status(reply)
                    return await _bounded(reply, limit)
        except TimeoutError:
            raise _Failed(f"no reply within {self._timeout_s:g} s", retry=True) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Failed(f"cannot connect: {error}", retry=True, gone=True) from error
        except httpx.HTTPError as error:
            raise _Failed(f"{type(error).__name__}: {error}", retry=True) from error

    def _check_status(self, reply: httpx.Response) -> None:
        status = reply.status_code
        if status in (401, 403, 404):
            hint = "check base_url and model" if status == 404 else "check the key that api_key_env names"
            raise UserError(f"{self._url} answered {status} for model {self.model!r}: {hint}")
        if status == 429 or status >= 500:
            raise _Failed(f"answered {status}", retry=True, wait_s=_retry_after(reply))
        if status != 200:
            raise _Failed(f"answered {status}", retry=False)

    def _read(self, reply: bytes, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        try:
            data = json.loads(reply)
            choices = data["choices"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _Failed(f"not a completion: {reply[:80]!r}", retry=False) from None
        if not isinstance(choices, list) or len(choices) < n:
            raise _Failed(f"fewer than the {n} choices asked for: {reply[:80]!r}", retry=False)
        shares = _shares(data.get("usage"), n)
        return [self._choice(c, prompt, sampling, t) for c, t in zip(choices, shares, strict=False)]

    def _choice(self, choice: object, prompt: Prompt, sampling: Sampling, tokens: int) -> Completion:
        failed = Completion("", "error", tokens)
        if not isinstance(choice, dict):
            return failed
        message = choice.get("message") if self._chat else choice
        text = message.get("content" if self._chat else "text") if isinstance(message, dict) else None
        stopped = _STOPS.get(str(choice.get("finish_reason")), "error")
        if not isinstance(text, str) or not text or stopped == "error":
            return failed
        if len(text) > _CHARS_PER_TOKEN * (sampling.max_tokens + 8) or not _is_text(text):
            return failed
        if self._chat and len(prompt.prefix) >= _RESTART_CHARS and text.startswith(prompt.prefix):
            log.warning("%s: the answer was started again instead of continued", self._url)
            return failed
        return Completion(text, stopped, tokens)


async def _bounded(reply: httpx.Response, limit: int) -> bytes:
    """The body, given up as soon as it is longer than `limit` bytes."""
    if reply.headers.get("content-encoding", "identity") != "identity":
        raise _Failed("a compressed reply, which was not asked for", retry=False)
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise _Failed(f"a reply of more than {limit} bytes", retry=False)
    return bytes(body)


def _retry_after(reply: httpx.Response) -> float:
    value = reply.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


def _shares(usage: object, n: int) -> list[int]:
    """Tokens per completion: servers only tell the sum."""
    total = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or not 0 <= total < 2**40:
        total = 0
    each, rest = divmod(total, n)
    return [each + (index < rest) for index in range(n)]


def _is_text(text: str) -> bool:
    """False with lone surrogates, which no file or table can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
