"""Shard logs on object stores: races, lost answers, hostile objects, stores that ignore conditions."""

import json
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import MemoryStore

from pipeline.storage import object_store, shard_log
from pipeline.storage.object_store import ObjectStore, open_objects, probe
from pipeline.storage.shard_log import Fenced, LogEntry, ShardLog, Watch
from schemas.errors import BackendError, UserError


@pytest.fixture
def objects() -> ObjectStore:
    return ObjectStore(MemoryStore(), "memory:///")


def _read(log: ShardLog) -> list[LogEntry]:
    return list(log.read())


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=300), max_size=4))
def test_an_entry_survives_being_written(parts: dict[str, bytes]) -> None:
    entry = LogEntry("done", "n", "host:1", parts)
    assert LogEntry.decoded(entry.encoded(), "x") == entry


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b"[1]\n",
        b"\xff\xfe\n",
        json.dumps({"kind": "done", "nonce": "", "owner": "", "parts": {"a": 2**40}, "crc": 0}).encode()
        + b"\nxx",
        json.dumps({"kind": "done", "nonce": "", "owner": "", "parts": {"a": -1}, "crc": 0}).encode() + b"\n",
        json.dumps({"kind": "told", "nonce": "", "owner": "", "parts": {}, "crc": 0}).encode() + b"\n",
        LogEntry("done", "n", "", {"a": b"1234"}).encoded()[:-1],
    ],
)
def test_bytes_that_are_no_entry_are_named(data: bytes) -> None:
    with pytest.raises(BackendError, match="log/00000/00000000: is no entry"):
        LogEntry.decoded(data, "log/00000/00000000")


def test_of_two_workers_one_gets_the_shard(objects: ObjectStore) -> None:
    first, second = ShardLog(objects, 0), ShardLog(objects, 0)
    assert _read(first) == _read(second) == []
    mine = first.claim()
    assert mine is not None
    assert second.claim() is None


def test_a_worker_that_was_overtaken_is_fenced_and_changes_nothing(objects: ObjectStore) -> None:
    frozen_log = ShardLog(objects, 7)
    frozen = frozen_log.claim()
    assert frozen is not None
    frozen.done({"journal": b"1\n"})
    log = ShardLog(objects, 7)
    assert [one.kind for one in log.read()] == ["claim", "done"]
    claim = log.claim()
    assert claim is not None
    with pytest.raises(Fenced):  # it thaws, and has finished more meanwhile
        frozen.done({"journal": b"2\n"})
    claim.done({"journal": b"2\n"})
    claim.seal()
    with pytest.raises(Fenced):
        frozen.seal()
    whole = ShardLog(objects, 7)
    assert [(one.kind, one.parts.get("journal")) for one in whole.read()] == [
        ("claim", None),
        ("done", b"1\n"),
        ("claim", None),
        ("done", b"2\n"),
        ("seal", None),
    ]
    assert whole.is_sealed


class Faulty:
    """Puts of which the answer is lost, or refused as S3 does while another program creates the object."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, lost: int = 0, refused: int = 0) -> None:
        self.lost, self.refused, self._put = lost, refused, obstore.put
        monkeypatch.setattr(object_store.obstore, "put", self.put)

    def put(self, store: Any, name: str, data: bytes, **how: Any) -> Any:
        if self.refused:
            self.refused -= 1
            raise AlreadyExistsError("409 ConditionalRequestConflict")
        if self.lost:
            self.lost -= 1
            self._put(store, name, data, **how)  # the client tries again, and meets its own object
        return self._put(store, name, data, **how)


def test_a_creation_whose_answer_was_lost_is_ours(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    Faulty(monkeypatch, lost=1)
    assert objects.create("a", b"mine")
    assert not objects.create("a", b"another's")


def test_a_conflict_without_an_object_is_tried_again(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    Faulty(monkeypatch, refused=3)
    assert objects.create("a", b"mine")
    Faulty(monkeypatch, refused=10**6)
    with pytest.raises(BackendError, match="says that b exists"):
        objects.create("b", b"mine")


def test_an_answer_that_breaks_off_is_asked_for_again(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.create("a", b"mine")
    get, broken = obstore.get, ["HTTP error: request or response body error"] * 2

    def breaking(store: Any, name: str) -> Any:
        if broken:
            raise GenericError(broken.pop())
        return get(store, name)

    monkeypatch.setattr(object_store, "_PAUSE_S", 0)
    monkeypatch.setattr(object_store.obstore, "get", breaking)
    assert objects.read("a") == b"mine"
    assert broken == []
    broken.append("no such bucket")  # what will not be otherwise the next time is said at once
    with pytest.raises(BackendError, match="no such bucket"):
        objects.read("a")
    broken.append("response body error")
    monkeypatch.setattr(object_store, "_OUTAGE", timedelta(seconds=-1))
    with pytest.raises(BackendError, match="response body error"):
        objects.read("a")


def test_a_creation_that_is_not_answered_in_time_is_asked_for_again(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is busy for half a minute, which the client does not try again: it may have created it."""
    put, silent = obstore.put, [True, False]

    def late(store: Any, name: str, data: bytes, **how: Any) -> Any:
        if silent:
            if silent.pop():
                put(store, name, data, **how)
            raise GenericError("Error performing PUT in 30.0s - HTTP error: error sending request")
        return put(store, name, data, **how)

    monkeypatch.setattr(object_store, "_PAUSE_S", 0)
    monkeypatch.setattr(object_store.obstore, "put", late)
    assert objects.create("a", b"mine")
    assert not objects.create("a", b"another's")


def test_a_store_that_creates_twice_is_refused(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    probe(objects)
    put = obstore.put
    monkeypatch.setattr(
        object_store.obstore, "put", lambda store, name, data, mode="", **how: put(store, name, data, **how)
    )
    with pytest.raises(UserError, match="ignores `If-None-Match`"):
        probe(objects)


def test_an_address_of_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gopher://x/y: is not an object store"):
        open_objects("gopher://x/y")
    assert open_objects(f"file://{tmp_path}/a/b").read("nothing") is None


def test_a_shard_is_free_when_its_worker_is_gone_or_silent(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(shard_log.time, "monotonic", lambda: now)
    log, watch = ShardLog(objects, 0), Watch(lease_s=90)
    assert watch.is_free(log)
    claim = log.claim()
    assert claim is not None
    seen = ShardLog(objects, 0)
    _read(seen)
    assert not watch.is_free(seen)
    now = 80.0
    claim.beat()
    assert not watch.is_free(seen)
    now = 169.0
    assert not watch.is_free(seen)  # 89 s after the last sign that this machine has seen
    now = 171.0
    assert watch.is_free(seen)
    claim.beat()
    assert not watch.is_free(seen)
    claim.release()
    assert watch.is_free(seen)
    claim.seal()
    _read(seen)
    assert not watch.is_free(seen)


@given(st.integers(0, 70), st.integers(0, 70))
def test_the_end_of_a_log_is_found_without_reading_it(n: int, start: int) -> None:
    store = MemoryStore()
    objects = ObjectStore(store, "memory:///")
    writer = ShardLog(objects, 3)
    for number in range(n):
        assert writer.append(LogEntry("done", f"n{number}", "o"))
    log = ShardLog(objects, 3, min(start, n))
    last = log.catch_up()
    assert log.length == n
    assert (last.nonce if last else None) == (f"n{n - 1}" if n > start else None)
    assert log.append(LogEntry("seal", "end"))
    assert writer.catch_up() == log.last


def test_a_look_at_a_long_log_moves_one_entry(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ShardLog(objects, 3)
    for _ in range(300):
        assert writer.append(LogEntry("done", "n", "o", {"journal": b"x"}))
    asked: list[str] = []
    read, exists = ObjectStore.read, ObjectStore.exists
    monkeypatch.setattr(ObjectStore, "read", lambda self, name: asked.append("read") or read(self, name))
    monkeypatch.setattr(ObjectStore, "exists", lambda self, name: asked.append("head") or exists(self, name))
    assert ShardLog(objects, 3).catch_up() is not None
    assert asked.count("read") == 1
    assert len(asked) < 25


def test_a_beat_that_is_late_does_not_take_a_shard_back(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = ShardLog(objects, 0).claim()
    assert claim is not None
    put, begun, go_on = objects.overwrite, Event(), Event()

    def slowly(name: str, data: bytes) -> None:
        if not data.endswith(b"gone"):
            begun.set()
            go_on.wait(10)
        put(name, data)

    monkeypatch.setattr(objects, "overwrite", slowly)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(claim.beat)
        assert begun.wait(10)
        released = pool.submit(claim.release)
        wait([released], timeout=0.1)
        go_on.set()
    claim.beat()
    assert (objects.read("beat/00000") or b"").endswith(b" gone")
