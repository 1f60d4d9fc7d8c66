"""Engines are opened once for all shards, and again after an error."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import run_shard
from pipeline.labelling.tools import Engines
from pipeline.policies.base import Usage
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig
from schemas.errors import BackendError

# It says when it is opened and closed, and lives in one event loop, as every engine does.
_POLICY = """
import asyncio
from pipeline.policies.simulated import SimulatedPolicy
SEEN, BROKEN = [], []
class Watched(SimulatedPolicy):
    async def __aenter__(self):
        SEEN.append("opened")
        self.loop = asyncio.get_running_loop()
        return self
    async def __aexit__(self, *exc):
        assert asyncio.get_running_loop() is self.loop
        SEEN.append("closed")
    async def sample(self, prompt, n, sampling):
        assert asyncio.get_running_loop() is self.loop
        if BROKEN:
            raise RuntimeError("broken")
        return await super().sample(prompt, n, sampling)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    (tmp_path / "watched_policy.py").write_text(_POLICY)
    monkeypatch.syspath_prepend(str(tmp_path))
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"text": f"p {i}", "answer": "right"}) + "\n" for i in range(24)))
    config = RunConfig.model_validate(
        {
            "name": "r",
            "root": str(tmp_path),
            "shards": 3,
            "problems": {"source": "jsonl", "path": str(problems)},
            "policy": {"kind": "python", "factory": "watched_policy:Watched"},
            "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
        }
    )
    found = RunStore.open(config)
    read_problems(found)
    return found


@pytest.fixture
def watched(store: RunStore) -> Iterator[Any]:
    """The module of the policy, as this test has loaded it."""
    import sys

    import watched_policy

    yield watched_policy
    del sys.modules["watched_policy"]


def test_shards_share_engines_until_one_fails(store: RunStore, watched: Any) -> None:
    with closing(Engines()) as engines:
        assert engines.run(run_shard(store, 0, engines=engines))["done"] > 0
        assert watched.SEEN == ["opened"]
        watched.BROKEN.append("")
        with pytest.raises(BackendError):
            engines.run(run_shard(store, 1, engines=engines))
        watched.BROKEN.clear()
        # What has failed is not asked again: it may be an engine that is dead.
        assert watched.SEEN == ["opened", "closed"]
        for shard in (1, 2):
            assert engines.run(run_shard(store, shard, engines=engines))["done"] > 0
        assert watched.SEEN == ["opened", "closed", "opened"]
    assert watched.SEEN == ["opened", "closed"] * 2


def test_each_shard_counts_its_own_tokens(store: RunStore, watched: Any) -> None:
    async def used(engines: Engines) -> tuple[int, int]:
        async with engines.tools(store.config, store.templates()) as tools:
            usage = vars(tools.policy).setdefault("usage", Usage())
            usage.count(5, 2)
            return tools.used()

    with closing(Engines()) as engines:
        assert [engines.run(used(engines)) for _ in range(3)] == [(5, 2)] * 3
