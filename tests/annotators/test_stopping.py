"""Sequential tests against their published known answers, and against exact enumeration of their errors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotators.stopping import (
    confidence_sequence,
    is_known,
    least_to_decide,
    least_to_know,
    likelihood_ratio,
    most_to_miss,
    ratio_test,
)


def exact(
    rate: float, *, low: float, high: float, error: float, most: int = 200
) -> tuple[float, float, float]:
    """P(yes), P(no) and the mean number of rollouts, by enumeration of all paths."""
    open_: dict[int, float] = {0: 1.0}
    ends, mean = {"yes": 0.0, "no": 0.0}, 0.0
    for n in range(1, most + 1):
        going: dict[int, float] = {}
        mean += sum(open_.values())
        for correct, chance in open_.items():
            for more, p in ((1, rate), (0, 1 - rate)):
                answer = ratio_test(correct + more, n, low=low, high=high, error=error)
                if answer == "open":
                    going[correct + more] = going.get(correct + more, 0.0) + chance * p
                else:
                    ends[answer] += chance * p
        open_ = going
    return ends["yes"], ends["no"], mean


def test_walds_increments_and_bounds() -> None:
    assert likelihood_ratio(1, 1, low=0.1, high=0.5) == pytest.approx(1.6094, abs=1e-4)
    assert likelihood_ratio(0, 1, low=0.1, high=0.5) == pytest.approx(-0.5878, abs=1e-4)
    answers = [ratio_test(c, n, low=0.1, high=0.5, error=0.05) for c, n in ((2, 2), (0, 5), (0, 6), (1, 3))]
    assert answers == ["yes", "open", "no", "open"]


@pytest.mark.parametrize(
    ("rate", "wrong", "mean"), [(0.1, 0.0295, 8.6), (0.5, 0.0345, 6.5), (0.02, 0.0005, 6.4), (0.8, 0.0, 3.0)]
)
def test_errors_and_cost_of_the_ratio_test(rate: float, wrong: float, mean: float) -> None:
    yes, no, cost = exact(rate, low=0.1, high=0.5, error=0.05)
    assert (yes if rate <= 0.1 else no) == pytest.approx(wrong, abs=6e-4)
    assert cost == pytest.approx(mean, abs=0.06)


@given(
    low=st.sampled_from([0.0, 0.02, 0.05, 0.1]),
    high=st.sampled_from([0.2, 0.3, 0.5]),
    error=st.sampled_from([0.01, 0.05, 0.1]),
)
def test_no_error_is_larger_than_asked_for(low: float, high: float, error: float) -> None:
    assert exact(high, low=low, high=high, error=error)[1] <= error
    assert exact(low, low=low, high=high, error=error)[0] <= error


def test_one_success_settles_a_test_against_nothing() -> None:
    assert ratio_test(1, 5, low=0.0, high=0.2, error=0.05) == "yes"
    assert most_to_miss(high=0.2, error=0.05) == 14
    assert ratio_test(0, 13, low=0.0, high=0.2, error=0.05) == "open"
    assert ratio_test(0, 14, low=0.0, high=0.2, error=0.05) == "no"
    assert 0.8**14 <= 0.05


def test_how_many_rollouts_could_end_it() -> None:
    assert least_to_decide(0, 0, low=0.1, high=0.5, error=0.05) == 2
    assert least_to_decide(0, 0, low=0.0, high=0.2, error=0.05) == 1
    assert least_to_decide(0, 5, low=0.1, high=0.5, error=0.05) == 1


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"), [(0, 8, 0, 0.4389), (0, 16, 0, 0.2667), (8, 16, 0.1687, 0.8313)]
)
def test_confidence_sequence(correct: int, n: int, low: float, high: float) -> None:
    assert confidence_sequence(correct, n, 0.05) == pytest.approx((low, high), abs=1e-4)


@given(n=st.integers(1, 60), data=st.data(), error=st.sampled_from([0.01, 0.05, 0.2]))
def test_confidence_sequences_are_symmetric_and_hold_the_share(
    n: int, data: st.DataObject, error: float
) -> None:
    correct = data.draw(st.integers(0, n))
    low, high = confidence_sequence(correct, n, error)
    other = confidence_sequence(n - correct, n, error)
    assert 0 <= low <= correct / n <= high <= 1
    assert math.isclose(low, 1 - other[1], abs_tol=1e-9)
    assert (
        high - low
        <= confidence_sequence(correct, n, error / 2)[1] - confidence_sequence(correct, n, error / 2)[0]
    )


def test_a_rate_is_known_once_its_interval_is_narrow() -> None:
    assert is_known(0, 8, width=0.44, error=0.05)
    assert not is_known(0, 8, width=0.43, error=0.05)
    assert least_to_know(0, 0, width=0.44, error=0.05, most=99) == 8
    assert least_to_know(0, 5, width=0.44, error=0.05, most=99) == 3
    assert least_to_know(0, 0, width=0.44, error=0.05, most=5) == 5
