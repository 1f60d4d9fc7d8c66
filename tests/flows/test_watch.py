"""A run that is watched while it is worked on."""

import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows.cli import main
from flows.watch import _table, summary
from tests.flows.conftest import write_run_file

Capture = pytest.CaptureFixture[str]


def test_a_run_is_watched_until_it_is_sealed(tmp_path: Path, capsys: Capture) -> None:
    file = write_run_file(tmp_path, problems=60)
    far = f"file://{tmp_path}/far"
    file.write_text(file.read_text().replace(str(tmp_path / "runs"), far))
    command = [sys.executable, "-m", "flows.cli", "status", f"{far}/demo", "--watch", "0.1"]
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)}
    work = threading.Thread(target=main, args=(["run", str(file), "--json"],))
    work.start()
    while not (tmp_path / "far/demo/run.json").exists():
        time.sleep(0.02)
    watched = [
        subprocess.Popen([*command, *more], env=environment, stdout=subprocess.PIPE, text=True)
        for more in ((), ("--json",))
    ]
    lines, objects = (one.communicate(timeout=120)[0].splitlines() for one in watched)
    work.join()
    assert [one.returncode for one in watched] == [0, 0]
    assert len(lines) == len({line[9:] for line in lines})  # one for each change
    assert "60 of 60 problems done, 2 of 2 shards" in lines[-1]
    assert lines[-1].endswith(", sealed")
    found = [json.loads(one) for one in objects]
    assert (found[-1]["sealed"], found[-1]["owed"]) == (True, 0)


def test_a_line_says_what_stands_still_and_what_is_wrong() -> None:
    shards = [
        {"shard": 0, "done": 1000, "owed": 0, "failed": 0},
        {"shard": 1, "done": 7, "owed": 3, "failed": 2},
    ]
    found = {
        "run": "r",
        "problems": 1010,
        "shards": shards,
        "damaged": ["x"],
        "tokens": {"a": 9},
        "sealed": False,
    }
    assert summary(found) == (
        "1,007 of 1,010 problems done, 1 of 2 shards, 2 failed, 1 files damaged, 9 tokens"
    )
    assert summary({**found, "shards": []}) == "r: the problems have not been read yet"


def test_in_a_terminal_there_is_a_table_of_the_open_shards() -> None:
    from rich.console import Console

    shards = [{"shard": n, "done": 1, "owed": n % 2, "failed": 0} for n in range(100)]
    found = {"run": "[red]r", "problems": 9, "shards": shards, "damaged": [], "tokens": {}, "sealed": False}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_table(found))
    lines = console.export_text().splitlines()
    assert sum(line.split()[:1] == [str(n)] for line in lines for n in range(1, 60, 2)) == 30
    assert lines[-1] == "[red]r: 100 of 9 problems done, 50 of 100 shards, 0 tokens"
