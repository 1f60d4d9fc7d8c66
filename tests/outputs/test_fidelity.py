"""Agreement with gold labels: cases worked out by hand, and sums that do not grow with a run."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.annotators.judge import votes_of
from pipeline.annotators.verdicts import Reading
from pipeline.fusion.first_error import named_by
from pipeline.outputs import fidelity as module
from pipeline.outputs.fidelity import Tally, fidelity, first_errors
from pipeline.prm.evaluate import ece, first_error_f1
from pipeline.prm.intervals import bootstrap
from schemas.config import FusionConfig
from schemas.records import GoldLabels, LabelledSolution, PolicyIdentity, Problem, Solution, StepLabel, Vote
from schemas.sources import GRADE, Source, Sources, check_source, judge_source, rollout_source

N = 4
SOURCES: Sources = {
    **GRADE,
    **rollout_source("monte_carlo"),
    **rollout_source("scan"),
    **judge_source("judge:a"),
    **judge_source("judge:b"),
    **check_source("arithmetic"),
    "hopes": Source(kind="judge", asks="solvable"),
}


def people(first: int | None) -> GoldLabels:
    """As ProcessBench labels: nothing after the first error."""
    labels = [
        None if first is None else 1 if first == -1 or i < first else 0 if i == first else None
        for i in range(N)
    ]
    return GoldLabels(labels=tuple(labels), first_error=first, by="people")


def row(
    gold: GoldLabels | None,
    votes: list[Vote],
    fused: int | None = None,
    *,
    problem: str = "p",
    dataset: str = "d",
    p: list[float | None] | None = None,
    consensus: str = "",
) -> LabelledSolution:
    posed = Problem.model_validate({"text": problem, "answer": "1", "source": {"dataset": dataset}})
    steps = [{"text": str(i), "start": 2 * i, "end": 2 * i + 1} for i in range(N)]
    solution = Solution.model_validate(
        {
            "problem_id": posed.id,
            "text": "0 1 2 3",
            "steps": steps,
            "policy": PolicyIdentity(kind="k", model="m"),
        }
    )
    implied = module._implied(fused, 0, N)
    labels = [StepLabel(label=one, p=chance) for one, chance in zip(implied, p or [None] * N, strict=True)]
    made = LabelledSolution(problem=posed, solution=solution, labels=tuple(labels), votes=tuple(votes))
    return made.model_copy(update={"first_error": fused, "gold": gold, "consensus": consensus})


def rolled(dead_at: int, source: str = "monte_carlo", n: int = N) -> list[Vote]:
    """Rollouts that all succeed before a step and fail from it on; -1 for nowhere."""
    alive = N if dead_at == -1 else dead_at
    return [
        Vote(step=i, source=source, asks="solvable", p=float(i < alive), correct=4 * (i < alive), n=4)
        for i in range(n)
    ]


def judged(first: int | None, source: str = "judge:a") -> list[Vote]:
    return votes_of([Reading(first)], N, source)


def checked(*verdicts: float | None) -> list[Vote]:
    return [Vote(step=i, source="arithmetic", asks="valid", p=p) for i, p in enumerate(verdicts)]


def found_of(rows: list[LabelledSolution], **fusion: object) -> Any:
    """The figures by arm."""
    return fidelity(rows, SOURCES, FusionConfig.model_validate(fusion))["arms"]


def values(arm: dict[str, Any], *names: str) -> list[object]:
    """Figures without their intervals."""
    found = [arm[name] for name in names]
    return [one["value"] if isinstance(one, dict) else one for one in found]


def test_processbenchs_f1_is_the_harmonic_mean_of_the_two_accuracies() -> None:
    """Gold [2, -1, 0, -1], said [2, -1, 1, -1]: one of two errors, both right solutions, so 2/3."""
    rows = [row(people(g), judged(s)) for g, s in zip([2, -1, 0, -1], [2, -1, 1, -1], strict=True)]
    arm = found_of(rows)["judge:a"]
    assert values(arm, "acc_err", "acc_cor", "f1") == [0.5, 1.0, pytest.approx(2 / 3)]
    assert arm["f1"]["value"] == pytest.approx(first_error_f1([2, -1, 1, -1], [2, -1, 0, -1])["f1"])


def test_what_is_left_open_counts_against_and_stands_in_the_coverage() -> None:
    rows = [
        row(people(-1), judged(-1)),
        row(people(-1), judged(None)),
        row(people(1), []),
        row(people(1), judged(1)),
    ]
    arm = found_of(rows)["judge:a"]
    assert values(arm, "decided", "coverage", "acc_err", "acc_cor", "f1") == [2, 0.5, 0.5, 0.5, 0.5]
    assert values(arm, "exact", "label_f1", "label_f1_decided") == [1.0, pytest.approx(2 / 3, abs=1e-4), 1.0]
    assert values(arm, "step_precision", "step_recall") == [1.0, 0.5]


def test_a_yes_sayer_has_no_f1_to_speak_of() -> None:
    arm = found_of([row(people(1), judged(-1)), row(people(-1), judged(-1))])["judge:a"]
    assert values(arm, "f1", "label_f1", "step_precision", "step_recall") == [0.0, 0.0, None, 0.0]


def test_every_source_alone_all_of_a_kind_the_consensus_and_fusion() -> None:
    votes = [*rolled(2), *rolled(1, "scan"), *judged(1), *judged(3, "judge:b"), *checked(1, None, 0, 1)]
    rows = [row(people(1), votes, fused=1, consensus="agree_error"), row(people(2), rolled(2), fused=None)]
    found = found_of(rows)
    assert list(found) == [
        "arithmetic", "judge:a", "judge:b", "monte_carlo", "scan", "rollouts", "judge", "consensus", "fused"
    ]  # fmt: skip
    # Of the second row only `monte_carlo` spoke. Pooled, step 1 of the first has 4 of 8: the error is at 2.
    names = {name: int(arm["acc_err"] * 2) for name, arm in found.items()}
    assert names == {
        "arithmetic": 0, "judge:a": 1, "judge:b": 0, "monte_carlo": 1, "scan": 1, "rollouts": 1, "judge": 1,
        "consensus": 0, "fused": 1,
    }  # fmt: skip


def test_consensus_says_what_both_sides_of_the_pair_said_and_nothing_else() -> None:
    """Not what one of them says of a row that is dropped, nor of one that cannot be compared and is kept."""
    votes = [*rolled(2), *judged(2), *judged(1, "judge:b")]
    rows = [
        row(people(2), votes, consensus="agree_error"),
        row(people(2), [*rolled(2), *judged(1)], consensus="disagree_position"),
        row(people(-1), rolled(-1), consensus="no_gold"),
    ]
    assert values(found_of(rows)["consensus"], "decided", "acc_err", "acc_cor") == [1, 0.5, 0.0]
    other = found_of(rows, consensus=["judge:b", "arithmetic"])["consensus"]
    assert values(other, "decided", "acc_err") == [1, 0.0]
    assert "consensus" not in found_of([row(people(2), rolled(2))])


def test_a_verifier_names_the_first_step_that_it_refutes_and_never_says_that_all_are_right() -> None:
    rows = [row(people(2), checked(1, None, 0, 0)), row(people(-1), checked(1, 1, 1, 1))]
    arm = found_of(rows)["arithmetic"]
    assert values(arm, "decided", "acc_err", "acc_cor", "precision") == [1, 1.0, 0.0, 1.0]
    # Of the 7 steps with a gold label it speaks of 6; step 3 of the first row has none, and counts nowhere.
    assert values(arm, "steps_labelled", "steps_called_wrong", "step_hits") == [6, 1, 1]


def test_a_neutral_step_counts_nowhere() -> None:
    gold = GoldLabels(labels=(1, None, 0, 1), first_error=2, by="prm800k")
    arm = found_of([row(gold, judged(1))])["judge:a"]
    assert values(arm, "steps_called_wrong", "step_hits", "p_steps", "step_recall") == [0, 0, 1, 0.0]


def test_labels_without_a_first_error_count_in_the_step_figures_only() -> None:
    gold = GoldLabels(labels=(1, 0, None, 1), first_error=None, by="x")
    found = fidelity([row(gold, judged(1))], SOURCES, FusionConfig())
    assert [found[name] for name in ("wrong", "right", "solutions", "steps", "wrong_steps")] == [
        0,
        0,
        1,
        3,
        1,
    ]
    assert values(found["arms"]["judge:a"], "decided", "f1", "step_recall") == [0, None, 1.0]


def test_calibration_compares_each_p_with_what_it_speaks_of() -> None:
    """After a wrong step a right one: p of fusion is that all is right so far, of a judge the step alone."""
    gold = GoldLabels(labels=(1, 0, 1, 1), first_error=1, by="x")
    judge = [Vote(step=i, source="judge:a", asks="valid", p=p) for i, p in enumerate([0.9, 0.2, 0.9, 0.7])]
    found = found_of([row(gold, judge, p=[0.9, 0.2, 0.1, None])])
    assert found["judge:a"]["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.01 + 0.09) / 4)
    assert found["fused"]["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.01) / 3)
    p, truth = [0.9, 0.2, 0.9, 0.7], [1, 0, 1, 1]
    assert found["judge:a"]["ece"]["value"] == pytest.approx(ece(p, truth))


def test_who_only_hopes_names_no_error_but_is_calibrated() -> None:
    votes = [Vote(step=i, source="hopes", asks="solvable", p=0.1) for i in range(N)]
    arm = found_of([row(people(0), votes)])["hopes"]
    assert values(arm, "decided", "steps_labelled", "p_steps", "brier") == [0, 0, 1, pytest.approx(0.01)]


def test_the_graded_answer_alone_knows_right_solutions_and_no_error() -> None:
    def grade(p: float) -> list[Vote]:
        return [Vote(step=N - 1, source="answer", asks="solvable", p=p, correct=int(p), n=1)]

    rows = [row(people(-1), grade(1)), row(people(2), grade(1)), row(people(1), grade(0))]
    assert values(found_of(rows)["answer"], "decided", "acc_cor", "acc_err", "f1") == [2, 1.0, 0.0, 0.0]


def test_a_datasets_problems_have_a_table_of_their_own() -> None:
    rows = [
        row(people(1), judged(1), dataset="a", problem="1"),
        row(people(-1), judged(-1), dataset="a", problem="2"),
        row(people(1), judged(2), dataset="b", problem="3"),
        row(None, judged(2), dataset="c"),
    ]
    found = fidelity(rows, SOURCES, FusionConfig())
    assert (found["problems"], found["solutions"], found["without"]) == (3, 3, 1)
    assert {name: part["solutions"] for name, part in found["by_dataset"].items()} == {"a": 2, "b": 1}
    assert found["by_dataset"]["a"]["arms"]["judge:a"]["f1"]["value"] == 1.0
    assert found["by_dataset"]["b"]["arms"]["judge:a"]["acc_err"] == 0.0
    assert "by_dataset" not in fidelity(rows[:2], SOURCES, FusionConfig())


def test_without_gold_labels_there_are_no_figures() -> None:
    assert fidelity([row(None, judged(1)), row(people(None), judged(1))], SOURCES, FusionConfig()) == {}


def drawn(n: int) -> Iterator[LabelledSolution]:
    """Two solutions of each of `n` problems; of each kind a share of the judge's is right."""
    rng = np.random.default_rng(1)
    for i in range(n):
        for truth in (-1, int(rng.integers(N))):
            said = truth if rng.random() < 0.6 else int(rng.integers(-1, N))
            yield row(people(truth), judged(said), problem=str(i))


def test_the_interval_is_the_bootstrap_over_problems() -> None:
    rows = list(drawn(40))
    hits = np.array([one.gold.first_error == named_by("judge:a", N, one.votes, SOURCES).first
                     for one in rows if one.gold], dtype=float).reshape(40, 2)  # fmt: skip

    def f1(chosen: Any) -> float:
        right, wrong = hits[chosen].mean(axis=0)
        return float(2 * right * wrong / (right + wrong))

    found = found_of(rows)["judge:a"]["f1"]
    assert found == pytest.approx(bootstrap(40, f1, seed=0))
    assert found == found_of(rows)["judge:a"]["f1"], "the seed is fixed"


def test_memory_does_not_grow_with_the_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more problems than there are places the sums are those of groups: the same figures, and intervals
    that hardly differ."""
    exact = found_of(list(drawn(400)))["judge:a"]["f1"]
    monkeypatch.setattr(module, "_PLACES", 100)
    tally = Tally(SOURCES, FusionConfig())
    tally.add((one, one.gold) for one in drawn(400))
    grouped = tally.figures()["arms"]["judge:a"]["f1"]
    assert {array.shape[0] for sums in tally._datasets.values() for array in sums.by_arm.values()} == {100}
    assert max(len(sums.places) for sums in tally._datasets.values()) == 100
    assert grouped["value"] == exact["value"]
    for end in ("low", "high"):
        assert grouped[end] == pytest.approx(exact[end], abs=0.02)


def test_datasets_beyond_the_first_twenty_share_a_table() -> None:
    rows = [row(people(1), judged(1), dataset=f"d{i}", problem=str(i)) for i in range(30)]
    parts = fidelity(rows, SOURCES, FusionConfig())["by_dataset"]
    assert len(parts) == 21
    assert parts["others"]["solutions"] == 10


def test_first_errors_alone() -> None:
    """Named 1 (right), 1 (it is 2), none, 0 (there is none), open: 1 of 3 named, 1 of 3 to be found."""
    found = first_errors([(1, 1), (1, 2), (-1, -1), (0, -1), (None, 0)])
    assert [found[name] for name in ("solutions", "decided", "exact", "acc_cor")] == [5, 4, 0.5, 0.5]
    assert [found[name] for name in ("precision", "acc_err", "label_f1")] == [0.3333] * 3
    assert found["label_f1_decided"] == 0.4
    assert first_errors([])["label_f1"] is None
