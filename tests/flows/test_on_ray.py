"""Shards as tasks of a Ray cluster: a machine dies, and the rows are those of a plain local run."""

import json
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
