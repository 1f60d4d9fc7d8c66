"""A run of simulated votes without a policy: how long it takes to fit, fuse, write and read them.

`STEPMINT_VOTES` is the number of votes, a million by default.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.scale import MB, followed
from pipeline.fusion.trust import model_of
from pipeline.labelling.problems import read_problems
from pipeline.labelling.rows import labelled
from pipeline.labelling.sealing import fit_to_sample, seal
from pipeline.outputs.report import rows_of, summarise
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import sealed_manifest
from pipeline.storage.journal import path_of, signed
from pipeline.storage.parquet import write_parquet
from schemas.arrow import from_row
from schemas.config import RunConfig
from schemas.manifest import Manifest
from schemas.records import Candidate, Finished, PolicyIdentity, Problem, Solution, Step, Vote
from schemas.sources import GRADE, check_source, judge_source, rollout_source
from verifiers.isolation.workers import cores

Figures = dict[str, Any]
SHARDS, SOLUTIONS = 8, 2
SOURCES = {
    **GRADE,
    **rollout_source("monte_carlo"),
    **judge_source("judge:a"),
    **check_source("arithmetic"),
    **check_source("algebra"),
}
_MOODS = {0: [0.05, 0.95], 1: [0.7, 0.3], 2: [0.4, 0.6]}
"""How often the judge is against and for a step before, at and after the first error."""
_REFUTED = {0: 0.0, 1: 0.5, 2: 0.2}


def votes() -> Figures:
    """Seconds to fuse a million simulated votes again (STEPMINT_VOTES), journal to dataset, on all cores; the
    baseline is what raw pyarrow takes to write and read the same table. Details: by part, CPU and memory."""
    n = int(os.environ.get("STEPMINT_VOTES", "1000000"))
    with tempfile.TemporaryDirectory(prefix="stepmint-votes-") as folder:
        store = make_run(Path(folder), n)
        lines = sum(file.stat().st_size for file in (store.path / "journal").glob("*.jsonl"))
        seal(store)  # what is measured is the second fusion, as after a change of a setting
        watched = followed("fuse", str(store.path), "--set", "fusion.accept=0.9", "--json")
        manifest = sealed_manifest(store.path)
        files = [store.path / shard.file for shard in manifest.shards]
        parts, raw = _parts(store, manifest, Path(folder)), _raw(files, Path(folder))
        sizes = {
            "dataset_mb": round(sum(file.stat().st_size for file in files) / MB, 1),
            "raw_mb": round((Path(folder) / "raw.parquet").stat().st_size / MB, 1),
            "journal_mb": {"lines": round(lines / MB, 1), "compressed": round(_packed(store) / MB, 1)},
        }
    return {
        "value": watched.seconds,
        "unit": "s",
        "baseline": raw["write"] + raw["read"],
        "n": sum(count.votes for count in manifest.sources.values()),
        "details": {
            "solutions": manifest.solutions,
            "fuse_cpu_s": round(watched.cpu_seconds, 2),
            "cpu_s": {name: round(seconds, 3) for name, seconds in parts.items()},
            "raw_pyarrow_cpu_s": {name: round(seconds, 3) for name, seconds in raw.items()},
            "write_ratio": round(parts["write"] / raw["write"], 2),
            "read_ratios": {
                name: round(parts[part] / raw["read"], 2)
                for name, part in {
                    "columns": "read",
                    "records": "read_records",
                    "records_without_votes": "read_without_votes",
                    "records_by_pydantic": "read_by_pydantic",
                }.items()
            },
            "peak_mb": {
                "command": round(max(watched.rss) / MB, 1),
                "with_its_processes": round(
                    max(map(sum, zip(watched.rss, watched.server, strict=True))) / MB, 1
                ),
            },
            **sizes,
            "cores": cores(),
            "load_average": [round(x, 2) for x in os.getloadavg()],
        },
    }


def _parts(store: RunStore, manifest: Manifest, folder: Path) -> dict[str, float]:
    """CPU seconds of the parts of a fusion, one after the other in this process."""
    spent: dict[str, float] = {}
    with _clock(spent, "survey"):
        found = store.survey(2000)
    with _clock(spent, "fit"):
        trust = fit_to_sample(store, found.sample, store.sources())
    model = model_of(trust, store.sources())
    rows, tables = list[pa.Table](), list[pa.Table]()
    with _clock(spent, "index"):
        done = {shard: store.done(shard) for shard in range(store.config.shards)}
    with _clock(spent, "parse"):
        for shard, entries in done.items():
            tables += store.tables_of(shard, entries)
    with _clock(spent, "label"):
        rows += [labelled(table, model, store.config.fusion) for table in tables]
    with _clock(spent, "write"):
        _write(rows, folder / "ours.parquet")
    with _clock(spent, "read"):
        for shard in manifest.shards:
            pq.read_table(store.path / shard.file)
    with _clock(spent, "report"):
        summarise(store)
    with _clock(spent, "read_records"):
        sum(1 for _ in rows_of(store))
    with _clock(spent, "read_without_votes"):
        sum(1 for _ in rows_of(store, votes=False))
    with _clock(spent, "read_by_pydantic"):
        for shard in manifest.shards:
            sum(1 for row in pq.read_table(store.path / shard.file).to_pylist() if from_row(row))
    return spent


def _packed(store: RunStore) -> int:
    return sum(file.stat().st_size for file in (store.path / "journal").glob("*.jsonl.zst"))


def _write(rows: list[pa.Table], path: Path) -> None:
    write_parquet(path, rows, rows[0].schema)


def _raw(files: list[Path], folder: Path) -> dict[str, float]:
    """CPU seconds of pyarrow alone on the same rows, with the same compression."""
    table, spent = pa.concat_tables([pq.read_table(file) for file in files]), dict[str, float]()
    with _clock(spent, "write"):
        pq.write_table(table, folder / "raw.parquet", compression="zstd", compression_level=3)
    with _clock(spent, "read"):
        pq.read_table(folder / "raw.parquet")
    return spent


@contextmanager
def _clock(spent: dict[str, float], name: str) -> Iterator[None]:
    before = time.process_time()
    yield
    spent[name] = time.process_time() - before


def make_run(root: Path, n_votes: int) -> RunStore:
    """A run that owes nothing, of about so many votes, made without a policy."""
    n_problems = max(SHARDS, n_votes // 48)  # two solutions of about six steps, four votes a step
    lines = ({"text": f"Problem {i}: how does it end?", "answer": "right"} for i in range(n_problems))
    (root / "problems.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = {
        "name": "votes",
        "root": str(root),
        "shards": SHARDS,
        "problems": {"source": "jsonl", "path": str(root / "problems.jsonl")},
        "policy": {"kind": "simulated"},
        "annotate": [{"kind": "monte_carlo"}],
    }
    store = RunStore.open(RunConfig.model_validate(config))
    read_problems(store)
    store.declare(SOURCES)
    rng = np.random.default_rng(0)
    for shard in range(SHARDS):
        with path_of(store.path, shard).open("wb") as journal:
            for problem in store.posed(shard):
                item = _finished(problem, rng)
                journal.write(signed(item.model_dump_json().encode()))
    return store


def _finished(problem: Problem, rng: np.random.Generator) -> Finished:
    candidates = tuple(_candidate(problem, rng) for _ in range(SOLUTIONS))
    return Finished(problem=problem, candidates=candidates, tokens={"propose": 200, "judge": 50})


def _candidate(problem: Problem, rng: np.random.Generator) -> Candidate:
    n_steps = int(rng.integers(3, 10))
    texts = [
        f"Since there are {rng.integers(99)} eggs, step {i} adds {rng.integers(99)}." for i in range(n_steps)
    ]
    ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
    steps = tuple(
        Step(text=text, start=end - len(text) - 1, end=end - 1) for text, end in zip(texts, ends, strict=True)
    )
    first = next((step for step in range(n_steps) if rng.random() < 0.12), n_steps)
    found = _votes(n_steps, first, rng)
    solution = Solution(
        problem_id=problem.id,
        text="\n".join(texts),
        steps=steps,
        answer="right",
        outcome="correct" if found[-1].p else "incorrect",
        policy=PolicyIdentity(kind="simulated", model="simulated"),
    )
    return Candidate(solution=solution, votes=tuple(sorted(found, key=lambda one: (one.step, one.source))))


def _votes(n_steps: int, first: int, rng: np.random.Generator) -> list[Vote]:
    """Votes with known habits: rollouts that a wrong step loses in nine cases of ten, a judge of four
    replies, one verifier that refutes half of the errors and one that abstains, and last the grade."""
    found, rate = list[Vote](), float(rng.choice([0.25, 0.5, 0.75, 0.9]))
    for step in range(n_steps):
        state = 0 if step < first else 1 if step == first else 2
        if state == 1 and rng.random() < 0.9:
            rate = 0.0
        if step < n_steps - 1:
            found.append(_vote(step, "monte_carlo", int(rng.binomial(8, rate)), 8))
        mood = float(rng.choice([0.1, 0.95], p=_MOODS[state]))
        found.append(_vote(step, "judge:a", int(rng.binomial(4, mood)), 4))
        holds = int(rng.random() >= _REFUTED[state])
        found.append(_vote(step, "arithmetic", holds, 1, "" if holds else "2 + 3 is 5, not 6"))
        found.append(Vote(step=step, source="algebra", asks="valid", why="no claim to check"))
    right = int(first == n_steps or rng.random() < rate)
    return [*found, _vote(n_steps - 1, "answer", right, 1)]


def _vote(step: int, source: str, correct: int, n: int, why: str = "") -> Vote:
    asks = SOURCES[source].asks
    return Vote(step=step, source=source, asks=asks, p=correct / n, correct=correct, n=n, why=why)
