"""What was drawn for problems that are not done: kept, so that the same command pays for nothing twice.

One file a shard, appended to when a problem fails or is cut short, removed when the shard owes nothing. A
line that is torn or altered does not match its checksum and counts for nothing: its draws are made again.
"""

import asyncio
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from pipeline.policies.base import Completion, Policy, Prompt, Sampler, Sampling, Unfinished
from schemas.errors import BackendError
from schemas.records import content_id

log = logging.getLogger(__name__)
_MOST_BYTES = 1 << 30
"""Of a shard's file; what does not fit is drawn again."""
_KEPT = ("stop", "length", "withheld")
Drawn = dict[str, Completion]


class Draws:
    """The draws for one problem: those `known` from earlier are not made again, new ones can be kept."""

    def __init__(self, known: Mapping[str, Completion] | None = None) -> None:
        self._known = known or {}
        self._made: list[tuple[Policy, Prompt, Sampling, Iterable[tuple[int, Completion]]]] = []
        self._under_way, self._closed = 0, False
        self._idle = asyncio.Event()

    def of(self, policy: Policy) -> Sampler:
        """The policy, asked only for what is not known."""
        return _Remembering(policy, self)

    def made(self) -> Drawn:
        """The new completions by their keys."""
        return {
            _key(policy, prompt, sampling, place): completion
            for policy, prompt, sampling, completions in self._made
            for place, completion in completions
        }

    async def close(self) -> None:
        """Draw nothing more, and wait for what is being drawn: it is paid for."""
        self._closed = True
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()

    async def sample(self, policy: Policy, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, see `Sampler`."""
        if not self._known:
            return await self._draw(policy, prompt, n, sampling)
        found: list[Completion] = []
        while len(found) < n:
            known = self._known.get(_key(policy, prompt, sampling, len(found)))
            if known is not None:
                found.append(known)
                continue
            gap = 1
            while (
                len(found) + gap < n and _key(policy, prompt, sampling, len(found) + gap) not in self._known
            ):
                gap += 1
            part = replace(sampling, seed=sampling.seed + len(found))
            found += await self._draw(policy, prompt, gap, part)
        return found

    async def _draw(self, policy: Policy, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        if self._closed:
            raise BackendError("another call for the same problem failed")
        self._under_way += 1
        try:
            found = await policy.sample(prompt, n, sampling)
        except Unfinished as failure:
            self._made.append((policy, prompt, sampling, failure.drawn.items()))
            raise
        finally:
            self._under_way -= 1
            self._idle.set()
        self._made.append((policy, prompt, sampling, list(enumerate(found))))
        return found


class _Remembering:
    def __init__(self, policy: Policy, draws: Draws) -> None:
        self._policy, self._draws = policy, draws

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        return await self._draws.sample(self._policy, prompt, n, sampling)


class Shelf:
    """The file of a shard's unfinished draws. Only the places of its lines are held in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, list[int]] = {}
        self._size = 0
        if path.exists():
            for place, problem, _ in self._lines():
                self._places.setdefault(problem, []).append(place)
            self._size = path.stat().st_size

    def draws(self, problem: str) -> Draws:
        """What was drawn for a problem so far."""
        known: Drawn = {}
        for _, _, drawn in self._lines(self._places.get(problem, [])):
            known |= {key: Completion(text, stopped, tokens) for key, text, stopped, tokens in drawn}
        return Draws(known)

    def keep(self, problem: str, draws: Draws) -> None:
        """Add what was newly drawn for a problem."""
        made = [[key, c.text, c.stopped, c.tokens] for key, c in draws.made().items() if c.stopped in _KEPT]
        if not made:
            return
        body = json.dumps({"problem": problem, "drawn": made}).encode()
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        if self._size + len(line) > _MOST_BYTES:
            log.warning("%s is full: the draws of problem %s are not kept", self._path, problem)
            return
        with self._path.open("ab") as file:
            if self._size and not self._ends_whole():
                file.write(b"\n")
            self._places.setdefault(problem, []).append(file.tell())
            file.write(line)
            self._size = file.tell()

    def clear(self) -> None:
        """Remove the file: nothing is owed any more."""
        self._path.unlink(missing_ok=True)

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def _lines(self, places: list[int] | None = None) -> Iterator[tuple[int, str, list[Any]]]:
        """Whole lines: their place in the file, problem and draws; all of them, or those at some places."""
        if places == []:
            return
        with self._path.open("rb") as file:
            for place in places if places is not None else iter(file.tell, -1):
                file.seek(place)
                line = file.readline()
                if not line:
                    return
                if (read := _read(line)) is not None:
                    yield place, *read


def _read(line: bytes) -> tuple[str, list[Any]] | None:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        item = from_json(body)
        return item["problem"], item["drawn"]
    except (ValueError, KeyError, TypeError):
        return None


def _key(policy: Policy, prompt: Prompt, sampling: Sampling, place: int) -> str:
    """What fixes a completion, as a digest."""
    how = (sampling.temperature, sampling.top_p, sampling.max_tokens, list(sampling.stop))
    return content_id(policy.kind, policy.model, prompt.text, prompt.prefix, *how, sampling.seed + place)
