"""Shards as tasks of a Ray cluster: a machine dies, and the rows are those of a plain local run."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.soak_parts import faults_of_logs
from flows.cli import main
from pipeline.runs import growths, remote
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import LEASE_S, ShardLog


@pytest.mark.slow
@pytest.mark.parametrize("engines", [0, 2])
def test_a_machine_dies_and_the_rows_are_those_of_a_local_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engines: int
) -> None:
    pytest.importorskip("prefect_ray", reason="Ray is not installed (the extra `ray`)")
    from benchmarks import faults_ray
    from benchmarks.ray_nodes import cluster

    file, objects = faults_ray.run_file(tmp_path), open_objects(f"file://{tmp_path}/objects/mine")
    with (
        cluster(faults_ray.environment_of(tmp_path)) as (address, nodes, ours),
        faults_ray.started(file, address, ours, engines) as command,
    ):
        faults_ray.wait_until_under_way(objects, command)
        nodes[1].kill()
        # With engines, one of the two has died, too, and is started anew on the other machine.
        # Nobody waits for the dead worker's beat to stand still.
        out, err = command.communicate(timeout=LEASE_S)
    assert command.returncode == 0, err
    found = list(faults_ray.logs(objects))
    kinds = ["".join(entry.kind[0] for entry in log) for log in found]
    # One shard was begun again, and the new attempt went on after what the first had done.
    assert [log.count("c") for log in kinds].count(2) == 1, kinds
    assert any("dc" in log for log in kinds), kinds
    lines = [line for log in found for e in log for line in e.parts.get("journal", b"").splitlines()]
    names = [json.loads(line)["problem"]["id"] for line in lines]
    assert len(set(names)) == len(names) == faults_ray.PROBLEMS
    assert list(objects.names("log/sealed")) == ["log/sealed/00000000"]
    assert main(["synthesize", str(file), "--json", "--no-prefect", "--set", f"root={tmp_path}/runs"]) == 0
    assert json.loads(out)["dataset_digest"] == json.loads(capsys.readouterr().out)["dataset_digest"]


@pytest.mark.slow
def test_a_sealed_run_grows_on_a_cluster_and_once_more_while_it_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prefect_ray", reason="Ray is not installed (the extra `ray`)")
    from benchmarks import faults_ray
    from benchmarks.ray_nodes import cluster

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, objects = faults_ray.run_file(tmp_path), open_objects(f"file://{tmp_path}/objects/mine")
    assert main(["run", str(file), "--json", "--set", "problems.limit=12"]) == 0
    before = [log.length for log in _read(objects)]
    with (
        cluster(faults_ray.environment_of(tmp_path), cpus=(2,)) as (address, _, ours),
        faults_ray.started(file, address, ours, 0, "problems.limit=36") as command,
    ):
        while command.poll() is None and [log.length for log in _read(objects)] == before:
            time.sleep(0.1)
        assert main(["run", str(file), "--begin"]) == 0
        assert (command.poll(), growths.known(objects).number) == (None, 2)
        out, err = command.communicate(timeout=2 * LEASE_S)
    assert command.returncode == 0, err
    assert faults_of_logs(objects, faults_ray.SHARDS, faults_ray.PROBLEMS) == []
    assert remote.last_dataset(objects)[1] == 2
    assert (json.loads(out)["problems"], json.loads(out)["labelled_here"]) == (48, 36)
    capsys.readouterr()
    assert main(["synthesize", str(file), "--json", "--no-prefect", "--set", f"root={tmp_path}/runs"]) == 0
    assert json.loads(out)["dataset_digest"] == json.loads(capsys.readouterr().out)["dataset_digest"]


def _read(objects: ObjectStore) -> list[ShardLog]:
    from benchmarks.faults_ray import SHARDS

    logs = [ShardLog(objects, shard) for shard in range(SHARDS)]
    for log in logs:
        log.catch_up()
    return logs


_JOIN = """
import sys
from flows import on_ray, progress, ray_engines
from schemas.config import RayConfig
from schemas.errors import BackendError, UserError
ray_engines._SAID_S = 1.0
asked = RayConfig(address=sys.argv[1], engines=2, num_gpus=1, room_s=5)
try:
    with progress.listening(progress.Lines(say=print)), on_ray.connected(asked):
        with ray_engines.started("me", asked):
            print("started")
except (BackendError, UserError) as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_cluster_that_refuses_a_command_or_has_no_room_is_told_in_plain_lines(tmp_path: Path) -> None:
    pytest.importorskip("prefect_ray", reason="Ray is not installed (the extra `ray`)")
    from benchmarks import faults_ray
    from benchmarks.ray_nodes import cluster

    def said(address: str, environment: dict[str, str]) -> list[str]:
        command = [sys.executable, "-c", _JOIN, address]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
        return (done.stdout + done.stderr).splitlines()

    with cluster(faults_ray.environment_of(tmp_path), cpus=(1,)) as (address, _, ours):
        waits, gives_up = said(address, ours)
        assert waits == (
            "no engine has room on the Ray cluster yet: each needs 1 GPUs, and of the cluster's 0 are 0 "
            "free; waiting"
        )
        assert gives_up.startswith("BackendError the Ray cluster had no room for an engine within ray.room_s")
        del ours["RAY_NUM_REDIS_GET_RETRIES"]  # of the nodes, which wait for the head
        for changed in ({"RAY_AUTH_TOKEN": 64 * "0"}, {"RAY_AUTH_TOKEN": ""}):
            (line,) = said(address, {**ours, **changed})
            assert line.startswith(f"UserError ray.address = '{address}': the cluster refuses the token of")


def test_what_a_cluster_needs_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("prefect_ray", reason="Ray is not installed (the extra `ray`)")
    from benchmarks import faults_ray

    file, nowhere = str(faults_ray.run_file(tmp_path)), ("--set", "ray.address=127.0.0.1:1")
    for more, said in (
        (nowhere, "ray.address = '127.0.0.1:1': nothing answers there (Connection refused)"),
        ((*nowhere, "--no-prefect"), "--no-prefect: with [ray]"),
        ((*nowhere, "--set", f"root={tmp_path}/runs"), "needs a place that all nodes reach"),
        (("--set", "ray.address=nowhere"), "ray.address"),
    ):
        assert main(["run", file, *more]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
