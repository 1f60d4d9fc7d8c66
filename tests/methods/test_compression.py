"""Node compression: counts by hand, what must stay, and that it adds nothing on average."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods.compression import compress, items, pair_label, rows
from pipeline.methods.counts import Count
from pipeline.methods.stored import Run
from pipeline.methods.tree import Tree, build
from schemas.derive import CompressionSettings
from schemas.records import Rollout

Drawn = Callable[..., Rollout]


@pytest.fixture(scope="session")
def five(drawn: Drawn) -> Tree:
    """A step with five last steps, three of them right, under a first step."""
    return build([drawn(f"g\nparent\nchild {i}", i < 3) for i in range(5)])


def test_a_move_leaves_one_out(five: Tree) -> None:
    seen = set()
    for seed in range(20):
        tree = compress(five, 1.0, random.Random(seed))
        moved = next(node for node in tree.nodes if node.kind == "merged")
        parent = next(node for node in tree.nodes if node.kind == "reshaped")
        grandparent = next(node for node in tree.nodes if node.step == "g")
        assert moved.step.startswith("parent\nchild")
        assert tree.nodes[moved.parent].step == "g"
        assert grandparent.leaves == Count(3, 5)
        seen.add((moved.leaves.value, parent.leaves.value))
    assert seen == {(1.0, 0.5), (0.0, 0.75)}


def test_a_score_is_the_share_of_leaves_and_not_of_scores(drawn: Drawn) -> None:
    tree = build([drawn("p\na\n1", True), *(drawn(f"p\nb\n{i}", False) for i in range(5))])
    assert tree.nodes[1].leaves.value == pytest.approx(1 / 6)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (1, 1)])
def test_a_pair_is_worth_its_later_step(first: int, second: int) -> None:
    assert pair_label(Count(first, 1), Count(second, 1)).value == second


TEXTS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5), st.sampled_from([True, False, None])
    ),
    max_size=40,
)


@given(TEXTS, st.integers(0, 99))
def test_what_compression_keeps(drawn: Drawn, texts: list, seed: int) -> None:  # type: ignore[type-arg]
    tree = build([drawn("\n".join(steps), right) for steps, right in texts])
    assert compress(tree, 0.0, random.Random(seed)) == tree
    found = compress(tree, 1.0, random.Random(seed))
    assert found == compress(tree, 1.0, random.Random(seed))
    assert len(found.nodes) == len(tree.nodes)
    assert found.nodes[0].leaves == tree.nodes[0].leaves

    def endings(of: Tree) -> list[tuple[str, Count]]:
        return sorted((of.prefix(i), n.ends) for i, n in enumerate(of.nodes) if n.ends != Count())

    assert endings(found) == endings(tree)
    reshaped = sum(node.kind == "reshaped" for node in found.nodes)
    assert sum(node.kind == "merged" for node in found.nodes) == reshaped
    eligible = sum(len(node.children) >= 4 for node in tree.nodes[1:])
    assert reshaped <= eligible
    assert all(node.children for node in found.nodes if node.kind == "reshaped")


def test_every_eligible_node_loses_exactly_one(drawn: Drawn) -> None:
    tree = build([drawn(f"{a}\n{b}\nend", True) for a in "xy" for b in "pqrst"])
    found = compress(tree, 1.0, random.Random(0))
    assert [len(node.children) for node in found.nodes if node.kind == "reshaped"] == [4, 4]
    assert len(found.nodes[0].children) == 4


def test_compression_is_no_evidence(five: Tree) -> None:
    shares = []
    for seed in range(4000):
        tree = compress(five, 1.0, random.Random(seed))
        shares.append(next(node.leaves.value or 0 for node in tree.nodes if node.kind == "reshaped"))
    mean = sum(shares) / len(shares)
    assert mean == pytest.approx(0.6, abs=0.01)
    assert (sum((s - mean) ** 2 for s in shares) / len(shares)) ** 0.5 == pytest.approx(0.1225, abs=0.003)


def test_failed_leaves_have_no_label(drawn: Drawn) -> None:
    tree = build([drawn("a\nb", None), drawn("a\nc", True)])
    assert [(item.step, item.leaves) for item in items(tree)] == [
        ("a", Count(1, 1, 1)),
        ("c", Count(1, 1)),
        ("a\nc", Count(1, 1)),
    ]


def test_rows_of_a_run_say_what_was_measured(run: Run) -> None:
    found = list(rows(run, CompressionSettings(share=1.0)))
    assert found == list(rows(run, CompressionSettings(share=1.0)))
    assert {row["evidence"] for row in found} <= {"measured", "merged", "reshaped"}
    plain = list(rows(run, CompressionSettings(share=0.0)))
    assert plain == [row for row in found if row["evidence"] == "measured"]
    assert all(row["label"] == row["correct"] / row["n"] for row in found)


def test_a_sound_prefix_is_worth_its_success_rate(make_run: object) -> None:
    run = make_run(  # type: ignore[operator]
        1,
        policy={"kind": "simulated", "slip": 0.15, "n_steps": 8},
        propose={"kind": "sample", "n": 2000},
        annotate=[],
    )
    found = [row for row in rows(run, CompressionSettings(share=0.0)) if row["granularity"] == 1]
    label = next(
        row["label"] for row in found if row["text"] == "step 3: good" and "bad" not in row["prefix"]
    )
    assert label == pytest.approx(0.85**4, abs=0.06)
