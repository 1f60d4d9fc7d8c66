"""Stored rollouts are graded again: by a corrected answer or another grader, and nothing is sampled."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.labelling import regrade, tools
from pipeline.labelling.problems import read_problems
from pipeline.labelling.regrade import Regraded, regrade_shard, stored_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import label_problem, run_shard
from pipeline.outputs.report import rows_of
from pipeline.policies.base import Completion, Policy, Prompt, Sampling, Unfinished
from pipeline.policies.simulated import FaultyPolicy, SimulatedPolicy
from pipeline.runs.run_store import RunStore
from pipeline.sampling import roller as rollouts
from pipeline.sampling.draws import Draws
from pipeline.sampling.replay import Nobody, NotStored
from schemas.config import PolicyConfig, RunConfig
from schemas.records import Finished, Rollout
from verifiers.answers.grade import EQUAL

EVERYTHING: dict[str, dict[str, Any]] = {
    "sampled": {
        "propose": {"kind": "sample", "n": 3},
        "annotate": [
            {"kind": "monte_carlo", "rollouts": 3},
            {"kind": "judge"},
            {"kind": "verify"},
        ],
    },
    "searched": {"filter": {"rollouts": 4}, "propose": {"kind": "omegaprm", "searches": 3, "rollouts": 3}},
    "bisected": {
        "propose": {"kind": "sample", "n": 4},
        "annotate": [
            {"kind": "bisection", "budget": 12},
            {"kind": "scan", "confidence": 0.1},
        ],
    },
    "proved": {"prover": {"policy": {"kind": "simulated", "slip": 0.05}, "rollouts": 3}},
    "budgeted": {
        "propose": {"kind": "sample", "n": 4},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
        "budget": {"per_problem": 150},
    },
}


ROLLED = [{"kind": "monte_carlo", "rollouts": 3}]


class Counting:
    """A policy that counts what is drawn from it."""

    def __init__(self, inner: Policy) -> None:
        self.inner, self.drawn = inner, 0
        self.kind, self.model, self.revision = inner.kind, inner.model, inner.revision

    async def __aenter__(self) -> "Counting":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        self.drawn += n
        return await self.inner.sample(prompt, n, sampling)


def write(path: Path, answers: dict[int, str], n: int = 8) -> None:
    made = (
        {"text": f"problem {i}", "answer": answers.get(i, "right"), "answer_kind": "text"} for i in range(n)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in made))


def config(folder: Path, **sections: Any) -> RunConfig:
    data = {
        "name": "r",
        "root": str(folder / "runs"),
        "shards": 2,
        "problems": {"source": "jsonl", "path": str(folder / "p.jsonl")},
        "policy": {"kind": "simulated", "n_steps": 3, "slip": 0.3},
        "prompt": {"max_tokens": 50},
        **sections,
    }
    return RunConfig.model_validate(data)


def run(asked: RunConfig) -> RunStore:
    store = RunStore.open(asked)
    read_problems(store)
    for number in range(asked.shards):
        asyncio.run(run_shard(store, number))
    seal(store)
    return store


def again(store: RunStore, *, stale: bool = False) -> Regraded:
    found = [
        asyncio.run(
            regrade_shard(
                store, number, only=set(store.stale(number)) if stale else None, advance=lambda: None
            )
        )
        for number in range(store.config.shards)
    ]
    return Regraded(*map(sum, zip(*found, strict=True)))


def stored(store: RunStore) -> dict[str, tuple[Finished, list[Rollout]]]:
    shards = range(store.config.shards)
    return {p.id: (line, drawn) for number in shards for p, line, drawn in stored_problems(store, number)}


def parquet(store: RunStore) -> list[bytes]:
    return [p.read_bytes() for p in sorted(store.path.glob("*/*.parquet"))]


@pytest.mark.parametrize("sections", EVERYTHING.values(), ids=EVERYTHING)
def test_what_is_stored_is_all_that_grading_needs(
    tmp_path: Path, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every method labels again from its rollouts alone, and comes to the same votes."""

    def faulty(asked: PolicyConfig) -> Policy:
        inner = SimulatedPolicy(slip=asked.slip, n_steps=asked.n_steps)
        return FaultyPolicy(inner, share=0.1)

    monkeypatch.setattr(tools, "open_policy", faulty)
    write(tmp_path / "p.jsonl", {})
    store = run(config(tmp_path, **sections))
    before = parquet(store)
    monkeypatch.setattr(tools, "open_policy", lambda _: pytest.fail("a policy was opened"))
    assert again(store) == Regraded(changed=0, same=8, missing=0)
    seal(store)
    assert parquet(store) == before


def test_a_corrected_answer_is_graded_from_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(tmp_path, propose={"kind": "sample", "n": 3}, annotate=ROLLED)
    write(tmp_path / "p.jsonl", {1: "wrong", 2: "wrong"})
    store = run(asked)
    before = stored(store)
    write(tmp_path / "p.jsonl", {2: "wrong", 3: "wrong"})  # 1 and 3 are corrected
    store = RunStore.open(asked)
    read_problems(store)
    assert sum(len(store.shard_state(number).owed) for number in range(2)) == 2
    with monkeypatch.context() as patched:
        patched.setattr(tools, "open_policy", lambda _: pytest.fail("a policy was opened"))
        assert again(store, stale=True) == Regraded(changed=2)
    seal(store)
    after = stored(store)
    assert after.keys() == before.keys()
    assert sum(after[name][0] != before[name][0] for name in after) == 2
    flipped = {"correct": "incorrect", "incorrect": "correct", "unknown": "unknown"}
    for name, (line, drawn) in after.items():
        asking = tools.annotators_of(asked, SimulatedPolicy(slip=0.3, n_steps=3))
        assert asyncio.run(label_problem(line.problem, asking)) == (line, drawn)
        old = before[name][1]
        if line != before[name][0]:
            assert [r.outcome for r in drawn] == [flipped[r.outcome] for r in old]
        assert [(r.text, r.seed) for r in drawn] == [(r.text, r.seed) for r in old]
    assert {row.problem.text for row in rows_of(store) if row.problem.answer == "wrong"} <= {
        "problem 2",
        "problem 3",
    }


def test_what_a_new_grade_asks_for_is_owed_and_only_that_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a gold that nobody writes the filter drops a problem; corrected, it must be searched.

    A filter that stops early would ask for fewer the second time, so this one does not.
    """
    asked = config(
        tmp_path,
        filter={"rollouts": 6, "stop": "never"},
        propose={"kind": "omegaprm", "searches": 3, "rollouts": 3},
    )
    write(tmp_path / "p.jsonl", {1: "nonsense", 3: "nonsense"})
    store = run(asked)
    skipped = {name for name, (line, _) in stored(store).items() if line.problem.answer == "nonsense"}
    assert all(stored(store)[name][0].skipped == "filter: too hard" for name in skipped)
    write(tmp_path / "p.jsonl", {})
    store = RunStore.open(asked)
    read_problems(store)
    found = again(store, stale=True)
    assert found.missing
    assert found.missing + found.changed == 2
    counting = Counting(SimulatedPolicy(slip=0.3, n_steps=3))
    monkeypatch.setattr(tools, "open_policy", lambda _: counting)
    for number in range(2):
        asyncio.run(run_shard(store, number))
    seal(store)
    after = stored(store)
    paid = sum(len(drawn) for name, (_, drawn) in after.items() if name in skipped)
    assert counting.drawn == paid - 2 * 6
    for name in skipped:
        asking = tools.annotators_of(asked, SimulatedPolicy(slip=0.3, n_steps=3))
        fresh, drawn = asyncio.run(label_problem(after[name][0].problem, asking))
        assert (fresh.candidates, drawn) == (after[name][0].candidates, after[name][1])


def test_an_early_stop_owes_the_rest_of_the_filter_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some right and some wrong rollouts were enough; by the corrected answer all are wrong, and only all of
    them would show that the problem is too hard."""
    asked = config(tmp_path, filter={"rollouts": 16}, propose={"kind": "sample", "n": 2}, annotate=ROLLED)
    write(tmp_path / "p.jsonl", {})
    store = run(asked)
    drawn = [[r.purpose for r in taken].count("filter") for _, taken in stored(store).values()]
    early = [n for n in drawn if n < 16]
    assert early
    write(tmp_path / "p.jsonl", dict.fromkeys(range(8), "nonsense"))
    store = RunStore.open(asked)
    read_problems(store)
    assert again(store, stale=True) == Regraded(changed=8 - len(early), missing=len(early))
    counting = Counting(SimulatedPolicy(slip=0.3, n_steps=3))
    monkeypatch.setattr(tools, "open_policy", lambda _: counting)
    for number in range(2):
        asyncio.run(run_shard(store, number))
    assert counting.drawn == sum(16 - n for n in early)
    assert {line.skipped for line, _ in stored(store).values()} == {"filter: too hard"}


def test_what_is_not_asked_for_any_more_is_kept(tmp_path: Path) -> None:
    asked = config(
        tmp_path,
        # One that stops early owes rollouts where a new gold makes a problem look too hard.
        filter={"rollouts": 6, "stop": "never"},
        propose={"kind": "sample", "n": 2},
        annotate=ROLLED,
    )
    write(tmp_path / "p.jsonl", {})
    store = run(asked)
    before = stored(store)
    write(tmp_path / "p.jsonl", dict.fromkeys(range(8), "nonsense"))
    store = RunStore.open(asked)
    read_problems(store)
    again(store, stale=True)
    seal(store)
    for name, (line, drawn) in stored(store).items():
        old, was = before[name]
        assert line.skipped == "filter: too hard"
        assert [(r.seed, r.text) for r in drawn] == [(r.seed, r.text) for r in was]
        assert (line.n_rollouts, line.tokens) == (old.n_rollouts, old.tokens)
        assert not any(r.outcome == "correct" for r in drawn)
    write(tmp_path / "p.jsonl", {})
    store = RunStore.open(asked)
    read_problems(store)
    assert again(store, stale=True).missing == 0
    assert {name: drawn for name, (_, drawn) in stored(store).items()} == {
        k: d for k, (_, d) in before.items()
    }


def test_a_better_grader_regrades_all_and_twice_is_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "p.jsonl", {})
    store = run(config(tmp_path, annotate=ROLLED))
    monkeypatch.setattr(rollouts, "grade_solution", lambda *_: EQUAL)
    assert again(store).changed > 0
    assert again(store).changed == 0
    for _, drawn in stored(store).values():
        assert {r.outcome for r in drawn} <= {"correct", "unknown"}
    assert len(list(store.journal(0))) == len(store.entries(0))


def test_grading_that_is_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(tmp_path, annotate=ROLLED, shards=1)
    write(tmp_path / "p.jsonl", {})
    run(asked)
    write(tmp_path / "p.jsonl", dict.fromkeys(range(8), "wrong"))
    store = RunStore.open(asked)
    read_problems(store)
    done, real = [], regrade.regrade

    async def dying(*args: Any) -> Any:
        done.append(1)
        if len(done) == 4:
            raise KeyboardInterrupt
        return await real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(regrade, "regrade", dying)
        with pytest.raises(KeyboardInterrupt):
            again(store, stale=True)
    assert len(store.stale(0)) == 5
    assert again(store, stale=True) == Regraded(changed=5)
    seal(store)
    whole = run(asked.model_copy(update={"name": "whole"}))
    told = [[(r.problem.text, len(r.votes)) for r in rows_of(s)] for s in (store, whole)]
    assert sorted({text for text, _ in told[0]}) == sorted({text for text, _ in told[1]})


class Failing(Counting):
    """Draws the second completion of a request and fails with the others."""

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        raise Unfinished("busy", {1: Completion("new", "stop", 1)})


def test_what_a_failing_server_did_draw_keeps_its_place() -> None:
    draws, policy = Draws(stored={5: Completion("a", "stop", 1)}), Failing(SimulatedPolicy())
    with pytest.raises(Unfinished):
        asyncio.run(draws.of(policy).sample(Prompt("p"), 3, Sampling(seed=5)))
    assert len(draws.made()) == 1  # what is stored is not kept twice
    found = asyncio.run(Draws(draws.made()).of(policy).sample(Prompt("p"), 1, Sampling(seed=7)))
    assert found == [Completion("new", "stop", 1)]


def test_missing_completions_are_not_made_up() -> None:
    known = Draws(stored={5: Completion("a", "stop", 1)}).of(Nobody("k", "m", ""))
    assert asyncio.run(known.sample(Prompt("p"), 1, Sampling(seed=5)))[0].text == "a"
    with pytest.raises(NotStored):
        asyncio.run(known.sample(Prompt("p"), 2, Sampling(seed=5)))
