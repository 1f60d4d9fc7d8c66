"""The figures of a run: counted again from its rows, and on label quality a case worked out by hand."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from pipeline.embedded.problems.truth import problems
from pipeline.inputs.segment import segment
from pipeline.outputs.report import (
    evaluate_run,
    evaluate_samples,
    held_out_samples,
    label_quality,
    rows_of,
    summarise,
)
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from schemas.config import EmbeddedProblems, EvaluateConfig, RunConfig, SimulatedConfig
from schemas.errors import UserError
from schemas.manifest import BudgetReport
from schemas.records import LabelledSolution, PolicyIdentity, Problem, Solution, StepLabel, Vote
from schemas.sources import EARLIER

(PROBLEM,) = problems(1, seed=0, steps=(4, 4))


def row(truth: int | None, rolled: int | None, fused: int | None, *, kept: bool = True) -> LabelledSolution:
    """A solution whose first untrue step is `truth` (None: its first step cannot be read), whose rollouts die
    at step `rolled` (-1: nowhere; None: there are none) and whose fused first error is `fused`."""
    texts = [step.text for step in segment(PROBLEM.reference or "")]
    assert len(texts) == 4
    if truth is None:
        texts[0] = "Let us see."
    elif truth >= 0:
        texts[truth] = f"{texts[truth].partition(chr(10))[0]}\n#### no answer of this problem"
    text = "\n".join(texts)
    starts = [sum(len(one) + 1 for one in texts[:i]) for i in range(4)]
    steps = [{"text": one, "start": s, "end": s + len(one)} for one, s in zip(texts, starts, strict=True)]
    solution = Solution.model_validate(
        {
            "problem_id": PROBLEM.id,
            "text": text,
            "steps": steps,
            "policy": PolicyIdentity(kind="k", model="m"),
        }
    )
    alive = 0 if rolled is None else 4 if rolled == -1 else rolled
    votes = [
        Vote(
            step=i,
            source="monte_carlo",
            asks="solvable",
            p=float(i < alive),
            correct=4 * (i < alive),
            n=4,
        )
        for i in range(0 if rolled is None else 4)
    ]
    return LabelledSolution(
        problem=PROBLEM,
        solution=solution,
        labels=(StepLabel(),) * 4,
        first_error=fused,
        kept=kept,
        votes=tuple(votes),
    )


ROWS = [
    row(1, 1, 1),
    row(2, 1, 2, kept=False),
    row(-1, -1, None),
    row(-1, 0, -1, kept=False),
    row(0, None, -1),
    row(None, 1, 1),
]


def test_label_quality_is_what_comes_out_by_hand() -> None:
    """Of five solutions with a known truth three are wrong, at 1, 2 and 0."""
    found = label_quality(ROWS, EARLIER)
    assert found.pop("truth_unknown") == 1
    assert {name: figures["solutions"] for name, figures in found.items()} == dict.fromkeys(found, 5)
    # names 1 (right), 1 (it is 2), none, 0 (there is none), open: 1 of 3 named, 1 of 3 found; 2 of 4 exact
    assert found["monte_carlo"] == {
        "solutions": 5,
        "labelled": 4,
        "precision": 0.3333,
        "recall": 0.3333,
        "f1": 0.3333,
        "f1_labelled": 0.4,
        "exact": 0.5,
    }
    # without the two rows that the filter drops: 1 of 1 named, 1 of 3 found
    assert found["consensus"] == {
        "solutions": 5,
        "labelled": 2,
        "precision": 1.0,
        "recall": 0.3333,
        "f1": 0.5,
        "f1_labelled": 1.0,
        "exact": 1.0,
    }
    # 1 and 2 named and right, one open, the error at 0 overlooked
    assert found["fused"] == {
        "solutions": 5,
        "labelled": 4,
        "precision": 1.0,
        "recall": 0.6667,
        "f1": 0.8,
        "f1_labelled": 0.8,
        "exact": 0.75,
    }


def test_label_quality_of_nothing_is_nought() -> None:
    assert label_quality([], EARLIER)["fused"]["f1"] == 0.0
    assert label_quality([row(-1, None, None)], EARLIER)["fused"]["exact"] == 0.0


def test_the_threshold_of_the_run_decides_what_rollouts_call_wrong() -> None:
    """At step 1 one rollout in four succeeds: an error from a threshold of a quarter on."""
    low = row(1, -1, None)
    votes = [
        vote.model_copy(update={"p": 0.25, "correct": 1}) if vote.step == 1 else vote for vote in low.votes
    ]
    rows = [low.model_copy(update={"votes": tuple(votes)})]
    assert label_quality(rows, EARLIER)["monte_carlo"]["exact"] == 0
    assert label_quality(rows, EARLIER, 0.25)["monte_carlo"]["exact"] == 1


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
    assert found["tokens"]["total"] == sum(n for name, n in found["tokens"].items() if name != "total") > 0
    assert not {"budget", "plan", "label_quality"} & found.keys()


def test_a_budget_is_reported_where_there_is_one(rolled: RunStore) -> None:
    manifest = read_manifest(rolled.path)
    assert manifest is not None
    for budget in (BudgetReport(run=100, beyond=3), BudgetReport(per_problem=10, cut=2)):
        counted = manifest.model_copy(update={"budget": budget})
        (rolled.path / "manifest.json").write_text(counted.model_dump_json())
        assert summarise(rolled)["budget"] == budget.model_dump()


def test_an_open_run_has_no_figures(tmp_path: Path) -> None:
    store = RunStore.open(RunConfig(name="open", root=str(tmp_path)))
    with pytest.raises(UserError, match="not sealed yet"):
        summarise(store)
    with pytest.raises(UserError, match="not sealed yet: `stepmint run"):
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
        solution = row(truth, None, None).solution
        return solution.model_copy(update={"outcome": "correct" if right else "incorrect", "answer": "1"})

    samples: list[tuple[Problem, list[Solution]]] = [
        (PROBLEM, [sample(1, False), sample(-1, True), sample(3, False)]),
        (PROBLEM, [sample(0, False), sample(-1, True)]),
    ]
    monkeypatch.setattr(PRM, "load", lambda _: Oracle())
    found = evaluate_samples(samples, Path("unread"))
    assert found["first_error"]["f1"]["value"] == 1.0
    assert found["first_error"]["solutions"] == 5
