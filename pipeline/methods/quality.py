"""Quality values: how far a partial solution has come, and whether soundly (ReST-MCTS*, arXiv 2406.03816,
section 3).

v is 0 for the bare problem, rises by an equal share of what is left with every sound step and is 1 at a
correct end; an unsound step takes as much away. It is read off a tree's shape with no further rollout. It is
no success probability: a sound path of 4 out of 8 steps has 0.5 whether it succeeds always or hardly ever.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.methods.stored import Run
from pipeline.methods.tree import Tree
from schemas.derive import QualitySettings


@dataclass(frozen=True)
class Place:
    """Where a node stands in its tree."""

    distance: int
    """d = m + 1, m being the fewest further steps to a correct end."""
    is_sound: bool
    """Whether a correct end lies below; if not, `distance` is the nearest ancestor's that has one below."""


def places(tree: Tree) -> list[Place | None]:
    """Distance and soundness of every node; None where nothing below was graded, and for a whole tree
    without a correct end."""
    own: list[int | None] = [None] * len(tree.nodes)
    # Children first, since a node's distance is one more than the nearest child's.
    for index, node in tree.bottom_up():
        below = [d + 1 for child in node.children if (d := own[child]) is not None]
        # Distance 1 at a correct end and not 0: d divides in the formula of v.
        own[index] = 1 if node.ends.correct else min(below, default=None)
    found: list[Place | None] = []
    for index, node in enumerate(tree.nodes):
        distance = own[index]
        if distance is not None:
            found.append(Place(distance, is_sound=True))
            continue
        above = found[node.parent] if node.parent >= 0 else None
        # A branch that was never finished says nothing; it is neither far from the goal nor wrong.
        found.append(Place(above.distance, is_sound=False) if above and node.leaves.n else None)
    return found


def next_value(before: float, distance: int, *, is_sound: bool) -> float:
    """v_k = max(0, v_{k-1} +- (1 - v_{k-1}) / d_k)."""
    # The share of what is left that this step covers if all remaining steps cover as much.
    change = (1 - before) / distance
    return max(0.0, before + change if is_sound else before - change)


def values(tree: Tree, found: Sequence[Place | None] | None = None) -> list[float | None]:
    """v of every node, 0 at the root; None where there is no place."""
    found = places(tree) if found is None else found
    v: list[float | None] = []
    for node, place in zip(tree.nodes, found, strict=True):
        before = v[node.parent] if node.parent >= 0 else None
        if node.parent < 0:
            v.append(0.0 if place else None)
        elif place is None or before is None:
            v.append(None)
        else:
            v.append(next_value(before, place.distance, is_sound=place.is_sound))
    return v


COLUMNS = {
    "prefix": "string",
    "text": "string",
    "depth": "int32",
    "value": "float64",
    "steps_to_go": "int32",
    "sound": "bool",
    "correct": "int32",
    "n": "int32",
    "n_failed": "int32",
    "tree_leaves": "int32",
}


def rows(run: Run, settings: QualitySettings) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - there is nothing to set
    """One row a node that has a value. `steps_to_go` is the node's own when `sound`, else inherited;
    `tree_leaves` is what the tree was searched with: more search lowers distances and raises values."""
    for stored in run:
        tree = stored.tree
        found = places(tree)
        for (_, node), value, place in zip(tree.below(), values(tree, found)[1:], found[1:], strict=True):
            if value is None or place is None:
                continue
            yield {
                "problem_id": stored.finished.problem.id,
                "prefix": tree.prefix(node.parent),
                "text": node.step,
                "depth": node.depth,
                "value": value,
                "steps_to_go": place.distance - 1,
                "sound": place.is_sound,
                "correct": node.leaves.correct,
                "n": node.leaves.n,
                "n_failed": node.leaves.n_failed,
                "tree_leaves": tree.nodes[0].leaves.n,
            }
