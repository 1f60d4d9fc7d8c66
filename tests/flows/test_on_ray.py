"""Shards as tasks of a Ray cluster: a machine dies, and the rows are those of a plain local run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import main
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import LEASE_S, LogEntry, ShardLog

SHARDS, PROBLEMS = 4, 48
# The simulated policy, one call after the other, as slow as the environment says: slow enough on the cluster
# to be met in the middle, and not slow at all here.
_POLICY = """
import asyncio, os
from pipeline.policies.simulated import SimulatedPolicy
class Slow(SimulatedPolicy):
    in_flight = 1
    async def sample(self, prompt, n, sampling):
        await asyncio.sleep(float(os.environ.get("SLOW_S", "0")))
        return await super().sample(prompt, n, sampling)
"""


def run_file(tmp_path: Path) -> Path:
    rows = ({"problem": f"What is {a} + {b}?", "answer": "right"} for a in range(6) for b in range(8))
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "slow_policy.py").write_text(_POLICY)
    file = tmp_path / "mine.toml"
    file.write_text(
        f'name = "mine"\nroot = "file://{tmp_path}/objects"\nshards = {SHARDS}\n'
        f'[problems]\nsource = "file"\npath = "{tmp_path}/problems.jsonl"\n'
        '[policy]\nkind = "python"\nfactory = "slow_policy:Slow"\n'
        # Enough rollouts that a shard is appended in several pieces, of a megabyte each.
        '[[annotate]]\nkind = "monte_carlo"\nrollouts = 64\n'
    )
    return file


def logs(objects: ObjectStore) -> Iterator[list[LogEntry]]:
    return (list(ShardLog(objects, shard).read()) for shard in range(SHARDS))


def wait_until_two_are_under_way(objects: ObjectStore, command: "subprocess.Popen[str]") -> None:
    """Two shards that are not sealed, and of which something is done."""
    while command.poll() is None:
        under_way = [log for log in logs(objects) if log and log[-1].kind == "done"]
        if len(under_way) == 2:
            return
        time.sleep(0.1)
    raise AssertionError(f"the command ended before two shards were under way: {command.communicate()}")


@pytest.mark.slow
def test_a_machine_dies_and_the_rows_are_those_of_a_local_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prefect_ray", reason="Ray is not installed (the extra `ray`)")
    from benchmarks.ray_nodes import cluster

    file, paths = run_file(tmp_path), [str(tmp_path), *filter(None, sys.path)]
    monkeypatch.syspath_prepend(str(tmp_path))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PYTHONPATH": os.pathsep.join(paths),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SLOW_S": "0.04",
    }
    with cluster(environment) as (address, nodes, ours):
        run = [sys.executable, "-m", "flows.cli", "run", str(file), "--json"]
        run += ["--set", f"ray.address={address}"]
        pipe = subprocess.PIPE
        with subprocess.Popen(run, env=ours, stdout=pipe, stderr=pipe, text=True) as command:
            objects = open_objects(f"file://{tmp_path}/objects/mine")
            wait_until_two_are_under_way(objects, command)
            nodes[1].kill()
            # Nobody waits for the dead worker's beat to stand still.
            out, err = command.communicate(timeout=LEASE_S)
    assert command.returncode == 0, err
    found = list(logs(objects))
    kinds = ["".join(entry.kind[0] for entry in log) for log in found]
    # One shard was begun again, and the new attempt went on after what the first had done.
    assert [log.count("c") for log in kinds].count(2) == 1, kinds
    assert any("dc" in log for log in kinds), kinds
    lines = [line for log in found for e in log for line in e.parts.get("journal", b"").splitlines()]
    assert len({json.loads(line)["problem"]["id"] for line in lines}) == len(lines) == PROBLEMS
    assert list(objects.names("log/sealed")) == ["log/sealed/00000000"]
    assert main(["synthesize", str(file), "--json", "--no-prefect", "--set", f"root={tmp_path}/runs"]) == 0
    local = json.loads(capsys.readouterr().out)
    assert json.loads(out)["dataset_digest"] == local["dataset_digest"]


def test_what_a_cluster_needs_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(run_file(tmp_path))
    nowhere = ("--set", "ray.address=127.0.0.1:1")
    for more, said in (
        (nowhere, "ray.address = '127.0.0.1:1': nothing answers there (Connection refused)"),
        ((*nowhere, "--no-prefect"), "--no-prefect: with [ray]"),
        ((*nowhere, "--set", f"root={tmp_path}/runs"), "needs a place that all nodes reach"),
        (("--set", "ray.address=nowhere"), "ray.address"),
    ):
        if more == nowhere:
            pytest.importorskip("prefect_ray", reason="Ray is not installed (the extra `ray`)")
        assert main(["run", file, *more]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
