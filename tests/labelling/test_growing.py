"""Runs on an object store that grow: while workers are killed, frozen, and grow it themselves."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from flows.work import sealed, work_on
from pipeline.labelling.problems import read_problems
from pipeline.labelling.regrade import regrade_shard
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.labelling.work import Worker
from pipeline.runs import growths, problem_files, remote
from pipeline.runs.posing import prepare
from pipeline.runs.run_store import RunStore
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import ShardLog
from schemas.config import RunConfig
from schemas.errors import UserError
from tests.annotators.test_protocol import MINE
from tests.labelling.test_work import FAST, SHARDS, _finished, _start, _wait_for_work, config_of, local_digest
from tests.runs.test_posing import Brought


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path}/objects")


def of_rows(tmp_path: Path, first: int, last: int, wrong: int = -1, **changes: object) -> RunConfig:
    """The run file with some of the 36 rows, of which one may have another answer."""
    config = config_of(tmp_path, **changes)
    file = tmp_path / "problems.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    if wrong >= 0:
        rows[wrong]["answer"] = "another"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[first:last]))
    return config


def begin(objects: ObjectStore, config: RunConfig, folder: Path) -> RunStore:
    """What `stepmint run --begin` does, from a folder of its own."""
    store = RunStore.open(config.model_copy(update={"root": str(folder)}))
    remote.follow(objects, store)
    read_problems(store)
    remote.begin(objects, store)
    return store


def labelled_here(config: RunConfig, name: str) -> RunStore:
    """The same run in a plain folder, where it goes on or grows."""
    store = RunStore.open(config.model_copy(update={"name": name}))
    read_problems(store)
    for shard in range(store.config.shards):
        if stale := store.stale(shard):
            asyncio.run(regrade_shard(store, shard, only=set(stale), advance=lambda: None))
        asyncio.run(run_shard(store, shard))
    seal(store)
    return store


def parquet(run: Path) -> dict[str, bytes]:
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in sorted(run.glob("*/*.parquet"))}


def copied(objects: ObjectStore, folder: Path) -> Path:
    remote.load(objects, folder, remote.fetch(objects, folder).shards)
    return folder


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_run_that_grew_has_the_rows_of_a_local_one_that_grew(
    tmp_path: Path, objects: ObjectStore, wrong: int
) -> None:
    """Further problems, and an answer that was corrected, whose stored rollouts are graded again."""
    steps = [(12, -1), (13, -1), (36, wrong)]
    for at, (last, changed) in enumerate(steps):
        config = of_rows(tmp_path, 0, last, changed)
        begin(objects, config, tmp_path / f"b{at}")
        owed = {k for k in range(SHARDS) if not _is_sealed(objects, k)}
        assert (at, len(owed)) in ((0, 3), (1, 1), (2, 3))  # one problem more changes one shard
        figures = work_on(objects)
        assert figures["problems"] == last
        assert figures["labelled_here"] == last - ([0, *(n for n, _ in steps)][at]) + (changed >= 0)
        local = labelled_here(config, "grown")
        assert figures["dataset_digest"] == seal(local).digest()
    assert parquet(copied(objects, tmp_path / "c" / "mine")) == parquet(local.path)
    if wrong < 0:
        assert local_digest(labelled_here(of_rows(tmp_path, 0, 36), "whole")) == figures["dataset_digest"]
    # Given again, the command finds nothing to do, also where its file has less.
    begin(objects, of_rows(tmp_path, 0, 36, wrong), tmp_path / "again")
    begin(objects, of_rows(tmp_path, 0, 5, wrong), tmp_path / "less")
    assert growths.known(objects).number == 2
    assert work_on(objects)["labelled_here"] == 0
    assert len(objects.names("log/sealed")) == 3


def _is_sealed(objects: ObjectStore, shard: int) -> bool:
    log = growths.known(objects).log(objects, shard)
    log.catch_up()
    return log.is_sealed


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_workers_killed_and_frozen_while_it_grows_leave_the_rows_of_a_local_run(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = f"file://{tmp_path}/objects" if where == "folder" else f"{request.getfixturevalue('bucket')}/mine"
    objects = open_objects(place)
    begin(objects, of_rows(tmp_path, 0, 18), tmp_path / "b0")
    frozen = _start(objects, tmp_path / "frozen" / "mine")
    try:
        _wait_for_work(objects, 0)
        os.kill(frozen.pid, signal.SIGSTOP)  # it knows of 18 problems, and has a shard
        whole = begin(objects, of_rows(tmp_path, 0, 36), tmp_path / "b1")
        killed = _start(objects, tmp_path / "killed" / "mine")
        _wait_for_work(objects, 2)
        killed.kill()
        killed.communicate()
        other = Worker(objects, tmp_path / "other" / "mine", pace=FAST)
        other.run()
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    out, _ = frozen.communicate(timeout=120)
    assert (frozen.returncode, len(out.split())) == (0, 2)
    assert other.done > 0
    names = [name for shard in range(SHARDS) for name in _finished(objects, shard)]
    assert len(names) == len(set(names)) == 36
    assert sealed(objects)["dataset_digest"] == local_digest(whole)


def test_workers_that_are_at_it_label_what_comes_meanwhile(tmp_path: Path, objects: ObjectStore) -> None:
    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b0")
    counted, whole = list[int](), list[RunStore]()

    def advance() -> None:
        counted.append(1)
        if len(counted) == 11:  # in the last shard
            whole.append(begin(objects, of_rows(tmp_path, 0, 36), tmp_path / "b1"))

    worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST, advance=advance)
    worker.run()
    assert (worker.done, worker.growth.number) == (36, 1)
    assert sealed(objects)["dataset_digest"] == local_digest(whole[0])


def test_a_dataset_of_an_earlier_growth_is_not_taken_for_the_whole(
    tmp_path: Path, objects: ObjectStore
) -> None:
    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b0")
    first = work_on(objects)
    old = copied(objects, tmp_path / "old" / "mine")
    whole = begin(objects, of_rows(tmp_path, 0, 36), tmp_path / "b1")
    # Until its problems are labelled, readers have the dataset that there is, and see what is owed.
    folder = copied(objects, tmp_path / "c" / "mine")
    store = RunStore(folder, whole.config)
    assert sum(len(store.shard_state(shard).owed) for shard in range(SHARDS)) == 24
    Worker(objects, tmp_path / "w" / "mine", pace=FAST).run()
    last = sealed(objects)
    assert (first["problems"], last["problems"]) == (12, 36)
    manifest = seal(RunStore(old, of_rows(tmp_path, 0, 12)))  # by a machine that has slept since
    assert not remote.put_dataset(objects, old, manifest)
    assert remote.last_dataset(objects)[1] == 1


class Meanwhile(ObjectStore):
    """A store on which something happens just before a growth is put there, once."""

    def __init__(self, objects: ObjectStore, happens: Callable[[], object]) -> None:
        super().__init__(objects._store, objects.url)
        self._happens = [happens]

    def create(self, name: str, data: bytes) -> bool:
        if name.startswith("log/grown/") and self._happens:
            self._happens.pop()()
        return super().create(name, data)


@pytest.mark.parametrize(
    ("ours", "theirs", "growths_then"), [(24, 36, 1), (36, 24, 2), (36, 36, 1)], ids=["less", "more", "same"]
)
def test_of_two_that_grow_a_run_at_once_both_go_on(
    tmp_path: Path, objects: ObjectStore, ours: int, theirs: int, growths_then: int
) -> None:
    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b0")
    store = RunStore.open(of_rows(tmp_path, 0, ours).model_copy(update={"root": str(tmp_path / "ours")}))
    read_problems(store)
    other = of_rows(tmp_path, 0, theirs)
    remote.begin(Meanwhile(objects, lambda: begin(objects, other, tmp_path / "theirs")), store)
    assert growths.known(objects).number == growths_then
    assert work_on(objects)["problems"] == 36


def test_what_two_run_files_have_apart_is_refused_and_changes_nothing(
    tmp_path: Path, objects: ObjectStore
) -> None:
    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b0")
    before = {name: objects.read(name) for name in objects.names("")}
    with pytest.raises(UserError, match=r"other problems: 6 of its 12 are gone, such as 'What is 0 \+ "):
        begin(objects, of_rows(tmp_path, 6, 36), tmp_path / "b1")
    with pytest.raises(UserError, match=r"other settings: it was started with seed=0, not 7"):
        begin(objects, of_rows(tmp_path, 0, 36, seed=7), tmp_path / "b2")
    assert {name: objects.read(name) for name in objects.names("")} == before


def test_settings_of_speed_reach_a_run_by_themselves(tmp_path: Path, objects: ObjectStore) -> None:
    def at(port: int, rows: int = 12) -> RunConfig:
        there = {"kind": "server", "model": "m", "base_url": f"http://127.0.0.1:{port}/v1", "in_flight": port}
        return of_rows(tmp_path, 0, rows, policy=there)

    def in_flight() -> object:
        config = remote.fetch(objects, tmp_path / "w" / "mine")
        assert problem_files.total(tmp_path / "w" / "mine") == 12
        return config.model_dump()["policy"]["in_flight"]

    begin(objects, at(1), tmp_path / "b0")
    begin(objects, at(2), tmp_path / "b1")
    begin(objects, at(2), tmp_path / "b2")
    assert (growths.known(objects).number, growths.known(objects).changed, in_flight()) == (1, 0, 2)
    # Also by a run file with some of the problems, of which the run keeps all.
    begin(objects, at(3, rows=6), tmp_path / "b3")
    assert (growths.known(objects).number, growths.known(objects).changed, in_flight()) == (2, 0, 3)
    begin(objects, at(3), tmp_path / "b4")
    assert growths.known(objects).number == 2


def test_other_settings_of_speed_make_no_other_dataset(tmp_path: Path, objects: ObjectStore) -> None:
    begin(objects, of_rows(tmp_path, 0, 6), tmp_path / "b0")
    first = work_on(objects)
    assert growths.put(objects, growths.known(objects)._replace(number=1))
    assert work_on(objects)["dataset_digest"] == first["dataset_digest"]
    assert objects.names("log/sealed") == ["log/sealed/00000000"]
    # On Ray, where a command puts its own ones each time that a run has grown, two of them would never end.
    known = growths.known(objects)
    assert growths.put(objects, known._replace(number=2))
    assert sealed(objects, known)["dataset_digest"] == first["dataset_digest"]


def test_a_grower_that_is_killed_has_changed_nothing(tmp_path: Path, objects: ObjectStore) -> None:
    def dies() -> None:
        raise KeyboardInterrupt

    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b0")
    config = of_rows(tmp_path, 0, 36)
    with pytest.raises(KeyboardInterrupt):
        begin(Meanwhile(objects, dies), config, tmp_path / "b1")
    assert growths.known(objects).number == 0
    assert work_on(objects)["problems"] == 12
    begin(objects, config, tmp_path / "b2")
    assert work_on(objects)["problems"] == 36


def test_a_budget_of_the_run_is_shared_anew_among_all_shards(tmp_path: Path, objects: ObjectStore) -> None:
    budget = {"budget": {"run": 2000, "per_problem": 200}, "prompt": {"max_tokens": 100}}
    begin(objects, of_rows(tmp_path, 0, 12, **budget), tmp_path / "b0")
    work_on(objects)
    config = of_rows(tmp_path, 0, 13, **budget)
    begin(objects, config, tmp_path / "b1")
    assert not any(_is_sealed(objects, shard) for shard in range(SHARDS))
    labelled_here(of_rows(tmp_path, 0, 12, **budget), "grown")
    local = labelled_here(of_rows(tmp_path, 0, 13, **budget), "grown")
    assert work_on(objects)["dataset_digest"] == seal(local).digest()


def test_a_higher_budget_of_the_run_is_used_up(tmp_path: Path, objects: ObjectStore) -> None:
    def with_budget(run: int) -> RunConfig:
        budget = {"budget": {"run": run, "per_problem": 200}, "prompt": {"max_tokens": 100}}
        return of_rows(tmp_path, 0, 12, **budget)

    begin(objects, with_budget(2000), tmp_path / "b0")
    assert work_on(objects)["problems"] < 12
    begin(objects, with_budget(20_000), tmp_path / "b1")
    found = work_on(objects)
    assert found["problems"] == 12
    labelled_here(with_budget(2000), "grown")
    assert found["dataset_digest"] == seal(labelled_here(with_budget(20_000), "grown")).digest()
    # Two run files with two budgets do not change it to and fro.
    begin(objects, with_budget(2000), tmp_path / "b2")
    begin(objects, with_budget(20_000), tmp_path / "b3")
    assert growths.known(objects).number == 1


def test_a_worker_whose_program_was_mended_before_it_began_goes_on_when_the_run_grows(
    tmp_path: Path, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    program = tmp_path / "brought_to_a_run_that_grows.py"
    program.write_text(MINE)
    changes = {"annotate": [{"kind": "python", "factory": f"{program.stem}:Mine"}]}
    begin(objects, of_rows(tmp_path, 0, 12, **changes), tmp_path / "b0")
    program.write_text(MINE + "# mended\n")
    worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST)
    worker.run()
    whole = begin(objects, of_rows(tmp_path, 0, 36, **changes), tmp_path / "b1")
    worker.run()
    assert worker.done == 36
    assert sealed(objects)["dataset_digest"] == local_digest(whole)


def test_a_dataset_elsewhere_is_read_at_the_commit_that_the_run_began_with(
    tmp_path: Path, objects: ObjectStore
) -> None:
    def asked(newest: int, limit: int) -> RunStore:
        problems = {"source": "file", "path": "elsewhere", "limit": limit}
        config = config_of(tmp_path, problems=problems, root=str(tmp_path / f"{newest}-{limit}"))
        store = RunStore.open(config)
        remote.follow(objects, store)
        assert prepare(store, Brought(newest)) == 4
        return store

    remote.begin(objects, asked(4, 4))
    remote.begin(objects, asked(9, 9))  # five rows were added there since
    assert growths.known(objects).number == 0


def test_a_worker_that_looks_at_a_run_in_the_place_of_its_own_says_so(
    tmp_path: Path, objects: ObjectStore
) -> None:
    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b0")
    worker = Worker(objects, tmp_path / "w" / "mine", pace=FAST)
    for name in objects.names(""):
        objects.delete(name)
    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b1")
    begin(objects, of_rows(tmp_path, 0, 36), tmp_path / "b2")
    with pytest.raises(UserError, match="is of another run"):
        worker.run()
    assert list(ShardLog(objects, 0).read()) == []


def test_a_shard_that_a_scheduler_names_is_finished_for_what_the_run_has_by_then(
    tmp_path: Path, objects: ObjectStore
) -> None:
    """As the tasks of a Ray cluster do, whose processes keep their worker from one task to the next."""
    begin(objects, of_rows(tmp_path, 0, 12), tmp_path / "b0")
    worker = Worker(objects, tmp_path / "w" / "mine", owner="ray", pace=FAST)
    with closing(worker):
        first = [worker.finish(shard) for shard in range(SHARDS)]
        begin(objects, of_rows(tmp_path, 0, 36), tmp_path / "b1")
        second = [worker.finish(shard) for shard in range(SHARDS)]
    assert (sum(first), sum(second), worker.fenced) == (12, 24, 0)
    assert all(_is_sealed(objects, shard) for shard in range(SHARDS))
