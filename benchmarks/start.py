"""`start.commands`, `start.overhead`: what commands take before and beside their work."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.metering import Took, apart

_TURNS = 3
_WANTED_S = 0.5
_COMMANDS = {
    "help": ["--help"],
    "doctor": ["doctor"],
    "init": ["init", "problems.jsonl", "--out", "made.toml", "--force"],
    "label --dry-run": ["label", "given.jsonl", "--dry-run"],
    "run --dry-run": ["run", "run.toml", "--dry-run"],
    "plan": ["plan", "run.toml", "--pass-rate", "0.3", "--tokens-per-solution", "50",
             "--tokens-per-second", "900"],
    "status": ["status", "runs/demo"],
    "check": ["check", "runs/demo"],
    "show": ["show", "runs/demo"],
    "report": ["report", "runs/demo"],
    "fuse": ["fuse", "runs/demo"],
    "regrade": ["regrade", "runs/demo"],
    "derive": ["derive", "runs/demo", "quality"],
    "export": ["export", "runs/demo", "--format", "trl", "--out", "rows.jsonl"],
    "publish --dry-run": ["publish", "runs/demo", "me/demo", "--dry-run"],
    "verify": ["verify", "given.jsonl"],
}  # fmt: skip
"""Commands that run no flow."""
_RUN = """
name = "demo"
shards = {shards}
[problems]
source = "jsonl"
path = "problems.jsonl"
[policy]
kind = "simulated"
slip = 0.25
[[annotate]]
kind = "monte_carlo"
rollouts = 8
"""


def commands() -> dict[str, Any]:
    """Wall seconds of the slowest command that runs no flow, on a run of one problem; the baseline is what it
    should take. `details` has wall and processor seconds of each, the best of three turns."""
    with tempfile.TemporaryDirectory() as place:
        folder = _folder(Path(place), problems=1, shards=1)
        apart(["run", "run.toml", "--no-prefect"], folder)
        found = {name: _best([arguments], folder)[0] for name, arguments in _COMMANDS.items()}
    slowest = max(found, key=lambda name: found[name]["wall_s"])
    details = {"slowest": slowest, "compiled": _is_compiled(), "load": os.getloadavg()[0], "commands": found}
    return {"value": found[slowest]["wall_s"], "unit": "s", "baseline": _WANTED_S, "n": len(found),
            "details": details}  # fmt: skip


def overhead() -> dict[str, Any]:
    """Wall seconds of a run of one simulated problem with Prefect; the baseline is without. `details` has
    processor seconds too, and both for a run of 50 shards. The two take turns."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, problems, shards in (("one problem", 1, 1), ("50 shards", 200, 50)):
        with tempfile.TemporaryDirectory() as place:
            folder = _folder(Path(place), problems, shards)
            ways = [["run", "run.toml"], ["run", "run.toml", "--no-prefect"]]
            found[name] = dict(zip(("prefect", "plain"), _best(ways, folder, fresh=True), strict=True))
    one = found["one problem"]
    return {
        "value": one["prefect"]["wall_s"],
        "unit": "s",
        "baseline": one["plain"]["wall_s"],
        "n": _TURNS,
        "details": {"compiled": _is_compiled(), "load": os.getloadavg()[0], **found},
    }


def _folder(folder: Path, problems: int, shards: int) -> Path:
    rows = [{"text": f"Problem {i}", "answer": "right", "answer_kind": "text"} for i in range(problems)]
    (folder / "problems.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    given = {"problem": "What is 2 + 3?", "steps": ["2 + 3 = 5", "5 * 2 = 10"]}
    (folder / "given.jsonl").write_text(f"{json.dumps(given)}\n")
    (folder / "run.toml").write_text(_RUN.format(shards=shards))
    return folder


def _best(ways: list[list[str]], folder: Path, *, fresh: bool = False) -> list[dict[str, float]]:
    """The least wall and processor seconds of each way; they take turns. `fresh` runs begin anew."""
    found: list[list[Took]] = [[] for _ in ways]
    for _ in range(_TURNS):
        for arguments, took in zip(ways, found, strict=True):
            more = ["--set", f"name='run{time.monotonic_ns()}'"] if fresh else []
            took.append(apart([*arguments, *more], folder))
    return [
        {
            "wall_s": round(min(took.wall_s for took in one), 2),
            "processor_s": round(min(took.cpu_s for took in one), 2),
        }
        for one in found
    ]


def _is_compiled() -> bool:
    """Whether the byte code of a large library lies ready."""
    import pydantic.main

    cached = pydantic.main.__cached__
    return bool(cached) and Path(cached).is_file()
