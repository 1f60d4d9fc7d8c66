"""Several HTTP servers as one backend: which server a call goes to, and what happens when it fails.

Only this module retries HTTP faults. A call goes to the endpoint that its key prefers, because that one has
the problem in its prefix cache, unless its batch is full. A failed call goes to the next endpoint at once; it
waits only after all have failed. An endpoint that cannot be reached, or has failed several calls in a row, is
set aside and probed until it answers. One that says it is busy is left alone for as long as it asks; that
does not count as a failure. Where none answers in time, fewer calls are sent at once, and this one goes back
to the gate: a server gives up what it has written for a call that ended, so the same number at once would be
too slow again.

The OpenAI client's retries give up on a busy server after a few tries, do not retry an unusable reply, and
set no limit for a whole call. On six kinds of faults 71% of its requests ended in the reply of a good server,
and 93% of ours (`python -m benchmarks libraries.retries`). tenacity would save the two lines that pause.
"""

import asyncio
import hashlib
import logging
import random
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx

from pipeline.policies.admission import Gate
from pipeline.policies.server.refusals import Busy, Failed, Slow, check_status
from pipeline.policies.server.replies import Unusable
from schemas.text import one_line

log = logging.getLogger(__name__)
_LONGEST_WAIT_S = 30.0  # of one pause: a server that is back after an hour is noticed half a minute later
_PROBE_S = 5.0  # a list of models needs no model: a server that is well gives it within seconds
# Failed calls in a row after which an endpoint is set aside. One or two happen on healthy servers.
_STRIKES = 3
# An idle connection is closed before uvicorn's 5 s are over: else a call may use a connection that the server
# is just closing, and fail.
_IDLE_S = 3.0
_METRICS_BYTES = 1 << 20
# Cache sizes, in tokens, that are believed. The page is only a server's claim: 0 would let nothing pass.
_CACHE_TOKENS = range(1024, 10**10)
_LOCAL = ("localhost", "127.0.0.1", "::1")
T = TypeVar("T")


@dataclass(eq=False)
class Endpoint:
    """One server. `well`: calls are sent to it. `there`: the last attempt to connect to it succeeded."""

    url: str
    made: Callable[[], httpx.AsyncClient] = field(repr=False)
    """Makes a client."""
    idle: deque[tuple[float, httpx.AsyncClient]] = field(repr=False)
    """Clients that no call has, and since when, by the monotonic clock; the one used last is last."""
    closed: bool = False
    load: float = 0.0
    """Sequences under way there."""
    well: bool = True
    there: bool = True
    strikes: int = 0
    until: float = 0.0
    """When it may be asked again after it said that it was busy, by the monotonic clock."""
    pauses: int = 0
    """How many times it was busy since it last answered; each pause is longer than the one before."""
    probe: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client with a connection of its own, for one call.

        httpx looks through all connections of a client whenever a call begins or ends: with 64 of them a call
        took 4.5 ms of the processor, and 1 ms with one.
        """
        # Of a time with more calls under way. Their connections would take file descriptors until the end.
        while self.idle and time.monotonic() - self.idle[0][0] > _IDLE_S:
            await self.idle.popleft()[1].aclose()
        # The one that was used last: its connection is most likely still open.
        client = self.idle.pop()[1] if self.idle else self.made()
        try:
            yield client
        finally:
            # A call that nobody waits for any more may end after the policy: nobody would close its client.
            if self.closed:
                await client.aclose()
            else:
                self.idle.append((time.monotonic(), client))


class Endpoints:
    """The servers at `urls`, behind one `gate`.

    A failed call is tried `retries` times more on each server, after pauses that double from `backoff_s` on.
    While the servers are busy it waits, until none has answered any call for `patience_s`.
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
        self._eased = 0.0
        """When the load was last lessened because it was too slow, by the monotonic clock."""
        self._secret = headers.get("authorization", "").removeprefix("Bearer ")
        # Made once: reading the certificates takes longer than many calls.
        certificates = httpx.create_ssl_context()

        def made(url: str) -> httpx.AsyncClient:
            return httpx.AsyncClient(
                headers=headers,
                timeout=timeout_s,
                limits=httpx.Limits(keepalive_expiry=_IDLE_S),
                verify=certificates,
                transport=transport,
                # A redirect would carry the key and the problems to whomever the server names.
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                # A proxy from the environment has no way to this machine's own servers.
                trust_env=httpx.URL(url).host not in _LOCAL,
            )

        # One of them at once: an address that is none is noticed here.
        self.all = [
            Endpoint(url.rstrip("/"), partial(made, url), deque([(time.monotonic(), made(url))]))
            for url in urls
        ]
        gate.engines = len(self.all)

    async def open(self) -> None:
        """Find out which endpoints can be reached, and how many tokens the cache of a vLLM server holds."""
        for endpoint in self.all:
            endpoint.closed = False
        found = await asyncio.gather(*(self._cache_tokens(endpoint) for endpoint in self.all))
        self._gate.tokens = min((tokens for tokens in found if tokens), default=self._gate.tokens)

    @contextmanager
    def only(self, endpoint: Endpoint) -> Iterator[None]:
        """Inside this context all calls go to one endpoint, for questions that every server must answer."""
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
            endpoint.closed = True
            while endpoint.idle:
                await endpoint.idle.popleft()[1].aclose()

    async def call(
        self, path: str, body: bytes, *, key: str, sequences: float, limit: int, read: Callable[[bytes], T]
    ) -> T:
        """What `read` makes of the body of a good reply, which has at most `limit` bytes.

        When `read` raises Unusable, the call counts as failed. Raises Failed after the last retry, Busy when
        the servers stayed busy for too long, Rejected when a server refuses this request, and Refused when
        it refuses the key or the model. Slow, when no server answered in time, is not tried again here.
        """
        failed: set[Endpoint] = set()
        struck: set[Endpoint] = set()
        waits, begun = 0, time.monotonic()
        while True:
            endpoint = self._choose(key, sequences, failed)
            if (pause := endpoint.until - time.monotonic()) > 0:
                # With a random part, so that waiting calls do not all come back at the same moment.
                await asyncio.sleep(pause + random.uniform(0, 0.25) * min(pause, 4.0))
                continue
            sent = time.monotonic()
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
                if isinstance(failure, Slow):
                    self._ease(failure, sent)
                    raise Slow(f"{endpoint.url}: {failure}") from failure
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
        """The endpoint that the key prefers, while its batch has room; else the least loaded one. Where all
        are busy, the one that may be asked again first.

        The preference is by rendezvous hashing: when an endpoint fails, only the keys that preferred it move,
        and the prefix caches of the others stay useful.
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
        """Leave an endpoint alone for as long as it asks, or longer each time where it names no time. Raises
        Busy when that would exceed `patience_s`."""
        endpoint.there, now = True, time.monotonic()
        waited = now - max(begun, self._answered)
        if busy.wait_s > self._patience_s:
            raise Busy(f"{endpoint.url}: {busy}; it asks to wait for {busy.wait_s:.0f} s") from busy
        if waited >= self._patience_s:
            raise Busy(f"{endpoint.url}: {busy}; nothing was answered for {waited:.0f} s") from busy
        if endpoint.until > now:
            return  # another call got this reply a moment ago: one wave of refusals is one pause
        wait = busy.wait_s or self._backoff(endpoint.pauses)
        endpoint.until, endpoint.pauses = now + wait, endpoint.pauses + 1
        self._gate.slow_down()
        log.info("%s is busy (%s): waiting %.1f s", endpoint.url, busy, wait)

    def _ease(self, failure: Failed, sent: float) -> None:
        """Send fewer calls at once. Those that were sent before the last time are of the same wave."""
        if sent < self._eased:
            return
        self._eased, most = time.monotonic(), self._gate.ease()
        log.warning("%s; asking for %d completions at once", failure, most)

    def _backoff(self, waits: int) -> float:
        # The exponent is bounded: 2**1000 is no float. The random factor spreads calls that failed together.
        return min(_LONGEST_WAIT_S, self._backoff_s * (1 << min(waits, 16)) * random.uniform(0.5, 1.5))

    async def _wait(self, waits: int) -> None:
        await asyncio.sleep(self._backoff(waits))

    async def _try(
        self, endpoint: Endpoint, path: str, body: bytes, *, sequences: float, limit: int
    ) -> bytes:
        endpoint.load += sequences
        try:
            # httpx limits the time of each read only; a server that sends a byte a second needs this limit.
            async with (
                endpoint.client() as client,
                asyncio.timeout(self._timeout_s),
                client.stream("POST", endpoint.url + path, content=body) as reply,
            ):
                await check_status(reply, self._secret)
                return await _bounded(reply, limit)
        except TimeoutError:
            raise Slow(f"no reply within policy.timeout_s = {self._timeout_s:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failed(f"cannot connect: {error}", gone=True) from error
        except httpx.HTTPError as error:
            raise Failed(f"{type(error).__name__}: {one_line(str(error), 200)}") from error
        finally:
            endpoint.load -= sequences

    # Health

    def _strike(self, endpoint: Endpoint, failure: Failed, *, again: bool) -> None:
        """Count a failure against an endpoint. `again`: it has failed this same call before, which counts
        once, because the call itself may be the cause."""
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
        """Ask for the list of models until the endpoint answers, then use it again.

        It comes back with one strike left: a list of models does not show that completions work.
        """
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
            async with (
                endpoint.client() as client,
                asyncio.timeout(_PROBE_S),
                client.stream("GET", url) as reply,
            ):
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
            endpoint.client() as client,
            asyncio.timeout(_PROBE_S),
            client.stream("GET", f"{endpoint.url}/models") as reply,
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
