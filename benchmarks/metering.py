"""What a stretch of work took: wall clock, CPU seconds and memory."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Often enough to see a store that is held for a few decoding steps, and cheap: a look takes microseconds.
_EVERY_S = 0.02


@dataclass
class Took:
    """Seconds by the wall clock and of the CPU, and the most memory (GB) at any time; sums of several
    stretches, but the largest memory of all."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_gb: float = 0.0

    def figures(self) -> dict[str, float]:
        """Rounded, under their names."""
        return {name: round(value, 3) for name, value in vars(self).items()}


@contextmanager
def metered(took: Took) -> Iterator[None]:
    """Add what is done within to `took`. Memory is this process's, with everything that it has loaded."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY_S):
            took.peak_gb = max(took.peak_gb, memory_gb())

    watcher = threading.Thread(target=watch, daemon=True)
    wall, cpu = time.perf_counter(), time.process_time()
    watcher.start()
    try:
        yield
    finally:
        took.wall_s += time.perf_counter() - wall
        took.cpu_s += time.process_time() - cpu
        over.set()
        watcher.join()
        took.peak_gb = max(took.peak_gb, memory_gb())


def apart(arguments: list[str], folder: Path) -> Took:
    """What a `stepmint` command takes in a process of its own, with those that it starts and waits for.
    RuntimeError where it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command, quiet = [sys.executable, "-m", "stepmint", *arguments], subprocess.DEVNULL
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet)
    _, status, used = os.wait4(process.pid, 0)
    wall, process.returncode = time.perf_counter() - begun, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"stepmint {' '.join(arguments)}: ended with {process.returncode}")
    return Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9)  # Linux counts in KiB


def memory_gb() -> float:
    """What this process holds in memory now."""
    import psutil

    return float(psutil.Process().memory_info().rss / 1e9)
