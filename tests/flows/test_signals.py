"""Signals end a command at once, with one line, wherever it is; given again, it ends as if undisturbed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import faults_kill
from flows import interrupt
from flows.cli import main
from flows.interrupt import LINE
from flows.server import Server
from flows.synthesize import is_lost_worker
from pipeline.storage import journal
from pipeline.storage.atomic import fresh_folder
from schemas.config import load_config

pytestmark = pytest.mark.usefixtures("interruptible")
SAID = f"stepmint: {LINE}\n"


def but_notes(err: str) -> str:
    """Without what a run says of the columns that it takes."""
    return "".join(line for line in err.splitlines(True) if not line.startswith("stepmint: note: "))


STUBBORN = """
while True:
    try:
        ready()
        {act}
    except BaseException:
        pass
"""
"""What a library may do with an exception of ours."""
ASLEEP = STUBBORN.format(act="time.sleep(600)")
DEAF = STUBBORN.format(act="hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)")
"""C code that runs on: Python's handlers wait for it."""
LOCKED = "import ctypes\n" + STUBBORN.format(act="ctypes.PyDLL(None).sleep(600)")
"""C code that keeps the interpreter's lock, as the loading of a library does: no thread of ours runs."""
TAKEN = "signal.signal(signal.SIGTERM, lambda *_: None)" + ASLEEP
"""Prefect has a handler of its own while a flow runs."""
CLEANING = """
try:
    ready()
    time.sleep(600)
except KeyboardInterrupt:
    print("cleaned", flush=True)
    interrupt.end()
"""
HEEDING = """
import hashlib, os, signal, sys, time
from flows import interrupt
said = []
def ready():
    if not said:
        said.append(1)
        print("ready", flush=True)
"""


def begin(body: str, patience_s: float = 60.0) -> "subprocess.Popen[str]":
    """A process that heeds signals and then does `body`; it has said that it is ready."""
    code = f"{HEEDING}\ninterrupt.PATIENCE_S = {patience_s}\ninterrupt.heed()\n{body}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (signal.SIGINT, ASLEEP),
        (signal.SIGHUP, ASLEEP),
        (signal.SIGINT, DEAF),
        (signal.SIGTERM, DEAF),
        (signal.SIGTERM, TAKEN),
    ],
)
def test_who_does_not_leave_is_ended(number: signal.Signals, body: str) -> None:
    process = begin(body, patience_s=0.2)
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("", SAID)
    assert process.returncode == 128 + number


def test_who_cannot_hear_is_killed_by_the_keeper() -> None:
    """Whatever the signal; the three are waited for side by side."""
    deaf = [(begin(LOCKED), number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    for process, number in deaf:
        process.send_signal(number)
    began = time.monotonic()
    for process, number in deaf:
        assert process.communicate(timeout=60) == ("", SAID), number
        assert process.returncode == -signal.SIGKILL, number
        assert time.monotonic() - began > interrupt._KILL_S - 0.1
    assert interrupt.PATIENCE_S + 1 < interrupt._KILL_S < 5  # as promised, where the machine is not busy


@pytest.mark.parametrize("ends", ["", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)"])
def test_the_keeper_leaves_with_the_command(ends: str) -> None:
    process = begin(f"ready()\n{ends}")
    assert process.communicate(timeout=60) == ("", "")  # it holds the error output until it ends


def test_who_leaves_may_clean_up_first() -> None:
    process = begin(CLEANING)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == ("cleaned\n", SAID)
    assert process.returncode == 143


def test_a_second_signal_does_not_wait() -> None:
    process = begin(ASLEEP)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:  # those of the first half second are taken for an echo
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert process.communicate()[1] == SAID


def test_a_fork_has_its_own_signals() -> None:
    body = (
        "ready()\nchild = os.fork()\nif not child:\n    time.sleep(600)\n"
        "time.sleep(0.2)\nos.kill(child, signal.SIGTERM)\n"
        "ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\ntime.sleep(0.5)\nprint(ended)\n"
    )
    process = begin(body, patience_s=0.1)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "-15\n", "")


def test_nohup_is_left_alone() -> None:
    code = (
        "import os, signal\nfrom flows import interrupt\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "interrupt.heed()\nos.kill(os.getpid(), signal.SIGHUP)\nprint('on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_commands_are_struck_and_given_again(sealed: Path, tmp_path: Path) -> None:
    """The short form of the bench `faults.kill`."""
    world = faults_kill.World(tmp_path, ["export"], problems=12, sealed=sealed)
    found = faults_kill.struck_everywhere(world, ["export"], kills=4, seed=1)
    assert {pair.split()[1] for pair in found} >= {"KILL", "TERM", "INT"}
    faults = ("unheeded", "without_line", "tracebacks", "orphans", "not_repeated", "different")
    assert [
        (pair, fault, tally[fault]) for pair, tally in found.items() for fault in faults if tally[fault]
    ] == []


@pytest.mark.parametrize("sign", ["TERM", "INT"])
def test_a_run_ends_while_its_server_starts(sign: str, sealed: Path, tmp_path: Path) -> None:
    world = faults_kill.World(tmp_path, (), problems=12, sealed=sealed)
    with world.trial("run") as (folder, environment):
        process = faults_kill.start("run", folder, environment)
        mark = environment["STEPMINT_STRUCK"]
        while len(list(faults_kill.marked(mark))) < 3:  # the command, its keeper and the server
            time.sleep(0.01)
        (os.killpg if sign == "INT" else os.kill)(process.pid, getattr(signal, f"SIG{sign}"))
        assert process.wait(60) == 128 + getattr(signal, f"SIG{sign}")
        # The problems are read beside the server's start, so the first stage may have been told of.
        said = but_notes((folder.parent / "err").read_text()).splitlines(True)
        assert [line for line in said if not line.startswith("reading the problems")] == [SAID]
        assert faults_kill.orphans(mark) == []
        assert list((folder.parent / "tmp").iterdir()) == []


def test_verifying_workers_end_with_the_command(tmp_path: Path) -> None:
    hard = {"problem": "How many?", "steps": [f"{i} + 1 = {i + 1}" for i in range(300)]}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(hard)}\n" * 500)
    environment = {**os.environ, "STEPMINT_STRUCK": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", faults_kill.COMMAND, "verify", str(tmp_path / "rows.jsonl"), "--workers", "2"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    # The command, its keeper, two workers, and multiprocessing's tracker.
    while len(list(faults_kill.marked(str(tmp_path)))) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[1] == SAID
    assert process.returncode == 130
    assert faults_kill.orphans(str(tmp_path), patience_s=30) == []


def test_two_servers_start_at_once_on_a_fresh_machine(tmp_path: Path) -> None:
    """Each has a database of its own, and leaves nothing in Prefect's home."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    home = tmp_path / "prefect"
    home.mkdir()
    with (
        temporary_settings({PREFECT_HOME: home}, restore_defaults={PREFECT_API_URL}),
        fresh_folder(tmp_path) as one,
        fresh_folder(tmp_path) as other,
    ):
        servers = [Server(one), Server(other)]
        for server in servers:
            server._wait()
        for server in servers:
            server.stop()
        assert (one / "server.db").is_file()
        assert (other / "server.db").is_file()
    assert list(home.glob("*.db*")) == []


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.usefixtures("prefect")
def test_a_full_disk_is_one_line_at_once(
    run_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda s: slept.append(s) or sleep(min(s, 0.1)))
    with monkeypatch.context() as patched:
        patched.setattr(journal, "_write_all", full)
        assert main(["run", str(run_file), "--json"]) == 2
    err = capsys.readouterr().err
    assert "journal/0000" in err
    assert "No space left on device" in err
    assert but_notes(err).count("\n") == 1
    assert max(slept, default=0) < 5  # Prefect did not wait to try again
    assert main(["run", str(run_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == 12


def test_a_full_disk_does_not_wait_for_a_slow_policy(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer hears of it in a timer, perhaps long before the next problem is done."""
    import asyncio

    from pipeline.labelling.problems import read_problems
    from pipeline.runs.run_store import RunStore

    store = RunStore.open(load_config(run_file))
    read_problems(store)

    async def work() -> None:
        with store.writing(0) as writer:
            writer._waiting.append((b"{}\n", b"{}\n"))
            writer._timer = asyncio.get_running_loop().call_later(0, writer._tick)
            await asyncio.sleep(3600)

    monkeypatch.setattr(journal, "_write_all", full)
    with pytest.raises(OSError, match=r"No space left on device: .*journal/00000.jsonl"):
        asyncio.run(work())


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError(errno.ENOSPC, "x"), False),
        (OSError(errno.EROFS, "x", "a"), False),
        (ConnectionResetError(errno.ECONNRESET, "x"), True),
    ],
)
def test_what_the_disk_refuses_is_not_tried_again(error: Exception, again: bool) -> None:
    assert is_lost_worker(error) is again


def test_a_bug_is_shown_without_secrets(tmp_path: Path) -> None:
    code = (
        "import sys, flows.cli as c\n"
        "def bug(args): raise ValueError('http://me:pw@h/ said sk-0123456789')\n"
        "c._dispatch = bug\nsys.argv = ['stepmint', 'doctor']\nsys.exit(c.main())"
    )
    environment = {**os.environ, "SOME_API_KEY": "sk-0123456789"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: http://***@h/ said ***\n")
    assert "in bug" in done.stderr


def test_a_signal_after_the_work_changes_nothing() -> None:
    code = (
        "import atexit, builtins, os, signal, sys, flows.cli as c\n"
        "class Late:\n    def __del__(self):\n        strike()\n"
        "def strike(kill=os.kill, me=os.getpid(), term=signal.SIGTERM):\n    kill(me, term)\n"
        "def work(args):\n    builtins.late = Late()\n    atexit.register(strike)\n"
        "    print('done')\n    return 0\n"
        "c._dispatch = work\nsys.argv = ['stepmint', 'doctor']\nsys.exit(c.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("turned", ["ValueError('x')", "UserError('x')", "SystemExit(3)"])
def test_what_a_library_makes_of_an_interruption_is_not_shown(turned: str) -> None:
    code = (
        "import os, signal, sys, flows.cli as c\nfrom schemas.errors import UserError\n"
        "def load(args):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        f"    except KeyboardInterrupt:\n        raise {turned}\n"
        "c._dispatch = load\nsys.argv = ['stepmint', 'doctor']\nsys.exit(c.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, SAID)
