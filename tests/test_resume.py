"""A run killed (SIGKILL) at random points and started again ends in the bytes of a run that never was."""

import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from pipeline.storage.journal import path_of
from pipeline.storage.journal_packing import unpack
from pipeline.storage.recorded import read_config
from schemas.config import RunConfig

DRIVER = """
import asyncio, sys
from pathlib import Path
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.labelling.problems import read_problems
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import read_config
store = RunStore.open(read_config(Path(sys.argv[1])))
read_problems(store)
for shard in range(store.config.shards):
    asyncio.run(run_shard(store, shard))
seal(store)
"""


def new_run(folder: Path, n: int = 150) -> Path:
    folder.mkdir()
    problems = folder / "problems.jsonl"
    problems.write_text(
        "".join(json.dumps({"text": f"problem {i}", "answer": "right"}) + "\n" for i in range(n))
    )
    config = RunConfig.model_validate(
        {
            "name": "r",
            "root": str(folder),
            "shards": 2,
            "problems": {"source": "jsonl", "path": str(problems)},
            "policy": {"kind": "simulated", "slip": 0.2, "n_steps": 5},
            "prompt": {"max_tokens": 1000},
            "filter": {"rollouts": 4},
            "propose": {"kind": "omegaprm", "searches": 4, "rollouts": 4},
            "annotate": [
                {"kind": "monte_carlo", "rollouts": 4},
                {"kind": "verify", "verifiers": ["arithmetic"]},
            ],
        }
    )
    return RunStore.open(config).path


def start(run: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(run)], stderr=subprocess.DEVNULL)


def parquet(run: Path) -> dict[str, bytes]:
    """Labelled rows and rollouts, byte for byte."""
    files = sorted(run.glob("*/*.parquet"))
    assert len(files) == 4
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


def journal_bytes(run: Path) -> int:
    found = 0
    for path in (run / "journal").glob("*.jsonl"):
        with suppress(FileNotFoundError):  # compressed meanwhile: the run is being sealed
            found += path.stat().st_size
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_and_resumed(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    plain, killed = new_run(tmp_path / "plain"), new_run(tmp_path / "killed")
    assert start(plain).wait(120) == 0
    kills = 0
    for _ in range(4):
        process, written = start(killed), journal_bytes(killed)
        more = rng.randint(1, 60_000)
        while process.poll() is None and journal_bytes(killed) < written + more:
            time.sleep(0.002)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    torn = path_of(killed, 0)
    unpack(torn)  # where the run was too fast for the last kill
    torn.write_bytes(torn.read_bytes()[: -rng.randint(1, 300)])  # as a power cut would leave it
    finished = start(killed)
    assert finished.wait(120) == 0, "the resumed run did not finish"
    assert kills >= 2, "the run was too short to be killed"
    assert parquet(killed) == parquet(plain)
    assert read_manifest(RunStore(killed, read_config(killed)).path).solutions > 100  # type: ignore[union-attr]
