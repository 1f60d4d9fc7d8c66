"""A policy behind any OpenAI-compatible HTTP server. A reply is hostile until it has been read in bounds."""

import itertools
import json
import logging
from collections.abc import Sequence
from typing import Any, Self

import httpx

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.endpoints import Endpoints, Failed, Refused
from pipeline.policies.pressure import Gate
from schemas.errors import BackendError, UserError
from schemas.records import StopReason

log = logging.getLogger(__name__)
_STOPS: dict[str, StopReason] = {"stop": "stop", "length": "length"}
_CHARS_PER_TOKEN = 32
"""More than this many characters a token is not the text that was asked for."""
_FEWEST_CHARS_PER_TOKEN = 3
"""Prompts go out as text; so many tokens are held for one until the reply comes."""
_BYTES_PER_TOKEN = 128
_BYTES_PER_REPLY = 16_384
_RESTART_CHARS = 16


class ServerPolicy:
    """Completions from the servers at `base_urls`, which serve the same model.

    `in_flight` is the batch of each server, in completions. Prompts go to `/completions` as text, so the
    prefix is continued verbatim. With `chat` they go to `/chat/completions`; continuing a prefix there needs
    a server that knows `continue_final_message`, as vLLM's does. A reply that is malformed, too long, empty
    or short of choices gives `error` completions; BackendError means that no server can be reached,
    UserError that one refuses the key or model.
    """

    kind = "server"

    def __init__(
        self,
        base_urls: str | Sequence[str],
        model: str,
        *,
        api_key: str | None = None,
        in_flight: int = 256,
        timeout_s: float = 120.0,
        retries: int = 2,
        chat: bool = False,
        backoff_s: float = 0.5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.model, self.revision = model, ""
        self._path, self._chat = "/chat/completions" if chat else "/completions", chat
        # No compression: a small body could unpack to gigabytes before its length is known.
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._gate = Gate(in_flight)
        self.endpoints = Endpoints(
            [base_urls] if isinstance(base_urls, str) else base_urls,
            self._gate,
            headers=headers,
            timeout_s=timeout_s,
            retries=retries,
            backoff_s=backoff_s,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        await self.endpoints.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.endpoints.close()

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, `error` ones when the call failed or its reply cannot be used."""
        body = json.dumps(self._request(prompt, n, sampling)).encode()
        limit = _BYTES_PER_REPLY + n * (2048 + _BYTES_PER_TOKEN * sampling.max_tokens)
        tokens = len(prompt.text + prompt.prefix) // _FEWEST_CHARS_PER_TOKEN
        async with self._gate.hold(tokens, n, sampling.max_tokens) as request:
            try:
                # The text names the problem: its calls go where its prefix is in the cache.
                reply = await self.endpoints.call(
                    self._path, body, key=prompt.text, sequences=request.sequences, limit=limit
                )
                found = self._read(reply, prompt, n, sampling)
            except Failed as failure:
                if failure.gone:
                    raise BackendError(f"{failure}; is the server running?") from failure
                log.warning("a call failed: %s", failure)
                return [Completion("", "error") for _ in range(n)]
            except Refused as refusal:
                raise UserError(
                    f"{refusal} for model {self.model!r}: check base_url, the model's name, and the key that "
                    "api_key_env names"
                ) from None
            request.wrote = [completion.tokens for completion in found]
            return found

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

    def _read(self, reply: bytes, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        try:
            data = json.loads(reply)
            choices = data["choices"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Failed(f"not a completion: {reply[:80]!r}", retry=False) from None
        if not isinstance(choices, list) or len(choices) < n:
            raise Failed(f"fewer than the {n} choices asked for: {reply[:80]!r}", retry=False)
        shares = _shares(data.get("usage"), [len(self._text(choice) or "") for choice in choices[:n]])
        return [self._choice(c, prompt, sampling, t) for c, t in zip(choices, shares, strict=False)]

    def _text(self, choice: object) -> str | None:
        message = choice.get("message") if self._chat and isinstance(choice, dict) else choice
        text = message.get("content" if self._chat else "text") if isinstance(message, dict) else None
        return text if isinstance(text, str) else None

    def _choice(self, choice: object, prompt: Prompt, sampling: Sampling, tokens: int) -> Completion:
        failed = Completion("", "error", tokens)
        text = self._text(choice)
        if not isinstance(choice, dict) or not text:
            return failed
        stopped = _STOPS.get(str(choice.get("finish_reason")), "error")
        if stopped == "error":
            return failed
        if len(text) > _CHARS_PER_TOKEN * (sampling.max_tokens + 8) or not _is_text(text):
            return failed
        if self._chat and len(prompt.prefix) >= _RESTART_CHARS and text.startswith(prompt.prefix):
            log.warning("%s: the answer was started again instead of continued", self.model)
            return failed
        return Completion(text, stopped, tokens)


def _shares(usage: object, lengths: Sequence[int]) -> list[int]:
    """Tokens per completion, by the lengths of their texts: servers only tell the sum."""
    total = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or not 0 <= total < 2**40:
        total = 0
    weights = lengths if any(lengths) else [1] * len(lengths)
    ends = [0, *(round(total * part / sum(weights)) for part in itertools.accumulate(weights))]
    return [end - start for start, end in itertools.pairwise(ends)]


def _is_text(text: str) -> bool:
    """False with lone surrogates, which no file or table can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
