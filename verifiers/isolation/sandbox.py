"""Runs Python that a model wrote where it can reach nothing: no network, no files but scratch, no processes.

Closed by default: attack probes run before the first program, and where one succeeds, or the kernel lacks a
feature, nothing is run at all and every answer is `unavailable`. What the child does is in
`jail`, which system calls it may make in `seccomp`. Limits hold for root too: the
program runs as one process of an unprivileged user.
"""

import functools
import json
import os
import platform
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from verifiers.isolation import seccomp

Status = Literal["ok", "error", "timeout", "memory", "output_limit", "killed", "unavailable"]
START_S = 20.0
"""How long the sandbox may take to stand; this does not count as the program's time."""
# How long the supervisor may take to report after it was asked to end the program; then all are killed.
_GRACE_S = 2.0
_MOST_CODE = 200_000
_ROOT = str(Path(__file__).parents[2])
_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


@dataclass(frozen=True)
class Limits:
    """What one program may use. Processes and threads are always one."""

    wall_s: float = 5.0
    cpu_s: int = 5
    memory_bytes: int = 512 * 2**20
    """Address space on top of the bare interpreter's."""
    output_bytes: int = 64 * 1024
    """Of standard output and of standard error, each."""
    files_bytes: int = 16 * 2**20
    """The whole scratch folder; it holds at most 1,024 files."""


@dataclass(frozen=True)
class Run:
    """How a program ended. Only `ok`, and an `error` that is an AssertionError, may count as evidence."""

    status: Status
    stdout: str = ""
    """Decoded as UTF-8, with replacement."""
    stderr: str = ""
    exit_code: int | None = None
    """Negative: the signal that ended it. None: it was stopped, or never began."""
    cpu_s: float = 0.0
    peak_kib: int = 0
    why: str = ""

    @property
    def exception(self) -> str:
        """The name of the exception that ended the program; empty where none did."""
        last = self.stderr.rstrip().rpartition("\n")[2]
        named = re.match(r"[A-Za-z_][\w.]*(?=:|$)", last)
        return named.group() if named and self.status in ("error", "memory") else ""


def run_python(
    code: str,
    *,
    stdin: str = "",
    files: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    hash_seed: int = 0,
) -> Run:
    """Run a program of the standard library alone. Never raises on any text.

    `files` (plain names to texts) lie in the working folder, which is gone afterwards.
    """
    closed = unavailable()
    if closed:
        return Run("unavailable", why=closed)
    return _execute(code, stdin, files or {}, limits or Limits(), hash_seed)


@functools.cache
def unavailable() -> str:
    """Why nothing can be run here; empty where the sandbox stands. Probed once a process (.3 s)."""
    return "; ".join(missing())


def missing() -> list[str]:
    """What the sandbox needs and does not find: kernel features, or else the probes that went wrong."""
    return _features() or [f"{name}: {found}" for name, found in _probes().items() if found]


def _features() -> list[str]:
    if sys.platform != "linux":
        return [f"Linux (this is {sys.platform})"]
    gone = [] if seccomp.supported() else [f"a table of system calls for {platform.machine()}"]
    gone += [f"{name} namespaces" for name in _NAMESPACES if not Path(f"/proc/self/ns/{name}").exists()]
    if not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        gone.append("seccomp filters")
    # Distributions close user namespaces to ordinary users by either of two further settings; root is not
    # bound.
    settings = {"user/max_user_namespaces": "0"}
    if os.geteuid() != 0:
        settings |= {
            "kernel/unprivileged_userns_clone": "0",
            "kernel/apparmor_restrict_unprivileged_userns": "1",
        }
    for setting, bad in settings.items():
        path = Path("/proc/sys") / setting
        if path.exists() and path.read_text().strip() == bad:
            gone.append(f"user namespaces: {setting.replace('/', '.')} is {bad}")
    return gone


# Each attempt is one that a hostile program would make first. A product is printed too, so that an empty list
# cannot come from a program that never ran.
_INTRUDER = """
import fractions, os, socket, threading
got = []
def attempt(name, act):
    try:
        act()
        got.append(name)
    except (OSError, RuntimeError):
        pass
attempt("reads files", lambda: open("/etc/passwd").read())
attempt("reads the host's processes", lambda: os.listdir("/proc/1"))
attempt("writes outside", lambda: open("/tmp/x", "w"))
attempt("writes the library", lambda: open(os.__file__, "r+"))
attempt("opens sockets", lambda: socket.socket())
attempt("forks", lambda: os.fork() or os._exit(0))
attempt("starts threads", lambda: threading.Thread(target=int).start())
attempt("starts programs", lambda: os.execv("/bin/sh", ["sh"]))
attempt("becomes root", lambda: os.setuid(0))
if set(os.environ) - {"PYTHONPATH", "PYTHONHASHSEED", "LC_ALL", "LC_CTYPE"}:
    got.append("sees the environment")
print(got, 37 * 43)
"""


# Programs that overstep a limit, the seconds each has, and how it must end. A loop is ended by time alone,
# of which a moment shows as much as a second.
_OVERSTEPS = (
    ("endless loop", "while True: pass", 0.1, "timeout"),
    ("4 GiB of memory", "bytearray(2**32)", START_S, "memory"),
    ("endless output", "while True: print('x' * 99)", START_S, "output_limit"),
)


def _probes() -> dict[str, str]:
    """Probe -> what went wrong, empty where all is well."""
    # The probes may take long on a busy machine: a slow start must not look like an open sandbox.
    small = Limits(wall_s=START_S, cpu_s=20, memory_bytes=64 * 2**20, output_bytes=1024)
    # Side by side: most of a probe's time is the start of its interpreter.
    with ThreadPoolExecutor(len(_OVERSTEPS) + 1) as threads:
        intruder = threads.submit(_execute, _INTRUDER, "", {}, small)
        ended = [
            threads.submit(_execute, code, "", {}, Limits(wall_s, 20, 64 * 2**20, 4096))
            for _, code, wall_s, _ in _OVERSTEPS
        ]
    first = intruder.result()
    if first.status != "ok":
        return {"the sandbox does not stand": f"{first.status} {first.why or first.stderr[-200:]}"}
    found = {"a program in the sandbox": "" if first.stdout == "[] 1591\n" else first.stdout.strip()}
    for (name, _, _, expected), run in zip(_OVERSTEPS, ended, strict=True):
        status = run.result().status
        found[name] = "" if status == expected else f"ended as {status}, not {expected}"
    return found


def _execute(code: str, stdin: str, files: Mapping[str, str], limits: Limits, hash_seed: int = 0) -> Run:
    if len(code) + len(stdin) + sum(map(len, files.values())) > limits.files_bytes or len(code) > _MOST_CODE:
        return Run("error", why="the program or its input is too large")
    # `../x`, `/etc/x` and `.hidden` are no plain names; the jail writes these files before it drops its
    # rights.
    if not all(re.fullmatch(r"\w[\w.-]{0,99}", name) for name in files):
        return Run("error", why="a file's name is not plain")
    job = {"code": code, "stdin": stdin, "files": dict(files), "package_root": _ROOT}
    job |= {name: getattr(limits, name) for name in ("memory_bytes", "cpu_s", "files_bytes")}
    ours, theirs = socket.socketpair()
    try:
        # A file, not a pipe: a pipe holds 64 KiB, and writing more would wait for a child that may never
        # read.
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(job).encode())
            given.seek(0)
            process = subprocess.Popen(
                # No site packages, no current folder, no byte code, no buffering: only the standard library
                # can be imported.
                [sys.executable, *"-s -S -P -B -u -m verifiers.isolation.jail".split(), str(theirs.fileno())],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env={"PYTHONPATH": _ROOT, "PYTHONHASHSEED": str(hash_seed), "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        return Run("unavailable", why=str(error))
    finally:
        theirs.close()
    with ours, process:
        try:
            return _Watch(process, ours, limits).run()
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@dataclass
class _Watch:
    """Reads what one run says until it ends or oversteps a limit."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    limits: Limits
    said: dict[str, bytearray] = field(default_factory=lambda: {n: bytearray() for n in ("c", "out", "err")})
    stopped: Status | None = None
    stage: Literal["starting", "unshared", "ready"] = "starting"

    def run(self) -> Run:
        # The clock of the program starts at `ready`; until then the deadline is that of the start.
        self.deadline = time.monotonic() + START_S
        with selectors.DefaultSelector() as selector:
            sources = {"c": self.control, "out": self.process.stdout, "err": self.process.stderr}
            for name, source in sources.items():
                assert source is not None
                selector.register(source, selectors.EVENT_READ, name)
            while selector.get_map():
                ready = selector.select(max(0.0, self.deadline - time.monotonic()))
                # After a stop (Ctrl-Z) time is up, but what has ended by itself was in time: only read it.
                over = time.monotonic() >= self.deadline and self.process.poll() is None
                if over and not self._stop("timeout"):
                    break
                for key, _ in ready:
                    if not self._read(key.data, key.fd):
                        selector.unregister(key.fileobj)
        return self._result()

    def _read(self, name: str, descriptor: int) -> bool:
        try:
            text = os.read(descriptor, 1 << 16)
        except OSError:
            text = b""
        if name == "c":
            self.said[name] += text
            self._advance()
            return bool(text)
        room = self.limits.output_bytes - len(self.said[name])
        self.said[name] += text[:room]
        # One byte over the limit ends the run, and no more than the limit is ever kept in memory.
        if len(text) > room and self.stopped is None:
            self._stop("output_limit")
        return bool(text)

    def _advance(self) -> None:
        if self.stage == "starting" and b"unshared\n" in self.said["c"]:
            self.stage = "unshared"
            try:
                _map_user(self.process.pid)
                self.control.send(b"g")
            except OSError as error:
                self.said["c"] += f"failed mapping the user: {error}\n".encode()
                self.control.shutdown(socket.SHUT_WR)
        if self.stage == "unshared" and b"ready\n" in self.said["c"]:
            self.stage, self.deadline = "ready", time.monotonic() + self.limits.wall_s

    def _stop(self, why: Status) -> bool:
        """Ask the supervisor to end the program; False when it was asked before, or nothing runs yet."""
        if self.stopped is not None or self.stage != "ready":
            return False
        self.stopped, self.deadline = why, time.monotonic() + _GRACE_S
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        return True

    def _result(self) -> Run:
        out, err = (self.said[name].decode("utf-8", "replace") for name in ("out", "err"))
        lines = self.said["c"].decode("utf-8", "replace").splitlines()
        failed = [line.removeprefix("failed ") for line in lines if line.startswith("failed ")]
        if failed or self.stage != "ready":
            return Run("unavailable", why=(failed or [err[-300:] or "it did not start in time"])[0])
        ended = next((line.split() for line in lines if line.startswith("exit ")), None)
        if ended is None:
            return Run(self.stopped or "killed", out, err)
        code, cpu_s, peak = int(ended[1]), float(ended[2]), int(ended[3])
        if self.stopped:
            return Run(self.stopped, out, err, None, cpu_s, peak)
        status: Status = "ok" if code == 0 else "error"
        if code == 1 and re.search(r"^MemoryError", err.rstrip().rpartition("\n")[2]):
            status = "memory"
        # The kernel counts processor time by ticks: on a busy machine what is measured here stays behind. So
        # the signal tells, or the time of a program that ignored it.
        if code < 0:
            over = code == -signal.SIGXCPU or cpu_s >= 0.9 * self.limits.cpu_s
            status = "timeout" if over else "killed"
        return Run(status, out, err, code, cpu_s, peak)


def _map_user(pid: int) -> None:
    """Map the users of the new namespace: our own user and, for root, also `nobody`, who runs the program."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        maps = {"uid_map": "0 0 1\n65534 65534 1\n", "gid_map": "0 0 1\n65534 65534 1\n"}
    else:
        maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1\n", "gid_map": f"{gid} {gid} 1\n"}
    for name, text in maps.items():
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
