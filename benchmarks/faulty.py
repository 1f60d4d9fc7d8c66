"""A completion server on loopback with the simulated policy behind it, which goes wrong as it is told."""

import asyncio
import json
import random
import threading
import time
from dataclasses import dataclass, field

from benchmarks.fault_kinds import FAULTS, Call, good_reply


@dataclass
class FaultyServer:
    """The server on loopback, in a thread of its own. Set `faults`, `share` and `since` while it runs."""

    faults: tuple[str, ...] = ()
    share: float = 1.0
    """Of the calls, how many are hit, by one of `faults` each."""
    since: int = 0
    """Calls before the first that may be hit."""
    limit_per_s: float = 0.0
    """Requests a second, beyond which it answers 429 with `Retry-After: 1`."""
    calls: int = 0
    hit: int = 0
    authorised: int = 0
    url: str = ""
    _granted: list[float] = field(default_factory=list)

    def __enter__(self) -> "FaultyServer":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, *faults: str, share: float = 1.0, since: int = 0, limit_per_s: float = 0.0) -> None:
        """Change what goes wrong, and count anew."""
        self.faults, self.share, self.since, self.limit_per_s = faults, share, since, limit_per_s
        self.calls = self.hit = 0

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _close(self) -> None:
        self._server.close()
        # Clients that hang are left over on purpose; cancelling them lets the loop end.
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = (line.partition(":") for line in head.lower().split("\r\n"))
                length = next((int(value) for name, _, value in lines if name == "content-length"), 0)
                body = await reader.readexactly(length)
                await self._answer(head, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the client has gone, or the server goes
        finally:
            writer.close()

    async def _answer(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        method, path, _ = head.split(" ", 2)
        if method != "POST":
            await Call({}, False, {}, writer).send("{}", 200 if path.endswith("/models") else 404)
            return
        chat, asked = path.endswith("/chat/completions"), json.loads(body)
        if chat:
            said = [message["content"] for message in asked["messages"]]
            prompt, prefix = said[0], "".join(said[1:])
        else:
            # Where the template ends and the solution begins, as in the prompts of these benches.
            end = "Solution:\n" if "Solution:\n" in asked["prompt"] else "\n\n"
            prompt, _, prefix = asked["prompt"].partition(end)
        asked |= {"_prompt": prompt, "_prefix": prefix}
        call = Call(asked, chat, await good_reply(asked, prompt, prefix, chat=chat), writer)
        self.calls += 1
        if self._too_fast():
            await call.send("too many requests", 429, "retry-after: 1\r\n")
        elif self.faults and self.calls > self.since and random.random() < self.share:
            self.hit += 1
            await FAULTS[random.choice(self.faults)](call)
        else:
            await call.send(call.good)

    def _too_fast(self) -> bool:
        now = time.monotonic()
        # A window of one second that slides: a limit per whole second would let twice as many through at its
        # edge.
        self._granted = [then for then in self._granted if then > now - 1]
        if self.limit_per_s and len(self._granted) >= self.limit_per_s:
            return True
        self._granted.append(now)
        return False
