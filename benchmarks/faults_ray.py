"""A machine of a Ray cluster freezes in the middle of its shard, and wakes when others have finished it.

With the keepalive settings of `benchmarks.ray_nodes`, which docs/ray.md advises. Without them Ray moves
nothing within minutes.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ray_nodes import cluster
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import LogEntry, ShardLog

Figures = dict[str, Any]
SHARDS, PROBLEMS = 4, 48
_WAKES_S = 60.0
"""How long the thawed machine is watched: within this time its workers notice that they were given up."""


class OneByOne(SimulatedPolicy):
    """The simulated policy, one call after the other, each of `STEPMINT_CALL_SECONDS`."""

    in_flight = 1

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Wait, then answer."""
        await asyncio.sleep(float(os.environ.get("STEPMINT_CALL_SECONDS", "0")))
        return await super().sample(prompt, n, sampling)


def run_file(folder: Path) -> Path:
    """A run whose shards take many seconds each, and are appended in several pieces."""
    rows = ({"problem": f"What is {a} + {b}?", "answer": "right"} for a in range(6) for b in range(8))
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = folder / "mine.toml"
    file.write_text(
        f'name = "mine"\nroot = "file://{folder}/objects"\nshards = {SHARDS}\n'
        f'[problems]\nsource = "file"\npath = "{folder}/problems.jsonl"\n'
        '[policy]\nkind = "python"\nfactory = "benchmarks.faults_ray:OneByOne"\n'
        # So many rollouts that each shard comes to more than a megabyte, which is appended at once.
        '[[annotate]]\nkind = "monte_carlo"\nrollouts = 64\n'
    )
    return file


def environment_of(folder: Path) -> dict[str, str]:
    """What the nodes and the command of such a run need."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PREFECT_HOME": str(folder / "prefect"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "STEPMINT_CALL_SECONDS": "0.04",
    }


def started(
    file: Path, address: str, environment: dict[str, str], engines: int = 0, *changes: str
) -> "subprocess.Popen[str]":
    """The command on a cluster, with so many engines that all shards share, and with changes to its file."""
    run = [sys.executable, "-m", "flows.cli", "run", str(file), "--json", "--set", f"ray.address={address}"]
    run += [f"--set={change}" for change in (f"ray.engines={engines}", *changes)]
    pipe = subprocess.PIPE
    return subprocess.Popen(run, env=environment, stdout=pipe, stderr=pipe, text=True)


def logs(objects: ObjectStore) -> Iterator[list[LogEntry]]:
    """The logs of all shards."""
    return (list(ShardLog(objects, shard).read()) for shard in range(SHARDS))


def wait_until_under_way(objects: ObjectStore, command: "subprocess.Popen[str]") -> None:
    """Until two shards are not sealed of which something is done: one on each machine."""
    while command.poll() is None:
        if sum(log[-1].kind == "done" for log in logs(objects) if log) == 2:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the command ended before two shards were under way: {command.communicate()}")


def frozen() -> Figures:
    """Seconds from the freezing of one of two machines of a Ray cluster until its shard goes on elsewhere.
    The rows must be those of a local run, and must stay so when the machine wakes."""
    with tempfile.TemporaryDirectory(prefix="frozen-") as name:
        folder = Path(name)
        file, environment = run_file(folder), environment_of(folder)
        objects = open_objects(f"file://{folder}/objects/mine")
        with cluster(environment) as (address, nodes, ours):
            command = started(file, address, ours)
            wait_until_under_way(objects, command)
            nodes[1].freeze()
            begun = time.monotonic()
            while not any(_claims(log) > 1 for log in logs(objects)) and command.poll() is None:
                time.sleep(0.1)
            moved_s = time.monotonic() - begun
            out, err = command.communicate()
            ended_s = time.monotonic() - begun
            if command.returncode:
                raise RuntimeError(err[-500:])
            before = [len(log) for log in logs(objects)]
            nodes[1].thaw()
            time.sleep(_WAKES_S)
            after = [len(log) for log in logs(objects)]
            claims = [_claims(log) for log in logs(objects)]
        local = _local_digest(file, folder)
    sealed = json.loads(out)["dataset_digest"]
    return {
        "value": moved_s,
        "unit": "s",
        "baseline": 0,
        "n": SHARDS,
        "details": {
            "command_ended_s": round(ended_s, 1),
            "claims_of_each_shard": claims,
            "rows_equal": sealed == local,
            "entries_after_waking": sum(after) - sum(before),
            "load": os.getloadavg(),
        },
    }


def _claims(log: list[LogEntry]) -> int:
    return sum(entry.kind == "claim" for entry in log)


def _local_digest(file: Path, folder: Path) -> str:
    run = [sys.executable, "-m", "flows.cli", "synthesize", str(file), "--json", "--no-prefect"]
    run += ["--set", f"root={folder}/runs"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["dataset_digest"])
