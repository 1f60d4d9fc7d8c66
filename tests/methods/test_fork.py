"""Fork-relative advantages: worked trees, sums that vanish, and noise at forks of two."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods.fork import boosted, centred, discounted, rows, worths
from pipeline.methods.stored import Run
from pipeline.methods.tree import Tree, build
from pipeline.policies.simulated import SimulatedPolicy
from schemas.derive import ForkSettings
from schemas.records import Rollout

Drawn = Callable[..., Rollout]
PLAIN = ForkSettings(gamma=1.0)
DIVIDED = ForkSettings(gamma=1.0, least_std=1e-9)


@pytest.mark.parametrize(("x", "label"), [(0, 0), (0.1, 0.2891), (0.25, 0.5224), (0.5, 0.7472), (1, 1)])
def test_log_boost(x: float, label: float) -> None:
    assert boosted(x) == pytest.approx(label, abs=1e-4)


@pytest.fixture(scope="session")
def worked(drawn: Drawn) -> Tree:
    outcomes = {"a": (1, 1, 0), "b": (0, 0, 1)}
    return build([drawn(f"{n}\n{n}{i}", bool(o)) for n, row in outcomes.items() for i, o in enumerate(row)])


def test_the_worked_tree(worked: Tree) -> None:
    plain, divided = worths(worked, PLAIN), worths(worked, DIVIDED)
    a, b = plain[1], plain[2]
    assert a is not None
    assert b is not None
    assert (a.value, b.value) == pytest.approx((2 / 3, 1 / 3))
    assert a.to_root == pytest.approx(a.to_parent) == pytest.approx(0.1667, abs=1e-4)
    assert (a.reward, b.reward) == pytest.approx((0.19245, -0.19245), abs=1e-5)
    assert (a.fork, b.fork) == pytest.approx((1 / 6, -1 / 6))
    assert [w.fork for w in divided[1:3] if w] == pytest.approx([1, -1])
    # Outcomes 1,1,0,0,0,1: mean .5, standard deviation .5.
    assert [w.trajectory for w in divided[3:] if w] == pytest.approx([1, 1, -1, -1, -1, 1])


def test_a_grandchild(drawn: Drawn) -> None:
    # a1 has two right leaves and its sibling one wrong; b has one right of three.
    texts = [("a\na1\nx", 1), ("a\na1\ny", 1), ("a\na2", 0), ("b\n1", 0), ("b\n2", 0), ("b\n3", 1)]
    tree = build([drawn(text, bool(right)) for text, right in texts])
    index = next(i for i, node in enumerate(tree.nodes) if node.step == "a1")
    worth = worths(tree, PLAIN)[index]
    assert worth is not None
    assert (worth.to_root, worth.to_parent) == pytest.approx((0.5, 1 / 3))
    assert worth.reward == pytest.approx(0.58926, abs=1e-5)


def test_discount(drawn: Drawn) -> None:
    tree = build([drawn("a\nb\nc", True)])
    assert discounted(tree, 0.95)[0] == pytest.approx(0.857375)


def test_nothing_to_compare_is_zero(drawn: Drawn) -> None:
    tree = build([drawn("a\nb", True), drawn("c\nd", True)])
    for worth in worths(tree, DIVIDED)[1:]:
        assert worth is not None
        assert (worth.fork, worth.trajectory) == (0, 0)


def test_ungraded_nodes_have_no_worth(drawn: Drawn) -> None:
    tree = build([drawn("a\nb", True), drawn("c\nd", None)])
    assert [w is None for w in worths(tree, PLAIN)] == [True, False, True, False, True]
    assert set(worths(build([drawn("a", None)]), PLAIN)) == {None}


PATHS = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.sampled_from([True, False, None])),
    max_size=20,
)


@given(PATHS, st.sampled_from([1.0, 0.9]))
def test_forks_sum_to_nothing(drawn: Drawn, paths: list, gamma: float) -> None:  # type: ignore[type-arg]
    tree = build([drawn("\n".join(steps), right) for steps, right in paths])
    found = worths(tree, ForkSettings(gamma=gamma))
    for node in tree.nodes:
        family = [(found[i], tree.nodes[i].leaves.n) for i in node.children]
        assert math.fsum(w.fork * n for w, n in family if w) == pytest.approx(0, abs=1e-9)
        if len([w for w, _ in family if w]) == 1:
            assert [w.fork for w, _ in family if w] == pytest.approx([0])
    ends = [(w, n.ends) for w, n in zip(found[1:], tree.nodes[1:], strict=True) if w and not n.children]
    assert all(-1 <= w.trajectory <= 1 for w, _ in ends)


def test_noise_at_a_fork_of_two_is_full_size_without_a_floor() -> None:
    rng = random.Random(1)
    bare, floored = [], []
    for _ in range(500):
        shares = [sum(rng.random() < 0.5 for _ in range(16)) / 16 for _ in range(2)]
        bare.append(abs(centred(shares, [16, 16], 1e-9)[0]))
        floored.append(abs(centred(shares, [16, 16], 0.5)[0]))
    assert {round(x, 6) for x in bare} == {0.0, 1.0}
    assert sum(bare) / len(bare) > 0.8
    assert sum(floored) / len(floored) < 0.2


def test_a_sound_step_beats_a_slip_more_surely_with_more_leaves() -> None:
    policy = SimulatedPolicy(slip=0.15, n_steps=6)
    sound, slip = policy.value([True, True]), policy.value([True, False])
    assert sound - slip == pytest.approx(0.5220, abs=1e-4)
    rng = random.Random(2)

    def right_sign(leaves: int) -> float:
        wins = 0
        for _ in range(2000):
            shares = [sum(rng.random() < p for _ in range(leaves)) / leaves for p in (sound, slip)]
            wins += centred(shares, [leaves, leaves], None)[0] > 0
        return wins / 2000

    one, four = right_sign(1), right_sign(4)
    assert one == pytest.approx(0.5220, abs=0.04)  # a tie otherwise, never the wrong sign
    assert four == pytest.approx(1 - 0.478**4, abs=0.02)


def test_rows_of_a_run(run: Run) -> None:
    found = list(rows(run, ForkSettings()))
    keys = [(row["problem_id"], row["prefix"], row["text"]) for row in found]
    assert len(set(keys)) == len(keys)  # a shared step appears once
    forks = [row for row in found if row["siblings"] == 2]
    good = [row["fork_advantage"] for row in forks if "good" in row["text"].split("\n")[0]]
    assert good
    assert sum(good) / len(good) > 0
