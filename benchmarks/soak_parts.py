"""What the soak breaks: an object store, a proxy in front of it, and workers as processes of their own."""

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any

from benchmarks.loopback import Loopback


@dataclass
class Proxy(Loopback):
    """A proxy before the store, which goes wrong as `fault` says, for a `share` of the requests."""

    port: int = 0
    fault: str = ""
    share: float = 0.0
    requests: int = 0
    hit: int = 0

    @property
    def address(self) -> str:
        """What clients take for the store."""
        return self.url.removesuffix("/v1")

    async def _answer(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        fault = self.fault if self.fault and random.random() < self.share else ""
        self.hit += bool(fault)
        if fault == "drop":
            writer.close()
        elif fault in ("500", "503"):
            writer.write(f"HTTP/1.1 {fault} X\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
        else:
            answer = await self._forwarded(head, body)
            # Half of an answer, or nothing of it: what was asked for has been done all the same.
            kept = {"cut": len(answer) // 2, "lose": 0}.get(fault, len(answer))
            writer.write(answer[:kept])
            await writer.drain()
            writer.close()

    async def _forwarded(self, head: str, body: bytes) -> bytes:
        """The whole answer of the store; nothing where it is down."""
        first, _, rest = head.partition("\r\n")
        try:
            reader, upstream = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return b""
        try:
            upstream.write(f"{first}\r\nconnection: close\r\n{rest}".encode("latin-1") + body)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            upstream.close()


@dataclass
class Member:
    """A worker, `stepmint work URL` in a process of its own, or a command that lets the run grow."""

    name: str
    command: tuple[str, ...]
    process: "subprocess.Popen[bytes]"
    said: IO[bytes]
    started: float = field(default_factory=time.monotonic)
    is_frozen: bool = False
    told_to_end: float = 0.0
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    """Resident memory over the seconds since its start."""

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it in the middle of what it does."""
        self.is_frozen = True
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.is_frozen = False
        self.signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """From now on its files cannot grow beyond some kilobytes, as on a disk without room."""
        with suppress(ProcessLookupError):
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))

    def weigh(self) -> None:
        """Note how much memory it has now."""
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
            size = next(line for line in status if line.startswith("VmRSS"))
            self.memory_mb.append((time.monotonic() - self.started, int(size.split()[1]) / 1024))

    def last_words(self) -> str:
        """The last line that it has printed."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""


def start_member(name: str, command: tuple[str, ...], folder: Path) -> Member:
    """Start a program on a run. Its temporary files are below `folder`, whose cache all of them share."""
    room = folder / name
    room.mkdir()
    whole = [sys.executable, "-m", "flows.cli", *command, "--json"]
    environment = {**os.environ, "TMPDIR": str(room), "XDG_CACHE_HOME": str(folder / "cache")}
    said = (room / "said").open("w+b")
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(whole, stdin=quiet, stdout=quiet, stderr=said, env=environment)
    return Member(name, command, process, said)


def slope_mb_per_minute(samples: list[tuple[float, float]]) -> float:
    """How fast memory grows after the first minute, in which libraries are loaded. Half of the samples is
    compared with the other half by their medians: who seals a run has some 70 MB more at its end, which is no
    growth."""
    later = [(at / 60, mb) for at, mb in samples if at > 60]
    if not later or later[-1][0] - later[0][0] < 1:
        return 0.0
    halves = later[: len(later) // 2], later[len(later) // 2 :]
    (from_t, from_mb), (to_t, to_mb) = (map(median, zip(*half, strict=True)) for half in halves)
    return (to_mb - from_mb) / (to_t - from_t)


def faults_of_logs(store: Any, shards: int, problems: int) -> list[str]:
    """What is wrong with the logs of a finished run: gaps, work of overtaken workers, problems done twice or
    not at all. `store` is an ObjectStore."""
    from pipeline.runs import growths

    wrong, seen, growth = list[str](), dict[str, int](), growths.known(store)
    for shard in range(shards):
        log, owner, kinds, sealed = growth.log(store, shard), "", list[str](), list[int]()
        for entry in log.read():
            kinds.append(entry.kind)
            sealed += [entry.growth] if entry.kind == "seal" else []
            owner = entry.nonce if entry.kind == "claim" else owner
            if entry.nonce != owner:
                wrong.append(f"shard {shard}: entry {len(kinds) - 1} is of a worker that had lost the shard")
            for line in entry.parts.get("journal", b"").splitlines():
                name = json.loads(line)["problem"]["id"]
                seen[name] = seen.get(name, 0) + 1
        there = sorted(store.names(f"log/{log.shard}"))
        if there != [f"log/{log.shard}/{number:08d}" for number in range(len(kinds))]:
            wrong.append(f"shard {shard}: its log has a gap, or goes on after its end: {there[-3:]}")
        if not log.is_sealed or sealed != sorted(set(sealed)):
            wrong.append(f"shard {shard}: its log ends in {kinds[-3:]}, and is sealed for {sealed}")
    twice = sum(n > 1 for n in seen.values())
    if twice or len(seen) != problems:
        wrong.append(f"{twice} problems done twice, {problems - len(seen)} of {problems} never")
    return wrong
