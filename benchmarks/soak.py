"""Workers on an object store while everything around them breaks, for as long as it is told.

Runs follow one another. Each has a few `stepmint work` processes, and every few seconds one random fault.
Each begins with a third of its problems and grows to all of them, while it is worked on or when it is sealed.
When it is sealed, its logs and its dataset are compared with those of a local run of as many problems.
`STEPMINT_SOAK_MINUTES` (30), `STEPMINT_SOAK_PROBLEMS` of each run (1200) and `STEPMINT_SOAK_SEED` (1) change
it.
"""

import asyncio
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.fault_kinds import STOP
from benchmarks.faulty import FaultyServer
from benchmarks.soak_parts import Member, Proxy, faults_of_logs, slope_mb_per_minute, start_member
from benchmarks.weed import BUCKET, Weed

Figures = dict[str, Any]
WORKERS, SHARDS, LEASE_S = 3, 12, 6.0
EVERY_S = (4.0, 14.0)
"""Between two faults."""
ENDS_S = 20.0
"""A worker that gets SIGTERM has ended by then: spot machines give it half a minute."""
SLOW_S, IN_FLIGHT = 0.3, 12
"""The model's server answers so late, and is asked so much at once: a run lasts minutes, at little cost."""
SERVER_FAULTS = (
    "429, no more said", "500 in HTML", "503 while loading", "502 empty", "half JSON", "a page as 200",
    "closes unanswered", "resets in the body", "no HTTP",
)  # fmt: skip
GROWS_AFTER_S = (10.0, 60.0)
"""A run that has begun or grown grows next, where that is to be before it is sealed."""
AFTER_THE_SEAL, TWO_AT_ONCE = 0.4, 0.3
"""The shares of growths that wait for the seal, and that two programs make at once, one with more."""
_FINISH_S = 600.0
"""So long a run may take after the last fault."""
_GROWS_MB = 4.0
"""A minute; a worker that grows faster for minutes is a finding."""
_DIGITS = re.compile(r"[0-9a-f]*\d[0-9a-f]*")


class Slow(FaultyServer):
    """A model's server that takes its time, as models do."""

    slow_s: float = 0.0

    async def _answer(self, head: str, body: bytes, writer: Any) -> None:
        await asyncio.sleep(self.slow_s)
        await super()._answer(head, body, writer)


class Soak:
    """The machinery, what is broken in it now, and what was seen."""

    def __init__(self, root: Path, rng: random.Random, store: Weed, proxy: Proxy, server: Slow) -> None:
        self.root, self.rng, self.store, self.proxy, self.server = root, rng, store, proxy, server
        self.members: list[Member] = []
        self.veterans: list[Member] = []
        """One worker of each run is never killed: its memory is looked at."""
        self.mending: list[tuple[float, Callable[[], None]]] = []
        self.faults, self.exits, self.growths = Counter[str](), Counter[str](), Counter[str]()
        self.said = Counter[str]()
        """What workers said that ended with an error, without the numbers in it."""
        self.violations: list[str] = []
        self.began, self._number = time.monotonic(), 0
        self.url, self.file, self.is_grown = "", Path(), False

    def say(self, text: str) -> None:
        """A line of the log, with the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:7.1f} {text}", file=sys.stderr, flush=True)

    def violated(self, text: str) -> None:
        """Something that must never happen."""
        self.violations.append(text)
        self.say(f"VIOLATION {text}")

    # Workers

    def start(self, *command: str) -> None:
        """Start one more program on the run."""
        self._number += 1
        name = f"{'w' if command[0] == 'work' else 'g'}{self._number}"
        self.members.append(start_member(name, command, self.root))

    def join(self) -> None:
        """Start workers on the run, the first of which is never killed."""
        for _ in range(WORKERS):
            self.start("work", self.url, "--lease", str(LEASE_S))
        self.veterans.append(self.members[-WORKERS])
        self.is_grown = False

    def grow(self, sizes: list[int]) -> int:
        """Let the run grow to the first of some sizes, or two programs at once to the first two; returns what
        it has then. Workers that end meanwhile may not have seen it."""
        self.growths["before the seal" if self.members else "after the seal"] += 1
        now = sizes[: 2 if len(sizes) > 1 and self.rng.random() < TWO_AT_ONCE else 1]
        del sizes[: len(now)]
        self.growths["by two at once"] += len(now) > 1
        self.say(f"grows to {' and '.join(map(str, now))} problems")
        for size in now:
            self.start("run", str(self.file), "--begin", "--set", f"problems.limit={size}")
        return now[-1]

    def look_after(self) -> None:
        """Weigh the workers, note those that have ended, and start others in their place."""
        for member in list(self.members):
            member.weigh()
            code, now = member.process.poll(), time.monotonic()
            if code is None:
                if member.told_to_end and not member.is_frozen and now - member.told_to_end > ENDS_S:
                    self.violated(f"{member.name} goes on {ENDS_S:.0f} s after SIGTERM")
                    member.process.kill()
                continue
            self.members.remove(member)
            self._ended(member, code)
            if code != 0:
                self.start(*member.command)
            elif member.command[0] == "run":
                self.is_grown = True

    def _ended(self, member: Member, code: int) -> None:
        words = member.last_words()
        member.said.close()
        why = {0: "0: all done", -9: "killed", 143: "143: SIGTERM"}.get(code, f"{code}: {words[:90]}")
        self.exits[why if code in (0, -9, 143) else f"exit {code}"] += 1
        peak = max((mb for _, mb in member.memory_mb), default=0)
        self.say(f"{member.name} ended, {why}; at most {peak:.0f} MB")
        if code in (1, 2):
            self.said[_DIGITS.sub("#", words.replace(str(self.root), "").partition(": ")[2])[:160]] += 1
        if code not in (0, 1, 2, 143, -9) or "Traceback" in words:
            self.violated(f"{member.name} ended with {code}: {words}")

    def victim(self) -> Member | None:
        """A worker that may be killed."""
        found = [m for m in self.members if m not in self.veterans and not (m.told_to_end or m.is_frozen)]
        return self.rng.choice(found) if found else None

    # Faults: each returns what it did, or nothing where it cannot be done now

    def kill(self) -> str:
        """A machine that is gone."""
        if (member := self.victim()) is None:
            return ""
        member.process.kill()
        return member.name

    def freeze(self) -> str:
        """A machine that hangs longer than its lease; also the one that is never killed."""
        members = [one for one in self.members if not (one.is_frozen or one.told_to_end)]
        if not members:
            return ""
        member, seconds = self.rng.choice(members), LEASE_S * self.rng.uniform(1.2, 4)
        member.freeze()
        self.later(seconds, member.thaw)
        return f"{member.name} for {seconds:.0f} s"

    def term(self) -> str:
        """A pre-emption."""
        if (member := self.victim()) is None:
            return ""
        member.told_to_end = time.monotonic()
        member.signal(signal.SIGTERM)
        return member.name

    def disk(self) -> str:
        """A worker whose disk is full."""
        if (member := self.victim()) is None:
            return ""
        member.fill_disk()
        return member.name

    def store_killed(self) -> str:
        """The store is down for some seconds."""
        if self.mending:  # one trouble of store or server at a time
            return ""
        seconds = self.rng.uniform(1, 15)
        self.store.kill()
        self.later(seconds, self.store.start)
        return f"for {seconds:.0f} s"

    def store_faulty(self) -> str:
        """The way to the store is bad for up to a minute."""
        if self.proxy.fault:
            return ""
        seconds = self.rng.choice((5.0, 15.0, 60.0))
        self.proxy.fault = self.rng.choice(("drop", "cut", "lose", "500", "503"))
        self.proxy.share = self.rng.choice((0.1, 0.5, 1.0))
        self.later(seconds, lambda: setattr(self.proxy, "fault", ""))
        return f"{self.proxy.fault} for {self.proxy.share:.0%} of the requests, {seconds:.0f} s"

    def server_faulty(self) -> str:
        """The model's server goes wrong."""
        if self.server.faults:
            return ""
        seconds, fault = self.rng.uniform(3, 20), self.rng.choice(SERVER_FAULTS)
        self.server.set(fault, share=self.rng.choice((0.2, 1.0)))
        self.later(seconds, self.server.set)
        return f"{fault} for {self.server.share:.0%} of the calls, {seconds:.0f} s"

    def later(self, seconds: float, mend: Callable[[], None]) -> None:
        """Mend it then."""
        self.mending.append((time.monotonic() + seconds, mend))

    def mend(self, *, all_of_it: bool = False) -> None:
        """End what has lasted long enough."""
        now = time.monotonic()
        due = [one for one in self.mending if all_of_it or one[0] <= now]
        self.mending = [one for one in self.mending if one not in due]
        for _, mending in due:
            mending()

    def break_something(self) -> None:
        """One random fault; killed workers are the most frequent of all in real life, too."""
        kinds = [self.kill, self.kill, self.freeze, self.term, self.disk]
        kinds += [self.store_killed, self.store_faulty, self.store_faulty, self.server_faulty]
        kind = self.rng.choice(kinds)
        if done := kind():
            self.faults[kind.__name__] += 1
            self.say(f"{kind.__name__} {done}")

    # A run

    def run(self, name: str, digests: dict[int, str], until: float) -> None:
        """One run from its first worker to its last dataset. `digests` are of local runs, by their sizes."""
        self.url, start, sizes = f"s3://{BUCKET}/{name}", time.monotonic(), list(digests)
        self.file = run_file(self.root, self.server.url, name, max(sizes), f"s3://{BUCKET}")
        size = sizes.pop(0)
        begin(self.file, size)
        self.say(f"{name}: begun, {size} problems in {SHARDS} shards")
        self.join()
        next_fault, patience, due = start + 8, until + _FINISH_S, self.grows_at()
        while self.members or sizes:
            time.sleep(0.5)
            self.mend(all_of_it=time.monotonic() > until)
            self.look_after()
            if self.store.revive():
                self.say("the store had ended by itself, and is started again")
            now = time.monotonic()
            if not self.members and self.is_grown:
                self.join()
            elif not self.members:
                self.compare(name, size, digests[size])
            if sizes and (now > due or not self.members):
                size, due = self.grow(sizes), self.grows_at()
            if next_fault < now < until and self.members:
                self.break_something()
                next_fault = now + self.rng.uniform(*EVERY_S)
            if now > patience:
                self.violated(f"{name}: not finished {_FINISH_S:.0f} s after the last fault")
                for member in self.members:
                    member.process.kill()
                break
        self.say(f"{name}: over after {time.monotonic() - start:.0f} s")

    def grows_at(self) -> float:
        """When the run grows next, at the latest when it is sealed."""
        after = self.rng.uniform(*GROWS_AFTER_S)
        return math.inf if self.rng.random() < AFTER_THE_SEAL else time.monotonic() + after

    def compare(self, name: str, problems: int, digest: str) -> None:
        """Look for what was lost, done twice, or came out in another way."""
        from pipeline.runs import growths
        from pipeline.runs.remote import last_dataset
        from pipeline.storage.object_store import open_objects

        self.mend(all_of_it=True)
        self.store.wait()
        objects, before = open_objects(self.url), len(self.violations)
        for wrong in faults_of_logs(objects, SHARDS, problems):
            self.violated(f"{name}: {wrong}")
        manifest, growth = last_dataset(objects)
        found = manifest.digest() if manifest else "no dataset"
        if found != digest:
            self.violated(f"{name}: its dataset is {found}, that of a local run {digest}")
        if growth != growths.known(objects).number:
            self.violated(f"{name}: its dataset is that of growth {growth}, which is not the last one")
        if len(self.violations) == before:
            self.say(f"{name}: each of {problems} problems once, no gap, rows as those of a local run")


def run_file(root: Path, server: str, name: str, problems: int, place: str) -> Path:
    """The run file of a run on the model's server."""
    import tomli_w

    source = root / "problems.jsonl"
    if not source.exists():
        rows = ({"text": f"problem {i}", "answer": "right", "answer_kind": "text"} for i in range(problems))
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = root / f"{name}.toml"
    said = {
        "name": name, "root": place, "shards": SHARDS,
        "problems": {"source": "jsonl", "path": str(source), "fields": {"answer_kind": "answer_kind"}},
        "policy": {
            "kind": "server", "model": "m", "base_url": server, "timeout_s": 10.0, "patience_s": 30.0,
            "in_flight": IN_FLIGHT,
        },
        "prompt": {"max_tokens": 64, "stop": [STOP]},
        "propose": {"kind": "sample", "n": 1},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
    }  # fmt: skip
    file.write_text(tomli_w.dumps(said))
    return file


def begin(file: Path, size: int) -> None:
    """Put a run with so many problems on the store, as `stepmint run` does before it works on it."""
    from pipeline.labelling.problems import read_problems
    from pipeline.runs import remote
    from pipeline.runs.run_store import RunStore
    from pipeline.storage.object_store import open_objects
    from schemas.config import load_config

    config = load_config(file, (f"problems.limit={size}",))
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore.open(config.model_copy(update={"root": folder}))
        read_problems(store)
        remote.begin(open_objects(f"{config.root}/{config.name}"), store)


def local_digest(file: Path, root: Path, size: int) -> str:
    """The rows of a plain local run of so many problems, which has grown to them where it had less."""
    command = [sys.executable, "-m", "flows.cli", "synthesize", str(file), "--no-prefect", "--json"]
    changes = ["--set", f"root={root / 'local'}", "--set", f"problems.limit={size}"]
    done = subprocess.run([*command, *changes], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return str(json.loads(done.stdout)["dataset_digest"])


def cluster() -> Figures:
    """Runs by workers that are killed, frozen, pre-empted and out of disk, on a store and a model's server
    that fail: the share of them in which every problem is done once, with the rows of a local run."""
    minutes = float(os.environ.get("STEPMINT_SOAK_MINUTES", "30"))
    problems = int(os.environ.get("STEPMINT_SOAK_PROBLEMS", "1200"))
    seed = int(os.environ.get("STEPMINT_SOAK_SEED", "1"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing of it may be left running
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, ExitStack() as stack:
        store = Weed(Path(folder) / "weed")
        store.start()
        stack.callback(store.kill)
        proxy = stack.enter_context(Proxy(port=store.port))
        server = stack.enter_context(Slow())
        os.environ |= {"AWS_ENDPOINT_URL": proxy.address, "AWS_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything"}
        soak = Soak(Path(folder), random.Random(seed), store, proxy, server)
        stack.callback(lambda: [member.process.kill() for member in soak.members])
        file = run_file(soak.root, server.url, "local", problems, f"s3://{BUCKET}")
        digests = {n: local_digest(file, soak.root, n) for n in (problems // 3, problems * 2 // 3, problems)}
        soak.say(f"a local run: {digests}")
        store.wait()
        server.slow_s = SLOW_S
        until, n = time.monotonic() + 60 * minutes, 0
        while time.monotonic() < until:
            n += 1
            soak.run(f"run-{n}", digests, until)
        return _figures(soak, n, minutes)


def _figures(soak: Soak, n: int, minutes: float) -> Figures:
    memory = {}
    for member in soak.veterans:
        slope, peak = slope_mb_per_minute(member.memory_mb), max(mb for _, mb in member.memory_mb)
        memory[member.name] = {"minutes": round(member.memory_mb[-1][0] / 60, 1), "peak_mb": round(peak)}
        memory[member.name]["mb_per_minute"] = round(slope, 2)
        if slope > _GROWS_MB:
            soak.violated(f"{member.name} grows by {slope:.1f} MB a minute")
    bad = {text.partition(":")[0] for text in soak.violations if text.startswith("run-")}
    return {
        "value": (n - len(bad)) / n,
        "unit": "share of runs",
        "baseline": 1.0,
        "n": n,
        "details": {
            "minutes": minutes,
            "violations": soak.violations,
            "growths": dict(soak.growths),
            "faults": dict(soak.faults.most_common()),
            "exits": dict(soak.exits.most_common()),
            "said": dict(soak.said.most_common(12)),
            "requests_hit": [soak.proxy.hit, soak.proxy.requests],
            "memory": memory,
        },
    }
