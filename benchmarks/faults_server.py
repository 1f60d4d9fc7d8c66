"""Runs on a server that goes wrong in every way we know, then repaired: is every problem done, and alike?"""

import asyncio
import hashlib
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.fault_kinds import CHAT, FAULTS, FROM_THE_START, STOP
from benchmarks.faulty import FaultyServer

Figures = dict[str, Any]
# Faults begin after 40 calls, in the middle of the work, and in the mixed trials hit three calls in ten.
PROBLEMS, SINCE, MIXED = 100, 40, 0.3
SECRET = "faulty-key"
# A session that hangs for so long is a finding, and ends the bench. Most of a trial is waiting, so four run
# side by side.
_PATIENT_S, _LANES = 240, 4
_MIXED = [name for name in FAULTS if name not in CHAT and name != "refuses return_token_ids"]


def run_file(
    url: str, root: Path, name: str, problems: int, *, chat: bool = False, timeout_s: float = 5.0
) -> Figures:
    """A run of solutions and rollouts on the server at `url`."""
    source = root / f"problems-{problems}.jsonl"
    if not source.exists():
        posed = ({"text": f"problem {i}", "answer": "right", "answer_kind": "text"} for i in range(problems))
        source.write_text("".join(json.dumps(problem) + "\n" for problem in posed))
    return {
        "name": name,
        "root": str(root / "runs"),
        "problems": {"source": "jsonl", "path": str(source), "fields": {"answer_kind": "answer_kind"}},
        "policy": {
            "kind": "server", "model": "m", "base_url": url, "chat": chat, "timeout_s": timeout_s,
            "patience_s": 1.5, "in_flight": 64, "api_key_env": "STEPMINT_FAULTY_KEY",
        },
        "prompt": {"max_tokens": 64, "stop": [STOP]},
        "propose": {"kind": "sample", "n": 1},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
    }  # fmt: skip


def label(data: Figures) -> Figures:
    """One session of the run: what `stepmint synthesize` does, without Prefect."""
    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.sealing import seal
    from pipeline.labelling.shard import run_shard
    from pipeline.runs.owed import owed_figures
    from pipeline.runs.run_store import RunStore
    from schemas.config import parse_config
    from schemas.errors import BackendError, UserError

    store, error, start = RunStore.open(parse_config(data, "faults")), "", time.perf_counter()
    read_problems(store)
    try:
        asyncio.run(run_shard(store, 0))
    except (BackendError, UserError) as failure:
        error = str(failure)
    owed = owed_figures(store)
    if not owed["owed"]:
        seal(store)
    seconds = round(time.perf_counter() - start, 2)
    return {"owed": owed["owed"], "reasons": owed["reasons"], "error": error, "seconds": seconds}


def rows(root: Path, name: str) -> tuple[str, str]:
    """Digests of a sealed run's rows and rollouts: of the files' bytes, and of all but the token counts."""
    folder = root / "runs" / name
    files = [folder / "shards" / "00000.parquet", folder / "rollouts" / "00000.parquet"]
    whole = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    # A repaired server counts the tokens of fewer calls, so token counts may differ where all texts are
    # equal.
    texts = json.dumps([_without_tokens(pq.read_table(file).to_pylist()) for file in files])
    return whole, hashlib.sha256(texts.encode()).hexdigest()


def _without_tokens(data: Any) -> Any:
    if isinstance(data, list):
        return [_without_tokens(item) for item in data]
    if isinstance(data, dict):
        return {key: _without_tokens(value) for key, value in data.items() if key != "tokens"}
    return data


def compare(found: tuple[str, str], good: tuple[str, str]) -> str:
    """How alike two runs are."""
    return "bytes" if found[0] == good[0] else "all but token counts" if found[1] == good[1] else "no"


def server() -> Figures:
    """Problems done with the rows of a good server, after a run on one that goes wrong (every kind of fault
    alone, and all mixed at 30% of the calls) and the same command on the repaired one; the share of all, and
    the highest memory of the process that runs them."""
    os.environ["STEPMINT_FAULTY_KEY"] = SECRET
    start = time.perf_counter()
    trials: dict[str, Figures] = {
        name: {"faults": [name], "since": 0 if name in FROM_THE_START else SINCE} for name in FAULTS
    }
    trials["all mixed"] = {"faults": _MIXED, "share": MIXED}
    trials["all mixed, chat"] = {"faults": list(FAULTS), "share": MIXED, "since": SINCE}
    trials["20 requests a second"] = {"faults": [], "limit_per_s": 20}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        lanes = queue.SimpleQueue[_Lane]()
        for _ in range(_LANES):  # most of a trial is waiting
            lanes.put(_Lane(stack.enter_context(FaultyServer()), stack.enter_context(_Worker()), root))
        first = lanes.get()
        good = {chat: first.good(chat) for chat in (False, True)}
        lanes.put(first)

        def attempt(number: int, name: str) -> Figures:
            lane = lanes.get()
            try:
                chat = name in CHAT or name.endswith("chat")
                found = lane.attempt(f"run-{number}", trials[name], good[chat], chat=chat)
            finally:
                lanes.put(lane)
            print(json.dumps({name: found}, ensure_ascii=False), file=sys.stderr, flush=True)
            return found

        with ThreadPoolExecutor(_LANES) as pool:
            kinds = dict(zip(trials, pool.map(attempt, range(len(trials)), trials), strict=True))
        kinds["all mixed, by the command"] = _by_command(lanes.get().faulty, root, good[False])
    alike = [name for name, kind in kinds.items() if kind["equal"] != "no" and kind["done"] == PROBLEMS]
    return {
        "value": len(alike) / len(kinds),
        "unit": "share of trials",
        "baseline": 1.0,
        "n": len(kinds),
        "details": {
            "memory_mb": max(kind["memory_mb"] for kind in kinds.values()),
            "seconds": round(time.perf_counter() - start, 1),
            "not_equal": [name for name in kinds if name not in alike],
            "equal_but_for_token_counts": [n for n, kind in kinds.items() if kind["equal"].startswith("all")],
            "key_seen": [name for name, kind in kinds.items() if kind["key_seen"]],
            "kinds": kinds,
        },
    }


@dataclass
class _Lane:
    """A server and a process that runs sessions on it."""

    faulty: FaultyServer
    worker: "_Worker"
    root: Path

    def good(self, chat: bool) -> tuple[str, str]:
        """The rows of a run on the good server."""
        self.worker.ask(run_file(self.faulty.url, self.root, f"good-{chat}", PROBLEMS, chat=chat))
        return rows(self.root, f"good-{chat}")

    def attempt(self, name: str, trial: Figures, good: tuple[str, str], *, chat: bool) -> Figures:
        """A run on the server that goes wrong, and the same again on the repaired one."""
        data = run_file(self.faulty.url, self.root, name, PROBLEMS, chat=chat)
        self.faulty.set(*trial["faults"], **{k: v for k, v in trial.items() if k != "faults"})
        first = self.worker.ask(data)
        hit, calls = self.faulty.hit, self.faulty.calls
        self.faulty.set()
        second = self.worker.ask(data)
        said = first["error"] or next(iter(first["reasons"]), "")
        return {
            "calls": calls,
            "hit": hit,
            "owed_first": first["owed"],
            "done": PROBLEMS - second["owed"],
            "equal": compare(rows(self.root, name), good) if not second["owed"] else "no",
            "seconds": round(first["seconds"] + second["seconds"], 2),
            "memory_mb": max(first["memory_mb"], second["memory_mb"]),
            "said": said[:160],
            "said_again": second["error"][:160],
            "key_seen": SECRET in said or _holds_secret(self.root / "runs" / name),
        }


def _by_command(faulty: FaultyServer, root: Path, good: tuple[str, str]) -> Figures:
    """The mixed trial once more, with the command that a person gives."""
    import tomli_w

    data = run_file(faulty.url, root, "command", PROBLEMS)
    file = root / "command.toml"
    file.write_text(tomli_w.dumps(data))
    ended, start = [], time.perf_counter()
    for faults, share in ((_MIXED, MIXED), ([], 1.0)):
        faulty.set(*faults, share=share)
        program = "import sys; from flows.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, "synthesize", str(file), "--json"]
        ended.append(subprocess.run(command, capture_output=True, text=True, timeout=300))
    first, second = ended
    return {
        "owed_first": first.stderr.strip().splitlines()[-1][:200] if first.returncode else 0,
        "exit_codes": [first.returncode, second.returncode],
        "done": PROBLEMS if second.returncode == 0 else 0,
        "equal": compare(rows(root, "command"), good) if second.returncode == 0 else "no",
        "seconds": round(time.perf_counter() - start, 2),
        "memory_mb": 0,  # Prefect's server is a process beside it
        "said_again": second.stderr.strip()[-200:] if second.returncode else "",
        "key_seen": _holds_secret(root / "runs" / "command") or SECRET in first.stderr + second.stderr,
    }


def _holds_secret(folder: Path) -> bool:
    return any(SECRET.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


class _Worker:
    """A process that runs sessions, whose memory is its own."""

    def __enter__(self) -> "_Worker":
        command = [sys.executable, "-m", "benchmarks.faults_server"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, data: Figures) -> Figures:
        """The outcome of one session. RuntimeError when it hangs or dies."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(data) + "\n")
        self._process.stdin.flush()
        watch = threading.Timer(_PATIENT_S, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if not line:
            raise RuntimeError(f"{data['name']}: the session hung for {_PATIENT_S} s, or died")
        found: Figures = json.loads(line)
        return found


def _serve() -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    for line in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured anew
        found = label(json.loads(line))
        status = Path("/proc/self/status").read_text()
        peak = next(entry for entry in status.splitlines() if entry.startswith("VmHWM"))
        print(json.dumps({**found, "memory_mb": int(peak.split()[1]) // 1024}), flush=True)


if __name__ == "__main__":
    _serve()
