"""Runs a function in a worker process that can be killed: solvers do not keep their own time limits.

Workers are fresh interpreters (`python -m verifiers.isolation.workers`), not forks: a fork of a process that
has loaded torch or holds a lock may hang, and multiprocessing's spawn would import the main program again.
They stay warm between calls.

pebble's pool is as fast (0.2 ms a call) and keeps a time limit as well, but its worker outlives a starter
that is killed, whether it was forked or spawned; it starts workers by multiprocessing; and it has no limit
of memory (`python -m benchmarks libraries.workers`).
"""

import atexit
import importlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from verifiers.isolation.lifeline import hold, lifeline

START_S = 20.0
"""How long a new worker may take to say that it is ready, on a busy machine."""
CALLS_PER_WORKER = 400
"""A worker is replaced after so many calls, because the libraries' caches grow."""


@dataclass(frozen=True)
class Result:
    """What came back: a value, or why there is none. A failure never counts as a no."""

    value: Any = None
    failure: str = ""
    """`timeout`, `memory`, `crash`, or the error's name and text; empty when there is a value."""


@dataclass(frozen=True)
class _Message:
    function: str
    args: tuple[Any, ...]
    timeout_s: float
    memory_mb: int
    preload: str


class _Worker:
    """One process and the connection to it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        line = lifeline().fileno()
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "verifiers.isolation.workers", str(theirs.fileno()), str(line)],
            pass_fds=[theirs.fileno(), line],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C would reach it while it is importing
        )
        theirs.close()
        self.calls = 0
        if not self._connection.poll(START_S):
            self.kill()
            raise EOFError
        self._connection.recv()

    def call(self, message: "_Message") -> Result | None:
        """The reply; None when it came too late. Raises EOFError or OSError when the worker has died."""
        self.calls += 1
        self._connection.send(message)
        # The worker says when its imports are done: a second of importing SymPy is not the claim's fault.
        if not self._connection.poll(START_S):
            return None
        self._connection.recv()
        if not self._connection.poll(message.timeout_s):
            return None
        value, failure = self._connection.recv()
        return Result(value, failure)

    def end(self) -> None:
        """End the process. Who waits for its reply meets the end of the connection."""
        self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()


class Pool:
    """At most `size` workers, started when first needed. Safe to use from several threads."""

    def __init__(self, size: int = 2) -> None:
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._stopped = False

    def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        timeout_s: float,
        memory_mb: int,
        preload: str = "",
    ) -> Result:
        """Call an importable function in a worker. Waiting for a free worker does not count as its time."""
        name = f"{function.__module__}:{function.__qualname__}"
        message = _Message(name, args, timeout_s, memory_mb, preload)
        # Waiting happens here, before the clock of the call starts.
        with self._free:
            try:
                worker = self._take()
            except (EOFError, OSError):
                return Result(failure="crash: no worker could be started")
            try:
                result = worker.call(message)
            except (EOFError, OSError):
                worker.kill()
                return Result(failure="crash")
            except BaseException:
                worker.kill()  # interrupted half-way: its reply would be taken for the next call's
                raise
            finally:
                with self._lock:
                    self._busy.remove(worker)
            if result is None:
                worker.kill()
                return Result(failure="timeout")
            self._give(worker)
            return result

    def _take(self) -> _Worker:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None and not self._stopped:
            worker = _Worker()
        with self._lock:
            if worker is None or self._stopped:
                if worker is not None:
                    worker.kill()
                raise EOFError
            self._busy.append(worker)
        return worker

    def _give(self, worker: _Worker) -> None:
        # SymPy and Z3 never give memory back; a new process does.
        if worker.calls >= CALLS_PER_WORKER:
            worker.kill()
            return
        with self._lock:
            self._idle.append(worker)

    def close(self) -> None:
        """End the idle workers. The pool can be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def stop(self) -> None:
        """End all workers for good, also those that are at work: their calls fail."""
        with self._lock:
            self._stopped = True
            for worker in self._busy:
                worker.end()
        self.close()

    def forget(self) -> None:
        """Drop the workers without ending them: after a fork they belong to the parent."""
        self._lock = threading.Lock()
        self._idle, self._busy = [], []


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


DEFAULT_POOL = Pool(os.cpu_count() or 2)
atexit.register(DEFAULT_POOL.close)
os.register_at_fork(after_in_child=DEFAULT_POOL.forget)


def run_limited(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    timeout_s: float = 3.0,
    memory_mb: int = 512,
    preload: str = "",
    pool: Pool | None = None,
) -> Result:
    """Call `function(*args)` within limits of time and memory; what goes wrong comes back as a failure.

    `preload` names a library to import before the clock starts.
    """
    chosen = pool or DEFAULT_POOL
    return chosen.run(function, args, timeout_s=timeout_s, memory_mb=memory_mb, preload=preload)


def serve(descriptor: int, line: int) -> None:
    """A worker's life: answer calls until the other side goes away."""
    hold(Connection(line, writable=False))
    connection = Connection(descriptor)
    connection.send("ready")
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            return
        # The parent kills on time; this alarm ends a worker whose parent is stopped.
        signal.setitimer(signal.ITIMER_REAL, START_S + message.timeout_s + 5)
        reply = _answer(message, connection)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            connection.send(reply)
        except (BrokenPipeError, ConnectionResetError):
            return


def _answer(message: _Message, connection: Connection) -> tuple[Any, str]:
    try:
        function = _prepare(message)
    except Exception as error:
        connection.send("failed")
        return None, f"{type(error).__name__}: {error}"[:300]
    connection.send("prepared")
    try:
        _limit_memory(message.memory_mb)
        return function(*message.args), ""
    except MemoryError:
        return None, "memory"
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"[:300]
    finally:
        # Lifted again: importing the next call's library may need more than its calculation.
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _prepare(message: _Message) -> Any:
    if message.preload:
        importlib.import_module(message.preload)
    module, _, name = message.function.partition(":")
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    return function


def _limit_memory(memory_mb: int) -> None:
    """Allow that much on top of what the interpreter and its libraries have mapped already."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            mapped = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # no /proc: the time limit alone has to do
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory_mb * 2**20, resource.RLIM_INFINITY))


if __name__ == "__main__":
    # Messages are pickled as this module's _Message; the copy that is __main__ would have another class.
    importlib.import_module("verifiers.isolation.workers").serve(*map(int, sys.argv[1:]))
