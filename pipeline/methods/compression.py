"""Node compression: two consecutive steps of a tree become one (HNC of HRM, arXiv 2503.13551, section 3).

A child that moves to its grandparent gives new pairs of input and soft label without a model call, because
its step becomes longer and the shares of leaves change. It is augmentation and no new evidence: the joined
step has exactly its child's label, and its former parent has its own label with one child left out. So every
row says whether it was measured. Keep both kinds of one problem on the same side of a split.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipeline.methods.counts import Count
from pipeline.methods.stored import Run
from pipeline.methods.tree import Node, Tree, assemble
from schemas.derive import CompressionSettings
from schemas.records import seed_of

FEWEST = 4
"""Children a node must have before it may lose one."""


@dataclass(frozen=True)
class Item:
    """One training pair: a step, or two joined, after a prefix, with the leaves below."""

    prefix: str
    step: str
    granularity: int
    """Steps in `step`: 1, or 2 where two are shown as one."""
    leaves: Count
    kind: str
    """`measured`, or how compression made it: `merged`, `reshaped`."""


def compress(tree: Tree, share: float, rng: random.Random) -> Tree:
    """The tree with at most one child of every node, root apart, joined to it and moved to its grandparent.

    Level by level, a node with at least four children offers them in random order, each moving with
    probability `share`; a node that has moved stays. Visiting them in a fixed order would prefer the first,
    and the parent's mean label would no longer be its own.
    """
    nodes = list(tree.nodes)
    children = [list(node.children) for node in nodes]
    # From 1 on: the root is the bare problem, which has no step to be joined with.
    for index in range(1, len(nodes)):
        if nodes[index].kind == "merged" or len(children[index]) < FEWEST:
            continue
        # Random order, and no more than one: see the docstring.
        for child in rng.sample(children[index], len(children[index])):
            if rng.random() < share:
                children[index].remove(child)
                nodes[child] = _joined(nodes[index], nodes[child])
                nodes[index] = replace(nodes[index], kind="reshaped")
                break
    return assemble(nodes)


def _joined(node: Node, child: Node) -> Node:
    """The child with its parent's step before its own, as the text has them, under its grandparent."""
    piece = node.piece + child.piece
    start = node.piece.index(node.step)
    end = len(node.piece) + child.piece.index(child.step) + len(child.step)
    return replace(child, piece=piece, step=piece[start:end], parent=node.parent, kind="merged")


def items(tree: Tree) -> Iterator[Item]:
    """Every step with a graded leaf below it, and every pair of steps under the later one's label."""
    for _, node in tree.below():
        if not node.leaves.n:
            continue
        yield Item(tree.prefix(node.parent), node.step, 1, node.leaves, node.kind)
        before = tree.nodes[node.parent]
        # The first step has no step before it. A joined step is two steps already.
        if before.parent >= 0 and node.kind == "measured":
            pair = _joined(before, node)
            yield Item(
                tree.prefix(before.parent), pair.step, 2, pair_label(before.leaves, node.leaves), node.kind
            )


def pair_label(first: Count, second: Count) -> Count:  # noqa: ARG001 - that the first does not matter is the point
    """What two steps shown as one are worth: as much as the state they lead to.

    So a mistake that the next step repairs is not held against the pair, and a good step does not excuse a
    bad one after it.
    """
    return second


COLUMNS = {
    "prefix": "string",
    "text": "string",
    "granularity": "int8",
    "evidence": "string",
    "correct": "int32",
    "n": "int32",
    "n_failed": "int32",
    "label": "float64",
}


def rows(run: Run, settings: CompressionSettings) -> Iterator[dict[str, Any]]:
    """Measured items of every tree, then those that compression adds."""
    for stored in run:
        # Seeded by the problem's id, so that neither the order of problems nor a resumed run changes what
        # moves.
        rng = random.Random(seed_of("compression", settings.seed, stored.finished.problem.id))
        added = [
            item for item in items(compress(stored.tree, settings.share, rng)) if item.kind != "measured"
        ]
        for item in [*items(stored.tree), *added]:
            yield {
                "problem_id": stored.finished.problem.id,
                "prefix": item.prefix,
                "text": item.step,
                "granularity": 2 if item.kind == "merged" else item.granularity,
                "evidence": item.kind,
                "correct": item.leaves.correct,
                "n": item.leaves.n,
                "n_failed": item.leaves.n_failed,
                "label": item.leaves.value,
            }
