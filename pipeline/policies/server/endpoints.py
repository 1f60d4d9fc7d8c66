"""Several HTTP servers as one backend: where a call goes, what happens when it fails, who is well again.

This is the one retry layer for HTTP faults. A call goes to the endpoint that its key prefers, whose prefix
cache knows the problem, unless that one's batch is full. A failed call moves on to the next endpoint at once,
and waits only when all have failed it. An endpoint that cannot be reached, or has failed several calls in a
row, is set aside and probed until it answers. One that says it is busy is left alone for as long as it asks:
that is waiting, and no failure.

The OpenAI client's retries give up on a busy server after a few tries, never try again what came back
unusable, and have no limit for a whole call. On six kinds of faults 71% of its requests came to what a good
server says, and 93% of ours (`python -m benchmarks libraries.retries`). tenacity would give the pauses: two
lines.
"""

import asyncio
import hashlib
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx

from pipeline.policies.admission import Gate
from pipeline.policies.server.refusals import Busy, Failed, check_status
from pipeline.policies.server.replies import Unusable
from schemas.text import one_line

log = logging.getLogger(__name__)
_LONGEST_WAIT_S = 30.0
_PROBE_S = 5.0
_STRIKES = 3
"""Calls failed in a row after which an endpoint is set aside."""
_IDLE_S = 3.0
"""An idle connection is kept for less than uvicorn's 5 s: else a call meets one that the server closes."""
_METRICS_BYTES = 1 << 20
_CACHE_TOKENS = range(1024, 10**10)
"""Sizes of a cache that are believed."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
T = TypeVar("T")


@dataclass(eq=False)
class Endpoint:
    """One server. `well` while calls are sent to it, `there` while it could last be connected to."""

    url: str
    client: httpx.AsyncClient
    load: float = 0.0
    """Sequences under way there."""
    well: bool = True
    there: bool = True
    strikes: int = 0
    until: float = 0.0
    """When it may be asked again, by the monotonic clock; it said that it was busy."""
    pauses: int = 0
    """Times that it was busy since it last answered."""
    probe: "asyncio.Task[None] | None" = field(default=None, repr=False)


class Endpoints:
    """The servers at `urls`, with one `gate` before them all.

    A call is tried `retries` times more on each of them, `backoff_s` and longer apart; while they are busy
    it waits, until nothing at all has been answered for `patience_s`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        gate: Gate,
        *,
        headers: dict[str, str],
        timeout_s: float,
        retries: int,
        backoff_s: float,
        patience_s: float,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._gate, self._timeout_s, self._retries, self._backoff_s = gate, timeout_s, retries, backoff_s
        self._patience_s, self._answered = patience_s, 0.0
        self._secret = headers.get("authorization", "").removeprefix("Bearer ")
        self.all = [
            Endpoint(
                url.rstrip("/"),
                httpx.AsyncClient(
                    headers=headers,
                    timeout=timeout_s,
                    # The gate bounds the calls; a limit here would only hide a queue from it.
                    limits=httpx.Limits(max_connections=None, keepalive_expiry=_IDLE_S),
                    transport=transport,
                    # A redirect would carry the key and the problems to whomever the server names.
                    follow_redirects=False,
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                    # A proxy from the environment has no way to this machine's own servers.
                    trust_env=httpx.URL(url).host not in _LOCAL,
                ),
            )
            for url in urls
        ]
        gate.engines = len(self.all)

    async def open(self) -> None:
        """Learn which endpoints are there, and how many tokens the cache of a vLLM server holds."""
        found = await asyncio.gather(*(self._cache_tokens(endpoint) for endpoint in self.all))
        self._gate.tokens = min((tokens for tokens in found if tokens), default=self._gate.tokens)

    @contextmanager
    def only(self, endpoint: Endpoint) -> Iterator[None]:
        """Until it ends, calls go to one endpoint; for questions that each must answer itself."""
        kept, self.all = self.all, [endpoint]
        try:
            yield
        finally:
            self.all = kept
            self._resize()

    async def close(self) -> None:
        """End the probes and the connections."""
        for endpoint in self.all:
            if endpoint.probe is not None:
                endpoint.probe.cancel()
                await asyncio.wait([endpoint.probe])
            await endpoint.client.aclose()

    async def call(
        self, path: str, body: bytes, *, key: str, sequences: float, limit: int, read: Callable[[bytes], T]
    ) -> T:
        """What `read` makes of the body, of at most `limit` bytes, of a good reply; it may raise Unusable.

        Raises Failed, Busy when it has waited in vain, Rejected when the request itself is refused, and
        Refused.
        """
        failed: set[Endpoint] = set()
        struck: set[Endpoint] = set()
        waits, begun = 0, time.monotonic()
        while True:
            endpoint = self._choose(key, sequences, failed)
            if (pause := endpoint.until - time.monotonic()) > 0:
                # Some later than others, so that they do not come back all at once.
                await asyncio.sleep(pause + random.uniform(0, 0.25) * min(pause, 4.0))
                continue
            try:
                reply = read(await self._try(endpoint, path, body, sequences=sequences, limit=limit))
            except Busy as busy:
                self._pause(endpoint, busy, begun)
            except (Failed, Unusable) as fault:
                failure = fault if isinstance(fault, Failed) else Failed(str(fault))
                self._strike(endpoint, failure, again=endpoint in struck)
                failed.add(endpoint)
                struck.add(endpoint)
                if any(other.well and other not in failed for other in self.all):
                    continue
                if waits == self._retries:
                    gone = not any(other.there for other in self.all)
                    raise type(failure)(f"{endpoint.url}: {failure}", gone=gone) from failure
                await self._wait(waits)
                waits += 1
                failed.clear()
            else:
                self._restore(endpoint, strikes=0)
                endpoint.pauses, self._answered = 0, time.monotonic()
                self._gate.speed_up()
                return reply

    def _choose(self, key: str, sequences: float, failed: set[Endpoint]) -> Endpoint:
        """The one that the key prefers, while its batch has room; else the least loaded. Of busy ones, the
        first that may be asked again.

        Rendezvous hashing: when an endpoint goes, only its own keys move.
        """
        left = [endpoint for endpoint in self.all if endpoint not in failed]
        able = [endpoint for endpoint in left if endpoint.well] or left
        now = time.monotonic()
        free = [endpoint for endpoint in able if endpoint.until <= now]
        if not free:
            return min(able, key=lambda endpoint: endpoint.until)
        preferred = max(free, key=lambda endpoint: _rank(endpoint.url, key))
        if preferred.load + sequences <= self._gate.sequences:
            return preferred
        return min(free, key=lambda endpoint: endpoint.load)

    def _pause(self, endpoint: Endpoint, busy: Busy, begun: float) -> None:
        """Leave an endpoint alone for as long as it asks, or longer each time. Raises Busy when patience is
        at an end."""
        endpoint.there, now = True, time.monotonic()
        waited = now - max(begun, self._answered)
        if busy.wait_s > self._patience_s:
            raise Busy(f"{endpoint.url}: {busy}; it asks to wait for {busy.wait_s:.0f} s") from busy
        if waited >= self._patience_s:
            raise Busy(f"{endpoint.url}: {busy}; nothing was answered for {waited:.0f} s") from busy
        if endpoint.until > now:
            return  # another call has been told the same
        wait = busy.wait_s or self._backoff(endpoint.pauses)
        endpoint.until, endpoint.pauses = now + wait, endpoint.pauses + 1
        self._gate.slow_down()
        log.info("%s is busy (%s): waiting %.1f s", endpoint.url, busy, wait)

    def _backoff(self, waits: int) -> float:
        return min(_LONGEST_WAIT_S, self._backoff_s * (1 << min(waits, 16)) * random.uniform(0.5, 1.5))

    async def _wait(self, waits: int) -> None:
        await asyncio.sleep(self._backoff(waits))

    async def _try(
        self, endpoint: Endpoint, path: str, body: bytes, *, sequences: float, limit: int
    ) -> bytes:
        endpoint.load += sequences
        try:
            # httpx times single reads; this bounds the whole call, against a server that drips.
            async with asyncio.timeout(self._timeout_s):
                async with endpoint.client.stream("POST", endpoint.url + path, content=body) as reply:
                    await check_status(reply, self._secret)
                    return await _bounded(reply, limit)
        except TimeoutError:
            raise Failed(f"no reply within policy.timeout_s = {self._timeout_s:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failed(f"cannot connect: {error}", gone=True) from error
        except httpx.HTTPError as error:
            raise Failed(f"{type(error).__name__}: {one_line(str(error), 200)}") from error
        finally:
            endpoint.load -= sequences

    # Health

    def _strike(self, endpoint: Endpoint, failure: Failed, *, again: bool) -> None:
        """A call that an endpoint fails several times may be to blame itself, and counts once."""
        endpoint.there = not failure.gone
        endpoint.strikes += not again
        if endpoint.well and (failure.gone or endpoint.strikes >= _STRIKES):
            log.warning("%s is set aside: %s", endpoint.url, failure)
            endpoint.well = False
            self._resize()
            if endpoint.probe is None or endpoint.probe.done():
                endpoint.probe = asyncio.create_task(self._probe(endpoint))

    def _restore(self, endpoint: Endpoint, *, strikes: int) -> None:
        endpoint.there, endpoint.strikes = True, strikes
        if not endpoint.well:
            log.warning("%s answers again", endpoint.url)
            endpoint.well = True
            self._resize()

    def _resize(self) -> None:
        self._gate.engines = max(1, sum(endpoint.well for endpoint in self.all))
        self._gate.admit()

    async def _probe(self, endpoint: Endpoint) -> None:
        """Ask for the list of models until an answer comes; then one more failed call sets aside again."""
        waits = 0
        while not endpoint.well:
            await self._wait(waits)
            waits = min(waits + 1, 10)
            if await _answers(endpoint):
                self._restore(endpoint, strikes=_STRIKES - 1)

    async def _cache_tokens(self, endpoint: Endpoint) -> int | None:
        """Tokens that a vLLM server's cache holds; None of any other server."""
        url = endpoint.url.removesuffix("/v1") + "/metrics"
        try:
            async with asyncio.timeout(_PROBE_S), endpoint.client.stream("GET", url) as reply:
                page = (await _bounded(reply, _METRICS_BYTES)).decode(errors="replace")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._strike(endpoint, Failed(f"cannot connect: {error}", gone=True), again=False)
            return None
        except (Failed, TimeoutError, httpx.HTTPError):
            return None
        blocks, size = (
            re.search(rf'vllm:cache_config_info\{{[^}}]*\b{name}="(\d{{1,9}})"', page)
            for name in ("num_gpu_blocks", "block_size")
        )
        tokens = int(blocks[1]) * int(size[1]) if reply.status_code == 200 and blocks and size else 0
        return tokens if tokens in _CACHE_TOKENS else None


async def _answers(endpoint: Endpoint) -> bool:
    try:
        async with (
            asyncio.timeout(_PROBE_S),
            endpoint.client.stream("GET", f"{endpoint.url}/models") as reply,
        ):
            return reply.status_code < 500
    except (TimeoutError, httpx.HTTPError):
        return False


def _rank(url: str, key: str) -> bytes:
    return hashlib.blake2b(f"{url}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


async def _bounded(reply: httpx.Response, limit: int) -> bytes:
    """The body, given up as soon as it is longer than `limit` bytes."""
    if reply.headers.get("content-encoding", "identity") != "identity":
        raise Failed("a compressed reply, which was not asked for")
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise Failed(f"a reply of more than {limit} bytes")
    return bytes(body)
