"""Several HTTP servers as one backend: where a call goes, what happens when it fails, who is well again.

This is the one retry layer for HTTP faults. A call goes to the endpoint that its key prefers, whose prefix
cache knows the problem, unless that one's batch is full. A failed call moves on to the next endpoint at once,
and waits only when all have failed it. An endpoint that cannot be reached, or has failed several calls in a
row, is set aside and probed until it answers.
"""

import asyncio
import hashlib
import logging
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from pipeline.policies.pressure import Gate

log = logging.getLogger(__name__)
_LONGEST_WAIT_S = 30.0
_PROBE_S = 5.0
_STRIKES = 3
"""Calls failed in a row after which an endpoint is set aside."""
_IDLE_S = 3.0
"""An idle connection is kept for less than uvicorn's 5 s: else a call meets one that the server closes."""
_METRICS_BYTES = 1 << 20
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Failed(Exception):
    """A call that cannot be used, in one sentence; `gone` when nobody could be connected to, `busy` when the
    server is well but has too much to do."""

    def __init__(
        self, why: str, *, retry: bool, gone: bool = False, busy: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(why)
        self.retry, self.gone, self.busy, self.wait_s = retry, gone, busy, wait_s


class Refused(Exception):
    """An endpoint refuses the key or does not know the model: for the person who configured it to mend."""


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
    probe: "asyncio.Task[None] | None" = field(default=None, repr=False)


class Endpoints:
    """The servers at `urls`, with one `gate` before them all.

    A call is tried `retries` times more on each of them, `backoff_s` and longer apart.
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
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._gate, self._timeout_s, self._retries, self._backoff_s = gate, timeout_s, retries, backoff_s
        self.all = [
            Endpoint(
                url.rstrip("/"),
                httpx.AsyncClient(
                    headers=headers,
                    timeout=timeout_s,
                    # The gate bounds the calls; a limit here would only hide a queue from it.
                    limits=httpx.Limits(max_connections=None, keepalive_expiry=_IDLE_S),
                    transport=transport,
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

    async def close(self) -> None:
        """End the probes and the connections."""
        for endpoint in self.all:
            if endpoint.probe is not None:
                endpoint.probe.cancel()
                await asyncio.wait([endpoint.probe])
            await endpoint.client.aclose()

    async def call(self, path: str, body: bytes, *, key: str, sequences: float, limit: int) -> bytes:
        """The body, of at most `limit` bytes, of a good reply. Raises Failed, or Refused."""
        failed: set[Endpoint] = set()
        struck: set[Endpoint] = set()
        waits = 0
        while True:
            endpoint = self._choose(key, sequences, failed)
            try:
                reply = await self._try(endpoint, path, body, sequences=sequences, limit=limit)
            except Failed as failure:
                if not failure.retry:
                    raise
                self._strike(endpoint, failure, again=endpoint in struck)
                failed.add(endpoint)
                struck.add(endpoint)
                if any(other.well and other not in failed for other in self.all):
                    continue
                if waits == self._retries:
                    gone = not any(other.there for other in self.all)
                    raise Failed(f"{endpoint.url}: {failure}", retry=True, gone=gone) from failure
                await self._wait(waits, failure.wait_s)
                waits += 1
                failed.clear()
            else:
                self._restore(endpoint, strikes=0)
                return reply

    def _choose(self, key: str, sequences: float, failed: set[Endpoint]) -> Endpoint:
        """The one that the key prefers, while its batch has room; else the least loaded.

        Rendezvous hashing: when an endpoint goes, only its own keys move.
        """
        left = [endpoint for endpoint in self.all if endpoint not in failed]
        able = [endpoint for endpoint in left if endpoint.well] or left
        preferred = max(able, key=lambda endpoint: _rank(endpoint.url, key))
        if preferred.load + sequences <= self._gate.sequences:
            return preferred
        return min(able, key=lambda endpoint: endpoint.load)

    async def _wait(self, waits: int, least_s: float) -> None:
        wait = max(least_s, self._backoff_s * 2**waits * random.uniform(0.5, 1.5))
        await asyncio.sleep(min(wait, _LONGEST_WAIT_S))

    async def _try(
        self, endpoint: Endpoint, path: str, body: bytes, *, sequences: float, limit: int
    ) -> bytes:
        endpoint.load += sequences
        try:
            # httpx times single reads; this bounds the whole call, against a server that drips.
            async with asyncio.timeout(self._timeout_s):
                async with endpoint.client.stream("POST", endpoint.url + path, content=body) as reply:
                    _check_status(endpoint, reply)
                    return await _bounded(reply, limit)
        except TimeoutError:
            raise Failed(f"no reply within {self._timeout_s:g} s", retry=True) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failed(f"cannot connect: {error}", retry=True, gone=True) from error
        except httpx.HTTPError as error:
            raise Failed(f"{type(error).__name__}: {error}", retry=True) from error
        finally:
            endpoint.load -= sequences

    # Health

    def _strike(self, endpoint: Endpoint, failure: Failed, *, again: bool) -> None:
        """A call that an endpoint fails several times may be to blame itself, and counts once."""
        endpoint.there = not failure.gone
        endpoint.strikes += not again and not failure.busy
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
            await self._wait(waits, self._backoff_s)
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
            self._strike(endpoint, Failed(f"cannot connect: {error}", retry=True, gone=True), again=False)
            return None
        except (Failed, TimeoutError, httpx.HTTPError):
            return None
        blocks, size = (
            re.search(rf'vllm:cache_config_info\{{[^}}]*\b{name}="(\d{{1,9}})"', page)
            for name in ("num_gpu_blocks", "block_size")
        )
        return int(blocks[1]) * int(size[1]) if reply.status_code == 200 and blocks and size else None


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


def _check_status(endpoint: Endpoint, reply: httpx.Response) -> None:
    status = reply.status_code
    if status in (401, 403, 404):
        raise Refused(f"{endpoint.url} answered {status}")
    if status == 429 or status >= 500:
        wait_s = _retry_after(reply)
        raise Failed(f"answered {status}", retry=True, busy=status == 429 or wait_s > 0, wait_s=wait_s)
    if status != 200:
        raise Failed(f"answered {status}", retry=False)


async def _bounded(reply: httpx.Response, limit: int) -> bytes:
    """The body, given up as soon as it is longer than `limit` bytes."""
    if reply.headers.get("content-encoding", "identity") != "identity":
        raise Failed("a compressed reply, which was not asked for", retry=False)
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise Failed(f"a reply of more than {limit} bytes", retry=False)
    return bytes(body)


def _retry_after(reply: httpx.Response) -> float:
    value = reply.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0
