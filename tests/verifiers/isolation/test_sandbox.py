"""The sandbox: every attack fails, every limit holds, and without its kernel features nothing runs at all."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.attacks import ATTACKS, EXCESSES
from benchmarks.sandboxed import PATIENT, QUICK, limits_for
from verifiers.isolation import seccomp
from verifiers.isolation.sandbox import Limits, missing, run_python, unavailable

ROOT = str(Path(__file__).parents[3])
pytestmark = pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Things an attack would like to reach."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret").write_text("ESCAPED secret")
    (folder / "outside").mkdir()
    os.environ["STEPMINT_ATTACK_SECRET"] = "ESCAPED"
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        names = {"secret": str(folder / "secret"), "outside": str(folder / "outside")}
        yield {**names, "port": server.getsockname()[1], "victim": victim.pid}, server, victim
    victim.kill()
    victim.wait()
    del os.environ["STEPMINT_ATTACK_SECRET"]


class Process(NamedTuple):
    """What `/proc/PID/stat` says of a process that has not ended."""

    parent: int
    session: int


def processes() -> dict[int, Process]:
    """All processes of the machine by id; what other programs started is among them."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it ended meanwhile
        if state != "Z":
            found[int(path.parent.name)] = Process(int(parent), int(session))
    return found


def alive(jails: Collection[int]) -> set[int]:
    """What still runs of these jails. Each leads a session, which its program cannot leave."""
    return {pid for pid, process in processes().items() if process.session in jails}


@pytest.fixture
def started(monkeypatch):
    """The process ids of the jails that this test starts, and not those of another program beside it."""
    jails = []

    class Noted(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            jails.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return jails


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_succeeds(name, host):
    names, server, victim = host
    run = run_python(ATTACKS[name].format(**names), limits=PATIENT)
    assert run.status in {"ok", "error", "killed"}, run
    assert "ESCAPED" not in run.stdout + run.stderr
    assert run.stdout or run.exit_code != 0, "the attack did not take place"
    assert "SyntaxError" not in run.stderr
    assert not list(Path(names["outside"]).iterdir())
    assert victim.poll() is None
    with pytest.raises(BlockingIOError):
        server.accept()


def test_the_suite_is_large_enough():
    assert len(ATTACKS) + len(EXCESSES) >= 40


@pytest.mark.parametrize(
    "name",
    ["read a secret", "read the environment", "write outside", "connect to the host", "fork", "os.system"],
)
def test_the_attacks_do_succeed_without_the_sandbox(name, tmp_path, host):
    names = {**host[0], "outside": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        names["port"] = server.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", ATTACKS[name].format(**names)], capture_output=True, text=True, check=True
        )
    assert "ESCAPED" in done.stdout


@pytest.mark.parametrize("name", EXCESSES)
def test_every_limit_holds(name):
    started = time.monotonic()
    limits = limits_for(name)
    run = run_python(EXCESSES[name].code, limits=limits)
    assert run.status in EXCESSES[name].ends, run
    assert time.monotonic() - started < limits.wall_s + 5
    assert len(run.stdout) <= QUICK.output_bytes
    assert len(run.stderr) <= QUICK.output_bytes
    assert run.peak_kib < 256 * 1024


@pytest.mark.parametrize(
    ("code", "status", "stdout"),
    [
        ("print(37*43)", "ok", "1591\n"),
        ("import sys; print(1); sys.exit(0)", "ok", "1\n"),
        ("import os; print(1); os._exit(0)", "ok", "1\n"),
        ("import sys; sys.exit(3)", "error", ""),
        ("raise ValueError('x')", "error", ""),
        ("import sys; print(repr(sys.stdin.read()))", "ok", "'given'\n"),
        ("print(open('a.txt').read())", "ok", "text\n"),
        ("import os; os.write(1, b'a\\xff\\x00\\x1b[2J')", "ok", "a\ufffd\x00\x1b[2J"),
        ("import json, builtins; json.loads = builtins.print = None", "ok", ""),
        ("import resource; print(resource.getrlimit(resource.RLIMIT_CORE))", "ok", "(0, 0)\n"),
        ("print('\\udc80')", "ok", "\ufffd\n"),
        ("x = '\udc80'", "error", ""),
        (
            "import hashlib, decimal, statistics, random, itertools, math; print(math.comb(5, 2))",
            "ok",
            "10\n",
        ),
    ],
)
def test_programs(code, status, stdout):
    run = run_python(code, stdin="given", files={"a.txt": "text"})
    assert (run.status, run.stdout) == (status, stdout), run


def test_the_exception_is_named():
    assert run_python("assert 1 == 2, 'no'").exception == "AssertionError"
    assert run_python("print(1)").exception == ""


def test_runs_share_nothing():
    assert run_python("open('a', 'w').write('x'); import os; print(os.listdir())").stdout == "['a']\n"
    assert run_python("import os; print(os.listdir())").stdout == "[]\n"


@pytest.mark.parametrize("files", [{"../a": "x"}, {"/etc/a": "x"}, {"": "x"}, {".": "x"}])
def test_files_stay_in_the_scratch_folder(files):
    assert run_python("print(1)", files=files).status == "error"


def test_many_at_once_and_nothing_is_left(started):
    descriptors = len(os.listdir("/proc/self/fd"))
    answers = {}

    def ask(number):
        answers[number] = run_python(f"print({number} * 2)").stdout

    for _ in range(3):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: f"{number * 2}\n" for number in range(8)}
    assert len(started) == 24
    assert not alive(started)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_the_program_dies_with_its_host():
    code = (
        "from verifiers.isolation.sandbox import *\n"
        "print('probed' if not unavailable() else unavailable(), flush=True)\n"
        "run_python('while True: pass', limits=Limits(wall_s=60, cpu_s=60))"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert host.stdout.readline() == "probed\n"
    host.stdout.close()
    deadline, jails = time.monotonic() + 20, set()
    while time.monotonic() < deadline and len(alive(jails)) < 2:  # the supervisor and its program
        time.sleep(0.1)
        jails = {pid for pid, process in processes().items() if process.parent == host.pid}
    assert len(alive(jails)) == 2
    host.send_signal(signal.SIGKILL)
    host.wait()
    while time.monotonic() < deadline and alive(jails):
        time.sleep(0.1)
    assert not alive(jails)


def elsewhere(*command: str) -> str:
    """What a run says in a changed environment."""
    ask = "from verifiers.isolation.sandbox import *; r = run_python('print(37*43)'); print(r.status, r.why)"
    return subprocess.run(
        [*command, sys.executable, "-c", ask],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT},
    ).stdout


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("max_user_namespaces", "user namespaces: user.max_user_namespaces is 0"),
        ("max_net_namespaces", "the sandbox does not stand: unavailable OSError: [Errno 28] unshare"),
    ],
)
def test_closed_where_the_kernel_refuses(setting, said):
    change = f'echo 0 > /proc/sys/user/{setting}; exec "$@"'
    out = elsewhere("unshare", "--user", "--map-root-user", "sh", "-c", change, "sh")
    assert out.startswith(f"unavailable {said}")


def test_it_stands_for_ordinary_users_too():
    assert elsewhere("unshare", "--user", "--map-user=1000", "--map-group=1000") == "ok \n"


def test_nothing_is_missing_here():
    assert missing() == []


@pytest.mark.parametrize(("machine", "header"), [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h")])
def test_call_numbers_are_the_kernels(machine, header):
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip(f"{path} is not installed")
    kernel = {}
    for line in path.read_text().splitlines():
        if line.startswith("#define __NR_"):
            _, name, number = line.split()
            kernel[name.removeprefix("__NR_")] = int(number)
    assert seccomp.calls(machine).items() <= kernel.items()
    assert (
        not {"clone", "fork", "execve", "socket", "ptrace", "mount", "prctl"} & seccomp.calls(machine).keys()
    )


def test_what_ended_in_time_counts_although_nobody_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Ctrl-Z: when the command goes on, time is long up."""
    import selectors

    look = selectors.DefaultSelector.select
    ready: list[int] = []

    def late(self: selectors.DefaultSelector, timeout: float | None = None) -> object:
        found = look(self, timeout)
        if found and any(key.data == "out" for key, _ in found) and not ready:
            ready.append(1)
            time.sleep(1.5)
        return found

    monkeypatch.setattr(selectors.DefaultSelector, "select", late)
    run = run_python("print(37 * 43)", limits=Limits(wall_s=1.0))
    assert (run.status, run.stdout) == ("ok", "1591\n")
