"""How far a run on an object store goes: what a problem costs is measured here, and runs of ten thousand to
ten million problems are simulated with it, with machines that die on the way.

Measured: seconds, bytes and memory for each problem of reading problems, appending to the logs, and sealing,
from the difference of two runs; seconds of a request, on the store that `STEPMINT_SCALE_STORE` names or else
in a folder. Assumed, since no GPU stands here: what `Assumed` says, each to be changed by an environment
variable of its name, such as STEPMINT_SCALE_TOKENS=77000.
"""

import hashlib
import heapq
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.scale import MB, followed
from benchmarks.scale_votes import make_run
from pipeline.labelling.sealing import seal
from pipeline.storage.generations import sealed_manifest
from pipeline.storage.object_store import open_objects
from pipeline.storage.shard_log import BEAT_S, LEASE_S, LogEntry

Figures = dict[str, Any]
GB, HOUR = 2**30, 3600.0
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
_PILOTS = (5_000, 20_000)
"""Problems of the two runs whose difference tells what one problem costs."""
_READINGS = (100_000, 300_000)
"""The same where problems are only read. With less, buffers that fill up would hide what grows for ever."""
_VOTES = 48
"""Votes of a problem in the measured runs: two solutions of six steps, four votes each."""
_READ = """
import resource, sys, time
from pathlib import Path
from pipeline.labelling.problems import read_problems
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig
start = time.process_time()
read_problems(RunStore.open(RunConfig.model_validate_json(sys.argv[1])))
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


class Assumed(NamedTuple):
    """What depends on the user's models and machines. A problem's tokens are those of all its rollouts."""

    tokens: float = 10_000
    """Tokens generated for a problem. `stepmint plan` predicts it."""
    tokens_per_s: float = 2_500
    """Of one engine, with a full batch."""
    bytes_per_token: float = 4.0
    """Of the rollouts' text, before compression; about a third of it afterwards."""
    per_shard: int = 2_000
    """Problems of a shard."""
    drain_s: float = 60.0
    """For which an engine is half empty at the end of each shard."""
    start_s: float = 120.0
    """Until a new worker's engine answers."""
    life_h: float = 24.0
    """Hours after which a worker dies, on average, as spot machines do; another takes its place."""
    request_ms: float = 30.0
    """Of a request to a store that is not in the same machine."""
    mb_per_s: float = 200.0
    """Between a worker and the store."""


class Cost(NamedTuple):
    """What one more problem costs."""

    read_s: float
    read_bytes: float
    """Of memory, while the problems are read."""
    seal_s: float
    seal_bytes: float
    """Of memory, while the run is sealed."""
    journal_bytes: float
    log_bytes: float
    """Of its journal's part in the logs, which are compressed."""
    dataset_bytes: float


def scale() -> Figures:
    """Ten million problems on 64 engines, simulated with measured constants: hours until sealed; baseline:
    what the engines alone would take. Details: other sizes, and what grows too large at which size."""
    assumed = Assumed(
        *(
            type(default)(os.environ.get(f"STEPMINT_SCALE_{name.upper()}", default))
            for name, default in Assumed._field_defaults.items()
        )
    )
    cost, requests = measured(), _requests()
    runs = [simulated(n, engines, cost, assumed) for n in SIZES for engines in (1, 8, 64)]
    last = runs[-1]
    return {
        "value": last["hours"],
        "unit": "h",
        "baseline": last["engine_hours"],
        "n": SIZES[-1],
        "details": {
            "assumed": assumed._asdict(),
            "measured_per_problem": {name: float(f"{one:.4g}") for name, one in cost._asdict().items()},
            "measured_requests": requests,
            "runs": runs,
            "limits": limits(cost, assumed),
            "load_average": [round(x, 2) for x in os.getloadavg()],
        },
    }


def measured() -> Cost:
    """What one more problem costs, from two runs of different sizes."""
    return Cost(*_slopes(_reading, _READINGS), *_slopes(_sealing, _PILOTS))


def _slopes(of: Callable[[int], tuple[float, ...]], sizes: tuple[int, int]) -> Iterator[float]:
    small, large = map(of, sizes)
    return (max(0.0, (b - a) / (sizes[1] - sizes[0])) for a, b in zip(small, large, strict=True))


def _reading(n: int) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="stepmint-scale-") as folder:
        lines = (json.dumps({"text": f"Problem {i}: how does it end?", "answer": "right"}) for i in range(n))
        path = Path(folder) / "problems.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        config = {
            "name": "read",
            "root": folder,
            "shards": 50,
            "problems": {"source": "jsonl", "path": str(path)},
            "policy": {"kind": "simulated"},
            "annotate": [{"kind": "monte_carlo"}],
        }
        command = [sys.executable, "-c", _READ, json.dumps(config)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        return tuple(map(float, found.stdout.split()))


def _sealing(n: int) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="stepmint-scale-") as folder:
        store = make_run(Path(folder), n * _VOTES)
        seal(store)
        watched = followed("fuse", str(store.path), "--set", "fusion.accept=0.9", "--json")
        manifest = sealed_manifest(store.path)
        journals = [one.read_bytes() for one in sorted((store.path / "journal").glob("*.jsonl"))]
        packed = [LogEntry("done", "", parts={"journal": one}).encoded() for one in journals]
        dataset = sum((store.path / shard.file).stat().st_size for shard in manifest.shards)
        sizes = sum(map(len, journals)), sum(map(len, packed)), dataset
        return watched.cpu_seconds, float(max(watched.rss)), *map(float, sizes)


def _requests() -> Figures:
    """Median milliseconds of a creation and a read on the store."""
    with tempfile.TemporaryDirectory(prefix="stepmint-scale-") as folder:
        objects = open_objects(os.environ.get("STEPMINT_SCALE_STORE", f"file://{folder}/store"))
        found: Figures = {"store": objects.url.partition("://")[0]}
        for size in (2_000, MB):
            create, read = list[float](), list[float]()
            for _ in range(50):
                name, data = f"scale/{uuid.uuid4().hex}", os.urandom(size)
                start = time.perf_counter()
                objects.create(name, data)
                middle = time.perf_counter()
                if hashlib.sha256(objects.read(name) or b"").digest() != hashlib.sha256(data).digest():
                    raise RuntimeError(f"{objects.url}: gave other bytes than it was given")
                create.append(middle - start)
                read.append(time.perf_counter() - middle)
                objects.delete(name)
            for what, seconds in (("create", create), ("read", read)):
                found[f"{what}_{size}_bytes_ms"] = round(1000 * statistics.median(seconds), 2)
    return found


def simulated(n: int, engines: int, cost: Cost, assumed: Assumed, seed: int = 0) -> Figures:
    """One run: engines that take shard after shard, die and are replaced, then the sealing by one of them.

    A worker that dies loses what it has not appended, half a beat on average. Its shard is taken over when
    the lease has ended.
    """
    rng = np.random.default_rng(seed)
    shards, a_problem = -(-n // assumed.per_shard), assumed.tokens / assumed.tokens_per_s
    in_log = cost.log_bytes + assumed.tokens * assumed.bytes_per_token / 3
    request, rate = assumed.request_ms / 1000, assumed.mb_per_s * MB
    reading = n * cost.read_s
    # When a worker is free, and its number: sorted, so a heap. A dead worker's shard waits for its lease.
    free = [(reading + assumed.start_s, worker) for worker in range(min(engines, shards))]
    dies = [reading + float(rng.exponential(assumed.life_h * HOUR)) for _ in free]
    waiting = [(reading, float(min(assumed.per_shard, n - k * assumed.per_shard))) for k in range(shards)]
    heapq.heapify(waiting)
    calls, deaths, end = 0.0, 0, reading
    while waiting:
        now, worker = heapq.heappop(free)
        since, problems = heapq.heappop(waiting)
        # A look at the shard's log and its beat, its claim, and the problems of the shard.
        start = max(now, since) + 5 * request
        took = problems * a_problem + assumed.drain_s / 2
        appends = max(took / BEAT_S, problems * in_log / MB)
        calls += 5 + appends + took / BEAT_S
        if start + took < dies[worker]:
            end = max(end, start + took)
            heapq.heappush(free, (start + took, worker))
            continue
        deaths += 1
        died = max(start, dies[worker])
        kept = max(0.0, died - start - BEAT_S / 2) / took if took else 0.0
        heapq.heappush(waiting, (died + LEASE_S, problems * (1 - kept)))
        back = died + assumed.start_s
        dies[worker] = back + float(rng.exponential(assumed.life_h * HOUR))
        heapq.heappush(free, (back, worker))
    sealing = n * (cost.seal_s + in_log / rate) + shards * request + n * in_log / MB * request
    return {
        "problems": n,
        "engines": engines,
        "shards": shards,
        "hours": round((end + sealing) / HOUR, 2),
        "engine_hours": round(n * a_problem / engines / HOUR, 2),
        "reading_hours": round(reading / HOUR, 3),
        "labelling_hours": round((end - reading) / HOUR, 2),
        "sealing_hours": round(sealing / HOUR, 2),
        "deaths": deaths,
        "requests_per_s": round(calls / max(1.0, end - reading), 1),
        "store_gb": round(n * (in_log + cost.dataset_bytes) / GB, 1),
    }


def limits(cost: Cost, assumed: Assumed) -> list[Figures]:
    """What grows too large, with the number of problems at which it does, the first one first."""
    in_log = cost.log_bytes + assumed.tokens * assumed.bytes_per_token / 3
    unpacked = cost.journal_bytes + assumed.tokens * assumed.bytes_per_token
    a_problem = assumed.tokens / assumed.tokens_per_s / 64
    seal = cost.seal_s + in_log / (assumed.mb_per_s * MB) + in_log / MB * assumed.request_ms / 1000
    grows = {
        "memory while problems are read: 16 GB": 16 * GB / max(cost.read_bytes, 1e-9),
        "memory while the run is sealed: 16 GB": 16 * GB / max(cost.seal_bytes, 1e-9),
        "disk of the machine that seals or reads: 1 TB": 1000 * GB / unpacked,
        "reading the problems, on one machine: 1 hour": HOUR / max(cost.read_s, 1e-9),
        "sealing, on one machine: 1 hour": HOUR / seal,
        "labelling on 64 engines: 30 days": 30 * 24 * HOUR / a_problem,
    }
    found = [{"what": what, "at_problems": float(f"{at:.2g}")} for what, at in grows.items()]
    return sorted(found, key=lambda one: one["at_problems"])


if __name__ == "__main__":
    print(json.dumps(scale(), indent=1))
