"""`verifiers.hostile.sandbox`: attack programs, and what they achieved."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.attacks import ATTACKS, EXCESSES
from verifiers.isolation.sandbox import Limits, run_python, unavailable

QUICK = Limits(wall_s=1.0, cpu_s=2, memory_bytes=128 * 2**20)
PATIENT = Limits(wall_s=20.0, cpu_s=20, memory_bytes=128 * 2**20)


def limits_for(name: str) -> Limits:
    """A second for what must end by the clock, and time for all others: on a busy machine the clock would end
    them before they reach the limit, or do the harm, that they are here for."""
    return QUICK if name in EXCESSES and "timeout" in EXCESSES[name].ends else PATIENT


def sandbox() -> dict[str, Any]:
    """Attack programs that the sandbox stopped, of all; the rest is named."""
    n = len(ATTACKS) + len(EXCESSES)
    if unavailable():
        return {"value": 0, "unit": "attacks stopped", "baseline": n, "n": 0,
                "details": {"unavailable": unavailable()}}  # fmt: skip
    through: list[str] = []
    longest = peak = 0.0
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    os.environ["STEPMINT_ATTACK_SECRET"] = "ESCAPED"
    try:
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
            secret, outside = Path(folder, "secret"), Path(folder, "outside")
            secret.write_text("ESCAPED secret")
            outside.mkdir()
            names = {"secret": str(secret), "outside": str(outside), "victim": victim.pid}
            names["port"] = server.getsockname()[1]
            for name, code in [*ATTACKS.items(), *((name, e.code) for name, e in EXCESSES.items())]:
                start, limits = time.perf_counter(), limits_for(name)
                run = run_python(code.format(**names) if name in ATTACKS else code, limits=limits)
                longest, peak = max(longest, time.perf_counter() - start), max(peak, run.peak_kib / 1024)
                bad = run.status not in EXCESSES[name].ends if name in EXCESSES else "ESCAPED" in run.stdout
                # Success may show by what was printed, by a file outside, or by the victim's end.
                if (
                    bad
                    or any(outside.iterdir())
                    or victim.poll() is not None
                    or len(run.stdout) > limits.output_bytes
                ):
                    through.append(name)
    finally:
        del os.environ["STEPMINT_ATTACK_SECRET"]
        victim.kill()
        victim.wait()
    start = time.perf_counter()
    # The cost of the walls when nothing is attacked.
    for _ in range(20):
        run_python("print(1)")
    found = {
        "through": through,
        "longest_s": round(longest, 2),
        "wall_limit_s": QUICK.wall_s,
        "peak_mib": round(peak),
        "runs_per_s": round(20 / (time.perf_counter() - start), 1),
    }
    return {"value": n - len(through), "unit": "attacks stopped", "baseline": n, "n": n, "details": found}
