"""The posterior of the first error: by hand where it can be, and by properties elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotators.posterior import Location


def test_without_rollouts_the_prior_is_flat() -> None:
    assert Location(5).chances() == pytest.approx(np.full(5, 0.2))
    assert Location(1).chances() == pytest.approx([1.0])


def test_one_success_rules_out_nearly_all_earlier_errors() -> None:
    location = Location(4, recover=0.001)
    location.observe(1, 1, drawn=2)
    chances = location.chances()
    assert chances[:2].sum() < 0.005
    assert chances[2] == pytest.approx(chances[3])


def test_failures_mean_much_on_an_easy_problem_and_little_on_a_hard_one() -> None:
    """0 of 8 after step 3 of 6: the error lies before, unless the problem is hardly ever solved."""
    after = {}
    for right in (31, 16, 1):
        location = Location(6)
        location.observe(right, 32, drawn=0)
        location.observe(0, 8, drawn=3)
        after[right] = location.chances()[:3].sum()
    assert after[31] > after[16] > 0.97
    assert after[1] < 0.85


def test_a_known_rate_gives_the_posterior_by_hand() -> None:
    """A bare problem half solved, and three failures after step 1 of 2: its rate if sound is .5 ** .5."""
    location = Location(2, recover=1e-6)
    location.observe(5_000, 10_000, drawn=0)
    location.observe(0, 3, drawn=1)
    sound = (1 - 0.5**0.5) ** 3
    assert location.chances()[1] == pytest.approx(sound / (1 + sound), abs=0.005)


def test_a_refuted_step_bounds_k_and_is_left_out_on_request() -> None:
    location = Location(6)
    location.observe(2, 4, drawn=2)
    alone = location.chances()
    location.refute(3)
    assert location.chances()[4:].sum() == 0
    assert location.chances()[2:4].sum() > 0.98
    assert location.measured() == pytest.approx(alone)


def test_a_repeated_mistake_counts_as_a_failure_before_it() -> None:
    """Rollouts from step 2 that all repeat step 3 and fail: step 3 or an earlier one is wrong, whichever."""
    location = Location(6)
    location.observe(20, 40, drawn=0)
    location.observe(0, 20, drawn=2, length=3)
    assert location.chances()[3:].sum() < 0.01
    plain = Location(6)
    plain.observe(20, 40, drawn=0)
    plain.observe(0, 20, drawn=3)
    assert plain.chances()[2] > 0.2 > 0.01 > location.chances()[2]


def test_a_success_on_the_way_speaks_for_all_it_passed() -> None:
    location = Location(6, recover=0.001)
    location.observe(1, 1, drawn=0, length=4)
    assert location.chances()[:4].sum() < 0.01


@given(
    n_steps=st.integers(2, 9),
    seen=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(0, 4)), max_size=8),
)
def test_chances_are_a_distribution_and_order_does_not_matter(
    n_steps: int, seen: list[tuple[int, int, int]]
) -> None:
    found = []
    for order in (seen, seen[::-1]):
        location = Location(n_steps)
        for drawn, correct, wrong in order:
            location.observe(correct, correct + wrong, drawn=drawn % n_steps)
        found.append(location.chances())
    assert found[0].sum() == pytest.approx(1)
    assert found[0].min() >= 0
    assert found[0] == pytest.approx(found[1], abs=1e-9)


@given(n_steps=st.integers(2, 9), right=st.integers(0, 8))
def test_the_best_probe_is_neither_the_bare_problem_nor_the_finished_solution(
    n_steps: int, right: int
) -> None:
    location = Location(n_steps)
    location.observe(right, 8, drawn=0)
    [probe] = location.best_probes(1)
    assert 1 <= probe.length < n_steps
    assert probe.gain > 0


def test_a_prefix_that_costs_without_end_is_not_probed() -> None:
    location, left = Location(4), np.array([1.0, 0.75, 0.5, 0.25])
    first = location.best_probes(1, left)[0].length
    left[first] = np.inf
    assert location.best_probes(1, left)[0].length != first
    left[1:] = np.inf
    assert location.best_probes(1, left)[0].gain == 0
