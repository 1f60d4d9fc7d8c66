"""Copies of what lies on object stores are removed when nobody has used them for long."""

import os
import time
from pathlib import Path

import pytest

from pipeline.storage.copies import copy_of, mirrored

MONTH_S = 31 * 24 * 60 * 60


def test_copies_that_nobody_uses_are_removed_when_a_new_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names, then = ("old", "used", "again"), time.time() - MONTH_S
    for name in names:
        with mirrored(f"s3://bucket/{name}") as folder:
            folder.mkdir()
            (folder / "run.toml").touch()
    for name in names:
        os.utime(copy_of(f"s3://bucket/{name}").parent / "lock", (then, then))
    with mirrored("s3://bucket/again"):
        pass  # from now on it was used today
    with mirrored("s3://bucket/used") as folder:
        os.utime(folder.parent / "lock", (then, then))
        with mirrored("s3://bucket/new") as new:
            new.mkdir()
        there = [copy_of(f"s3://bucket/{name}").exists() for name in ("old", "used", "again", "new")]
    assert there == [False, True, True, True]
    with mirrored("s3://bucket/old") as folder:
        folder.mkdir()
