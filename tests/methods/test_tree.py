"""The prefix tree: equal prefixes are one node, and nothing depends on order."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods.counts import Count
from pipeline.methods.tree import MOST_STEPS, build, pieces
from schemas.records import Rollout

Drawn = Callable[..., Rollout]
LINES = st.lists(st.sampled_from(["a", "b", " c ", "", "#### 7"]), max_size=6).map("\n".join)


def test_counts_refuse_the_impossible() -> None:
    with pytest.raises(ValueError, match="correct=3 of n=2"):
        Count(3, 2)


def test_rollouts_of_a_prefix_hang_below_it(drawn: Drawn) -> None:
    tree = build(
        [
            drawn("a\nb\n#### 1", True),
            drawn("c\n#### 2", False, prefix="a\n", purpose="monte_carlo"),
            drawn("b\n#### 1", None, prefix="a\n"),
            drawn("x", True, prefix="a\n", purpose="prover"),
        ]
    )
    assert [node.step for node in tree.nodes] == ["", "a", "b\n#### 1", "c\n#### 2"]
    root, a, b, _ = tree.nodes
    assert root.leaves == a.leaves == Count(1, 2, 1)
    assert (root.drawn, a.drawn) == (Count(1, 1), Count(0, 1, 1))
    assert b.ends == Count(1, 1, 1)
    assert tree.prefix(2) == "a\nb\n#### 1"


def test_a_cut_off_completion_loses_its_last_step_and_counts_for_neither_side(drawn: Drawn) -> None:
    tree = build([drawn("a\nb\nhalf a st", None, stopped="length"), drawn("", None, stopped="error")])
    assert [node.step for node in tree.nodes] == ["", "a", "b"]
    assert tree.nodes[0].leaves == Count(0, 0, 2)


def test_a_text_of_endless_steps_is_not_read(drawn: Drawn) -> None:
    tree = build([drawn("a\n" * (MOST_STEPS + 1), False)])
    assert len(tree.nodes) == 1
    assert tree.nodes[0].leaves == Count(n_failed=1)


@given(LINES)
def test_pieces_join_to_the_text(text: str) -> None:
    found = pieces(text)
    assert "".join(piece for piece, _ in found) == (text if found else "")
    assert all(step in piece for piece, step in found)


@given(st.lists(st.tuples(LINES, st.sampled_from([True, False, None])), max_size=8), st.randoms())
def test_the_order_of_rollouts_does_not_matter(drawn: Drawn, texts: list, rng: object) -> None:  # type: ignore[type-arg]
    rollouts = [drawn(text, right) for text, right in texts]
    tree = build(rollouts)
    rng.shuffle(rollouts)  # type: ignore[attr-defined]
    assert build(rollouts) == tree
    assert tree.nodes[0].leaves.n + tree.nodes[0].leaves.n_failed == len(rollouts)
    for index, node in enumerate(tree.nodes):
        assert all(tree.nodes[child].parent == index for child in node.children)


@pytest.mark.parametrize("asked", ["a\n", "a\n  "])
def test_the_spaces_before_a_step_part_no_node(drawn: Drawn, asked: str) -> None:
    whole = "a\n  b\n  c"
    found = build([drawn(whole, True), drawn(whole[len(asked) :], False, prefix=asked)])
    assert [node.piece for node in found.nodes] == ["", "a\n", "  b\n", "  c"]
    assert found.nodes[-1].ends == Count(1, 2)


def test_thoughts_are_in_no_node_of_their_own(drawn: Drawn) -> None:
    block = "<think>\nx\ny\n</think>\n"
    tree = build(
        [
            drawn(f"{block}a\nb", True),
            drawn("b\n#### 1", False, prefix=f"{block}a\n"),
            drawn("<think>\nx\ny", None),
            drawn("<think>\nx\ny", None, stopped="length"),
        ]
    )
    assert [node.step for node in tree.nodes] == ["", "a", "b", "b\n#### 1"]
    assert tree.nodes[1].piece == f"{block}a\n"
    assert (tree.nodes[0].drawn, tree.nodes[1].drawn) == (Count(1, 1, 2), Count(0, 1))


def test_rollouts_that_think_on_from_the_steps_hang_below_them(drawn: Drawn) -> None:
    inside = "<think>\na\nb\n"
    tree = build(
        [
            drawn("hm\nso\n</think>\na\nc", True, prefix=inside),
            drawn("hm\nso\n", None, prefix=inside),
            drawn("hm", None, prefix=inside, stopped="length"),
        ]
    )
    assert [node.step for node in tree.nodes] == ["", "a", "b", "a", "c"]
    assert tree.prefix(2) == inside
    assert tree.nodes[2].drawn == tree.nodes[2].leaves == Count(1, 1, 2)
    assert tree.nodes[0].drawn == Count()
