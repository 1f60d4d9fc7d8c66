"""Scratch folders go with their owner, and a killed owner's with the next one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.scratch import scratch_folder

OWNER = """
import os, sys
from pathlib import Path
from pipeline.storage.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "x").write_text("x")
    os.kill(os.getpid(), 9)
"""


def test_a_killed_owner_is_cleaned_up_after_and_a_living_one_left_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as mine:
        (mine / "x").write_text("x")
        killed = subprocess.run([sys.executable, "-c", OWNER, str(tmp_path)], check=False)
        assert killed.returncode == -9
        assert len(list(tmp_path.iterdir())) == 2
        with scratch_folder(tmp_path) as other:
            assert list(other.iterdir()) == []
            assert {path for path in tmp_path.iterdir()} == {mine.parent, other.parent}
        assert (mine / "x").read_text() == "x"
    assert list(tmp_path.iterdir()) == []


def test_it_goes_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "held").touch()
    place = tmp_path / "place"
    place.mkdir()
    os.symlink(elsewhere, place / "stepmint-link")
    (place / "stepmint-notes").mkdir()
    (place / "stepmint-notes" / "mine.txt").write_text("x")
    with scratch_folder(place):
        pass
    assert (elsewhere / "held").exists()
    assert sorted(path.name for path in place.iterdir()) == ["stepmint-link", "stepmint-notes"]
