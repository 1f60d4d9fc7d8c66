"""What a command imports before its work, and runs without Prefect."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import faults_kill
from flows.cli import main
from flows.importing import uncollected
from flows.interrupt import LINE

IMPORTED = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from flows.cli import main

found, (commands, heavy) = [], json.load(sys.stdin)
for arguments in commands:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    try:
        left = ["a process", os.waitpid(-1, os.WNOHANG)][:1]
    except ChildProcessError:
        left = []
    found.append([code, left + [name for name in heavy if name in sys.modules], err.getvalue()])
print(json.dumps(found))
"""


HEAVY = ("prefect", "flows.server", "torch", "transformers", "sympy", "z3", "datasets", "pandas", "httpx")


def imported(
    commands: list[list[str]], folder: Path, heavy: tuple[str, ...] = HEAVY
) -> list[tuple[int, list[str], str]]:
    """Exit code, large imports and processes left, and error output of commands, given one after the other in
    one process."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        input=json.dumps([commands, heavy]),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=True,
    )
    return [(code, names, err) for code, names, err in json.loads(done.stdout)]


def test_commands_without_a_flow_import_neither_prefect_nor_torch(run_file: Path) -> None:
    given = {"problem": "What is 2 + 3?", "steps": ["2 + 3 = 5"]}
    (run_file.parent / "given.jsonl").write_text(f"{json.dumps(given)}\n")
    commands = [
        ["doctor"],
        ["init", "problems.jsonl", "--out", "made.toml"],
        ["label", "given.jsonl", "--dry-run"],
        ["plan", "run.toml", "--pass-rate", "0.3", "--tokens-per-solution", "9", "--tokens-per-second", "9"],
        ["run", "run.toml", "--dry-run"],
        ["run", "run.toml", "--no-prefect"],
        *([name, "runs/demo"] for name in ("status", "check", "show", "report", "fuse", "regrade")),
        ["derive", "runs/demo", "quality"],
        ["export", "runs/demo", "--format", "trl", "--out", "rows.jsonl"],
        ["publish", "runs/demo", "me/demo", "--dry-run"],
        ["verify", "given.jsonl"],
    ]
    found = imported(commands, run_file.parent)
    wrong = [(a[0], *f) for a, f in zip(commands, found, strict=True) if (f[0], f[1]) != (0, [])]
    assert wrong == []


def test_commands_that_read_no_rows_import_no_library_for_them(run_file: Path) -> None:
    """Nor do they compile the patterns of judges, which their run does not have."""
    given = {"problem": "What is 2 + 3?", "steps": ["2 + 3 = 5"]}
    (run_file.parent / "given.jsonl").write_text(f"{json.dumps(given)}\n")
    heavy = (*HEAVY, "pyarrow", "pipeline.runs.run_store", "pipeline.annotators.wording")
    stated = ("--pass-rate", "0.3", "--tokens-per-solution", "9", "--tokens-per-second", "9")
    commands = [
        ["doctor"],
        ["verify", "given.jsonl"],
        ["init", "problems.jsonl", "--out", "made.toml"],
        ["label", "given.jsonl", "--dry-run"],
        ["run", "run.toml", "--dry-run"],
    ]
    found = imported(commands, run_file.parent, (*heavy, "numpy"))
    found += imported([["plan", "run.toml", *stated]], run_file.parent, heavy)
    assert [one[:2] for one in found] == [(0, [])] * 6


def test_deriving_imports_nothing_that_grades(run_file: Path) -> None:
    assert main(["run", str(run_file), "--no-prefect"]) == 0
    command = ["derive", str(run_file.parent / "runs/demo"), "quality"]
    heavy = (*HEAVY, "verifiers.answers.grade", "verifiers.isolation.sandbox")
    assert imported([command], run_file.parent, heavy)[0][:2] == (0, [])


def test_of_what_cannot_run_no_server_is_left(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started ahead, and nobody waits for it."""
    monkeypatch.setenv("TMPDIR", str(run_file.parent / "tmp"))
    (run_file.parent / "tmp").mkdir()
    commands = {
        "needs embedded problems": [
            "run",
            "run.toml",
            "--set",
            "evaluate.samples=2",
            "--set",
            "train.epochs=1",
        ],
        "whose weights it can change": ["selftrain", "run.toml"],
        "neither a run": ["publish", "nothing", "me/demo"],
        "nowhere.jsonl": ["run", "run.toml", "--set", "problems.path=nowhere.jsonl"],
        "run.toml": ["train", "run.toml"],
        "no such folder": ["synthesize", "run.toml", "--set", "policy={kind='transformers', model='./gone'}"],
    }
    found = imported(list(commands.values()), run_file.parent)
    wrong = [
        (said, *f)
        for said, f in zip(commands, found, strict=True)
        if f[:2] != (2, ["flows.server"]) or said not in f[2]
    ]
    assert wrong == []
    assert list((run_file.parent / "tmp").iterdir()) == []


@pytest.mark.usefixtures("prefect")
def test_both_ways_give_the_same_rows(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for way in ([], ["--no-prefect"]):
        root = run_file.parent / f"runs{len(way)}"
        assert main(["run", str(run_file), "--json", "--set", f"root='{root}'", *way]) == 0
        found.append({**json.loads(capsys.readouterr().out), "path": ""})
        found[-1].pop("seconds", None)
    assert found[0]["dataset_digest"] == found[1]["dataset_digest"]
    assert found[0] == found[1]


def test_without_prefect_a_lost_shard_does_not_stop_the_others(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.labelling.problems import read_problems
    from pipeline.runs.run_store import RunStore
    from schemas.config import load_config

    store = RunStore.open(load_config(run_file))
    read_problems(store)
    with store.writing(0):  # as another process would
        assert main(["run", str(run_file), "--no-prefect"]) == 2
    assert "shard 0 is being written by another process" in capsys.readouterr().err
    assert not store.shard_state(1).owed
    assert main(["run", str(run_file), "--no-prefect"]) == 0


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("sign", ["TERM", "INT", "HUP"])
def test_a_run_without_prefect_is_stopped_and_goes_on(sign: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import asyncio\n"
        "class Slow:\n"
        "    kind, model, revision = 'python', 'slow', ''\n"
        "    async def __aenter__(self): return self\n"
        "    async def __aexit__(self, *_): pass\n"
        "    async def sample(self, prompt, n, sampling): await asyncio.sleep(600)\n"
        "def make(**_): return Slow()\n"
    )
    (tmp_path / "problems.jsonl").write_text('{"text": "How many?", "answer": "1"}\n')
    (tmp_path / "run.toml").write_text(
        'name = "r"\n[problems]\nsource = "jsonl"\npath = "problems.jsonl"\n'
        '[policy]\nkind = "python"\nfactory = "slow:make"\n'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", faults_kill.COMMAND, "run", "run.toml", "--no-prefect"],
            cwd=tmp_path,
            env=environment,
            stderr=err,
        )
        while "solving and labelling" not in (tmp_path / "err").read_text():
            assert process.poll() is None, (tmp_path / "err").read_text()
            time.sleep(0.02)
        number = getattr(signal, f"SIG{sign}")
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert (tmp_path / "err").read_text().endswith(f"stepmint: {LINE}\n")
    assert main(["status", str(tmp_path / "runs" / "r")]) == 1


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_left_as_it_was(on: bool) -> None:
    was_on = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is on
    finally:
        (gc.enable if was_on else gc.disable)()


def test_what_was_imported_is_never_searched_for_garbage() -> None:
    code = (
        "import gc; from flows.importing import collect_seldom, uncollected\n"
        "before = gc.get_threshold()[0]\n"
        "collect_seldom()\n"
        "with uncollected():\n"
        "    import decimal, argparse\n"
        "print(gc.get_threshold()[0] > before, gc.get_freeze_count() > 1000, gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True True\n"


def test_garbage_of_a_process_that_is_not_ours_is_found_later() -> None:
    before = gc.get_freeze_count()
    with uncollected():
        pass
    assert gc.get_freeze_count() == before
