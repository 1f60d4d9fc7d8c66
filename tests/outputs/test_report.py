"""The figures of a run: counted again from its rows; and when it is compared with gold labels."""

import asyncio
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.embedded.problems.truth import problems
from pipeline.inputs.segment import segment
from pipeline.outputs.fidelity import fidelity
from pipeline.outputs.report import (
    _has_gold,
    evaluate_run,
    evaluate_samples,
    exact,
    held_out_samples,
    rows_of,
    summarise,
)
from pipeline.policies.simulated import read_states
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import change_over, read_manifest, sealing, write_shard
from schemas.arrow import SCHEMA, to_row
from schemas.config import EmbeddedProblems, EvaluateConfig, RunConfig, SimulatedConfig
from schemas.errors import UserError
from schemas.manifest import BudgetReport
from schemas.records import GoldLabels, LabelledSolution, PolicyIdentity, Problem, Solution, StepLabel


def table_of(rows: list[LabelledSolution]) -> pa.Table:
    return pa.Table.from_pylist([to_row(row) for row in rows], SCHEMA)


(PROBLEM,) = problems(1, seed=0, steps=(4, 4))


def solution(truth: int) -> Solution:
    """A solution whose first untrue step is `truth`, -1 for none."""
    texts = [step.text for step in segment(PROBLEM.reference or "")]
    assert len(texts) == 4
    if truth >= 0:
        texts[truth] = f"{texts[truth].partition(chr(10))[0]}\n#### no answer of this problem"
    starts = [sum(len(one) + 1 for one in texts[:i]) for i in range(4)]
    steps = [{"text": one, "start": s, "end": s + len(one)} for one, s in zip(texts, starts, strict=True)]
    written = {"problem_id": PROBLEM.id, "text": "\n".join(texts), "steps": steps}
    return Solution.model_validate({**written, "policy": PolicyIdentity(kind="k", model="m")})


def row(truth: int, gold: GoldLabels | None = None) -> LabelledSolution:
    one = solution(truth)
    return LabelledSolution(problem=PROBLEM, solution=one, labels=(StepLabel(),) * 4, gold=gold)


def test_the_exact_truth_of_an_embedded_solution_ends_with_its_first_error() -> None:
    by = {"by": "exact truth"}
    assert exact(row(1)) == GoldLabels(labels=(1, 0, None, None), first_error=1, **by)
    assert exact(row(-1)) == GoldLabels(labels=(1, 1, 1, 1), first_error=-1, **by)
    unread = row(-1).solution
    steps = (unread.steps[0].model_copy(update={"text": "Let us see."}), *unread.steps[1:])
    assert exact(row(-1).model_copy(update={"solution": unread.model_copy(update={"steps": steps})})) is None


def test_a_shard_without_gold_labels_is_not_read_for_them(tmp_path: Path) -> None:
    """The footer of the file says whether there are any, and of one from before there were, too."""
    people = GoldLabels(labels=(1, 0, None, None), first_error=1, by="processbench")
    rows = {"none": [row(1)] * 3, "some": [row(1), row(1, people)], "old": [row(1)]}
    for name, some in rows.items():
        table = table_of(some)
        pq.write_table(table.drop(["gold"]) if name == "old" else table, tmp_path / name)
    assert [_has_gold(tmp_path / name) for name in rows] == [False, True, False]


def test_a_run_says_how_its_labels_agree_with_those_that_came_with_the_solutions(rolled: RunStore) -> None:
    """Gold labels that are the states of the simulated policy itself: no slip is overlooked by rollouts."""
    rows = list(rows_of(rolled))
    for one in rows:
        states = read_states(one.solution.text)
        first = states.index(False) if False in states else -1
        gold = GoldLabels(labels=tuple(int(state) for state in states), first_error=first, by="people")
        rows[rows.index(one)] = one.model_copy(update={"gold": gold})
    manifest = read_manifest(rolled.path)
    assert manifest is not None
    assert "fidelity" not in summarise(rolled)
    with sealing(rolled.path) as folder:
        shards = (write_shard(folder, 0, [table_of(rows)]), write_shard(folder, 1, []))
        change_over(rolled.path, folder, manifest.model_copy(update={"shards": shards}))
    found = summarise(rolled)["fidelity"]
    assert found == fidelity(rows, rolled.sources(), rolled.config.fusion)
    assert found["by"] == {"people": len(rows)}
    assert found["arms"]["monte_carlo"]["f1"]["value"] > 0.9


def test_every_figure_can_be_counted_in_the_rows(rolled: RunStore) -> None:
    rows, found = list(rows_of(rolled)), summarise(rolled)
    votes = Counter(vote.source for one in rows for vote in one.votes)
    silent = Counter(vote.source for one in rows for vote in one.votes if vote.p is None)
    assert rows
    assert found["run"] == "r"
    assert found["problems"] == 9
    assert found["solutions"] == len(rows)
    assert found["steps"] == sum(len(one.labels) for one in rows)
    assert found["labelled_steps"] == sum(x.label is not None for one in rows for x in one.labels)
    assert found["consensus"] == {"kept": sum(one.kept for one in rows), "dropped": {}}
    assert {name: count["votes"] for name, count in found["sources"].items()} == votes
    assert {name: count["abstained"] for name, count in found["sources"].items()} == {
        name: silent[name] for name in votes
    }
    why = Counter((vote.source, vote.why) for one in rows for vote in one.votes if vote.p is None)
    for name, count in found["sources"].items():
        assert sum(count["reasons"].values()) == count["abstained"]
        told = {reason: n for reason, n in count["reasons"].items() if reason != "other reasons"}
        assert told == {reason: why[name, reason] for reason in told}
    assert found["tokens"]["total"] == sum(n for name, n in found["tokens"].items() if name != "total") > 0
    assert not {"budget", "plan", "fidelity"} & found.keys()


def test_a_budget_is_reported_where_there_is_one(rolled: RunStore) -> None:
    manifest = read_manifest(rolled.path)
    assert manifest is not None
    for budget in (BudgetReport(run=100, beyond=3), BudgetReport(per_problem=10, cut=2)):
        counted = manifest.model_copy(update={"budget": budget})
        (rolled.path / "manifest.json").write_text(counted.model_dump_json())
        assert summarise(rolled)["budget"] == budget.model_dump()


def test_an_open_run_has_no_figures(tmp_path: Path) -> None:
    store = RunStore.open(RunConfig(name="open", root=str(tmp_path)))
    remedy = "not sealed yet: `stepmint run .* finishes it, and `stepmint fuse .* --partial` seals"
    with pytest.raises(UserError, match=remedy):
        summarise(store)
    with pytest.raises(UserError, match=remedy):
        list(rows_of(store))
    with pytest.raises(UserError, match=r"best-of-n needs \[evaluate\] and embedded problems"):
        evaluate_run(store, tmp_path)


def held_out(**changes: object) -> RunConfig:
    data = {
        "name": "r",
        "policy": SimulatedConfig(n_steps=2, slip=0.5),
        "problems": EmbeddedProblems(limit=20, steps=(3, 3)),
        "train": {},
        "evaluate": EvaluateConfig(problems=6, samples=3),
    }
    return RunConfig.model_validate(data | changes)


def test_held_out_samples_are_of_problems_that_no_run_trains_on() -> None:
    samples = asyncio.run(held_out_samples(held_out()))
    assert [len(solutions) for _, solutions in samples] == [3] * 6
    assert {problem.source.split for problem, _ in samples} == {"held-out"}
    taught = {problem.text for problem in problems(20, seed=0, steps=(3, 3))}
    assert not taught & {problem.text for problem, _ in samples}
    drawn = {(problem.id, solution.text) for problem, solutions in samples for solution in solutions}
    assert len(drawn) > 6  # each sample has a seed of its own
    assert asyncio.run(held_out_samples(held_out())) == samples
    assert asyncio.run(held_out_samples(held_out(seed=1))) != samples


class Oracle:
    """Scores a step by whether it is true."""

    def readable(self, problem: str, steps: object) -> bool:
        return True

    def score_many(self, items: list[tuple[str, list[str]]]) -> list[list[float]]:
        return [[0.1 if "no answer" in step else 0.9 for step in steps] for _, steps in items]


def test_a_prm_that_knows_the_truth_is_measured_as_perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.prm.model import PRM

    def sample(truth: int, right: bool) -> Solution:
        outcome = "correct" if right else "incorrect"
        return solution(truth).model_copy(update={"outcome": outcome, "answer": "1"})

    samples: list[tuple[Problem, list[Solution]]] = [
        (PROBLEM, [sample(1, False), sample(-1, True), sample(3, False)]),
        (PROBLEM, [sample(0, False), sample(-1, True)]),
    ]
    monkeypatch.setattr(PRM, "load", lambda _: Oracle())
    found = evaluate_samples(samples, Path("unread"))
    assert found["first_error"]["f1"]["value"] == 1.0
    assert found["first_error"]["solutions"] == 5
