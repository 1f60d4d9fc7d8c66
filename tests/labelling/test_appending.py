"""What a worker appends, and what others make of it, when something ends it or its store in the middle."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from flows.work import sealed
from pipeline.labelling.sealing import seal
from pipeline.labelling.work import Worker, seal_remote
from pipeline.runs import remote
from pipeline.runs.remote import Followed
from pipeline.runs.run_store import RunStore
from pipeline.storage import journal
from pipeline.storage.generations import faults_of, read_manifest
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import LogEntry, ShardLog
from schemas.errors import BackendError, UserError
from tests.labelling.test_work import FAST, _finished, begun, config_of, local_digest


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path}/objects")


def test_a_copy_knows_the_sources_however_often_it_is_looked_at(tmp_path: Path, objects: ObjectStore) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    Worker(objects, tmp_path / "w" / "mine", pace=FAST).run()
    folder = tmp_path / "copy" / "mine"
    for _ in range(3):
        config = remote.fetch(objects, folder)
        remote.load(objects, folder, config.shards)
        assert json.loads(remote.declared(folder)).keys() == {"answer", "monte_carlo"}


class Read(ObjectStore):
    """A store that notes which files of the dataset are read."""

    def __init__(self, objects: ObjectStore) -> None:
        super().__init__(objects._store, objects.url)
        self.rows = list[str]()

    def read(self, name: str, *most: int) -> bytes | None:
        self.rows += [name] * name.startswith("sealed/")
        return super().read(name, *most)


def test_a_copy_reads_each_file_of_the_dataset_once(tmp_path: Path, objects: ObjectStore) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    Worker(objects, tmp_path / "w" / "mine", pace=FAST).run()
    manifest = seal_remote(objects, tmp_path / "s" / "mine")
    folder, looked = tmp_path / "copy" / "mine", Read(objects)
    for _ in range(3):
        remote.fetch(looked, folder)
        remote.load_dataset(looked, folder)
    assert looked.rows == [entry.file for entry in manifest.shards]
    (folder / looked.rows[0]).write_bytes(b"damaged")
    remote.load_dataset(looked, folder)
    assert looked.rows[len(manifest.shards) :] == looked.rows[:1]
    assert list(faults_of(folder, read_manifest(folder))) == []


class Faulty(ObjectStore):
    """A store that notes what is written, and fails once when something is done of a shard."""

    def __init__(self, objects: ObjectStore, fails_at: int) -> None:
        super().__init__(objects._store, objects.url)
        self.fails_at, self.written = fails_at, list[str]()

    def create(self, name: str, data: bytes) -> bool:
        kind = LogEntry.decoded(data, name).kind if name.startswith("log/") else ""
        self.written.append(f"{kind} {name}")
        self.fails_at -= kind == "done"
        if kind == "done" and self.fails_at == 0:
            raise BackendError("the store is away")
        return super().create(name, data)

    def overwrite(self, name: str, data: bytes) -> None:
        self.written.append(f"{data.split()[-1].decode()} {name}")
        super().overwrite(name, data)


def test_what_could_not_be_appended_is_appended_with_what_follows(
    tmp_path: Path, objects: ObjectStore
) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    faulty, folder = Faulty(objects, fails_at=2), tmp_path / "w" / "mine"
    worker = Worker(faulty, folder, owner="a", pace=FAST, advance=lambda: time.sleep(0.1))
    with closing(worker), pytest.raises(BackendError, match="away"):
        worker.finish(0)
    done = journal.index(journal.path_of(folder, 0))
    assert done
    assert {*_finished(objects, 0)} == {*done}


def test_rollouts_that_could_not_be_appended_come_with_the_line_of_their_problem(tmp_path: Path) -> None:
    """A line without its rollouts would keep the run from ever being sealed."""
    given, rollouts, lines = list[dict[str, bytes]](), tmp_path / "rollouts", tmp_path / "journal"
    rollouts.mkdir()
    lines.mkdir()
    followed = Followed(tmp_path, 0)
    (rollouts / "00000.jsonl").write_bytes(b"rollouts of a\n")

    def fail(_: object) -> None:
        raise BackendError("the store is away")

    with pytest.raises(BackendError):
        followed.hand_over(fail)
    (lines / "00000.jsonl").write_bytes(b"a\nb")
    followed.hand_over(given.append)
    followed.hand_over(given.append)
    assert [(one["journal"], one["rollouts"]) for one in given] == [(b"a\n", b"rollouts of a\n"), (b"", b"")]


def test_a_signal_ends_the_labelling_before_the_shard_is_given_back(
    tmp_path: Path, objects: ObjectStore
) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    noted, left = Faulty(objects, fails_at=0), [3]

    def advance() -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt  # as the handler of a signal does, wherever the loop is

    worker = Worker(noted, tmp_path / "w" / "mine", pace=FAST._replace(append_s=60.0), advance=advance)
    worker._start = 0
    with pytest.raises(KeyboardInterrupt):
        worker.run()
    assert [one.split()[0] for one in noted.written] == ["claim", "1", "done", "gone"]
    assert len(_finished(objects, 0)) >= 2


def test_a_dataset_of_a_part_is_not_taken_for_that_of_the_whole(
    tmp_path: Path, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = begun(tmp_path, objects, config_of(tmp_path))
    worker, folder = Worker(objects, tmp_path / "w" / "mine", pace=FAST), tmp_path / "c" / "mine"
    with closing(worker):
        worker.finish(0)
    config = remote.fetch(objects, folder)
    remote.load(objects, folder, config.shards)
    remote.put_dataset(objects, folder, seal(RunStore(folder, config), partial=True))
    Worker(objects, tmp_path / "v" / "mine", pace=FAST).run()
    assert sealed(objects)["dataset_digest"] == local_digest(store)


def test_the_copy_of_a_deleted_run_leaves_no_damage_in_that_of_the_next(
    tmp_path: Path, objects: ObjectStore
) -> None:
    folder = tmp_path / "copy" / "mine"
    begun(tmp_path, objects, config_of(tmp_path))
    Worker(objects, tmp_path / "w" / "mine", pace=FAST).run()
    seal_remote(objects, folder)
    for name in objects.names(""):
        objects.delete(name)
    (tmp_path / "b").mkdir()
    begun(tmp_path / "b", objects, config_of(tmp_path / "b", shards=2))
    config = remote.fetch(objects, folder)
    remote.load(objects, folder, config.shards)
    assert RunStore(folder, config).damage() == []
    assert list(faults_of(folder, read_manifest(folder))) == []


def _lies(head: bytes) -> bytes:
    return head + b"[" * 100_000


def test_what_a_store_says_of_a_run_and_its_logs_is_doubted(tmp_path: Path, objects: ObjectStore) -> None:
    begun(tmp_path, objects, config_of(tmp_path))
    folder = tmp_path / "copy" / "mine"
    config = remote.fetch(objects, folder)
    objects.create("log/00000/00000000", _lies(b'{"kind": '))
    with pytest.raises(BackendError, match="00000000: is no entry"):
        remote.load(objects, folder, config.shards)
    objects.overwrite("log/00000/00000000", LogEntry("done", "n", parts={"sources": b"[]"}).encoded())
    with pytest.raises(BackendError, match="shard 0 holds sources that are none"):
        remote.load(objects, folder, config.shards)
    for parts in ({}, {"manifest": b"{}"}):
        objects.overwrite("log/sealed/00000000", LogEntry("done", "n", parts=parts).encoded())
        with pytest.raises(UserError, match="log/sealed: holds no manifest"):
            remote.last_manifest(objects)
    objects.overwrite("beat/00000", b"x" * 5000)
    with pytest.raises(BackendError, match="beat/00000 has 5000 bytes"):
        ShardLog(objects, 0).beat()
    objects.overwrite(remote.RUN, _lies(b""))
    with pytest.raises(UserError, match="is no run of ours"):
        remote.fetch(objects, folder)
