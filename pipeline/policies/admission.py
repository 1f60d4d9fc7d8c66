"""Back-pressure by tokens in flight: how much an engine is asked at once, and whose turn is next.

Problems begin in order, and the next one begins when no request of those before it has to wait: so an engine
is always full, however long or short the searches are, and as few problems as fill it are under way. A
request that has to wait is overtaken by those of older problems: what was begun ends first, and a kill costs
little.
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
_AHEAD = 1.25
"""Sequences asked for, per sequence of the batch: the next ones are queued when a row of it falls free."""
_FIRST_GUESS = 0.25
"""Share of `max_tokens` that a completion is taken to write until one has been seen."""
_NEWEST = 0.02
"""Weight of the newest request in the averages of what requests write."""
_LESS, _MORE = 0.7, 0.1
"""What a refusal for want of room leaves of the room, and the sequences that a good reply gives back."""


@dataclass(eq=False)
class _Turn:
    """A problem's place in the line of its shard."""

    place: int
    line: "_Line"
    begun: asyncio.Event = field(default_factory=asyncio.Event)


class _Line:
    """How many requests of a shard's problems wait at a gate; `clear` while none does."""

    def __init__(self) -> None:
        self._waiting, self.clear = 0, asyncio.Event()
        self.clear.set()

    def count(self, more: int) -> None:
        self._waiting += more
        if self._waiting:
            self.clear.clear()
        else:
            self.clear.set()


_TURN: ContextVar[_Turn | None] = ContextVar("_TURN", default=None)


async def in_turn(items: Iterable[Item], job: Callable[[Item], Awaitable[None]], *, most: int = 4096) -> None:
    """Run `job` of every item, as many at once as the gates that they ask through have room for.

    A job has begun when its first request is under way; one that asks nothing runs alone. `most` bounds the
    memory of jobs that wait for something else than an engine. The first exception of a job ends them all.
    """
    line, slots = _Line(), asyncio.Semaphore(most)

    async def run(turn: _Turn, item: Item) -> None:
        try:
            await job(item)
        finally:
            slots.release()
            turn.begun.set()

    try:
        async with asyncio.TaskGroup() as group:
            for place, item in enumerate(items):
                await slots.acquire()
                turn = _Turn(place, line)
                context = copy_context()
                context.run(_TURN.set, turn)
                group.create_task(run(turn, item), context=context)
                await turn.begun.wait()
                await line.clear.wait()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


@dataclass(eq=False)
class Request:
    """What is asked, and by `sequences` and `tokens` what it takes of the engine while it is under way."""

    prompt: int
    n: int
    limit: int
    sequences: float = 0.0
    tokens: float = 0.0
    wrote: Sequence[int] = ()
    """Tokens of each completion, for the caller to fill in: later requests are measured by them."""


class Gate:
    """Admits requests while an engine has use for them: `sequences` in its batch, `tokens` in its cache.

    The completions of a request end one after the other, the request with its last one. So it is counted
    with its prompt, and with n completions for the share of its time that completions of late were alive.
    """

    def __init__(self, sequences: int, tokens: float = math.inf) -> None:
        self.sequences, self.tokens = sequences, tokens
        self.engines = 1
        """Engines behind the gate, each with so much room."""
        self.share = 1.0
        """Of the batch, what servers that limit their clients have been found to take."""
        self._length, self._alive = math.nan, 1.0
        self._under_way: set[Request] = set()
        self._sequences = self._tokens = 0.0
        self._queue: list[tuple[int, int, asyncio.Future[None], Request]] = []
        self._order = itertools.count()

    @asynccontextmanager
    async def hold(self, prompt: int, n: int, limit: int) -> AsyncIterator[Request]:
        """Wait for room for `n` completions of at most `limit` tokens after `prompt` tokens, and hold it."""
        request, turn = Request(prompt, n, limit), _TURN.get()
        await self._enter(request, turn)
        if turn:
            turn.begun.set()
        try:
            yield request
        finally:
            self._learn(request)
            self._leave(request)

    async def _enter(self, request: Request, turn: _Turn | None) -> None:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = turn.place if turn else -1
        heapq.heappush(self._queue, (place, next(self._order), admitted, request))
        self.admit()
        if admitted.done():
            return
        if turn:
            turn.line.count(1)
        try:
            await admitted
        except asyncio.CancelledError:
            self._leave(request)
            raise
        finally:
            if turn:
                turn.line.count(-1)

    def admit(self) -> None:
        """Let in whom there is room for, oldest problem first; nobody overtakes by being small."""
        while self._queue:
            *_, admitted, request = self._queue[0]
            if not admitted.done():  # else cancelled while it waited
                self._measure(request)
                if not self._fits(request):
                    return
                self._under_way.add(request)
                self._sequences += request.sequences
                self._tokens += request.tokens
                admitted.set_result(None)
            heapq.heappop(self._queue)

    def forget(self) -> None:
        """What was asked so far was unlike what is to come: learn anew how much completions write."""
        self._length, self._alive = math.nan, 1.0

    def slow_down(self) -> None:
        """A server has more to do than it wants: ask for less at once."""
        self.share = max(1 / (self.engines * self.sequences), self.share * _LESS)

    def speed_up(self) -> None:
        """A call went well: slowly ask for more again."""
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
        """Also a request larger than the whole engine is admitted, alone."""
        if not self._under_way:
            self._sequences = self._tokens = 0.0  # of rounding errors
            return True
        sequences, tokens = self._sequences + request.sequences, self._tokens + request.tokens
        room = _AHEAD * self.engines * self.sequences * self.share
        return sequences <= room and tokens <= self.engines * self.tokens

    def _learn(self, request: Request) -> None:
        if not request.wrote or not (longest := max(request.wrote)):
            return
        length = sum(request.wrote) / len(request.wrote)
        if math.isnan(self._length):
            self._length, self._alive = length, length / longest
        self._length += _NEWEST * (length - self._length)
        self._alive += _NEWEST * (length / longest - self._alive)
