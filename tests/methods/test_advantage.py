"""Progress advantages: the paper's arithmetic, noise, and a prover whose truth is known."""

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods.advantage import advantages, effective, estimate, first_pit, hard, rows, variance
from pipeline.methods.counts import Count
from pipeline.methods.stored import Run
from pipeline.policies.simulated import SimulatedPolicy
from schemas.derive import AdvantageSettings

COUNTS = st.integers(1, 30).flatmap(lambda n: st.integers(0, n).map(lambda c: Count(c, n)))
WORKED = [Count(10, 20), Count(14, 20), Count(0, 20), Count(0, 20), Count(0, 1)]


def test_the_worked_example_telescopes() -> None:
    found = [step.value for step in advantages(WORKED)]
    assert found == pytest.approx([0.2, -0.7, 0, 0])
    assert math.fsum(x for x in found if x is not None) == pytest.approx(0 - 0.5)
    assert first_pit(WORKED) == 1
    assert advantages(WORKED)[0].se == pytest.approx(0.15166, abs=1e-5)


@pytest.mark.parametrize(
    ("q", "k", "expected"), [(0.2, 4, 0.5904), (0.3, 4, 0.7599), (0.8, 4, 0.9984), (0.9, 4, 0.9999)]
)
def test_best_of_many_draws(q: float, k: int, expected: float) -> None:
    n = 1_000_000
    assert estimate(Count(round(q * n), n), k) == pytest.approx(expected, abs=1e-5)


def test_best_of_k_is_unbiased() -> None:
    assert estimate(Count(2, 8), 4) == pytest.approx(0.785714, abs=1e-6)
    # Over all outcomes of 5 draws its expectation is 1 - (1 - p)^3, which the plug-in's is not.
    for p in (0.2, 0.7):
        mean = sum(
            math.comb(5, c) * p**c * (1 - p) ** (5 - c) * (estimate(Count(c, 5), 3) or 0) for c in range(6)
        )
        assert mean == pytest.approx(1 - (1 - p) ** 3)


@pytest.mark.parametrize(("count", "k"), [(Count(), 1), (Count(0, 0, 8), 1), (Count(3, 3), 4)])
def test_too_few_draws_are_unknown(count: Count, k: int) -> None:
    assert estimate(count, k) is None


def test_an_unknown_count_breaks_the_chain_and_is_no_zero() -> None:
    found = [step.value for step in advantages([Count(4, 8), Count(n_failed=8), Count(2, 8), Count(1, 1)])]
    assert found == [None, None, 0.75]
    assert first_pit([Count(4, 8), Count(), Count(0, 8), Count(0, 1)]) is None
    assert [step.value for step in advantages([Count(4, 8), Count(4, 8), Count(n_failed=1)])] == [0, None]


@given(st.lists(COUNTS, min_size=1, max_size=8), st.booleans(), st.integers(1, 3))
def test_invariants(counts: list[Count], right: bool, k: int) -> None:
    counts = [c for c in counts if c.n >= k] or [Count(1, 3)]
    found = advantages([*counts, Count(int(right), 1)], k)
    assert all(step.value is not None and -1 <= step.value <= 1 for step in found)
    total = math.fsum(step.value for step in found if step.value is not None)
    assert total == pytest.approx(right - (found[0].q_before or 0))
    assert found[-1].q_after == right


@given(COUNTS, COUNTS, COUNTS)
def test_siblings_are_ordered_as_by_q(parent: Count, a: Count, b: Count) -> None:
    end = Count(1, 1)
    one, other = (advantages([parent, child, end])[0].value or 0 for child in (a, b))
    assert (one < other) == (a.correct * b.n < b.correct * a.n)


def test_effective_reward() -> None:
    assert effective(0.6, -0.2, 0.5) == pytest.approx(0.5)
    assert effective(1, -0.2, 5) == pytest.approx(0)
    assert effective(None, 0.1, 1) is None


def test_a_null_step_looks_like_progress_by_chance() -> None:
    pairs = list(itertools.product(range(9), range(9)))
    chance = {c: math.comb(8, c) / 256 for c in range(9)}
    exact = sum(
        chance[a] * chance[b]
        for a, b in pairs
        if abs(advantages([Count(a, 8), Count(b, 8), Count(1, 1)])[0].value or 0) >= 0.25
    )
    assert exact == pytest.approx(0.4545, abs=1e-4)
    called = sum(
        chance[a] * chance[b]
        for a, b in pairs
        if hard(advantages([Count(a, 8), Count(b, 8), Count(1, 1)])[0]) != 0
    )
    assert called < 0.08  # 2 standard errors promise 0.0455 of a normal variable


def test_null_steps_have_z_scores_of_variance_one() -> None:
    rng, scores = random.Random(5), []
    for _ in range(4000):
        a, b = (Count(sum(rng.random() < 0.6 for _ in range(40)), 40) for _ in range(2))
        step = advantages([a, b, Count(1, 1)])[0]
        scores.append((step.value or 0) / (step.se or 1))
    mean = sum(scores) / len(scores)
    assert abs(mean) < 4 / math.sqrt(len(scores))
    assert sum(s * s for s in scores) / len(scores) == pytest.approx(1, abs=0.1)


def test_all_of_eight_are_no_certainty() -> None:
    assert variance(Count(8, 8), 1) > 0
    assert hard(advantages([Count(1, 1), Count(0, 1), Count(0, 1)])[0]) == 0
    assert hard(advantages([Count(18, 20), Count(0, 20), Count(0, 1)])[0]) == -1


def test_ones_own_prover_expects_no_progress() -> None:
    policy = SimulatedPolicy(slip=0.15, recover=0.05, n_steps=6)
    for states in itertools.chain.from_iterable(itertools.product([True, False], repeat=n) for n in range(6)):
        good = not states or states[-1]
        chance = 1 - policy.slip if good else policy.recover
        after = chance * policy.value([*states, True]) + (1 - chance) * policy.value([*states, False])
        assert after == pytest.approx(policy.value(states))


def test_the_slip_policy_in_closed_form() -> None:
    policy = SimulatedPolicy(slip=0.15, n_steps=6)
    before, sound, slip = (policy.value(s) for s in ([True], [True, True], [True, False]))
    assert sound - before == pytest.approx(0.0783, abs=1e-4)
    assert slip - before == pytest.approx(-0.4437, abs=1e-4)


def test_rows_of_a_run_with_a_prover(run: Run) -> None:
    found = list(rows(run, AdvantageSettings()))
    assert {row["prover"] for row in found} == {"simulated"}  # the name in the run file, whatever its kind
    by_solution: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_solution.setdefault(row["solution_id"], []).append(row)
    for steps in by_solution.values():
        assert sum(row["advantage"] for row in steps) == pytest.approx(
            steps[-1]["q_after"] - steps[0]["q_before"]
        )
        assert all(row["n"] == 8 for row in steps[:-1])
        assert steps[-1]["n"] == 1
        slip = next((row for row in steps if row["text"].endswith("bad")), None)
        if slip is not None:
            assert slip["q_after"] == 0
            assert slip["first_pit"] or slip["q_before"] < 0.5
    assert sum(row["first_pit"] for row in found) > 2
