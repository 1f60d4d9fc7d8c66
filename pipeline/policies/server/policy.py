"""A policy behind any OpenAI-compatible HTTP server.

Servers and proxies fail, lose completions and misreport them. This module decides what of a reply becomes a
completion, what is asked for again, and when a run has to stop.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar

import httpx

from pipeline.policies.admission import Gate, Request
from pipeline.policies.base import Completion, Prompt, Sampling, Unfinished, Usage
from pipeline.policies.server.dialect import ONE_AT_A_TIME, Dialect, is_too_long, names
from pipeline.policies.server.endpoints import Endpoints
from pipeline.policies.server.refusals import Busy, Failed, Refused, Rejected, Slow
from pipeline.policies.server.replies import Reply, read_reply
from pipeline.policies.server.restarts import looks_restarted
from schemas.errors import BackendGone, UserError

T = TypeVar("T")
# Prompts go out as text, so their tokens are estimated, for the gate. English has about 4 characters a token
# and formulas fewer; an estimate that is too high only sends a request later, so 3.
_FEWEST_CHARS_PER_TOKEN = 3
# The longest reply that is read: what n choices of `max_tokens` tokens may take, with their JSON, generously.
# A server that sends more is at fault, and its reply must not fill the memory.
_BYTES_PER_TOKEN = 128
_BYTES_PER_CHOICE = 2048
_BYTES_PER_REPLY = 16_384
# A doubtful completion (empty, or like a restart) is believed when it came three times: a proxy's fault
# passes, while a model that really says this says it again with the same seed.
_DOUBTS = 3
# Times that a completion is asked for while replies lack or doubt it. More than `_DOUBTS`, so that
# a doubtful completion can be confirmed even when other calls fail in between.
_ROUNDS = 5
# Failed calls in a row until the run stops, before and after the first success. Where nothing ever worked, a
# setting is wrong and the user should know soon; a server that has worked may be recovering.
_FAILURES_AT_FIRST, _FAILURES = 12, 32
# Continuations that look like restarts before the run stops, if they are also more than half of all. A model
# may repeat a line now and then; a server that restarts does so nearly always.
_WATCHED = 12
# Continuations after which a chat server is asked again whether it continues begun answers: it may have been
# restarted with another chat template in the middle of a run. The question costs two or three short calls.
_ASKED_AGAIN = 256
# Replies in a row with one choice instead of several, after which each completion is asked for alone: one or
# two may have lost the others on their way.
_LONE = 3
_RESTARTED = "the server starts the answer again instead of continuing it"


class ServerPolicy:
    """Completions from the servers at `base_urls`, which serve the same model.

    `in_flight` is the batch of each server, in completions. Prompts go to `/completions` as text, so the
    prefix is continued verbatim. With `chat` they go to `/chat/completions`; continuing a prefix there needs
    a server that knows `continue_final_message`, as vLLM's does.

    What a reply lacks is asked for again, alone: the i-th completion of a request has the seed `seed + i`.
    What is still missing then makes the request `Unfinished`. BackendGone means that no call succeeds any
    more, UserError that a server refuses the key or the model.
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
        patience_s: float = 600.0,
        retries: int = 2,
        chat: bool = False,
        drop: Sequence[str] = (),
        extra_body: Mapping[str, Any] | None = None,
        backoff_s: float = 0.5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.model, self.revision = model, ""
        self._path, self.chat = "/chat/completions" if chat else "/completions", chat
        self.dialect = Dialect(chat=chat, drop=drop, extra=extra_body)
        # No compression: a small body could unpack to gigabytes before its length is known.
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._gate, self._retries = Gate(in_flight), retries
        self._failed = self._succeeded = self._failed_in_a_row = 0
        self._continued, self._restarted, self._lone = 0, 0, 0
        self.usage = Usage()
        self.endpoints = Endpoints(
            [base_urls] if isinstance(base_urls, str) else base_urls,
            self._gate,
            headers=headers,
            timeout_s=timeout_s,
            retries=retries,
            backoff_s=backoff_s,
            patience_s=patience_s,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        await self.endpoints.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.endpoints.close()

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, or Unfinished with those that could be drawn."""
        asked = n if sampling.temperature > 0 else min(n, 1)  # many servers refuse n > 1 at temperature 0
        found: dict[int, Completion] = {}
        doubted = Counter[int]()
        missing: dict[int, str] = dict.fromkeys(range(asked), "not asked for")
        together, got = self.dialect.many and asked > 1, 1
        for _ in range(_ROUNDS):
            # After a request that gave nothing, one choice alone shows whether more than one was too many.
            places = sorted(missing) if got else sorted(missing)[:1]
            got = 0
            for reply in await self._ask(prompt, places, sampling, together=together):
                missing |= reply.missing
                got += len(reply.found)
                for place, completion in reply.found.items():
                    why = "" if reply.is_sure else self._doubt(prompt, completion)
                    doubted[place] += bool(why)
                    if why and doubted[place] < _DOUBTS:
                        missing[place] = why
                    else:
                        found[place] = await self._confirmed(completion, why)
            missing = {place: why for place, why in missing.items() if place not in found}
            if not missing:
                await self._count(prompt)
                return [found[place] for place in range(asked)] * (n // max(1, asked))
            if not got and not together:
                break
            together = False
        raise Unfinished(next(iter(missing.values())), found)

    async def _ask(
        self, prompt: Prompt, places: list[int], sampling: Sampling, *, together: bool
    ) -> list[Reply]:
        """Replies for some places of a request: all at once, or each alone."""
        if together:
            reply = await self.draw(prompt, len(places), sampling)
            if reply is not None:
                return [reply]
        alone = [self._alone(prompt, place, sampling) for place in places]
        return await _all(alone)

    async def _alone(self, prompt: Prompt, place: int, sampling: Sampling) -> Reply:
        reply = await self.draw(prompt, 1, replace(sampling, seed=sampling.seed + place))
        assert reply is not None  # `draw` gives None only where several completions were asked for
        return reply.at(place)

    async def draw(self, prompt: Prompt, n: int, sampling: Sampling) -> Reply | None:
        """One request; None when the server turns out to take only one completion at a time."""
        limit = _BYTES_PER_REPLY + n * (_BYTES_PER_CHOICE + _BYTES_PER_TOKEN * sampling.max_tokens)
        tokens = len(prompt.plain) // _FEWEST_CHARS_PER_TOKEN
        said = ""
        for _ in range(1 + self._retries):
            try:
                async with self._gate.hold(tokens, n, sampling.max_tokens) as request:
                    return await self._drawn(prompt, n, sampling, request, limit)
            except Slow as slow:  # it waits at the gate again, which lets fewer through now
                said = str(slow)
        return self._failed_call(f"{said}: raise it, or lower policy.in_flight", n)

    async def _drawn(
        self, prompt: Prompt, n: int, sampling: Sampling, request: Request, limit: int
    ) -> Reply | None:
        while True:
            body = self.dialect.request(self.model, prompt, n, sampling)
            try:
                reply = await self._call(prompt, n, sampling, body, request, limit)
            except Rejected as refusal:
                if is_too_long(refusal.words):
                    return Reply({i: Completion("", "length") for i in range(n)}, is_sure=True)
                if names(refusal.words, "stop_token_ids", body):
                    raise UserError(
                        f"{self.model}: the server refuses prompt.stop_token_ids, which vLLM's takes and "
                        f"few others do: use prompt.stop ({refusal})"
                    ) from None
                if not self.dialect.learn(refusal.words, body):
                    return self._failed_call(str(refusal), n)
                if n > 1 and not self.dialect.many:
                    return None
            except Slow:
                raise
            except Failed as failure:
                why = f"{failure}; is the server running?" if failure.gone else str(failure)
                return self._failed_call(why, n)
            else:
                for note in reply.notes:
                    self.dialect.note(f"{self.model}: {note}")
                request.wrote = [completion.tokens for completion in reply.found.values()]
                self._succeeded, self._failed_in_a_row = self._succeeded + 1, 0
                self.usage.count(reply.prompt_tokens or 0, reply.cached_tokens)
                self._count_choices(n, reply)
                return reply

    async def _call(
        self,
        prompt: Prompt,
        n: int,
        sampling: Sampling,
        body: Mapping[str, Any],
        request: Request,
        limit: int,
    ) -> Reply:
        try:
            # A problem's calls all begin with its text: they go to the server that has it in its cache.
            return await self.endpoints.call(
                self._path,
                json.dumps(body).encode(),
                key=prompt.text,
                sequences=request.sequences,
                limit=limit,
                read=partial(read_reply, n=n, sampling=sampling, chat=self.chat, prefix=prompt.prefix),
            )
        except Refused as refusal:
            raise UserError(
                f"{refusal} for model {self.model!r}: check base_url, the model's name, and the key that "
                "api_key_env names"
            ) from None
        except Busy as busy:
            raise BackendGone(str(busy)) from None

    def _count_choices(self, n: int, reply: Reply) -> None:
        """Notice a server that gives one choice whatever `n` says, and ask for one at a time from now on."""
        if n == 1 or not self.dialect.many:
            return
        self._lone = self._lone + 1 if reply.n_choices == 1 else 0
        if self._lone == _LONE:
            self.dialect.many = False
            self.dialect.note(ONE_AT_A_TIME)

    def _failed_call(self, why: str, n: int) -> Reply:
        """A call that failed for good. Raises BackendGone when it is one too many."""
        self._failed, self._failed_in_a_row = self._failed + 1, self._failed_in_a_row + 1
        if self._failed_in_a_row >= (_FAILURES if self._succeeded else _FAILURES_AT_FIRST):
            calls = (
                f"the last {self._failed_in_a_row}"
                if self._succeeded
                else f"{self._failed} of {self._failed}"
            )
            raise BackendGone(f"{calls} calls failed: {why}")
        return Reply({}, dict.fromkeys(range(n), why))

    def forget(self) -> None:
        """Forget how long completions were so far: a probe's are much shorter than a run's."""
        self._gate.forget()

    async def _count(self, prompt: Prompt) -> None:
        """Ask a chat server again, after every `_ASKED_AGAIN` continuations, whether it continues."""
        self._continued += bool(prompt.prefix)
        if prompt.prefix and self.chat and self._continued % _ASKED_AGAIN == 0:
            from pipeline.policies.server.probe import continues

            if await continues(self) is False:
                raise BackendGone(
                    f"{_RESTARTED}; the last {_ASKED_AGAIN} continuations may have been new answers too"
                )

    def _doubt(self, prompt: Prompt, completion: Completion) -> str:
        """Why a completion must be asked for again before it is believed; empty for nearly all."""
        if completion.stopped == "withheld":
            return ""
        if not completion.text:
            return "the server answers with an empty text"
        restarted = bool(prompt.prefix) and looks_restarted(prompt.prefix, completion.text)
        return _RESTARTED if restarted else ""

    async def _confirmed(self, completion: Completion, why: str) -> Completion:
        """A completion that is not in doubt, or was drawn several times."""
        if not why:
            return completion
        from pipeline.policies.server.probe import continues, writes

        if not completion.text:
            if await writes(self):
                return completion
            raise BackendGone(f"{why}, whatever it is asked")
        match await continues(self):
            case True:
                return completion
            case False:
                raise BackendGone(why)
        if not self.chat:
            return completion  # `/completions` reads prompt and prefix as one text, so it cannot restart
        self._restarted += 1
        if self._restarted >= _WATCHED and 2 * self._restarted > self._continued:
            raise BackendGone(f"{why}, in {self._restarted} of {self._continued} continuations")
        return Completion("", "withheld", completion.tokens)


async def _all(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results. When one call raises, the others are waited for first: none runs on unobserved."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for item in found:
        if isinstance(item, BaseException):
            raise item
    return [item for item in found if not isinstance(item, BaseException)]
