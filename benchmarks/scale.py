"""A run of many problems on the simulated policy: speed, memory over time, and what a kill half-way costs.

`STEPMINT_SCALE` is the number of problems, 100,000 by default. Both runs are whole `stepmint synthesize`
commands, Prefect and its temporary server included, measured from outside.
"""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.storage import journal
from pipeline.storage.compressed import Forward

Figures = dict[str, Any]
COMMAND = "import sys; from flows.cli import main; sys.exit(main(sys.argv[1:]))"
SHARDS = 50
# Often enough to see a peak of memory, seldom enough not to slow the run.
EVERY_S = 0.25
MB = 2**20


@dataclass
class Watched:
    """One command as seen from outside: seconds it took, and resident bytes over time."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the processor, the children's included unless they were killed: other work on the machine hardly
    changes it."""
    times: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    """Of the command itself."""
    server: list[int] = field(default_factory=list)
    """Of its children: Prefect's temporary server, and processes that seal."""


def problems() -> Figures:
    """100,000 problems (STEPMINT_SCALE) on the simulated policy: problems/s of a whole run, and as the
    baseline of one that is killed half-way and started again; ratio - 1 is what the restart costs."""
    n = int(os.environ.get("STEPMINT_SCALE", "100000"))
    with tempfile.TemporaryDirectory(prefix="stepmint-scale-") as folder:
        root = Path(folder)
        _write_problems(root, n)
        whole = watch(_run_file(root, "whole"))
        # Half of the journal's bytes is half of the work, whatever the order of the shards.
        size = _journal_bytes(root / "whole")
        first = watch(_run_file(root, "killed"), until=lambda: _journal_bytes(root / "killed") >= size / 2)
        second = watch(_run_file(root, "killed"))
        files = {name: _digests(root / name) for name in ("whole", "killed")}
        manifest = json.loads((root / "whole" / "manifest.json").read_text())
    return {
        "value": n / whole.seconds,
        "unit": "problems/s",
        "baseline": n / (first.seconds + second.seconds),
        "n": n,
        "details": {
            "seconds": {
                "whole": round(whole.seconds, 1),
                "until_killed": round(first.seconds, 1),
                "after": round(second.seconds, 1),
            },
            "cpu_seconds": {
                "whole": round(whole.cpu_seconds, 1),
                "until_killed": round(first.cpu_seconds, 1),
                "after": round(second.cpu_seconds, 1),
            },
            "labelling_problems_per_s": round(n / manifest["seconds"], 1),
            "rss_mb": _memory(whole),
            "rss_mb_after_restart": _memory(second),
            "same_bytes_after_restart": files["whole"] == files["killed"],
            "rollouts": manifest["rollouts"],
            "fitted_on_solutions": manifest["trust"]["n_solutions"],
            "cores": os.cpu_count(),
            "load_average": [round(x, 2) for x in os.getloadavg()],
        },
    }


def memory() -> Figures:
    """Memory of a run of a million problems (STEPMINT_SCALE), MB at most, beside that of a tenth as many; of
    short solutions with few rollouts, since only the number of problems is in question."""
    n = int(os.environ.get("STEPMINT_SCALE", "1000000"))
    found: dict[int, Watched] = {}
    for size in (n // 10, n):
        with tempfile.TemporaryDirectory(prefix="stepmint-scale-") as folder:
            _write_problems(Path(folder), size)
            found[size] = watch(_run_file(Path(folder), "memory", steps=3, rollouts=2, shards=n // 2000))
    few, many = _memory(found[n // 10]), _memory(found[n])
    return {
        "value": many["most"],
        "unit": "MB",
        "baseline": few["most"],
        "n": n,
        "details": {
            "rss_mb": {n // 10: few, n: many},
            "problems_per_s": {size: round(size / one.seconds, 1) for size, one in found.items()},
            "problems_per_cpu_s": {size: round(size / one.cpu_seconds, 1) for size, one in found.items()},
            "load_average": [round(x, 2) for x in os.getloadavg()],
        },
    }


def _write_problems(root: Path, n: int) -> None:
    with (root / "problems.jsonl").open("w") as file:
        for i in range(n):
            file.write(json.dumps({"text": f"Problem {i}: how does it end?", "answer": "right"}) + "\n")


def _run_file(root: Path, name: str, steps: int = 5, rollouts: int = 4, shards: int = SHARDS) -> Path:
    path = root / f"{name}.toml"
    path.write_text(f"""
name = "{name}"
root = {str(root)!r}
shards = {shards}
[problems]
source = "jsonl"
path = {str(root / "problems.jsonl")!r}
[policy]
kind = "simulated"
slip = 0.15
n_steps = {steps}
[propose]
kind = "sample"
n = 1
[[annotate]]
kind = "monte_carlo"
rollouts = {rollouts}
[[annotate]]
kind = "verify"
verifiers = ["arithmetic"]
""")
    return path


def watch(run_file: Path, until: Callable[[], bool] = lambda: False) -> Watched:
    """Label a run file with the command, looking on; killed (SIGKILL) as soon as `until` holds."""
    return followed("synthesize", str(run_file), "--json", until=until)


def followed(*args: str, until: Callable[[], bool] = lambda: False) -> Watched:
    """Give a command, looking on; killed (SIGKILL) as soon as `until` holds."""
    found, start, before = Watched(), time.perf_counter(), _cpu_seconds()
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *args], stdout=subprocess.DEVNULL)
    killed = False
    while process.poll() is None:
        found.times.append(time.perf_counter() - start)
        found.rss.append(_rss(process.pid))
        found.server.append(sum(map(_rss, _children(process.pid))))
        if not killed and until():
            process.send_signal(signal.SIGKILL)
            killed = True
        time.sleep(EVERY_S)
    found.seconds, found.cpu_seconds = time.perf_counter() - start, _cpu_seconds() - before
    if process.returncode != (-signal.SIGKILL if killed else 0):
        raise RuntimeError(f"{' '.join(args)}: the command ended with {process.returncode}")
    return found


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rss(pid: int) -> int:
    try:
        # The second figure is the resident set, in pages.
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _memory(watched: Watched) -> Figures:
    """The greatest, and how it moves between a fifth of the time and the end: a line through the samples."""
    # Loading libraries and the first shards raise memory for good; what grows after that is a leak.
    late = np.array(watched.times) >= 0.2 * watched.seconds
    times, rss = np.array(watched.times)[late], np.array(watched.rss)[late] / MB
    slope = float(np.polyfit(times / watched.seconds, rss, 1)[0]) if len(times) > 2 else 0.0
    tenths = np.interp(np.linspace(0.2, 0.95, 6) * watched.seconds, times, rss)
    return {
        "most": round(float(rss.max()), 1),
        "most_with_server": round(float((np.array(watched.rss) + watched.server).max()) / MB, 1),
        "slope_per_run": round(slope, 1),
        "from_20_to_95_percent": [round(float(x), 1) for x in tenths],
    }


def _journal_bytes(run: Path) -> int:
    """Of all lines of a run's journals, as they are before they are compressed."""
    plain = sum(path.stat().st_size for path in (run / "journal").glob("*.jsonl"))
    packed = (journal.path_of(run, int(path.name[:5])) for path in (run / "journal").glob("*.jsonl.zst"))
    return plain + sum(len(line) for path in packed for line in Forward(path))


def _digests(run: Path) -> dict[str, str]:
    """SHA-256 of every Parquet file of a run."""
    files = sorted(run.glob("*/*.parquet"))
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
