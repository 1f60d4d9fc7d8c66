"""A look at a run believes the index of a journal only while the journal is as it was."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.storage.journal import Entry, path_of, scan
from pipeline.storage.journal_index import file_of, glance, keep, scanned, stamp_of


@pytest.fixture
def journal(labelled: Path, tmp_path: Path) -> Path:
    path = tmp_path / "00000.jsonl"
    path.write_bytes(path_of(labelled, 0).read_bytes())
    return path


def test_an_index_says_what_the_journal_says(journal: Path) -> None:
    found = scanned(journal)
    assert found
    assert glance(journal) == (found, []) == scan(journal)


def test_the_index_is_what_is_read(journal: Path) -> None:
    """Planted where the journal says something else."""
    keep(journal, stamp_of(journal), {"planted": Entry(0, {"propose": 7}, cut=True)})
    assert glance(journal)[0] == {"planted": Entry(0, {"propose": 7}, cut=True)}


def _grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "change", [_grown, _flipped, lambda path: path.write_bytes(path.read_bytes()[:-30]), Path.unlink]
)
def test_a_journal_that_has_changed_is_read(journal: Path, change: Callable[[Path], object]) -> None:
    keep(journal, stamp_of(journal), {"planted": Entry(0, {})})
    written = journal.stat().st_mtime_ns
    change(journal)
    if journal.exists():  # a clock may be too coarse to tell the two times apart
        os.utime(journal, ns=(written + 1, written + 1))
    assert glance(journal) == scan(journal)


@pytest.mark.parametrize(
    "spoil",
    [
        _flipped,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1] * 2),
        lambda path: path.write_bytes(b'{"journal":[1,2],"problems":3}\n'),
        lambda path: (path.unlink(), path.mkdir()),
        Path.unlink,
    ],
)
def test_an_index_that_is_not_as_it_was_written_is_not_believed(
    journal: Path, spoil: Callable[[Path], object]
) -> None:
    keep(journal, stamp_of(journal), {"planted": Entry(0, {})})
    spoil(file_of(journal))
    assert glance(journal) == scan(journal)
    scanned(journal)  # and where it cannot be written, nothing is lost


def test_a_damaged_journal_gets_no_index(journal: Path) -> None:
    _flipped(journal)
    scanned(journal)
    assert not file_of(journal).exists()
    assert glance(journal)[1]
