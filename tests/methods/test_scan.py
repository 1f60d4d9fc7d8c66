"""Self-denoising labels: released rows, the rule, and what planted noise does to it."""

import random
from typing import Any

import pytest

from pipeline.methods.counts import Count
from pipeline.methods.scan import balanced, confident, denoised, predicted_error, rows
from pipeline.methods.stored import Run
from schemas.derive import ScanSettings

RATIOS = [Count(c, 8) for c in (8, 7, 4, 5, 2, 0)]


@pytest.mark.parametrize(
    ("confidence", "ratio", "target"),
    [
        (Count(101, 128), Count(1, 8), 0.158416),
        (Count(100, 128), Count(1, 8), 0.16),
        (Count(98, 128), Count(3, 8), 0.489796),
        (Count(112, 128), Count(6, 8), 0.857143),
        (Count(3, 4), Count(4, 8), 0.666667),
        (Count(3, 4), Count(7, 8), 1.0),
    ],
)
def test_released_rows(confidence: Count, ratio: Count, target: float) -> None:
    found = denoised([ratio, Count(0, 8)], confidence)
    assert found == [pytest.approx(target, abs=1e-6), 0.0]


@pytest.mark.parametrize(
    ("tolerance", "expected"),
    [
        (2, [1, 1, 1, 0.78125, 0.3125, 0]),
        (0, [1, 1, 1, 1, 1, 0]),
        (10, [1, 1, 0.625, 0.78125, 0.3125, 0]),
    ],
)
def test_tolerance(tolerance: int, expected: list[float]) -> None:
    assert denoised(RATIOS, Count(8, 10), tolerance) == pytest.approx(expected)


def test_ends() -> None:
    assert denoised([Count(0, 8), Count(5, 8)], Count(8, 10)) == [0.0]
    assert denoised([Count(4, 8), Count(2, 8)], Count(8, 10)) is None
    assert denoised(RATIOS, Count(0, 10)) is None
    assert denoised([Count(0, 1)], Count(8, 10)) == [0.0]  # one wrong step: graded, nothing rolled out


def test_a_zero_after_an_unknown_step_is_not_the_first() -> None:
    assert predicted_error([Count(4, 8), Count(n_failed=8), Count(0, 8)]) is None
    assert predicted_error([Count(), Count(2, 8), Count(0, 8)]) == 2


def test_confidence_is_over_what_could_be_read() -> None:
    assert not confident(Count(74, 100), 0.75)
    assert confident(Count(75, 100), 0.75)
    assert Count(90, 100, 28).value == 0.9
    assert not confident(Count(0, 0, 128), 0.0)


def test_balance_does_not_depend_on_order() -> None:
    right, wrong = [f"r{i}" for i in range(9)], [f"w{i}" for i in range(4)]
    found = balanced(right, wrong, 1)
    assert len(found & set(right)) == len(found & set(wrong)) == 4
    assert found == balanced(right[::-1], wrong[::-1], 1)
    assert found != balanced(right, wrong, 2)


def test_tolerance_pays_only_when_the_location_is_uncertain() -> None:
    """Plain hard labels against ours, one and two steps before the predicted error."""
    rng = random.Random(3)

    def squared_errors(jitter: int) -> tuple[float, float]:
        ours = plain = 0.0
        for _ in range(800):
            predicted = 6
            true = predicted + rng.choice([-jitter, 0, jitter])
            chance = [0.8 if step < true else 0.15 for step in range(7)]
            counts = [Count(sum(rng.random() < p for _ in range(8)) or 1, 8) for p in chance[:6]]
            found = denoised([*counts, Count(0, 8)], Count(80, 100))
            assert found is not None
            for step in (4, 5):
                truth = float(step < true)
                ours += ((found[step] or 0) - truth) ** 2
                plain += (1 - truth) ** 2
        return ours, plain

    noisy, exact = squared_errors(2), squared_errors(0)
    assert noisy[0] < noisy[1]
    assert exact[0] > exact[1]


def test_rows_of_a_run(run: Run) -> None:
    found = list(rows(run, ScanSettings(confidence=0.1)))
    by_solution: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_solution.setdefault(row["solution_id"], []).append(row)
    kinds = [steps[0]["right"] for steps in by_solution.values() if steps[0]["selected"]]
    assert kinds.count(True) == kinds.count(False) > 0
    for steps in by_solution.values():
        targets = [row["target"] for row in steps]
        if steps[0]["right"]:
            assert targets == [1.0] * 5
        else:
            assert targets[-1] == 0
            assert 0 not in targets[:-1]
            assert steps[-1]["text"].split("\n")[0].endswith("bad")
    assert list(rows(run, ScanSettings(confidence=1.0))) == []


def located(run: Run) -> list[tuple[int, int]]:
    """(predicted, true first error) of every labelled wrong solution; the true one is its first slip."""
    found: dict[str, list[str]] = {}
    for row in rows(run, ScanSettings(confidence=0.0)):
        if not row["right"]:
            found.setdefault(row["solution_id"], []).append(row["text"].split("\n")[0])
    lines = {
        candidate.solution.id: [text.split("\n")[0] for text in candidate.solution.step_texts()]
        for stored in run
        for candidate in stored.finished.candidates
    }
    slips = {
        one: next(i for i, text in enumerate(steps) if text.endswith("bad"))
        for one, steps in lines.items()
        if one in found
    }
    return [(len(steps) - 1, slips[one]) for one, steps in found.items()]


def test_a_confident_policy_is_located_better(make_run: Any) -> None:
    """Without recovery a sound prefix fails eight times by bad luck only: rarely where the policy is good."""
    early = []
    for slip in (0.05, 0.35):
        policy = {"kind": "simulated", "slip": slip, "n_steps": 8}
        pairs = located(make_run(120, policy=policy))
        assert all(predicted <= true for predicted, true in pairs)
        early.append(sum(predicted < true for predicted, true in pairs) / len(pairs))
    assert early[0] < 0.02
    assert early[1] > 0.1


def test_repaired_errors_are_seen_too_late(make_run: Any) -> None:
    policy = {"kind": "simulated", "slip": 0.15, "recover": 0.1, "n_steps": 8}
    pairs = located(make_run(120, policy=policy))
    assert sum(predicted > true for predicted, true in pairs) / len(pairs) > 0.3
