"""data/README.md says enough to make a label again from its votes.

`rebuild_labels.py` beside this file follows the page and imports nothing of ours. What it makes of a sealed
run must be what stands there, for every step.
"""

import ast
import asyncio
import json
import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.fusion.trust import fit, model_of
from pipeline.labelling.problems import read_problems
from pipeline.labelling.rows import label
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.runs.run_store import RunStore
from schemas.arrow import SCHEMA, to_row
from schemas.config import FusionConfig, RunConfig
from schemas.records import (
    Candidate,
    Finished,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Solution,
    Step,
    Vote,
)
from schemas.sources import EARLIER, Source, check_votes, declared


def table_of(rows: list[LabelledSolution]) -> pa.Table:
    return pa.Table.from_pylist([to_row(row) for row in rows], SCHEMA)


SCRIPT = Path(__file__).with_name("rebuild_labels.py")
Differences = Callable[[Path], tuple[int, int, list[str]]]


@pytest.fixture(scope="module")
def differences() -> Differences:
    found: Differences = runpy.run_path(str(SCRIPT))["differences"]
    return found


def test_the_script_imports_nothing_of_ours() -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert imported <= {*sys.stdlib_module_names, "pyarrow"}


@pytest.mark.slow
def test_a_run_with_all_kinds_of_sources_comes_out_as_it_stands(
    tmp_path: Path, differences: Differences
) -> None:
    config = RunConfig.model_validate(
        {
            "name": "r",
            "root": str(tmp_path),
            "problems": {"source": "embedded", "limit": 10, "steps": [3, 5]},
            "policy": {"kind": "transformers", "model": "embedded", "in_flight": 64},
            "prompt": {"template": "embedded_solve", "max_tokens": 150},
            "propose": {"kind": "omegaprm", "rollouts": 4, "searches": 3, "budget": 24},
            "annotate": [
                {"kind": "monte_carlo", "rollouts": 4},
                {"kind": "bisection"},
                {"kind": "judge", "prompts": ["embedded_review"], "votes": 2, "max_tokens": 150},
                {"kind": "verify", "verifiers": ["arithmetic", "logic"]},
            ],
        }
    )
    store = RunStore.open(config)
    read_problems(store)
    asyncio.run(run_shard(store, 0))
    manifest = seal(store)
    voted = {"monte_carlo", "omegaprm", "bisection", "judge:embedded_review", "arithmetic", "answer"}
    assert voted <= set(manifest.declared)
    n_steps, n_rows, wrong = differences(store.path)
    assert (n_steps, n_rows) == (manifest.steps, manifest.solutions)
    assert n_steps > 30
    assert not wrong


OUTSIDERS = {
    **EARLIER,
    "theirs": Source(kind="judge", asks="solvable"),
    "judge:a": Source(kind="judge", asks="valid"),
    "judge:b": Source(kind="judge", asks="valid"),
    "judge:all": Source(kind="judge", asks="valid", every_step=True),
    "rubric": Source(kind="score", asks="valid"),
    "other search": Source(kind="search", asks="solvable", by="prover", includes=("prover",)),
}


def votes_by(rng: random.Random, name: str, n_steps: int) -> list[Vote]:
    """Votes of a source on some steps: abstentions, shares without counts, and counts."""
    source = OUTSIDERS[name]
    if source.kind == "search":
        line = sorted((round(rng.random(), 3) for _ in range(n_steps - 1)), reverse=True)
        votes = []
        for step, p in enumerate(line):
            n = rng.choice((0, 0, 3, 8))
            correct = rng.randint(0, n)
            votes.append(Vote(step=step, source=name, asks="solvable", p=p, correct=correct, n=n))
        return votes[: rng.choice((len(votes), len(votes), max(0, len(votes) - 1)))]
    steps = (
        [n_steps - 1]
        if source.kind in ("grade", "score")
        else [s for s in range(n_steps) if rng.random() < 0.7]
    )
    votes = []
    for step in steps:
        about = {"step": step, "source": name, "asks": source.asks}
        n = rng.choice((1, 2, 4, 8, 30))
        correct = rng.choice((0, n, rng.randint(0, n)))
        if rng.random() < 0.1:
            votes.append(Vote(**about, n_failed=2, why="unread"))
        elif source.kind in ("grade", "check"):
            votes.append(Vote(**about, p=float(rng.random() < 0.6)))
        elif source.kind == "judge" and rng.random() < 0.3:
            votes.append(Vote(**about, p=round(rng.random(), 2)))
        else:
            votes.append(Vote(**about, p=correct / n, correct=correct, n=n))
    return votes


def finished(rng: random.Random, number: int) -> Finished:
    problem = Problem(text=f"p {number}", answer=rng.choice(("1", "1", "1", None)))
    n_steps = rng.randint(1, 7)
    steps = tuple(Step(text=f"s{i}", start=3 * i, end=3 * i + 2) for i in range(n_steps))
    solution = Solution(
        problem_id=problem.id,
        text="\n".join(step.text for step in steps),
        steps=steps,
        policy=PolicyIdentity(kind="k", model="m"),
    )
    names = rng.sample(sorted(OUTSIDERS), rng.randint(0, 6))
    votes = tuple(
        sorted((v for n in names for v in votes_by(rng, n, n_steps)), key=lambda v: (v.step, v.source))
    )
    check_votes(votes, OUTSIDERS, n_steps, "test")
    return Finished(problem=problem, candidates=(Candidate(solution=solution, votes=votes),))


@pytest.mark.parametrize(
    "consensus",
    [
        True,
        False,
        ["omegaprm", "judge:all"],
        ["judge:a", "check"],
        ["prover", "judge"],
        ["bisection", "scan"],
    ],
)
def test_random_votes_of_every_kind_come_out_as_they_stand(
    consensus: bool | list[str], tmp_path: Path, differences: Differences
) -> None:
    """Also of sources that the fit did not meet, of outsiders, of two searches, and of another policy."""
    rng = random.Random(5)
    items = [finished(rng, number) for number in range(400)]
    # Fitted to a part: what votes only in the others has its pseudo-counts in the manifest.
    part = [(len(c.solution.steps), c.votes) for item in items[:3] for c in item.candidates]
    trust = fit(part, OUTSIDERS)
    settings = FusionConfig(accept=0.7, reject=0.3, threshold=0.2, consensus=consensus)
    rows = list(label(items, model_of(trust, OUTSIDERS), settings))
    pq.write_table(table_of(rows), tmp_path / "0.parquet")
    names = {vote.source for row in rows for vote in row.votes}
    assert names == set(OUTSIDERS)
    manifest = {
        "declared": {name: declared(OUTSIDERS, name).model_dump(mode="json") for name in names},
        "trust": trust.model_dump(mode="json"),
        "fusion": settings.model_dump(mode="json"),
        "shards": [{"file": "0.parquet"}],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    n_steps, n_rows, wrong = differences(tmp_path)
    assert n_rows == 400
    assert n_steps > 1000
    assert not wrong
    if consensus is True:
        assert len({row.consensus for row in rows}) == 9  # every way to compare, and none
