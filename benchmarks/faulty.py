"""A completion server on loopback with the simulated policy behind it, which goes wrong as it is told."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field

from benchmarks.fault_kinds import FAULTS, Call, good_reply
from benchmarks.loopback import Loopback


@dataclass
class FaultyServer(Loopback):
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
    _granted: list[float] = field(default_factory=list)

    def set(self, *faults: str, share: float = 1.0, since: int = 0, limit_per_s: float = 0.0) -> None:
        """Change what goes wrong, and count anew."""
        self.faults, self.share, self.since, self.limit_per_s = faults, share, since, limit_per_s
        self.calls = self.hit = 0

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
