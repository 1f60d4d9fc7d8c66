"""Runs on an object store from the command line: `run`, `work`, and the commands that read."""

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.cli import main
from flows.work import work_on
from pipeline.labelling.problems import read_problems
from pipeline.labelling.work import Worker
from pipeline.runs import remote
from pipeline.runs.run_store import RunStore
from pipeline.storage.object_store import open_objects
from schemas.config import load_config

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run_file(tmp_path: Path, more: str = "", root: str = "objects") -> Path:
    rows = ({"problem": f"What is {a} + {b}?", "answer": "right"} for a in range(4) for b in range(4))
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "mine.toml"
    file.write_text(
        f'name = "mine"\nroot = "file://{tmp_path}/{root}"\nshards = 2\n'
        f'[problems]\nsource = "file"\npath = "{tmp_path}/problems.jsonl"\n'
        f'[policy]\nkind = "simulated"\n[[annotate]]\nkind = "monte_carlo"\nrollouts = 4\n{more}'
    )
    return file


def answer(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def told(capsys: Capture, *arguments: object) -> dict[str, object]:
    code, out, err = answer(capsys, *arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_a_run_on_an_object_store_is_read_like_a_folder(tmp_path: Path, capsys: Capture) -> None:
    file, url = run_file(tmp_path), f"file://{tmp_path}/objects/mine"
    sealed = told(capsys, "run", file)
    assert (sealed["problems"], sealed["labelled_here"]) == (16, 16)
    # The same in a plain folder has the same rows.
    local = told(capsys, "synthesize", file, "--set", f"root={tmp_path}/runs", "--no-prefect")
    assert sealed["dataset_digest"] == local["dataset_digest"]
    # Another machine joins when all is done, and finds nothing to do.
    assert told(capsys, "work", url)["labelled_here"] == 0
    status = told(capsys, "status", url)
    assert (status["sealed"], status["owed"], status["damaged"]) == (True, 0, [])
    assert told(capsys, "report", url)["solutions"] == sealed["solutions"]
    code, out, _ = answer(capsys, "show", url, "-n", 1)
    assert code == 0
    assert "What is" in out
    # New labels from the same votes are the dataset of the store, for every reader.
    fused = told(capsys, "fuse", url, "--set", "fusion.accept=0.999")
    again = told(capsys, "report", url)
    assert again["labelled_steps"] == fused["labelled_steps"] != sealed["labelled_steps"]
    assert told(capsys, "status", url)["sealed"] is True
    out_file = tmp_path / "rows.jsonl"
    assert answer(capsys, "export", url, "--format", "trl", "--out", out_file)[0] == 0
    assert "completions" in json.loads(out_file.read_text().splitlines()[0])


def test_workers_of_one_machine_make_the_dataset_one_after_the_other(tmp_path: Path, capsys: Capture) -> None:
    objects = open_objects(f"file://{tmp_path}/objects/mine")
    file, root = run_file(tmp_path), str(tmp_path / "begun")
    store = RunStore.open(load_config(file, (f"root={root}",)))
    read_problems(store)
    remote.begin(objects, store)
    Worker(objects, tmp_path / "w" / "mine").run()  # all is labelled, and nothing sealed
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: work_on(objects), range(4)))
    assert len({one["dataset_digest"] for one in found}) == 1
    assert objects.names("log/sealed") == ["log/sealed/00000000"]


def test_what_an_address_cannot_do_is_said_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    url = f"file://{tmp_path}/objects/mine"
    for arguments, said in (
        (("check", url), "check works on a folder; an address is taken by status"),
        (("status", url), "no run is there"),
        (("work", tmp_path), "is no address"),
        (("work", url, "--lease", "0"), "--lease 0: expected 1 to 3600 seconds"),
        (("status", url, "--watch", "0"), "--watch 0: expected 0.1 to 3600 seconds"),
    ):
        code, _, err = answer(capsys, *arguments)
        assert code == 2
        assert said in err.splitlines()[-1]


def test_what_beginning_a_run_has_done_is_said(tmp_path: Path, capsys: Capture) -> None:
    file, url = run_file(tmp_path), f"file://{tmp_path}/objects/mine"
    few, work = ("--set", "problems.limit=5"), f"work on it: stepmint work {url}"
    for given, said in (
        (few, f"begun; {work}"),
        (few, f"begun already; {work}"),
        ((), f"grown; {work}"),
        (few, f"begun already; {work}"),
    ):
        assert told(capsys, "run", file, "--begin", *given)["said"] == said
    assert answer(capsys, "fuse", url, "--partial")[0] == 1
    assert told(capsys, "run", file, "--begin")["said"] == f"begun already; {work}"
    told(capsys, "work", url)
    trains = ("--set", "train.model=embedded")
    assert told(capsys, "run", file, "--begin")["said"] == "sealed already, and nothing is new"
    assert told(capsys, "run", file, "--begin", *trains)["said"].endswith("without --begin trains")


def test_looking_where_no_run_is_changes_nothing(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    before = set(tmp_path.rglob("*"))
    for name in ("runs/mine", "file/mine"):
        url = f"file://{tmp_path}/{name}"
        for arguments in (("status", url), ("show", url), ("report", url), ("fuse", url), ("work", url)):
            code, _, err = answer(capsys, *arguments)
            assert (code, err) == (2, f"stepmint: {url}: no run is there (it has no run.json)\n")
    assert set(tmp_path.rglob("*")) == before
    code, _, err = answer(capsys, "status", f"file://{tmp_path}/file")
    assert (code, "is not an object store that can be opened" in err) == (2, True)


def test_an_address_is_told_as_it_was_given(tmp_path: Path, capsys: Capture) -> None:
    file, url = run_file(tmp_path), f"file://{tmp_path}/objects/mine"
    told(capsys, "run", file, "--begin")
    for arguments, said in (
        (("status", url), f"{url}: open, 0 of 16 problems done"),
        (("report", url), f"{url}: not sealed yet: `stepmint work {url}` finishes it, and `stepmint fuse"),
        (("fuse", url), f"{url}: 16 problems are still owed: `stepmint work {url}` does them"),
    ):
        code, out, err = answer(capsys, *arguments)
        assert (code, said in out + err) == (1 if arguments[0] == "status" else 2, True)
        assert "cache" not in out + err
    told(capsys, "work", url)
    assert told(capsys, "status", url)["run"] == told(capsys, "fuse", url)["path"] == url
    code, _, err = answer(capsys, "show", url, "--id", "none")
    assert (code, f"stepmint: {url}: no solution" in err) == (2, True)
    # A file of the copy is where it is. A damaged copy can be thrown away.
    derived = Path(str(told(capsys, "derive", url, "progress")["out"]))
    assert derived.is_file()
    (derived.parents[1] / "rollouts" / "00000.parquet").write_text("spoilt")
    code, _, err = answer(capsys, "show", url)
    assert (code, f"remove {derived.parents[2]}, which is a copy and is made anew" in err) == (2, True)
    shutil.rmtree(derived.parents[2])
    assert told(capsys, "status", url)["damaged"] == []


# It has all the time it needs to end: on a busy machine three seconds are few. Its problems take so long that
# the first are on its disk, which is so within half a second, long before a shard is done. Then it waits, so
# that it is met in the middle of one.
_HELD = """
import glob, os, sys, time
from flows import cli, interrupt, progress
interrupt.PATIENCE_S = interrupt._KILL_S = 250.0
journals = os.environ["TMPDIR"] + "/*/**/journal/*.jsonl"
def advance(*_):
    if any(map(os.path.getsize, glob.glob(journals, recursive=True))):
        time.sleep(600)
    time.sleep(0.05)
progress.advance = advance
sys.exit(cli.main())
"""


def test_a_worker_that_is_told_to_end_gives_its_shard_back(tmp_path: Path, capsys: Capture) -> None:
    file, url = run_file(tmp_path, root="far"), f"file://{tmp_path}/far/mine"
    rows = ({"problem": f"What is {a} + {b}?", "answer": "right"} for a in range(9) for b in range(9))
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-c", _HELD, "run", str(file)]
    worker = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")})
    while not any(one.stat().st_size for one in tmp_path.glob("tmp/*/**/journal/*.jsonl")):
        assert worker.poll() is None
        time.sleep(0.05)
    worker.terminate()
    assert worker.wait() == 143
    beats = [path.read_text() for path in tmp_path.glob("far/mine/beat/*")]
    assert beats
    assert all(beat.endswith(" gone") for beat in beats)
    # What it had finished was appended, and the next worker need not wait for it.
    code, out, _ = answer(capsys, "status", url, "--json")
    found = json.loads(out)
    owed = found["owed"]
    assert (code, 0 < owed < 81) == (1, True)
    assert [shard for shard in found["shards"] if shard["done"] and shard["owed"]], found
    assert told(capsys, "work", url)["labelled_here"] == owed


def test_a_run_on_an_object_store_grows_by_the_same_command(tmp_path: Path, capsys: Capture) -> None:
    file, url = run_file(tmp_path), f"file://{tmp_path}/objects/mine"
    told(capsys, "run", file, "--set", "problems.limit=5")
    assert told(capsys, "run", file, "--begin")["run"] == url
    code, out, _ = answer(capsys, "status", url, "--json")
    assert (code, json.loads(out)["problems"], json.loads(out)["owed"]) == (1, 16, 11)
    # What is not finished is not fused by mistake, and the dataset of before can be read until it is.
    code, _, err = answer(capsys, "fuse", url)
    assert (code, "11 problems are still owed" in err) == (2, True)
    assert told(capsys, "report", url)["problems"] == 5
    grown = told(capsys, "work", url)
    assert (grown["problems"], grown["labelled_here"]) == (16, 11)
    local = told(capsys, "synthesize", file, "--set", f"root={tmp_path}/runs", "--no-prefect")
    assert grown["dataset_digest"] == local["dataset_digest"]
    with (tmp_path / "problems.jsonl").open("a") as rows:
        rows.write(json.dumps({"problem": "What is 7 + 7?", "answer": "right"}) + "\n")
    assert told(capsys, "run", file)["problems"] == 17
    assert told(capsys, "status", url)["owed"] == 0


def test_a_worker_of_a_sealed_run_of_which_nothing_could_be_read_has_nothing_left_to_do(
    tmp_path: Path, capsys: Capture
) -> None:
    """A cluster starts others in the place of workers that end with 1. A person is told by that code."""
    judge = '[[annotate]]\nkind = "judge"\nprompts = ["judge_processbench"]\nvotes = 1\n'
    file, url = run_file(tmp_path, judge), f"file://{tmp_path}/objects/mine"
    for command, wanted in (("run", 1), ("work", 0)):
        code, out, err = answer(capsys, command, file if command == "run" else url, "--json")
        assert code == wanted
        assert json.loads(out)["unread"] == ["judge:judge_processbench"]
        assert "stepmint: error: judge:judge_processbench abstained in every one of" in err
