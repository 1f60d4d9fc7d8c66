"""Quality values: worked trees, bounds, and that they are no probabilities."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods.quality import next_value, places, rows, values
from pipeline.methods.stored import Run
from pipeline.methods.tree import Tree, build
from pipeline.policies.simulated import SimulatedPolicy
from schemas.derive import QualitySettings
from schemas.records import Rollout

Drawn = Callable[..., Rollout]


def by_step(tree: Tree) -> dict[str, float | None]:
    return {node.step: v for node, v in zip(tree.nodes, values(tree), strict=True)}


@pytest.mark.parametrize("k", [1, 4])
def test_a_right_path_rises_evenly(drawn: Drawn, k: int) -> None:
    tree = build([drawn("\n".join(f"step {i}" for i in range(k)), True)])
    assert values(tree) == pytest.approx([i / k for i in range(k + 1)])


def test_falling() -> None:
    v, found = 0.5, []
    for _ in range(4):
        v = next_value(v, 3, is_sound=False)
        found.append(v)
    assert found == pytest.approx([0.3333, 0.1111, 0, 0], abs=1e-4)
    assert next_value(0.0, 5, is_sound=False) == 0
    assert next_value(0.75, 1, is_sound=True) == 1
    assert next_value(0.75, 2, is_sound=False) == 0.625
    assert next_value(0.75, 1, is_sound=False) == 0.5


def test_the_worked_tree(drawn: Drawn) -> None:
    tree = build([drawn("A\nA1", True), drawn("A\nA2", False), drawn("B\nB1", False)])
    place = {node.step: found for node, found in zip(tree.nodes, places(tree), strict=True)}
    assert {step: p.distance for step, p in place.items() if p} == {
        "": 3,
        "A": 2,
        "B": 3,
        "A1": 1,
        "A2": 2,
        "B1": 3,
    }
    assert by_step(tree) == {"": 0, "A": 0.5, "B": 0, "A1": 1, "A2": 0.25, "B1": 0}


def test_unfinished_branches_say_nothing(drawn: Drawn) -> None:
    tree = build([drawn("A\nA1", True), drawn("C\nC1\nC2", None, stopped="length")])
    assert by_step(tree) == {"": 0, "A": 0.5, "A1": 1, "C": None, "C1": None}
    hopeless = build([drawn("A\nA1", False)])
    assert set(values(hopeless)) == {None}


PATHS = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), st.sampled_from([True, False, None])),
    min_size=1,
    max_size=20,
)


@given(PATHS, st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_invariants(drawn: Drawn, paths: list, more: list[str]) -> None:  # type: ignore[type-arg]
    rollouts = [drawn("\n".join(steps), right) for steps, right in paths]
    tree = build(rollouts)
    found, v = places(tree), values(tree)
    for index, node in tree.below():
        place, here, before = found[index], v[index], v[node.parent]
        if place is None or here is None or before is None:
            assert here is None
            continue
        assert 0 <= here <= 1
        assert here >= before if place.is_sound else here <= before
        if node.ends.correct:
            assert here == pytest.approx(1)
    # One more right leaf never lowers a value on the way to it that was sound before.
    bigger = build([*rollouts, drawn("\n".join(more), True)])
    old = {tree.prefix(i): x for i, x in enumerate(v)}
    was_sound = {tree.prefix(i): p.is_sound for i, p in enumerate(found) if p}
    new = {bigger.prefix(i): x for i, x in enumerate(values(bigger))}
    path = ["\n".join(more[:n]) + ("\n" if n < len(more) else "") for n in range(1, len(more) + 1)]
    for prefix in path:
        if all(was_sound.get(p, False) for p in path[: path.index(prefix) + 1]):
            assert (new[prefix] or 0) >= (old[prefix] or 0) - 1e-12


def test_a_value_is_no_probability(drawn: Drawn) -> None:
    text = "".join(f"step {i}: good\n" for i in range(8)) + "#### right"
    v = values(build([drawn(text, True)]))[4]
    assert v == pytest.approx(0.5)
    for slip, success in ((0.4, 0.1296), (0.15, 0.5220)):
        assert SimulatedPolicy(slip=slip, n_steps=8).value([True] * 4) == pytest.approx(success, abs=1e-4)


def test_rows_of_a_run(run: Run) -> None:
    found = list(rows(run, QualitySettings()))
    assert {row["sound"] for row in found} == {True, False}
    # Every step here is sound with 5 steps to go at most: after k good ones the value is k / 5.
    for row in found:
        if row["sound"]:
            assert row["value"] == pytest.approx(row["depth"] / 5)
            assert row["steps_to_go"] == 5 - row["depth"]
