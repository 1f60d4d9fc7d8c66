"""A journal that is compressed reads as before, whatever is appended to it, killed or damaged."""

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.checking.findings import check
from pipeline.labelling.sealing import seal
from pipeline.runs.run_store import RunStore
from pipeline.storage import checksums, compressed
from pipeline.storage import journal as journals
from pipeline.storage.compressed import compressed_of, sums_of
from pipeline.storage.journal import Entry, Reader, path_of, read, scan, signed
from pipeline.storage.journal_index import glance, keep, stamp_of
from pipeline.storage.journal_packing import pack, unpack
from pipeline.storage.recorded import read_config
from schemas.errors import UserError
from schemas.records import Finished, Problem


def line(number: int, version: int) -> bytes:
    item = Finished(problem=Problem(text=f"problem {number}"), n_rollouts=version, tokens={"propose": 7})
    return signed(item.model_dump_json().encode())


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


def versions(path: Path) -> dict[str, int]:
    """What is read of a journal, in the order of the ids of its problems."""
    entries = [entry for _, entry in sorted(scan(path)[0].items())]
    return {item.problem.text: item.n_rollouts for item in read(path, entries)}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = path_of(tmp_path, 0)
    path.parent.mkdir()
    return path


@settings(max_examples=40)
@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=6), max_size=5))
def test_the_last_line_of_a_problem_counts_however_often_it_was_packed(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[int, int]]]
) -> None:
    path = path_of(tmp_path_factory.mktemp("run"), 0)
    path.parent.mkdir()
    expected: dict[str, int] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compressed, "_BLOCK", 300)  # two lines to a block
        for part in parts:
            append(path, *(line(*one) for one in part))
            expected |= {f"problem {number}": version for number, version in part}
            assert versions(path) == expected
            pack(path)
            assert not path.exists()
            assert versions(path) == expected
            assert glance(path) == scan(path)
    packed = compressed_of(path)
    assert packed.exists() == bool(expected)
    if expected:  # what other tools read is all of it, each problem once
        with closing(compressed.Forward(path)) as lines:
            assert len(list(lines)) == len(expected)


def test_lines_are_found_in_any_order(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "_BLOCK", 300)
    append(journal, *(line(number, number) for number in range(9)))
    pack(journal)
    entries = list(scan(journal)[0].values())
    there = [item.n_rollouts for item in read(journal, entries)]
    assert sorted(there) == list(range(9))
    assert [item.n_rollouts for item in read(journal, entries[::-1])] == there[::-1]
    assert [item.n_rollouts for item in read(journal, [entries[5], entries[5], entries[2]])] == [
        there[5],
        there[5],
        there[2],
    ]


def test_an_entry_of_before_is_not_read_from_another_file(journal: Path) -> None:
    append(journal, line(1, 1), line(2, 2))
    plain = list(scan(journal)[0].values())
    pack(journal)
    packed = list(scan(journal)[0].values())
    with pytest.raises(UserError, match="was sealed anew while it was read"):
        list(read(journal, plain))
    with closing(Reader(journal)) as reader:
        first = reader.line(packed[0])
        append(journal, line(3, 3))
        pack(journal)
        assert reader.line(packed[0]) == first  # of the file that it began to read
    later = compressed_of(journal).stat().st_mtime_ns + 1  # where the clock is coarse
    os.utime(compressed_of(journal), ns=(later, later))
    with pytest.raises(UserError, match="was sealed anew while it was read"):
        list(read(journal, packed))


@pytest.mark.parametrize(("module", "name"), [(journals, "_packed_entries"), (checksums, "lines_of")])
def test_a_journal_that_is_packed_while_it_is_read_is_read_whole(
    journal: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    append(journal, line(1, 1))
    pack(journal)
    append(journal, line(2, 2))
    read_now = getattr(module, name)

    def then_packed(path: Path) -> object:
        found = read_now(path)
        monkeypatch.setattr(module, name, read_now)
        found = found if isinstance(found, dict) else list(found)
        pack(journal)
        append(journal, line(3, 3))
        return found

    monkeypatch.setattr(module, name, then_packed)
    assert len(scan(journal)[0]) == 3


def test_a_journal_with_a_line_that_cannot_be_read_stays_as_it_is(journal: Path) -> None:
    append(journal, line(1, 1), line(2, 2).replace(b"problem 2", b"problem 3"))
    before = journal.read_bytes()
    pack(journal)
    assert journal.read_bytes() == before
    assert not compressed_of(journal).exists()


def test_the_torn_end_of_a_journal_is_left_out_and_a_line_that_lacks_its_end_is_kept(journal: Path) -> None:
    append(journal, line(1, 1), line(2, 2)[:-1])
    pack(journal)
    append(journal, line(3, 3), line(4, 4)[:-9])
    pack(journal)
    assert versions(journal) == {f"problem {number}": number for number in (1, 2, 3)}


def spoilt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("gone", [False, True])
def test_damage_is_named_and_what_can_be_read_is_kept(
    journal: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """With and without its checksum file."""
    monkeypatch.setattr(compressed, "_BLOCK", 300)
    append(journal, *(line(number, number) for number in range(9)))
    pack(journal)
    append(journal, line(9, 9))
    spoilt(compressed_of(journal))
    if gone:
        sums_of(journal).unlink()
    with pytest.raises(UserError, match=r"journal/00000\.jsonl\.zst: .*see `stepmint check"):
        scan(journal)
    unpack(journal)
    assert not compressed_of(journal).exists()
    assert not sums_of(journal).exists()
    left = versions(journal)
    assert 7 <= len(left) <= 9  # but for those of one block, or two
    assert all(name == f"problem {version}" for name, version in left.items())
    assert left["problem 9"] == 9


def test_compressed_lines_that_are_gone_are_missed_though_others_came_later(journal: Path) -> None:
    """Their problems would be taken for owed ones, and labelled again."""
    append(journal, line(1, 1), line(2, 2))
    pack(journal)
    append(journal, line(3, 3))
    compressed_of(journal).unlink()
    with pytest.raises(UserError, match=r"journal/00000\.jsonl\.zst: is missing, .*see `stepmint check"):
        scan(journal)
    unpack(journal)  # what `stepmint check --repair` does: the others are owed again, since somebody asked
    assert versions(journal) == {"problem 3": 3}


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_while_compressed_lines_are_removed_leaves_no_damage(
    journal: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    append(journal, line(1, 1))
    pack(journal)
    append(journal, line(1, 2))
    calls, real = list[object](), checksums.sync_folder

    def dying(folder: Path) -> None:
        calls.append(folder)
        if len(calls) == at:
            raise KeyboardInterrupt
        real(folder)

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(checksums, "sync_folder", dying)
        compressed.remove(journal)
    assert versions(journal) == {"problem 1": 2}


@pytest.mark.parametrize("spoil", [spoilt, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_damaged_journal_is_mended_by_its_run(labelled: Path, tmp_path: Path, spoil: object) -> None:
    shutil.copytree(labelled, tmp_path / "r")
    store = RunStore(tmp_path / "r", read_config(tmp_path / "r"))
    store.config = store.config.model_copy(update={"root": str(tmp_path)})
    seal(store)
    assert check(store.path)["damaged"] == []
    path = path_of(store.path, 0)
    before = {item.problem.id for item in store.journal(0)}
    spoil(compressed_of(path))  # type: ignore[operator]
    for attempt in (lambda: list(store.journal(0)), lambda: seal(store), lambda: store.shard_state(0)):
        with pytest.raises(UserError, match=r"00000\.jsonl\.zst: "):
            attempt()
    assert any("00000.jsonl.zst" in what for what in store.damaged_files())
    found = check(store.path, repair=True)
    assert "00000.jsonl.zst" in found["repaired"][0]
    assert found["failed"] == []
    state = store.shard_state(0)
    assert {*state.done, *state.owed} == before
    assert state.owed


def test_an_empty_journal_beside_the_compressed_lines_changes_nothing(journal: Path) -> None:
    append(journal, line(1, 1))
    pack(journal)
    before = compressed_of(journal).stat().st_mtime_ns
    planted = {"planted": Entry(0, {"propose": 7}, packed=before)}
    keep(journal, stamp_of(journal), planted)
    append(journal)
    assert glance(journal)[0] == planted
    pack(journal)
    assert not journal.exists()
    assert compressed_of(journal).stat().st_mtime_ns == before


def test_an_entry_says_which_form_it_is_of(journal: Path) -> None:
    append(journal, line(1, 1))
    assert [entry.packed for entry in scan(journal)[0].values()] == [0]
    pack(journal)
    append(journal, line(1, 2), line(2, 1))
    entries: list[Entry] = list(scan(journal)[0].values())
    assert [bool(entry.packed) for entry in entries] == [False, False]
    pack(journal)
    assert all(entry.packed for entry in scan(journal)[0].values())
