"""What Prefect, Ray and the object store add to the wall clock of a run whose shards wait for their models.

Each shard waits for the same time, as for a model on another machine, and computes next to nothing. The same
run is made three times, with equally many shards side by side: by processes on this machine with a plain
folder, by Ray and Prefect with a shared folder, and by Ray and Prefect with SeaweedFS.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.ray_nodes import cluster
from benchmarks.weed import BUCKET, serving
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy

Figures = dict[str, Any]
_PER_SHARD = 12
"""Problems for each shard, on average: so many that no shard is without any."""


class Waiting(SimulatedPolicy):
    """The simulated policy, whose solutions take as long as the environment says, all at the same time."""

    in_flight = 1_000_000

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Wait for solutions, not for the rollouts from their steps."""
        if not prompt.prefix:
            await asyncio.sleep(float(os.environ["STEPMINT_SHARD_SECONDS"]))
        return await super().sample(prompt, n, sampling)


def overhead() -> Figures:
    """Seconds of a run of 50 shards of 20 s each, 10 of them side by side (STEPMINT_SHARDS=50x20x10), with
    Ray, Prefect and an object store, against the same run by plain processes in a folder."""
    shards, seconds, width = map(int, os.environ.get("STEPMINT_SHARDS", "50x20x10").split("x"))
    with tempfile.TemporaryDirectory(prefix="overhead-") as name, serving(Path(name) / "weed") as weed:
        folder, address = Path(name), f"s3://{BUCKET}"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")},
            **weed.environment(),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "STEPMINT_SHARD_SECONDS": str(seconds),
            "XDG_CACHE_HOME": str(folder),
            "PREFECT_HOME": str(folder / "prefect"),
            # Ray's workers would give way to all other programs, unlike the plain processes.
            "RAY_worker_niceness": "0",
        }
        file = _run_file(folder, shards)
        with cluster(environment, cpus=(ceil(width / 2), width // 2)) as (head, _, ours):
            alone = ["benchmarks.cluster_overhead", str(file), f"{folder}/plain", str(width)]
            ray = ["flows.cli", "run", str(file), "--json", "--set", f"ray.address={head}", "--set"]
            took = {
                "folder": _timed(ours, *alone),
                "ray, shared folder": _timed(ours, *ray, f"root=file://{folder}/shared"),
                "ray, SeaweedFS": _timed(ours, *ray, f"root={address}"),
            }
    if len({one.digest for one in took.values()}) != 1:
        raise RuntimeError(f"the rows differ: {took}")
    plain_s = took["folder"].wall_s
    return {
        "value": took["ray, SeaweedFS"].wall_s,
        "unit": "s",
        "baseline": plain_s,
        "n": shards,
        "details": {
            "side_by_side": width,
            "waiting_alone_s": seconds * ceil(shards / width),
            "wall_s": {name: round(one.wall_s, 1) for name, one in took.items()},
            "added": {name: f"{one.wall_s / plain_s - 1:.1%}" for name, one in took.items()},
            "load": os.getloadavg(),
        },
    }


def _run_file(folder: Path, shards: int) -> Path:
    rows = ({"problem": f"Problem {n}", "answer": "right"} for n in range(_PER_SHARD * shards))
    (folder / "problems.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    file = folder / "waiting.toml"
    file.write_text(
        f'name = "waiting"\nshards = {shards}\n'
        f'[problems]\nsource = "file"\npath = "{folder}/problems.jsonl"\n'
        '[policy]\nkind = "python"\nfactory = "benchmarks.cluster_overhead:Waiting"\n'
        '[[annotate]]\nkind = "monte_carlo"\nrollouts = 2\n'
    )
    return file


class Took(NamedTuple):
    """A run's seconds from the start of its command to its end, and the digest of its rows."""

    wall_s: float
    digest: str


def _timed(environment: dict[str, str], module: str, *arguments: str) -> Took:
    command = [sys.executable, "-m", module, *arguments]
    begun = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall_s = time.monotonic() - begun
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-500:]}")
    print(f"{arguments[-1]}: {wall_s:.1f} s", file=sys.stderr, flush=True)
    return Took(wall_s, json.loads(done.stdout)["dataset_digest"])


def plain(file: Path, root: str, width: int) -> str:
    """The run in a folder, its shards shared out to processes; returns the digest of its rows."""
    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.sealing import seal
    from pipeline.runs.run_store import RunStore
    from schemas.config import load_config

    config = load_config(file, (f"root={root}",))
    store = RunStore.open(config)
    read_problems(store)
    with ProcessPoolExecutor(width, mp_context=get_context("spawn")) as processes:
        for _ in processes.map(_label, [(file, root, shard) for shard in range(config.shards)]):
            pass
    return seal(store).digest()


def _label(task: tuple[Path, str, int]) -> None:
    from pipeline.labelling.shard import run_shard
    from pipeline.runs.run_store import RunStore
    from schemas.config import load_config

    file, root, shard = task
    asyncio.run(run_shard(RunStore.open(load_config(file, (f"root={root}",))), shard))


if __name__ == "__main__":
    print(json.dumps({"dataset_digest": plain(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))}))
