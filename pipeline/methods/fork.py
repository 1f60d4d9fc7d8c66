"""Advantages at the forks of a tree: a step against its siblings, and a solution against all of the problem
(PORTool, arXiv 2510.26020, section 3; the local and global advantages of TreeRL; PROPA's log boost, arXiv
2511.10279).

PORTool's exact reward is not public; the reference form here is R(s), the mean of outcome * gamma^distance
over the leaves below. Every mean is weighted by leaves, so the advantages at a fork and those of a tree sum
to 0. Dividing by the standard deviation is off by default: at a fork of two it makes +-1 of any difference.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.methods.stored import Run
from pipeline.methods.tree import Tree
from schemas.derive import ForkSettings


@dataclass(frozen=True)
class Worth:
    """What a node is worth against its siblings and its tree. Nodes without a graded leaf have none."""

    value: float
    """V: share of the leaves below that are correct."""
    discounted: float
    """R: mean of outcome * gamma^(steps to the leaf)."""
    fork: float
    """R less the siblings' mean, itself included; 0 without a sibling."""
    trajectory: float
    """Mean over the solutions through here of outcome less the tree's mean: each shared step counts once."""
    to_root: float
    """TreeRL's global advantage V - V(root)."""
    to_parent: float
    """Its local advantage V - V(parent)."""
    reward: float
    """TreeRL's reward: both over the square root of the number of leaves below."""


def centred(values: Sequence[float], weights: Sequence[int], least_std: float | None) -> list[float]:
    """Values less their weighted mean, over their (population) standard deviation if `least_std` is set, and
    over that where it is larger. One value, or equal ones, give 0."""
    total = sum(weights)
    mean = sum(v * w for v, w in zip(values, weights, strict=True)) / total
    gaps = [v - mean for v in values]
    if least_std is None:
        return gaps
    std = math.sqrt(sum(g * g * w for g, w in zip(gaps, weights, strict=True)) / total)
    return [gap / max(std, least_std) for gap in gaps]


def discounted(tree: Tree, gamma: float) -> list[float | None]:
    """R of every node: the mean over graded leaves below of outcome * gamma^(steps to the leaf)."""
    sums = [float(node.ends.correct) for node in tree.nodes]
    for index, node in tree.bottom_up():
        # A leaf adds gamma^distance to each ancestor: its sum is passed up, multiplied by gamma at every
        # step.
        if node.parent >= 0:
            sums[node.parent] += gamma * sums[index]
    return [s / n if (n := node.leaves.n) else None for s, node in zip(sums, tree.nodes, strict=True)]


def worths(tree: Tree, settings: ForkSettings) -> list[Worth | None]:
    """Worth of every node but the root, at its index; None where nothing below was graded."""
    found: list[Worth | None] = [None] * len(tree.nodes)
    returns, root = discounted(tree, settings.gamma), tree.nodes[0].leaves.value
    if root is None:
        return found
    spread = math.sqrt(root * (1 - root))  # of outcomes, which are 0 or 1
    scale = 1.0 if settings.least_std is None else max(spread, settings.least_std)
    for parent in tree.nodes:
        above = parent.leaves.value
        # Children without a graded leaf are left out of the mean; as 0 they would praise their siblings.
        known = [(i, r) for i in parent.children if (r := returns[i]) is not None]
        weights = [tree.nodes[i].leaves.n for i, _ in known]
        forks = centred([r for _, r in known], weights, settings.least_std) if known else []
        for (index, r), fork, n in zip(known, forks, weights, strict=True):
            value = tree.nodes[index].leaves.value
            if value is None or above is None:
                continue
            found[index] = Worth(
                value=value,
                discounted=r,
                fork=fork,
                trajectory=(value - root) / scale,
                to_root=value - root,
                to_parent=value - above,
                # Local and global advantage added. The square root of the leaves lowers steps that many
                # solutions share, which otherwise would count once for each of them.
                reward=(2 * value - root - above) / math.sqrt(n),
            )
    return found


def boosted(value: float) -> float:
    """PROPA's label ln(1 + 10 x) / ln 11: widens small values, and is no probability any more."""
    # The factors 10 and 11 are the paper's: 0 stays 0, 1 stays 1, and 0.1 becomes 0.29.
    return math.log1p(10 * value) / math.log(11)


COLUMNS = {
    "prefix": "string",
    "text": "string",
    "depth": "int32",
    "siblings": "int32",
    "correct": "int32",
    "n": "int32",
    "n_failed": "int32",
    "value": "float64",
    "discounted": "float64",
    "boosted": "float64",
    "fork_advantage": "float64",
    "trajectory_advantage": "float64",
    "advantage": "float64",
    "to_root": "float64",
    "to_parent": "float64",
    "tree_reward": "float64",
}


def rows(run: Run, settings: ForkSettings) -> Iterator[dict[str, Any]]:
    """One row a step of the tree, however many solutions share it. Values are null where nothing below was
    graded: never 0. `siblings` counts those with a graded leaf, itself included."""
    for stored in run:
        tree = stored.tree
        found = worths(tree, settings)
        for index, node in tree.below():
            worth = found[index]
            family = tree.nodes[node.parent].children
            row = {
                "problem_id": stored.finished.problem.id,
                "prefix": tree.prefix(node.parent),
                "text": node.step,
                "depth": node.depth,
                "siblings": sum(found[i] is not None for i in family),
                "correct": node.leaves.correct,
                "n": node.leaves.n,
                "n_failed": node.leaves.n_failed,
            }
            yield row if worth is None else row | _columns(worth, settings)


def _columns(worth: Worth, settings: ForkSettings) -> dict[str, float]:
    return {
        "value": worth.value,
        "discounted": worth.discounted,
        "boosted": boosted(worth.value),
        "fork_advantage": worth.fork,
        "trajectory_advantage": worth.trajectory,
        "advantage": settings.w_trajectory * worth.trajectory + settings.w_fork * worth.fork,
        "to_root": worth.to_root,
        "to_parent": worth.to_parent,
        "tree_reward": worth.reward,
    }
