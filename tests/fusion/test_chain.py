"""The likelihood of counts, and expected counts, against the sum over every path."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.chain import (
    AFTER,
    AT,
    BEFORE,
    CAP,
    LEVELS,
    SURE,
    Floats,
    Mixture,
    Walk,
    emissions,
    states,
)

STEPS = 3


def shares(rng: np.random.Generator, *shape: int) -> Floats:
    drawn = rng.random(shape)
    return np.asarray(drawn / drawn.sum(-1, keepdims=True))


def walk(rng: np.random.Generator) -> Walk:
    return Walk(shares(rng, len(LEVELS)), shares(rng, 5), shares(rng, 5), shares(rng, 2), 0.2)


def seen_of(counts: list[tuple[int, int] | None], levels: Floats = LEVELS) -> Floats:
    pairs = np.array([count or (0, 0) for count in counts], dtype=float)
    return emissions(pairs[None, :, 0], pairs[None, :, 1], levels)


def state(step: int, k: int) -> int:
    return BEFORE if step < k else AT if step == k else AFTER


def weight(source: Walk, seen: Floats, k: int, path: tuple[int, ...]) -> float:
    found = source.start[path[0]]
    for step, (level, following) in enumerate(zip(path, path[1:], strict=False)):
        found *= source.moves[state(step, k)][level, following] * seen[0, step, following]
    return float(found)


def test_a_walk_is_the_sum_over_every_path() -> None:
    rng = np.random.default_rng(0)
    source, chances = walk(rng), shares(rng, 1, STEPS + 1)
    seen = seen_of([(3, 8), None, (0, 4)])
    logs, expected = source.logs(seen), source.expected(seen, chances)
    starts, moves = np.zeros(len(LEVELS)), np.zeros_like(source.moves)
    for k in range(STEPS + 1):
        paths = {
            path: weight(source, seen, k, path) for path in product(range(len(LEVELS)), repeat=STEPS + 1)
        }
        total = sum(paths.values())
        assert logs[0, k] == pytest.approx(np.log(total))
        for path, found in paths.items():
            share = chances[0, k] * found / total
            starts[path[0]] += share
            for step in range(STEPS):
                moves[state(step, k)][path[step], path[step + 1]] += share
    assert expected[0] == pytest.approx(starts)
    after = source.hazard * source.moves[AT] / source.moves[AFTER]  # of moves after K, those of another error
    wrong = moves[AT] + moves[AFTER] * after
    assert expected[2].sum() == pytest.approx(wrong[1:].sum())
    assert expected[2][0] == pytest.approx(
        wrong[2:, 0].sum() + (wrong[1, 0] * source.wrong[0]) / source.wrong[:3].sum()
    )
    assert expected[3] == pytest.approx([moves[:, 0, 0].sum(), moves[:, 0, 1:].sum()])
    assert sum(part.sum() for part in expected[1:]) == pytest.approx(STEPS)


def test_a_mixture_is_the_product_over_the_steps() -> None:
    rng = np.random.default_rng(1)
    source, seen = Mixture(shares(rng, 3, len(LEVELS))), seen_of([(1, 4), None, (4, 4)])
    for k in range(STEPS + 1):
        expected = np.prod([seen[0, step] @ source.levels[state(step, k)] for step in range(STEPS)])
        assert source.logs(seen)[0, k] == pytest.approx(np.log(expected))
    chances = shares(rng, 1, STEPS + 1)
    found = source.expected(seen, chances)[0]
    assert found.sum(1) == pytest.approx(states(chances)[0][[0, 2]].sum(0)), "the silent step is not counted"


def test_padding_and_silent_steps_change_nothing() -> None:
    rng = np.random.default_rng(2)
    source = walk(rng)
    short = source.logs(seen_of([(5, 8), (0, 8)]))[0]
    long = source.logs(seen_of([(5, 8), (0, 8), None, None]))[0]
    assert long[[0, 1, -1]] == pytest.approx(short)
    chances = np.array([[0.2, 0.3, 0.5]])
    padded = np.array([[0.2, 0.3, 0.0, 0.0, 0.5]])
    for one, other in zip(
        source.expected(seen_of([(5, 8), (0, 8)]), chances),
        source.expected(seen_of([(5, 8), (0, 8), None, None]), padded),
        strict=True,
    ):
        assert other == pytest.approx(one)


COUNT = st.integers(0, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=60, deadline=None)
@given(st.lists(COUNT, min_size=2, max_size=6), COUNT, st.integers(0, 5), st.integers(0, 9))
def test_no_vote_moves_the_odds_by_more_than_the_cap(
    counts: list[tuple[int, int]], vote: tuple[int, int], at: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    at %= len(counts)
    without = [count if step != at else None for step, count in enumerate(counts)]
    with_it = [count if step != at else vote for step, count in enumerate(counts)]
    for source in (walk(rng), Mixture(shares(rng, 3, len(LEVELS)))):
        moved = source.logs(seen_of(with_it))[0] - source.logs(seen_of(without))[0]
        assert moved.max() - moved.min() <= CAP + 1e-9


def test_few_say_less_than_many() -> None:
    """0 of 1 against 0 of 8, for levels a half and lost; what is sure stays sure."""
    one, eight = (seen_of([(0, n)])[0, 0] for n in (1, 8))
    assert one[0] / one[4] == pytest.approx(2, abs=0.01)
    assert eight[0] / eight[4] == pytest.approx(252, abs=3)
    assert seen_of([(1, 1)], SURE)[0, 0] == pytest.approx([np.exp(-CAP), 1])


def test_a_long_solution_does_not_underflow() -> None:
    source = walk(np.random.default_rng(3))
    logs = source.logs(seen_of([(8, 8), (0, 8)] * 1000))
    assert np.isfinite(logs).all()
    counted = source.expected(seen_of([(8, 8), (0, 8)] * 1000), np.full((1, 2001), 1 / 2001))
    assert sum(part.sum() for part in counted[1:]) == pytest.approx(2000)
