"""What is published and reported: a sealed run without a row, one with rows and rollouts, a checkpoint."""

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import planned, sealed_runs
from pipeline.storage.generations import change_over, sealing, write_shard
from pipeline.storage.recorded import read_config
from schemas.arrow import SCHEMA_VERSION
from schemas.config import EmbeddedProblems, RunConfig
from schemas.manifest import Manifest


@pytest.fixture
def sealed(tmp_path: Path) -> RunStore:
    posed = EmbeddedProblems(limit=2)
    store = RunStore.open(RunConfig(name="demo", root=str(tmp_path / "runs"), shards=2, problems=posed))
    read_problems(store)
    counts = {"problems": 2, "solutions": 3, "steps": 9, "labelled_steps": 8, "kept": 3}
    digests = {"config_digest": "c", "fusion_digest": "f", "sealed_at": "2026-01-01T00:00:00+00:00"}
    with sealing(store.path) as folder:
        entries = tuple(write_shard(folder, shard, []) for shard in range(2))
        versions = {"stepmint": "0", "schema_version": SCHEMA_VERSION}
        change_over(
            store.path, folder, Manifest(name="demo", shards=entries, **versions, **counts, **digests)
        )
    return store


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "prm"
    folder.mkdir()
    (folder / "prm.json").write_text('{"dataset_digest": "abc", "base_model": "m", "targets": "hard"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def rolled(labelled: Path, tmp_path: Path) -> RunStore:
    """A sealed run of two shards on the simulated policy, with its rollouts."""
    path = tmp_path / "r"
    shutil.copytree(labelled, path)
    store = RunStore(path, read_config(path))
    seal(store)
    return store


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two sealed runs of a series, on three problems and on one more; to be copied."""
    folder = tmp_path_factory.mktemp("series")
    problems = folder / "problems.jsonl"
    config = RunConfig.model_validate(
        {
            "name": "demo",
            "root": str(folder / "runs"),
            "shards": 2,
            "problems": {"source": "jsonl", "path": str(problems)},
            "policy": {"kind": "simulated", "slip": 0.2, "n_steps": 4},
            "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
            "series": {"name": "nightly"},
        }
    )
    for day, n in ((27, 3), (28, 4)):
        rows = (json.dumps({"text": f"Problem {i}", "answer": "right"}) for i in range(n))
        problems.write_text("\n".join(rows) + "\n")
        store = RunStore.open(planned(config, datetime(2026, 11, day, 2, tzinfo=UTC), "day"))
        read_problems(store)
        for shard in range(2):
            asyncio.run(run_shard(store, shard))
        seal(store)
    return folder / "runs"


@pytest.fixture
def nights(series: Path, tmp_path: Path) -> list[RunStore]:
    """The two runs, copied."""
    shutil.copytree(series, tmp_path / "series", symlinks=True)
    return list(sealed_runs(tmp_path / "series", "nightly"))
