"""A repair never makes owed work look done, and none makes done work owed without saying so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults_tamper import again
from pipeline.checking.findings import check
from pipeline.labelling.sealing import seal
from pipeline.runs.run_store import RunStore
from pipeline.storage.journal_packing import unpack
from pipeline.storage.recorded import read_config
from tests.checking.conftest import rows

JOURNAL, ROLLOUTS = "journal/00000.jsonl", "rollouts/00000.jsonl"


@pytest.fixture
def store(labelled: Path, tmp_path: Path) -> RunStore:
    """A run that owes nothing and is not sealed."""
    shutil.copytree(labelled, tmp_path / "r", symlinks=True)
    config = read_config(tmp_path / "r").model_copy(update={"root": str(tmp_path)})
    return RunStore(tmp_path / "r", config)


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(True)


def owed(store: RunStore) -> int:
    return sum(len(store.shard_state(shard).owed) for shard in range(store.config.shards))


def first_spoilt(path: Path) -> list[bytes]:
    """The lines, of which the first was changed."""
    first, *others = lines(path)
    return [first.replace(b'"tokens": ', b'"tokens": 1', 1).replace(b'"right"', b'"wrong"', 1), *others]


def test_a_whole_last_line_that_lacks_its_end_is_kept(store: RunStore) -> None:
    journal = store.path / JOURNAL
    journal.write_bytes(b"".join(first_spoilt(journal))[:-1])
    assert owed(store) == 1
    assert "line 1" in check(store.path, repair=True)["repaired"][0]
    assert owed(store) == 1
    assert journal.read_bytes().endswith(b"}\n")


def test_whole_rollouts_that_lack_their_end_are_kept(store: RunStore) -> None:
    rollouts = store.path / ROLLOUTS
    rollouts.write_bytes(b"".join(first_spoilt(rollouts))[:-1])
    found = check(store.path, repair=True)
    assert (found["damaged"], found["failed"], owed(store)) == ([], [], 1)


def test_no_older_line_stands_in_for_a_problem_whose_rollouts_are_lost(store: RunStore) -> None:
    journal, rollouts = store.path / JOURNAL, store.path / ROLLOUTS
    lost = json.loads(lines(rollouts)[0])["problem"].encode()
    twice = [line for line in lines(journal) if b'"id":"' + lost in line]
    assert len(twice) == 1
    journal.write_bytes(journal.read_bytes() + twice[0])
    assert not [what for what in check(store.path)["damaged"] if "is not packed" not in what]
    rollouts.write_bytes(b"".join(first_spoilt(rollouts)))
    said = check(store.path, repair=True)["repaired"][1]
    assert said.endswith("the rollouts of 1 finished problems are missing; these problems are owed again")
    assert owed(store) == 1


def test_rollouts_whose_last_line_is_torn_are_drawn_again(store: RunStore, labelled: Path) -> None:
    rollouts = store.path / ROLLOUTS
    rollouts.write_bytes(rollouts.read_bytes()[:-30])
    assert check(store.path, repair=True)["damaged"] == []
    assert owed(store) == 1
    again(store.config)
    assert check(store.path)["damaged"] == []


def test_rollouts_that_are_gone_without_a_trace_hold_up_no_other_shard(store: RunStore) -> None:
    rollouts = store.path / ROLLOUTS
    rollouts.write_bytes(b"".join(lines(rollouts)[1:]))
    found = check(store.path, repair=True)
    assert [what.split(": ")[1] for what in found["repaired"]] == [
        "is not packed, though the shard owes nothing"
    ]
    assert f"restore the file, or move {rollouts} elsewhere: labels do not need it" in found["damaged"][0]
    assert owed(store) == 0
    rollouts.rename(store.path.parent / "elsewhere")  # as it says
    assert seal(store).problems == 9


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(("spoil", "left"), [(Path.unlink, 0), (flip, 3)])
def test_what_is_lost_of_a_compressed_journal_is_said(
    sealed: RunStore, spoil: Callable[[Path], None], left: int
) -> None:
    before, packed = rows(sealed), sealed.path / f"{JOURNAL}.zst"
    n = len(sealed.shard_state(0).done)
    spoil(packed)
    # The other shard is examined all the same.
    spoil(sealed.path / "journal" / "00001.jsonl.zst")
    said = check(sealed.path)["damaged"]
    assert [what.split(":")[0] for what in said] == [str(packed), str(packed).replace("00000", "00001")]
    assert said[0].endswith(f"; the lines of {left} problems can be read; all others of it are owed again")
    found = check(sealed.path, repair=True)
    assert found["repaired"] == said
    assert "give the run's command again" in found["damaged"][0]
    assert len(sealed.shard_state(0).owed) == n - left
    again(sealed.config)
    assert (check(sealed.path)["damaged"], rows(sealed)) == ([], before)


def test_a_journal_that_is_gone_is_missed(store: RunStore) -> None:
    (store.path / JOURNAL).unlink()
    said = check(store.path, repair=True)["damaged"]
    assert said == [f"{store.path / JOURNAL}: is missing; the problems of its rollouts are owed again"]
    again(store.config)
    assert check(store.path)["damaged"] == []


def test_a_line_that_another_stands_beside_is_not_said_to_be_owed(sealed: RunStore) -> None:
    journal = sealed.path / JOURNAL
    unpack(journal)
    journal.write_bytes(journal.read_bytes() + first_spoilt(journal)[0])
    (said,) = check(sealed.path, repair=True)["repaired"]
    assert said.endswith("its problem is owed again, unless another line holds it")
    assert owed(sealed) == 0


def test_packed_rollouts_that_are_missing_are_to_be_restored(sealed: RunStore) -> None:
    packed = sealed.path / "rollouts" / "00000.parquet"
    packed.unlink()
    (said,) = check(sealed.path, repair=True)["damaged"]
    assert said.endswith("by 00000.sha256: restore it: labels do not need it, derived values do")
    packed.with_suffix(".sha256").unlink()
    found = check(sealed.path, repair=True)
    assert "are missing: restore the file: labels do not need it" in found["damaged"][0]
    assert owed(sealed) == 0


def test_every_finding_is_listed_whatever_the_folder_is_called(labelled: Path, tmp_path: Path) -> None:
    said = []
    for name in ("plain", "a; b"):
        shutil.copytree(labelled, tmp_path / name / "r", symlinks=True)
        said.append(check(tmp_path / name / "r")["damaged"])
    assert len(said[0]) == 2
    assert said[1] == [what.replace("/plain/", "/a; b/") for what in said[0]]


def test_a_look_changes_nothing(sealed: RunStore) -> None:
    (sealed.path / "README.md").unlink()  # it is the owner's, who may do without
    assert check(sealed.path)["damaged"] == []
    assert not (sealed.path / "README.md").exists()


def test_problems_that_are_missing_are_one_finding(sealed: RunStore) -> None:
    path = sealed.path / "problems" / "00000.jsonl"
    path.unlink()
    found = check(sealed.path, repair=True)
    assert (found["repaired"], found["damaged"]) == ([f"{path}: is missing"], [])
