"""A run on the simulated policy, whose every success rate is known; one Prefect for all who need it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.bases import byte_model
from benchmarks.hub import Hub
from benchmarks.hub import serving as serving_hub
from flows.cli import main
from flows.server import starting
from flows.settings import set_defaults
from schemas.arrow import from_row
from tests.flows.serving import Serving, served

set_defaults()


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """A command's exit code, and what it writes to stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The command's own temporary server, with its files in a folder of ours. Its database lies in the folder
    that is given."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    home = tmp_path_factory.mktemp("prefect")
    with (
        temporary_settings({PREFECT_HOME: home}, restore_defaults={PREFECT_API_URL}),
        starting() as server,
    ):
        assert server is not None
        with server.ready():
            yield server.folder


def write_run_file(folder: Path, extra: str = "", *, problems: int = 12) -> Path:
    """A run file on a few simulated problems, two shards of them."""
    lines = [json.dumps({"text": f"Problem {i}", "answer": "right", "kind": "text"}) for i in range(problems)]
    (folder / "problems.jsonl").write_text("\n".join(lines) + "\n")
    path = folder / "run.toml"
    path.write_text(f"""
name = "demo"
root = {str(folder / "runs")!r}
shards = 2
{extra}
[problems]
source = "jsonl"
path = {str(folder / "problems.jsonl")!r}
fields = {{answer_kind = "kind"}}
[policy]
kind = "simulated"
n_steps = 5
slip = 0.25
[[annotate]]
kind = "monte_carlo"
rollouts = 8
""")
    return path


def rows(files: Iterable[Any]) -> list[str]:
    """The labelled solutions of Parquet files, but for the places that the problems were read from."""
    found = [from_row(row) for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(row.model_dump_json(exclude={"problem": {"source"}}) for row in found)


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A run file; nothing has run yet."""
    return write_run_file(tmp_path)


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sealed run, made without Prefect. Read it, do not change it."""
    import asyncio

    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.sealing import seal
    from pipeline.labelling.shard import run_shard
    from pipeline.runs.run_store import RunStore
    from schemas.config import load_config

    config = load_config(write_run_file(tmp_path_factory.mktemp("sealed")))
    store = RunStore.open(config)
    read_problems(store)
    for shard in range(config.shards):
        asyncio.run(run_shard(store, shard))
    seal(store)
    return store.path


@pytest.fixture(scope="session")
def byte_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random language model that reads bytes, so any text."""
    return byte_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One Prefect server with a worker for all tests of deployments: it starts in half a minute."""
    with served(tmp_path_factory.mktemp("serving")) as server:
        yield server


@pytest.fixture
def at_server(serving: Serving) -> Iterator[None]:
    """Commands in this process find the server, too."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: serving.url}):
        yield


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in for the Hub, which its client asks."""
    from huggingface_hub import constants

    with serving_hub(Hub()) as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_x")
        yield found
