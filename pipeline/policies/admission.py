"""Admission: how many requests an engine gets at once, and which request goes next.

Too few requests leave the engine idle; too many open problems are lost when a run is killed. So problems
begin in order, and the next one begins as soon as no request of the earlier ones has to wait: the engine
stays full, and no more problems are open than that takes. Where requests wait, those of the older problem go
first, so that begun problems end early.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")
# Sequences sent per sequence of the engine's batch. The extra quarter waits in the engine's own queue: a row
# that becomes free is filled at once, and not only after a reply has come and a request has gone back.
_AHEAD = 1.25
# Share of `max_tokens` that a completion is expected to write until one has been seen. Most solutions end
# long before their limit: with `max_tokens` itself, a run would begin with a quarter of the load or less.
_FIRST_GUESS = 0.25
# Weight of the newest request in the running averages: they remember about the last 50 requests, so one
# long problem does not change the load, and a run that turns to harder problems is followed.
_NEWEST = 0.02
# As TCP does: when a server says that it is busy, the load falls to 0.7 of what it was; each good reply adds
# a tenth of a sequence again. Falling fast and rising slowly ends refusals instead of causing the next one.
_LESS, _MORE = 0.7, 0.1
# What is left of the load when a server was too slow for it. Each try costs a whole time limit and all that
# was written in it, so two must be enough: with a sixteenth, a server on a CPU keeps up.
_EASED = 0.25


@dataclass(eq=False)
class _Position:
    """A problem's position in the order of its shard: the requests of a lower `number` go first."""

    number: int
    waiting: "_Waiting"
    begun: asyncio.Event = field(default_factory=asyncio.Event)


class _Waiting:
    """Counts the requests of a shard's problems that wait at a gate. `clear` is set while none waits."""

    def __init__(self) -> None:
        self._waiting, self.clear = 0, asyncio.Event()
        self.clear.set()

    def count(self, more: int) -> None:
        self._waiting += more
        if self._waiting:
            self.clear.clear()
        else:
            self.clear.set()


# A context variable, so that a request finds its problem's position however many calls deep it is made, and
# no annotator has to pass it on. Tasks copy the context of the task that starts them.
_POSITION: ContextVar[_Position | None] = ContextVar("_POSITION", default=None)


async def run_in_order(
    items: Iterable[Item], job: Callable[[Item], Awaitable[None]], *, most: int = 4096
) -> None:
    """Run `job` for every item, in order, with as many at once as the gates have room for.

    The next job starts when the first request of the last one is under way and no request waits; a job that
    makes no request runs alone until it ends. `most` bounds how many jobs are open at once, and so their
    memory. The first exception of a job ends all of them and is raised.
    """
    waiting, slots = _Waiting(), asyncio.Semaphore(most)

    async def run(position: _Position, item: Item) -> None:
        try:
            await job(item)
        finally:
            slots.release()
            position.begun.set()

    try:
        async with asyncio.TaskGroup() as group:
            for number, item in enumerate(items):
                await slots.acquire()
                position = _Position(number, waiting)
                context = copy_context()
                context.run(_POSITION.set, position)
                group.create_task(run(position, item), context=context)
                # First its first request must be through: until then nobody knows whether there is room.
                await position.begun.wait()
                await waiting.clear.wait()
    except BaseExceptionGroup as failed:
        # Callers tell UserError from BackendGone; a group around them would hide which one it was.
        raise failed.exceptions[0] from None


@dataclass(eq=False)
class Request:
    """A request of `n` completions. `sequences` and `tokens` are the room that it takes in the engine."""

    prompt: int
    n: int
    limit: int
    sequences: float = 0.0
    tokens: float = 0.0
    wrote: Sequence[int] = ()
    """Tokens of each completion, for the caller to fill in: later requests are measured by them."""


class Gate:
    """Admits requests while an engine has room: `sequences` in its batch and `tokens` in its cache.

    A request ends with its longest completion, and its shorter ones have left the batch before. So a request
    for n completions counts as fewer than n sequences: n times the mean length of a completion divided by
    the length of the longest, both averaged over recent requests. Example: 4 completions, of 50, 50, 50 and
    100 tokens, count as 2.5 sequences.
    """

    def __init__(self, sequences: int, tokens: float = math.inf) -> None:
        self.sequences, self.tokens = sequences, tokens
        self.engines = 1
        """Engines behind the gate, each with so much room."""
        self.share = 1.0
        """Part of the batch that may be used, up to 1; it is less after a server said that it is busy."""
        self._length, self._alive = math.nan, 1.0
        self._under_way: set[Request] = set()
        self._sequences = self._tokens = 0.0
        self._queue: list[tuple[int, int, asyncio.Future[None], Request]] = []
        self._order = itertools.count()

    @asynccontextmanager
    async def hold(self, prompt: int, n: int, limit: int) -> AsyncIterator[Request]:
        """Wait for room for `n` completions of at most `limit` tokens after `prompt` tokens, and hold it."""
        request, position = Request(prompt, n, limit), _POSITION.get()
        await self._enter(request, position)
        if position:
            position.begun.set()
        try:
            yield request
        finally:
            self._learn(request)
            self._leave(request)

    async def _enter(self, request: Request, position: _Position | None) -> None:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = (
            position.number if position else -1
        )  # a request of no problem, e.g. a probe's, goes before all
        heapq.heappush(self._queue, (number, next(self._order), admitted, request))
        self.admit()
        if admitted.done():
            return
        if position:
            position.waiting.count(1)
        try:
            await admitted
        except asyncio.CancelledError:
            self._leave(request)
            raise
        finally:
            if position:
                position.waiting.count(-1)

    def admit(self) -> None:
        """Admit the requests that fit, oldest problem first.

        It stops at the first one that does not fit: if smaller ones went ahead, a large one might never go.
        """
        while self._queue:
            *_, admitted, request = self._queue[0]
            if not admitted.done():  # else cancelled while it waited
                self._measure(request)  # now and not when it came: the averages have moved since
                if not self._fits(request):
                    return
                self._under_way.add(request)
                self._sequences += request.sequences
                self._tokens += request.tokens
                admitted.set_result(None)
            heapq.heappop(self._queue)

    def forget(self) -> None:
        """Drop the averages, where the requests to come are unlike those so far (after a probe, say)."""
        self._length, self._alive = math.nan, 1.0

    def slow_down(self) -> None:
        """Send fewer requests at once, because a server said that it is busy."""
        self.share = max(1 / (self.engines * self.sequences), self.share * _LESS)

    def ease(self) -> int:
        """Send far fewer sequences at once than are under way now, because a call had no reply in time;
        returns how many."""
        whole = _AHEAD * self.engines * self.sequences
        self.share = max(1 / whole, _EASED * min(self.share, self._sequences / whole))
        return math.ceil(whole * self.share)

    def speed_up(self) -> None:
        """Send slightly more requests at once again, because a call succeeded."""
        if self.share < 1:
            self.share = min(1.0, self.share + _MORE / (self.engines * self.sequences))
            self.admit()

    def _leave(self, request: Request) -> None:
        if request in self._under_way:
            self._under_way.remove(request)
            self._sequences -= request.sequences
            self._tokens -= request.tokens
        self.admit()

    def _measure(self, request: Request) -> None:
        length = request.limit * _FIRST_GUESS if math.isnan(self._length) else self._length
        request.sequences = request.n * self._alive
        request.tokens = request.prompt + request.sequences * min(length, request.limit)

    def _fits(self, request: Request) -> bool:
        """Whether there is room. A request larger than the whole engine is admitted too, but alone."""
        if not self._under_way:
            self._sequences = self._tokens = 0.0  # clears the rounding errors of many sums
            return True
        sequences, tokens = self._sequences + request.sequences, self._tokens + request.tokens
        room = _AHEAD * self.engines * self.sequences * self.share
        return sequences <= room and tokens <= self.engines * self.tokens

    def _learn(self, request: Request) -> None:
        if not request.wrote or not (longest := max(request.wrote)):
            return  # it failed, or all its texts are empty: neither says how long completions are
        length = sum(request.wrote) / len(request.wrote)
        if math.isnan(self._length):
            self._length, self._alive = length, length / longest
        self._length += _NEWEST * (length - self._length)
        self._alive += _NEWEST * (length / longest - self._alive)
