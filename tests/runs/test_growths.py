"""Growths of a run on a store: every order in which growers and workers meet, and what is none of ours."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from pipeline.runs import growths, remote
from pipeline.runs.growths import Growth
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.recorded import write_record
from pipeline.storage.shard_log import Fenced, LogEntry
from schemas.errors import UserError
from schemas.manifest import Manifest

Actor = Iterator[None]
FIRST = Growth(0, "d", 1, {"p": "a"}, "n", {})


def begun() -> ObjectStore:
    objects = ObjectStore(MemoryStore(), "memory:///")
    assert objects.create(growths.RUN, FIRST.encoded())
    return objects


def grower(objects: ObjectStore, problems: str) -> Actor:
    """Gives a run of one shard further problems, a letter each, as `remote.begin` does."""
    while True:
        there = growths.known(objects)
        yield
        if {*problems} <= {*there.files["p"]}:
            return
        files, number = {"p": "".join(sorted({*problems, *there.files["p"]}))}, there.number + 1
        if growths.put(objects, there._replace(number=number, files=files, since={"0": number})):
            return


def at_once(objects: ObjectStore) -> Actor:
    """The same in one step."""
    for _ in grower(objects, "ab"):
        pass
    yield


def worker(objects: ObjectStore) -> Actor:
    """Does what the shard owes by the growth that it knows, and seals it, as `Worker` does."""
    growth = growths.known(objects)
    log = growth.log(objects, 0)
    done = {letter for entry in log.read() for letter in entry.parts.get("journal", b"").decode()}
    yield
    claim = None if log.is_sealed else log.claim()
    yield
    if claim is None:
        return
    try:
        claim.done({"journal": "".join(sorted({*growth.files["p"]} - done)).encode()})
        yield
        claim.seal(growth.number)
    except Fenced:
        return


def orders(steps: list[int]) -> Iterator[list[int]]:
    """Every order of so many steps of each actor."""
    if not any(steps):
        yield []
    for actor, left in enumerate(steps):
        if left:
            for rest in orders([n - (k == actor) for k, n in enumerate(steps)]):
                yield [actor, *rest]


def labelled(objects: ObjectStore) -> str:
    """What is done, after a look that nothing is called finished which is not. Each is done once."""
    growth = growths.known(objects)
    log = growth.log(objects, 0)
    done = b"".join(entry.parts.get("journal", b"") for entry in log.read()).decode()
    assert len({*done}) == len(done)
    if log.is_sealed:
        assert {*done} >= {*growth.files["p"]}
    return done if log.is_sealed else ""


@pytest.mark.parametrize(
    ("steps", "actors"),
    [
        ([1, 4, 4], [at_once, worker, worker]),
        ([2, 2, 4], [lambda o: grower(o, "ab"), lambda o: grower(o, "abc"), worker]),
    ],
)
def test_whoever_is_killed_or_frozen_at_any_step_nothing_is_lost_or_called_finished(
    steps: list[int], actors: list[Callable[[ObjectStore], Actor]]
) -> None:
    """A killed or frozen one is one whose further steps come after all that the others do."""
    wanted, seen = "abc" if steps[1] == 2 else "ab", set[tuple[int, ...]]()
    for order in orders(steps):
        objects = begun()
        playing = [actor(objects) for actor in actors]
        for at, actor in enumerate(order):
            next(playing[actor], None)
            if tuple(order[: at + 1]) not in seen:  # the same as in another order
                labelled(objects)
                seen.add(tuple(order[: at + 1]))
        for one in playing:
            for _ in one:
                labelled(objects)
        assert "".join(sorted(growths.known(objects).files["p"])) == wanted
        last = growths.known(objects)
        for number in range(last.number):  # no gap, and nothing is ever taken away
            entry = LogEntry.decoded(objects.read(f"log/grown/{number:08d}") or b"", "x")
            assert entry.growth == number + 1
        # Whoever comes afterwards finishes what the others have left.
        for _ in worker(objects):
            pass
        assert "".join(sorted(labelled(objects))) == wanted


def test_what_an_earlier_version_wrote_is_growth_0() -> None:
    objects = ObjectStore(MemoryStore(), "memory:///")
    objects.create(growths.RUN, json.dumps({"digest": "d", "shards": 2, "files": {}, "nonce": "n"}).encode())
    head, _, _ = LogEntry("seal", "x", "o").encoded().partition(b"\n")
    earlier = {name: one for name, one in json.loads(head).items() if name != "growth"}
    for shard in range(2):
        objects.create(f"log/{shard:05d}/00000000", json.dumps(earlier).encode() + b"\n")
    began = growths.known(objects)
    assert (began.number, began.since) == (0, {})
    assert growths.put(objects, began._replace(number=1, since={"1": 1}))
    found = []
    for shard in range(2):
        log = growths.known(objects).log(objects, shard)
        log.catch_up()
        found.append(log.is_sealed)
    assert found == [True, False]  # what the growth did not change stays sealed


def test_a_dataset_of_an_earlier_growth_never_follows_one_of_a_later(tmp_path: Path) -> None:
    objects = begun()
    made = {
        name: 0 for name in ("schema_version", "problems", "solutions", "steps", "labelled_steps", "kept")
    }
    manifest = Manifest.model_validate(
        {"name": "r", "stepmint": "", "config_digest": "", "fusion_digest": "", "sealed_at": "", **made}
    )
    for growth in range(2):
        (tmp_path / str(growth)).mkdir()
        write_record(tmp_path / str(growth) / "objects.json", {"growth": growth})
    put = [remote.put_dataset(objects, tmp_path / str(growth), manifest) for growth in (0, 0, 1, 1, 0)]
    assert put == [True, True, True, True, False]
    # The rows are the same ones, and still the second says that they are all that the run has by then.
    assert [name[-1] for name in objects.names("log/sealed")] == ["0", "1"]
    assert remote.last_dataset(objects) == (manifest, 1)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (LogEntry("done", "n"), "log/grown: is no run of ours"),
        (LogEntry("done", "n", parts={"grown": b"[]"}), "log/grown: is no run of ours"),
        (LogEntry("done", "n", parts={"grown": b"[" * 100_000}), "log/grown: is no run of ours"),
        (
            LogEntry("done", "n", parts={"grown": b'{"files": {}, "shards": 1, "since": {"0": Infinity}}'}),
            "log/grown: is no run of ours",
        ),
        (
            LogEntry("done", "n", parts={"grown": FIRST._replace(nonce="other").encoded()}),
            "log/grown: is of another run than run.json",
        ),
    ],
)
def test_what_a_store_says_of_growths_is_doubted(entry: LogEntry, said: str) -> None:
    objects = begun()
    objects.create("log/grown/00000000", entry.encoded())
    with pytest.raises(UserError, match=said):
        growths.known(objects)
