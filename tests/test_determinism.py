"""Equal runs end in equal bytes: whatever finishes first, however much is under way, killed or not."""

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from pipeline.labelling import tools
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.policies import open_policy
from pipeline.policies.admission import Gate
from pipeline.policies.base import Completion, Policy, Prompt, Sampling
from pipeline.runs.run_store import RunStore
from schemas.config import PolicyConfig, RunConfig
from schemas.manifest import Manifest

EVERYTHING: dict[str, Any] = {
    "filter": {"rollouts": 6},
    "propose": {"kind": "omegaprm", "rollouts": 4, "searches": 4},
    "annotate": [
        {"kind": "monte_carlo", "rollouts": 12, "stop": "hard"},
        {"kind": "bisection", "budget": 8, "prefixes": 2},
        {"kind": "scan", "rollouts": 4, "confidence": 0.1},
        {"kind": "prover", "rollouts": 4, "policy": {"kind": "simulated", "slip": 0.1, "n_steps": 5}},
        {"kind": "judge", "votes": 2, "max_tokens": 100},
        {"kind": "verify", "verifiers": ["arithmetic"]},
    ],
}
BUDGETS = {"per_problem": 900, "run": 14_000}


class Late:
    """A policy whose answers come late, by chance: what is asked first is seldom answered first."""

    def __init__(self, inner: Policy, seed: int, under_way: int) -> None:
        self._inner, self._rng, self._gate = inner, random.Random(seed), Gate(8 * under_way)
        self.kind, self.model, self.revision = inner.kind, inner.model, inner.revision

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._inner.__aexit__(*exc)

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        async with self._gate.hold(1, n, sampling.max_tokens):
            await asyncio.sleep(self._rng.choice((0, 0.0005, 0.002)))
            drawn = await self._inner.sample(prompt, n, sampling)
            await asyncio.sleep(self._rng.choice((0, 0.0005, 0.002)))
            return drawn


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes policies answer late from now on, with room for about so many requests at once."""

    def set_to(seed: int, under_way: int = 64) -> None:
        def opened(config: PolicyConfig) -> Policy:
            return Late(open_policy(config), seed, under_way)

        monkeypatch.setattr(tools, "open_policy", opened)

    return set_to


def new_store(root: Path, name: str, n: int = 24, **sections: Any) -> RunStore:
    root.mkdir(exist_ok=True)
    problems = root / "problems.jsonl"
    # Every other one is graded in a thread, which takes its own time.
    kinds = ("text", "expression")
    lines = [json.dumps({"text": f"Problem {i}", "answer": "right", "kind": kinds[i % 2]}) for i in range(n)]
    problems.write_text("\n".join(lines) + "\n")
    plain = {
        "name": name,
        "root": str(root),
        "shards": 3,
        "problems": {"source": "jsonl", "path": str(problems), "fields": {"answer_kind": "kind"}},
        "policy": {"kind": "simulated", "slip": 0.2, "n_steps": 5},
        "prompt": {"max_tokens": 60},
    }
    store = RunStore.open(RunConfig.model_validate(plain | sections))
    read_problems(store)
    return store


def finish(store: RunStore, order: Sequence[int] = (0, 1, 2)) -> Manifest:
    for shard in order:
        asyncio.run(run_shard(store, shard))
    return seal(store)


def cut_short(store: RunStore, after: int) -> None:
    """Stop every shard once it has done so many problems, as Ctrl-C would."""
    for shard in range(store.config.shards):
        left = after

        def count() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run_shard(store, shard, advance=count))


def digests(store: RunStore) -> dict[str, str]:
    files = sorted(store.path.glob("*/*.parquet"))
    assert len(files) == 2 * store.config.shards
    return {f"{f.parent.name}/{f.name}": hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.parametrize("budget", [{}, BUDGETS], ids=["unbounded", "budgets"])
def test_order_and_concurrency_leave_no_trace(tmp_path: Path, late: Any, budget: dict[str, int]) -> None:
    sections = {**EVERYTHING, "budget": budget}
    plain = new_store(tmp_path, "plain", **sections)
    manifest = finish(plain)
    assert manifest.steps > 100
    assert bool(manifest.budget.cut and manifest.budget.beyond) is bool(budget)
    for seed, under_way, order in (
        (1, 1, (2, 0, 1)),
        (2, 7, (1, 2, 0)),
        (3, 64, (0, 1, 2)),
        (4, 64, (2, 1, 0)),
    ):
        late(seed, under_way)
        other = new_store(tmp_path, f"late{seed}", **sections)
        assert finish(other, order).model_dump(exclude=SESSION) == manifest.model_dump(exclude=SESSION)
        assert digests(other) == digests(plain)


SESSION = {"name", "sealed_at", "seconds"}


@pytest.mark.parametrize("budget", [{}, BUDGETS], ids=["unbounded", "budgets"])
@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_stop_leaves_no_trace(tmp_path: Path, late: Any, budget: dict[str, int], after: int) -> None:
    sections = {**EVERYTHING, "budget": budget}
    plain, stopped = (new_store(tmp_path, name, **sections) for name in ("plain", "stopped"))
    finish(plain)
    late(after)
    cut_short(stopped, after)
    assert any(stopped.shard_state(shard).owed for shard in range(3))
    late(after + 10, under_way=5)
    finish(stopped, (1, 0, 2))
    assert digests(stopped) == digests(plain)


def test_raising_the_budget_goes_on_to_what_it_would_have_been(tmp_path: Path) -> None:
    small, large = {**BUDGETS, "run": 6_000}, {**BUDGETS, "run": 9_000}
    first = finish(new_store(tmp_path, "raised", **EVERYTHING, budget=small))
    before = new_store(tmp_path, "raised", **EVERYTHING, budget=large)
    spent = sum(first.tokens.values())
    assert spent <= 6_000
    assert first.budget.beyond > 0
    raised = finish(before)
    whole = new_store(tmp_path, "whole", **EVERYTHING, budget=large)
    assert finish(whole).problems == raised.problems > first.problems
    assert spent < sum(raised.tokens.values()) <= 9_000
    assert digests(before) == digests(whole)


def test_a_run_budget_alone_may_draw_more_but_makes_no_other_rows(tmp_path: Path, late: Any) -> None:
    budget = {"run": 8_000}
    late(1, under_way=1)
    serial = new_store(tmp_path, "serial", **EVERYTHING, budget=budget)
    manifest = finish(serial)
    late(2)
    other = new_store(tmp_path, "other", **EVERYTHING, budget=budget)
    finish(other)
    rows = [name for name in digests(serial) if name.startswith("shards")]
    assert [digests(other)[name] for name in rows] == [digests(serial)[name] for name in rows]
    assert manifest.budget.beyond > 0


def test_what_a_budget_cuts_off_abstains(tmp_path: Path) -> None:
    free = new_store(
        tmp_path,
        "free",
        propose={"kind": "sample", "n": 3},
        annotate=[{"kind": "monte_carlo", "rollouts": 4}],
    )
    bound = new_store(
        tmp_path,
        "bound",
        propose={"kind": "sample", "n": 3},
        annotate=[{"kind": "monte_carlo", "rollouts": 4}],
        budget={"per_problem": 200},
    )
    finish(free)
    assert finish(bound).budget.cut > 0
    heard = {
        (v.step, c.solution.id): v
        for s in range(3)
        for i in free.journal(s)
        for c in i.candidates
        for v in c.votes
    }
    cut = 0
    for number in range(3):
        for item in bound.journal(number):
            assert sum(item.tokens.values()) <= 200
            assert item.over_budget
            for candidate in item.candidates:
                for vote in candidate.votes:
                    full = heard[vote.step, candidate.solution.id]
                    assert vote.n + vote.n_failed == full.n + full.n_failed
                    assert vote.correct <= full.correct
                    if vote.n < full.n:
                        cut += 1
                        assert vote.p is None or vote.n > 0
                        assert vote.p is not None or "token budget is spent" in vote.why
    assert cut > 10


def test_the_embedded_model_on_transformers(tmp_path: Path, late: Any) -> None:
    """Rounding differs with the batch; what is drawn must not."""
    import torch

    torch.set_num_threads(1)
    sections: dict[str, Any] = {
        "shards": 1,
        "problems": {"limit": 6, "steps": (3, 4)},
        "prompt": {"max_tokens": 120},
        "propose": {"kind": "sample", "n": 2},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
    }
    plain = new_store(tmp_path, "plain", **sections, policy={"in_flight": 64})
    assert finish(plain, (0,)).steps > 20
    for seed, in_flight, under_way in ((1, 5, 64), (2, 23, 2)):
        late(seed, under_way)
        other = new_store(tmp_path, f"other{seed}", **sections, policy={"in_flight": in_flight})
        finish(other, (0,))
        assert digests(other) == digests(plain)
