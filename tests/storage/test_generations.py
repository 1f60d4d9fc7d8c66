"""Sealing and packing are one step each: killed anywhere, old or new is whole."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.labelling.sealing import seal
from pipeline.outputs.report import rows_of
from pipeline.runs import problem_files, records
from pipeline.runs.run_store import RunStore
from pipeline.storage import atomic
from pipeline.storage.compressed import compressed_of, sums_of
from pipeline.storage.generations import read_manifest, sealing
from pipeline.storage.journal import path_of
from pipeline.storage.recorded import read_config
from schemas.errors import UserError
from schemas.manifest import ShardEntry

CALLS = ("replace", "rename", "unlink", "rmdir", "mkdir", "symlink", "fsync", "ftruncate", "chmod", "fchmod")


class KilledError(BaseException):
    pass


@contextmanager
def dying_at(call: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let the `call`-th change of the disk, and every one after it, not happen: what is on the disk is what a
    kill there leaves. Yields the calls so far."""
    seen: list[int] = []

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def instead(*args: object, **named: object) -> object:
            if len(seen) >= call:
                raise KilledError
            seen.append(0)
            return function(*args, **named)

        return instead

    with monkeypatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, counted(getattr(os, name)))
        exchange = atomic._renameat2()
        assert exchange is not None
        patched.setattr(atomic, "_renameat2", lambda: counted(exchange))
        yield seen


def listing(run: Path) -> list[str]:
    """Files and folders, without the locks, the clock and the count of prompt tokens."""
    found = (str(path.relative_to(run)) for path in run.rglob("*"))
    return sorted(name for name in found if not name.endswith((".lock", ".seconds", ".usage")))


def copied(run: Path, to: Path) -> RunStore:
    shutil.copytree(run, to, symlinks=True)
    return RunStore(to, read_config(to))


def files(store: RunStore, pattern: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.path.glob(pattern))}


def test_killed_while_rollouts_are_packed_nothing_is_lost(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = copied(labelled, tmp_path / "plain")
    raw = plain.path / "rollouts" / "00000.jsonl"
    lines = raw.read_bytes().splitlines(keepends=True)
    assert len(lines) > 2
    packed = plain.packed()
    assert len(packed) == 2
    call = 0
    while True:
        run = tmp_path / f"killed{call}"
        store = copied(labelled, run)
        with dying_at(call, monkeypatch) as seen:
            try:
                store.pack_rollouts(0)
            except KilledError:
                pass
            else:
                break
        call = len(seen) + 1
        assert store.packed() == packed
        assert listing(run) == listing(plain.path)
        shutil.rmtree(run)
    assert call > 5


def test_killed_while_a_second_pack_replaces_the_first(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = copied(labelled, tmp_path / "plain")
    packed = plain.packed()
    begun = copied(labelled, tmp_path / "begun")
    raw, journal = (begun.path / part / "00000.jsonl" for part in ("rollouts", "journal"))
    lines = [(raw.read_bytes().splitlines(True)), journal.read_bytes().splitlines(True)]
    for path, found in zip((raw, journal), lines, strict=True):
        path.write_bytes(b"".join(found[:2]))
    begun.pack_rollouts(0)
    for path, found in zip((raw, journal), lines, strict=True):
        path.write_bytes(b"".join(found[2:] if path is raw else found))
    for call in range(100):
        store = copied(begun.path, tmp_path / f"killed{call}")
        with dying_at(call, monkeypatch):
            try:
                store.pack_rollouts(0)
            except KilledError:
                pass
            else:
                break
        assert store.packed() == packed
        assert listing(store.path) == listing(plain.path)
    assert call > 5


def kills(store: RunStore, at: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Kill the packing of a run's first journal at every change of the disk. The run reads as before each
    time, and is as it would have been when the packing is done once more. Returns the number of kills."""
    plain = copied(store.path, at / "plain")
    whole = list(plain.journal(0))
    plain.pack_journal(0)
    for call in range(100):
        here = copied(store.path, at / f"killed{call}")
        with dying_at(call, monkeypatch):
            try:
                here.pack_journal(0)
            except KilledError:
                pass
            else:
                return call
        assert list(here.journal(0)) == whole
        here.pack_journal(0)
        assert list(here.journal(0)) == whole
        assert not path_of(here.path, 0).exists()
        for path in (compressed_of, sums_of):
            assert path(path_of(here.path, 0)).read_bytes() == path(path_of(plain.path, 0)).read_bytes()
    raise AssertionError("the packing never ended")


def test_killed_while_a_journal_is_packed_nothing_is_lost(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied(labelled, tmp_path / "r")
    path = path_of(store.path, 0)
    lines = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join(lines[:-2]))
    assert kills(store, tmp_path / "first", monkeypatch) > 5
    store.pack_journal(0)
    path.write_bytes(b"".join(lines[-2:]))
    assert kills(store, tmp_path / "second", monkeypatch) > 5
    assert len(store.done(0)) == len(lines)


def labels(store: RunStore) -> list[object]:
    return [[label.label for label in row.labels] for row in rows_of(store)]


def test_killed_while_a_run_is_sealed_anew_old_or_new_is_whole(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = copied(labelled, tmp_path / "old")
    seal(old)
    new = copied(old.path, tmp_path / "new")
    fusion = new.config.fusion.model_copy(update={"accept": 0.99, "reject": 0.01})
    new.config = new.config.model_copy(update={"fusion": fusion})
    seal(new)
    both = [files(store, "shards/*.parquet") for store in (old, new)]
    assert both[0] != both[1]
    both_labels = [labels(store) for store in (old, new)]
    seen_by_others, seen_by_us = set(), set()
    for call in range(200):
        store = copied(old.path, tmp_path / f"killed{call}")
        store.config = new.config
        with dying_at(call, monkeypatch):
            try:
                seal(store)
            except KilledError:
                pass
            else:
                break
        seen_by_others.add(both.index(files(store, "shards/*.parquet")))
        found, manifest = labels(store), read_manifest(store.path)
        assert manifest is not None
        is_new = manifest.fusion_digest == new.config.fusion_digest()
        assert found == both_labels[is_new]
        seen_by_us.add(is_new)
        seal(store)
        assert listing(store.path) == listing(new.path)
        assert files(store, "shards/*.parquet") == both[1]
        shutil.rmtree(store.path)
    assert call > 10
    assert seen_by_others == {0, 1}
    assert seen_by_us == {False, True}


def test_a_run_of_an_earlier_version_is_read_and_sealed_anew(labelled: Path, tmp_path: Path) -> None:
    """Its shards lay in a real folder, and its manifest had no checksum."""
    store = copied(labelled, tmp_path / "r")
    digest = seal(store).digest()
    (store.path / "shards").unlink()
    (store.path / "sealed" / digest).rename(store.path / "shards")
    path = store.path / "manifest.json"
    data = json.loads(path.read_text().replace(f"sealed/{digest}", "shards"))
    del data["checksum"], data["packed"]
    path.write_text(json.dumps(data))
    rows = labels(store)
    stranger = store.path / "shards" / "mine.txt"
    stranger.write_text("mine")
    with pytest.raises(UserError, match=r"mine\.txt: is not a file of ours: move it elsewhere"):
        seal(store)
    stranger.unlink()
    assert seal(store).digest() == digest
    assert (store.path / "shards").is_symlink()
    assert labels(store) == rows
    assert len(pq.read_table(store.path / "shards")) == len(rows)


def test_a_run_that_was_moved_or_copied_with_its_links_followed_is_read(
    labelled: Path, tmp_path: Path
) -> None:
    store = copied(labelled, tmp_path / "r")
    seal(store)
    rows = labels(store)
    moved = store.path.rename(tmp_path / "moved")
    assert labels(RunStore(moved, read_config(moved))) == rows
    shutil.copytree(moved, tmp_path / "copy")
    copy = RunStore(tmp_path / "copy", read_config(tmp_path / "copy"))
    assert labels(copy) == rows
    seal(copy)
    assert (copy.path / "shards").is_symlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b""), "its checksum does not fit"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "its checksum does not fit"),
        (lambda path: path.write_bytes(flipped(path.read_bytes())), "its checksum does not fit"),
        (lambda path: shutil.copy(path, path.with_name("00009.parquet")), "00009.parquet: is not of this"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
        (
            lambda path: (path.rename(path.parents[3] / "x"), path.symlink_to(path.parents[3] / "x")),
            "not a file",
        ),
    ],
)
def test_a_shard_that_is_not_as_it_was_is_named_before_the_first_row(
    labelled: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    store = copied(labelled, tmp_path / "r")
    manifest = seal(store)
    spoil(store.path / manifest.shards[1].file)
    with pytest.raises(UserError, match=rf"{said}.*see `stepmint check {store.path}`"):
        next(rows_of(store))


def flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 4]) + data[101:]


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../x/00000.parquet", "shards/../../00000.parquet", "sealed/../00000.parquet", ""]
)
def test_paths_in_a_manifest_never_leave_the_run(file: str) -> None:
    with pytest.raises(ValueError, match="file"):
        ShardEntry(file=file, rows=1, sha256="0" * 64)


def test_a_folder_of_shards_that_is_a_link_out_of_the_run_is_refused(labelled: Path, tmp_path: Path) -> None:
    store = copied(labelled, tmp_path / "r")
    manifest = seal(store)
    folder = (store.path / manifest.shards[0].file).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="lies outside the run"):
        next(rows_of(store))
    seal(store)
    assert labels(store)
    assert list((tmp_path / "elsewhere").iterdir())


def test_two_do_not_seal_at_once(labelled: Path, tmp_path: Path) -> None:
    store = copied(labelled, tmp_path / "r")
    with sealing(store.path), pytest.raises(UserError, match="is being sealed by another process"):
        seal(store)


def test_a_reader_is_told_when_the_run_was_sealed_anew_meanwhile(labelled: Path, tmp_path: Path) -> None:
    store = copied(labelled, tmp_path / "r")
    seal(store)
    rows = rows_of(store)
    next(rows)
    fusion = store.config.fusion.model_copy(update={"accept": 0.99, "reject": 0.01})
    store.config = store.config.model_copy(update={"fusion": fusion})
    seal(store)
    with pytest.raises(UserError, match="was sealed anew while it was read"):
        list(rows)


@pytest.mark.parametrize("name", ["manifest.json", "plan.json", "problems/done.json"])
def test_a_record_changed_by_hand_is_named(labelled: Path, tmp_path: Path, name: str) -> None:
    store = copied(labelled, tmp_path / "r")
    seal(store)
    path = store.path / name
    if name == "plan.json":
        shutil.copy(store.path / "manifest.json", path)
    before = json.loads(path.read_text())
    for text in (
        json.dumps({**before, "problems": 1}),
        json.dumps(before)[:-30],
        "[]",
        "",
        json.dumps({**{k: v for k, v in before.items() if k != "checksum"}, "checksun": ""}),
    ):
        path.write_text(text)
        read: dict[str, Callable[[], object]] = {
            "manifest.json": lambda: read_manifest(store.path),
            "plan.json": lambda: records.read_plan(store.path, store.config.digest()),
            "problems/done.json": lambda: problem_files.total(store.path),
        }
        if name == "problems/done.json" and "checksun" in text:
            continue
        with pytest.raises(UserError, match=rf"{name}: was changed after it was written"):
            read[name]()


def test_a_run_file_changed_by_hand_is_named_and_changes_by_command_are_not(
    labelled: Path, tmp_path: Path
) -> None:
    store = copied(labelled, tmp_path / "r")
    path = store.path / "run.toml"
    here = read_config(store.path, ("fusion.accept=0.95",)).model_copy(update={"root": str(tmp_path)})
    assert RunStore.open(here).config.fusion.accept == 0.95
    assert read_config(store.path).fusion.accept == 0.95
    path.write_text(path.read_text().replace("accept = 0.95", "accept = 0.6"))
    with pytest.raises(UserError, match=r"run\.toml: was changed by hand: restore it"):
        read_config(store.path)


def test_other_tools_open_the_folder_of_a_sealed_run(labelled: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    store = copied(labelled, tmp_path / "r")
    manifest = seal(store)
    found = load_dataset(str(store.path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(found) == manifest.solutions > 0
    (store.path / "README.md").write_text("my own")
    seal(store)
    assert (store.path / "README.md").read_text() == "my own"
