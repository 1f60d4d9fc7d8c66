"""Workers on one run: killed, frozen and overtaken, they leave the rows of a plain local run."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import cycle
from pathlib import Path

import pytest

from benchmarks.soak_parts import Proxy, faults_of_logs
from benchmarks.weed import BUCKET, Weed
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.labelling.work import Pace, Worker, seal_remote
from pipeline.runs import identity, remote
from pipeline.runs.run_store import RunStore
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import ShardLog, Watch
from schemas.config import RunConfig
from schemas.errors import BackendError, UserError

SHARDS = 3
FAST = Pace(append_s=0.05, beat_s=0.1, lease_s=0.6, poll_s=0.05)
# What a worker does in a process of its own, each problem a little later: it must be met in the middle.
_WORKER = """
import sys, time
from pathlib import Path
from pipeline.labelling.work import Pace, Worker
from pipeline.storage.object_store import open_objects
pace = Pace(append_s=.05, beat_s=.1, lease_s=.6, poll_s=.05)
worker = Worker(open_objects(sys.argv[1]), Path(sys.argv[2]), pace=pace, advance=lambda: time.sleep(.05))
worker.run()
print(worker.done, worker.fenced)
"""


def config_of(tmp_path: Path, **changes: object) -> RunConfig:
    problems = tmp_path / "problems.jsonl"
    rows = ({"problem": f"What is {a} + {b}?", "answer": "right"} for a in range(6) for b in range(6))
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "name": "mine",
        "root": str(tmp_path / "runs"),
        "shards": SHARDS,
        "problems": {"source": "file", "path": str(problems)},
        "policy": {"kind": "simulated"},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
    }
    return RunConfig.model_validate(settings | changes)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path}/objects")


def begun(tmp_path: Path, objects: ObjectStore, config: RunConfig) -> RunStore:
    store = RunStore.open(config)
    read_problems(store)
    remote.begin(objects, store)
    return store


def local_digest(store: RunStore) -> str:
    """The rows of the same run in a plain folder."""
    for shard in range(store.config.shards):
        asyncio.run(run_shard(store, shard))
    return seal(store).digest()


def entries(objects: ObjectStore, shard: int) -> list[str]:
    return [entry.kind for entry in ShardLog(objects, shard).read()]


def test_a_worker_labels_what_a_local_run_does(tmp_path: Path, objects: ObjectStore) -> None:
    store = begun(tmp_path, objects, config_of(tmp_path))
    worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST)
    worker.run()
    assert worker.done == 36
    manifest = seal_remote(objects, tmp_path / "s" / "mine")
    assert manifest.digest() == local_digest(store)
    # Whoever reads it elsewhere has the same rows, with whole rollouts.
    read = tmp_path / "r" / "mine"
    remote.load(objects, read, remote.fetch(objects, read).shards)
    assert RunStore(read, store.config).damage() == []
    assert remote.last_manifest(objects) == manifest
    # Sealed again, nothing is added.
    seal_remote(objects, tmp_path / "t" / "mine")
    assert [name for name in objects.names("log/sealed")] == ["log/sealed/00000000"]


def _start(objects: ObjectStore, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _WORKER, objects.url, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _wait_for_work(objects: ObjectStore, than: int) -> None:
    for _ in range(400):
        if sum(entries(objects, shard).count("done") for shard in range(SHARDS)) > than:
            return
        time.sleep(0.05)
    raise AssertionError("no worker has appended anything for 20 s")


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_workers_killed_and_frozen_leave_the_rows_of_a_local_run(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = f"file://{tmp_path}/objects" if where == "folder" else f"{request.getfixturevalue('bucket')}/mine"
    objects = open_objects(place)
    store = begun(tmp_path, objects, config_of(tmp_path))
    killed, frozen = (_start(objects, tmp_path / name / "mine") for name in ("killed", "frozen"))
    try:
        _wait_for_work(objects, 1)
        os.kill(frozen.pid, signal.SIGSTOP)
        killed.kill()
        other = Worker(objects, tmp_path / "other" / "mine", pace=FAST)
        other.run()
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    out, _ = frozen.communicate(timeout=60)
    killed.communicate()
    assert frozen.returncode == 0
    # The thawed one lost the shard that it had, if it had not finished it, and has spoilt nothing.
    assert other.done > 0
    assert faults_of_logs(objects, SHARDS, 36) == []
    assert seal_remote(objects, tmp_path / "s" / "mine").digest() == local_digest(store)
    assert all(len(line.split()) == 2 for line in out.splitlines())


def test_a_new_attempt_takes_over_from_its_dead_one_and_from_nobody_else(
    tmp_path: Path, objects: ObjectStore
) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    # A beat and a claim, as a worker leaves them that died in the middle.
    for shard, owner in enumerate(("attempts", "another")):
        claim = ShardLog(objects, shard).claim(owner)
        assert claim is not None
        claim.beat()
    # With a lease of an hour this would not end in time, if the dead attempt's beat were waited for.
    hurried = Worker(objects, tmp_path / "h" / "mine", owner="attempts", pace=FAST._replace(lease_s=3600.0))
    with closing(hurried):
        assert hurried.finish(0) == len(_finished(objects, 0)) > 0
    start, worker = time.monotonic(), Worker(objects, tmp_path / "w" / "mine", owner="attempts", pace=FAST)
    with closing(worker):
        assert worker.finish(1) == len(_finished(objects, 1)) > 0
        assert time.monotonic() - start >= FAST.lease_s
        assert worker.finish(2) == len(_finished(objects, 2)) > 0
    # What is sealed is left alone, and asks for no model.
    assert [worker.finish(shard) for shard in range(SHARDS)] == [0, 0, 0]


def test_what_fails_is_said_and_the_shard_is_given_back(
    tmp_path: Path, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_policy.py").write_text(
        "from pipeline.policies.simulated import SimulatedPolicy\n"
        "class Failing(SimulatedPolicy):\n"
        "    async def sample(self, prompt, n, sampling):\n"
        "        raise RuntimeError('out of order')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    policy = {"kind": "python", "factory": "failing_policy:Failing"}
    begun(tmp_path, objects, config_of(tmp_path, policy=policy))
    worker = Worker(objects, tmp_path / "w" / "mine", owner="attempts", pace=FAST)
    with closing(worker), pytest.raises(BackendError, match="every problem of shard 0 failed.*out of order"):
        worker.finish(0)
    assert (objects.read("beat/00000") or b"").endswith(b" gone")
    assert entries(objects, 0) == ["claim", "done"]  # nothing is done, but why is said


def test_an_attempt_that_wakes_late_leaves_the_shard_to_the_next_one(
    tmp_path: Path, objects: ObjectStore
) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    next_one = Worker(objects, tmp_path / "n" / "mine", owner="attempts", pace=FAST)
    working = threading.Thread(target=next_one.finish, args=(0,))

    def advance() -> None:
        # In the middle of its work the late one stands still, until the next attempt has finished the shard.
        if working.ident is None:
            working.start()
            working.join()

    late = Worker(objects, tmp_path / "l" / "mine", owner="attempts", pace=FAST, advance=advance)
    with closing(next_one), closing(late):
        assert late.finish(0) == 0
    assert (late.fenced, next_one.fenced) == (1, 0)
    assert next_one.done == len(_finished(objects, 0)) == len(set(_finished(objects, 0)))
    assert entries(objects, 0).count("claim") == 2


def _finished(objects: ObjectStore, shard: int) -> list[str]:
    parts = (entry.parts.get("journal", b"") for entry in ShardLog(objects, shard).read())
    return [json.loads(line)["problem"]["id"] for part in parts for line in part.splitlines()]


def test_a_store_that_fails_and_is_restarted_loses_nothing(
    tmp_path: Path, weed: Weed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(port=weed.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        objects = open_objects(f"s3://{BUCKET}/mine")
        store = begun(tmp_path, objects, config_of(tmp_path))
        worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST, advance=lambda: time.sleep(0.05))
        work = threading.Thread(target=worker.run)
        work.start()
        for fault in ("cut", "lose", "drop", "500", "503"):
            proxy.fault, proxy.share = fault, 0.5
            time.sleep(0.5)
        proxy.fault = ""
        weed.kill()
        time.sleep(0.5)
        weed.start()
        work.join(timeout=120)
        assert not work.is_alive()
        assert proxy.hit
    objects = _directly(monkeypatch, weed)
    assert faults_of_logs(objects, SHARDS, 36) == []
    assert seal_remote(objects, tmp_path / "s" / "mine").digest() == local_digest(store)


def _directly(monkeypatch: pytest.MonkeyPatch, weed: Weed) -> ObjectStore:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{weed.port}")
    return open_objects(f"s3://{BUCKET}/mine")


def test_a_worker_whose_model_is_away_spoils_nothing_for_the_others(
    tmp_path: Path, objects: ObjectStore
) -> None:
    """Its entries declare no sources. The others have votes by then, and must not take it for a change."""
    store = begun(tmp_path, objects, config_of(tmp_path))
    claim = ShardLog(objects, 2).claim()
    assert claim is not None
    claim.done({"journal": b"", remote.SOURCES: b"{}"})
    claim.release()
    worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST)
    worker._start = 0
    worker.run()
    assert worker.done == 36
    assert seal_remote(objects, tmp_path / "s" / "mine").digest() == local_digest(store)


def test_a_worker_whose_model_is_away_ends_and_gives_its_shards_back(
    tmp_path: Path, objects: ObjectStore
) -> None:
    away = {"kind": "server", "model": "m", "base_url": "http://127.0.0.1:9/v1", "timeout_s": 2}
    begun(tmp_path, objects, config_of(tmp_path, policy=away))
    with pytest.raises(BackendError, match="127.0.0.1:9"):
        Worker(objects, tmp_path / "w" / "mine", pace=FAST).run()
    for shard in range(SHARDS):
        log = ShardLog(objects, shard)
        assert all(not json.loads(entry.parts.get(remote.SOURCES, b"{}")) for entry in log.read())
        assert Watch().is_free(log)


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = begun(tmp_path, objects, config_of(tmp_path))
    digest = local_digest(store)
    now, years = time.time, cycle((0.0, 3e8, -3e8))
    monkeypatch.setattr(time, "time", lambda: now() + next(years))
    # Of one that is dead: its shard is taken when the lease is over by the clock that does not jump.
    dead = ShardLog(objects, 1).claim()
    assert dead is not None
    dead.beat()
    start = time.monotonic()
    worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST)
    worker.run()
    assert time.monotonic() - start > FAST.lease_s
    assert (worker.done, worker.fenced) == (36, 0)
    assert seal_remote(objects, tmp_path / "s" / "mine").digest() == digest


def test_a_worker_without_room_on_its_disk_leaves_the_work_to_others(
    tmp_path: Path, objects: ObjectStore
) -> None:
    store = begun(tmp_path, objects, config_of(tmp_path))
    worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            worker.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    other = Worker(objects, tmp_path / "o" / "mine", pace=FAST)
    other.run()
    assert faults_of_logs(objects, SHARDS, 36) == []
    assert seal_remote(objects, tmp_path / "s" / "mine").digest() == local_digest(store)


def test_another_run_on_the_same_name_is_refused(tmp_path: Path, objects: ObjectStore) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    begun(tmp_path, objects, config_of(tmp_path))  # the same one is joined
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="with other settings"):
        begun(tmp_path, objects, config_of(tmp_path / "b", seed=7))
    (tmp_path / "c").mkdir()
    other = config_of(tmp_path / "c")
    (tmp_path / "c" / "problems.jsonl").write_text('{"problem": "What is 9 + 9?", "answer": "right"}\n')
    with pytest.raises(UserError, match="with other problems"):
        begun(tmp_path, objects, other)


def test_a_copy_of_a_deleted_run_is_not_taken_for_the_one_in_its_place(
    tmp_path: Path, objects: ObjectStore
) -> None:
    def copied() -> int:
        folder = tmp_path / "copy" / "mine"
        config = remote.fetch(objects, folder)
        remote.load(objects, folder, config.shards)
        return sum(len(RunStore(folder, config).entries(shard)) for shard in range(config.shards))

    begun(tmp_path, objects, config_of(tmp_path))
    Worker(objects, tmp_path / "w" / "mine", pace=FAST).run()
    assert copied() == 36
    for name in list(objects.names("")):
        objects.delete(name)
    begun(tmp_path, objects, config_of(tmp_path, seed=7))
    assert copied() == 0
    Worker(objects, tmp_path / "v" / "mine", pace=FAST).run()
    assert copied() == 36


@pytest.mark.parametrize("spoilt", ["", "identity.json", "objects.json"])
def test_a_copy_that_is_read_again_knows_what_its_sources_declare(
    tmp_path: Path, objects: ObjectStore, spoilt: str
) -> None:
    """Nobody appends anything between two readings, and the logs alone say it."""
    begun(tmp_path, objects, config_of(tmp_path))
    Worker(objects, tmp_path / "w" / "mine", pace=FAST).run()
    folder, found = tmp_path / "copy" / "mine", []
    for _ in range(2):
        remote.load(objects, folder, remote.fetch(objects, folder).shards)
        known, store = identity.recorded(folder), RunStore(folder, config_of(tmp_path))
        found.append((known and known.sources, [len(store.entries(shard)) for shard in range(SHARDS)]))
        if spoilt:
            (folder / spoilt).write_text("{")
    assert found[0][0]
    assert found[1] == found[0]


def test_what_a_store_says_about_files_is_doubted(tmp_path: Path, objects: ObjectStore) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    said = json.loads(objects.read(remote.RUN) or b"")
    objects.overwrite(remote.RUN, json.dumps(said | {"files": {"../x": "0"}}).encode())
    with pytest.raises(UserError, match="names '../x', which is no file of a run"):
        remote.fetch(objects, tmp_path / "w" / "mine")
    own = said["files"]["run.toml"]
    for files, wrong in (
        ({"problems/a\0b": own}, r"names 'problems/a\\x00b', which is no file"),
        ({"problems/\ud800": own}, r"names 'problems/\\ud800', which is no file"),
        ({"problems/next.json": own}, "names 'problems/next.json', which is no file"),
        ({"problems/00000.jsonl": "../../x"}, "problems/00000.jsonl is missing or was changed"),
        ({"problems/00000.jsonl": [own]}, "is no run of ours"),
    ):
        objects.overwrite(remote.RUN, json.dumps(said | {"files": said["files"] | files}).encode())
        with pytest.raises(UserError, match=wrong):
            remote.fetch(objects, tmp_path / "v" / "mine")
    objects.overwrite(remote.RUN, json.dumps(said | {"files": {}}).encode())
    with pytest.raises(UserError, match=r"run.json: names no run.toml"):
        remote.fetch(objects, tmp_path / "w" / "mine")
    with pytest.raises(UserError, match=r"run.toml is missing or was changed"):
        remote.recorded(objects)
    objects.overwrite(remote.RUN, b"[]")
    with pytest.raises(UserError, match="is no run of ours"):
        remote.fetch(objects, tmp_path / "w" / "mine")
    with pytest.raises(UserError, match="no run is there"):
        remote.fetch(open_objects(f"file://{tmp_path}/empty"), tmp_path / "e" / "mine")
    objects.overwrite(remote.RUN, json.dumps(said).encode())
    objects.overwrite(f"inputs/{said['files']['run.toml']}", b"other")
    with pytest.raises(UserError, match="run.toml is missing or was changed"):
        remote.fetch(objects, tmp_path / "w" / "mine")
