"""Nobody else's files: what is written appears whole or not at all, and nothing beside it is touched."""

import errno
import io
import json
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage import atomic, folders
from pipeline.storage.atomic import PREFIX, fresh_folder, replacing, replacing_text, sweep, write_bytes
from pipeline.storage.folders import replacing_folder
from pipeline.storage.parquet import write_parquet
from schemas.errors import UserError


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    target = tmp_path / "data" / "real"
    target.write_text("old")
    (tmp_path / "middle").symlink_to("data/real")
    (tmp_path / "link").symlink_to("middle")
    (tmp_path / "dangling").symlink_to("data/new")
    write_bytes(tmp_path / "link", b"new")
    write_bytes(tmp_path / "dangling", b"made")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert target.read_text() == "new"
    assert (tmp_path / "data" / "new").read_text() == "made"
    assert left(tmp_path / "data") == ["new", "real"]


def test_permissions_are_kept_and_new_files_have_the_usual_ones(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        (tmp_path / "a").write_text("old")
        (tmp_path / "a").chmod(0o604)
        for name in "ab":
            write_bytes(tmp_path / name, b"new")
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"]
    assert modes == [0o604, 0o640]


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    table = pa.table({"a": pa.array([1, 2], pa.int32())})
    for write in (
        lambda: write_bytes(pipe, b"hello"),
        lambda: write_parquet(pipe, [table], table.schema),
    ):
        reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
        reader.start()
        write()
        reader.join()
    assert got[0] == b"hello"
    assert pq.read_table(io.BytesIO(got[1])).equals(table)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert left(tmp_path) == ["pipe"]


def test_devices_are_written_to(tmp_path: Path) -> None:
    write_bytes(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(UserError, match=r"^/dev/full: cannot be written: No space left on device$"):
        write_bytes(Path("/dev/full"), b"x")
    script = (
        "from pathlib import Path; from pipeline.storage.atomic import write_bytes\n"
        "write_bytes(Path('/dev/stdout'), b'one'); print('two')"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"onetwo\n"
    with (tmp_path / "out").open("ab") as out:  # the file that others write to as well is not replaced
        out.write(b"zero")
        out.flush()
        subprocess.run(command, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"zeroonetwo\n"
    with (tmp_path / "out").open("wb") as out:
        out.write(b"zero")
        out.flush()
        subprocess.run(command, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"zeroonetwo\n"


def test_a_folder_and_a_missing_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder: name a file"):
        write_bytes(tmp_path, b"")
    with pytest.raises(UserError, match=r"x/y: the folder .*x does not exist"):
        write_bytes(tmp_path / "x" / "y", b"")


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    table = pa.table({"a": pa.array(range(100_000))})
    with files_up_to(1000):
        for write in (
            lambda: write_bytes(path, b"x" * 10_000),
            lambda: write_parquet(path, [table], table.schema),
        ):
            with pytest.raises(UserError, match=r"/a: cannot be written: File too large"):
                write()
    assert path.read_text() == "old"
    assert left(tmp_path) == ["a"]


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing_text(tmp_path / "a") as text:
        text.write(f"half {1 / 0}")
    assert (tmp_path / "a").read_text() == "old"
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "of another file", "elsewhere")
    assert left(tmp_path) == ["a"]


def unfinished(folder: str, started: str) -> None:
    with replacing(Path(folder) / "a") as sink, fresh_folder(Path(folder)) as part:
        sink.write(b"half")
        (part / "b").write_text("half")
        Path(started).touch()
        signal.pause()


def test_leftovers_of_dead_processes_are_swept_and_of_live_ones_not(tmp_path: Path) -> None:
    work, started = tmp_path / "work", tmp_path / "started"
    work.mkdir()
    (work / f"{PREFIX}mine").write_text("not a name of ours")
    (work / f"{PREFIX}{'0' * 16}").symlink_to(started)
    process = multiprocessing.get_context("fork").Process(target=unfinished, args=(str(work), str(started)))
    process.start()
    while not started.exists():
        os.sched_yield()
    live = left(work)
    assert len(live) == 4
    write_bytes(work / "b", b"")
    assert left(work) == sorted([*live, "b"])
    process.kill()
    process.join()
    write_bytes(work / "b", b"")
    assert left(work) == [f"{PREFIX}{'0' * 16}", f"{PREFIX}mine", "b"]
    assert sweep(work) == []


# Folders

OWNER = """
import os, sys
from pathlib import Path
from pipeline.storage.atomic import fresh_folder
with fresh_folder(Path(sys.argv[1])) as folder:
    (folder / "x").write_text("x")
    os.kill(os.getpid(), 9)
"""


def test_a_killed_owners_folder_is_cleaned_up_and_a_living_ones_left_alone(tmp_path: Path) -> None:
    with fresh_folder(tmp_path) as mine:
        (mine / "x").write_text("x")
        killed = subprocess.run([sys.executable, "-c", OWNER, str(tmp_path)], check=False)
        assert killed.returncode == -9
        assert len(left(tmp_path)) == 2
        with fresh_folder(tmp_path) as other:
            assert list(other.iterdir()) == []
            assert {path for path in tmp_path.iterdir()} == {mine, other}
        assert (mine / "x").read_text() == "x"
    assert left(tmp_path) == []


def test_a_folder_goes_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), fresh_folder(tmp_path):
        raise KeyboardInterrupt
    assert left(tmp_path) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "work").mkdir(parents=True)
    place = tmp_path / "place"
    place.mkdir()
    names = [f"{PREFIX}{'1' * 16}", f"{PREFIX}notes"]
    (place / names[0]).symlink_to(tmp_path / "elsewhere")
    (place / names[1]).mkdir()
    with fresh_folder(place):
        pass
    assert left(tmp_path / "elsewhere") == ["work"]
    assert left(place) == names


def test_where_others_keep_folders_only_we_can_enter_ours_and_theirs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = tmp_path / f"{PREFIX}{'2' * 16}"
    theirs.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
        with fresh_folder() as folder:
            assert folder.parent == tmp_path
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert left(tmp_path) == [theirs.name]
    with fresh_folder():
        pass
    assert left(tmp_path) == []


def test_a_folder_swept_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(path: Path, *args: Any) -> int:
        seen.append(path)
        if len(seen) == 1:
            path.rmdir()
        return real(path, *args)

    seen, real = list[Path](), os.open
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", late)
        with fresh_folder(tmp_path) as folder:
            assert folder.is_dir()
    assert len(set(seen[:2])) == 2


def fill(out: Path, text: str) -> None:
    with replacing_folder(out) as part:
        (part / "config.json").write_text(json.dumps(text))


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_replaced_and_its_neighbours_are_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(atomic, "_renameat2", lambda: None)
    for name in ("ck.old", "ck.part", "ck.tmp-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").write_text("mine")
    for text in ("one", "two"):
        fill(tmp_path / "ck", text)
        assert json.loads((tmp_path / "ck" / "config.json").read_text()) == text
    assert left(tmp_path) == ["ck", "ck.old", "ck.part", "ck.tmp-1"]
    assert (tmp_path / "ck.old" / "thesis").read_text() == "mine"
    assert stat.S_IMODE((tmp_path / "ck").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "ck.old").stat().st_mode
    )


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "ck"
    fill(out, "one")
    (out / "training.json").write_text("{}")
    fill(out, "two")
    (out / "thesis.json").write_text("mine")
    with pytest.raises(UserError, match=r"ck: holds something other than .*'thesis\.json'"):
        fill(out, "three")
    assert json.loads((out / "config.json").read_text()) == "two"
    (out / "thesis.json").unlink()
    (out / folders.LISTED).unlink()  # as an earlier version wrote it
    (out / "prm.json").write_text("{}")
    fill(out, "four")
    with pytest.raises(UserError, match="is not a folder"):
        fill(out / "config.json", "five")


def test_a_model_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "gemma"
    out.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (out / name).write_text("theirs")
    with pytest.raises(UserError, match="holds something other than a PRM or policy of ours"):
        fill(out, "one")
    assert (out / "config.json").read_text() == "theirs"


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "config.json").is_file()


def test_an_error_while_a_folder_is_filled_leaves_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path / "ck", "one")
    with pytest.raises(UserError, match=r"ck: cannot be written: File too large"), files_up_to(1000):
        fill(tmp_path / "ck", "x" * 10_000)
    assert json.loads((tmp_path / "ck" / "config.json").read_text()) == "one"
    assert left(tmp_path) == ["ck"]


def test_a_temporary_file_swept_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(descriptor: int, path: Path) -> bool:
        if not seen:
            path.unlink()
        seen.append(path)
        return lock(descriptor, path)

    seen, lock = list[Path](), atomic.lock_new
    monkeypatch.setattr(atomic, "lock_new", late)
    write_bytes(tmp_path / "a", b"x")
    assert len(set(seen)) == 2
    assert left(tmp_path) == ["a"]
