"""The prefix tree of one problem, rebuilt from the rollouts a run has stored.

A node is a prefix that ends with a step; equal prefixes are one node, however many rollouts pass through it
and whichever request they came from. The tree is flat and breadth first, so that no text, however long, costs
recursion, and children are sorted, so that it does not depend on the order of the rollouts.

Two counts stand at every node. `drawn` are the rollouts asked for from exactly this prefix: an unbiased
sample of the policy's success from here. `leaves` are all finished solutions below, wherever they were asked
for: more of them, but a search that draws more often below a step that interests it also shifts them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.inputs.segment import Cuts, prefix_of, segment
from pipeline.methods.counts import Count, grade_of
from schemas.reasoning import in_block, is_thinking
from schemas.records import Rollout

# Purposes under which other models than the run's policy draw: their successes say nothing about the policy.
_OTHERS = frozenset({"judge", "prover", "probe", "python", "writer"})


def is_own(purpose: str) -> bool:
    """Whether rollouts of a purpose are the run's policy's. Those of another model bear the kind of whoever
    asked it before a colon, such as `prover:strong`."""
    return purpose.partition(":")[0] not in _OTHERS


MOST_STEPS = 512
"""A rollout of more steps is not read: it counts as failed, like any text that cannot be used."""

Kind = Literal["measured", "merged", "reshaped"]


@dataclass(frozen=True)
class Node:
    """One prefix. Indices point into `Tree.nodes`."""

    piece: str
    """What this step adds to its parent's text, verbatim, white space included."""
    step: str
    """The step as it is shown and scored."""
    parent: int
    """-1 for the root, the bare problem."""
    depth: int = 0
    """Steps from the root."""
    children: tuple[int, ...] = ()
    ends: Count = Count()
    """Solutions that end exactly here; `n_failed` those that were cut off or could not be graded."""
    drawn: Count = Count()
    """Rollouts asked for from exactly here."""
    leaves: Count = Count()
    """Solutions that end here or below."""
    kind: Kind = "measured"
    """`merged`: two steps joined by compression; `reshaped`: a node that lost a child to it."""


@dataclass(frozen=True)
class Tree:
    """Nodes breadth first: a parent stands before its children, node 0 is the bare problem."""

    nodes: tuple[Node, ...]

    def path(self, index: int) -> list[int]:
        """Nodes from the first step to this one, the root left out."""
        found = []
        while index > 0:
            found.append(index)
            index = self.nodes[index].parent
        return found[::-1]

    def prefix(self, index: int) -> str:
        """The text up to and including this node's step."""
        return "".join(self.nodes[at].piece for at in self.path(index))

    def bottom_up(self) -> Iterator[tuple[int, Node]]:
        """Every node after its children."""
        for index in range(len(self.nodes) - 1, -1, -1):
            yield index, self.nodes[index]

    def below(self) -> Iterator[tuple[int, Node]]:
        """Every node but the root, breadth first: what has a step to be labelled."""
        yield from list(enumerate(self.nodes))[1:]


@dataclass
class _Growing:
    """A node under construction; children by what they add."""

    step: str = ""
    ends: Count = Count()
    drawn: Count = Count()
    children: dict[str, "_Growing"] = field(default_factory=dict)


def build(rollouts: Iterable[Rollout], cuts: Cuts = "\n") -> Tree:
    """The tree of one problem's rollouts, those of other models left out.

    A continuation that begins with the answer line makes it a step of its own, so that the state it was
    drawn from keeps it below. A completion that was cut off loses its unfinished last step, and one that
    ended while it was thinking has no step; neither it nor a failed call counts on either side.
    """
    root = _Growing()
    for rollout in rollouts:
        if is_own(rollout.purpose):
            _add(root, rollout, cuts)
    nodes = [Node("", "", -1, ends=root.ends, drawn=root.drawn)]
    waiting = [(root, 0)]
    for growing, index in waiting:  # grows while it is read
        for piece, child in sorted(growing.children.items()):
            waiting.append((child, len(nodes)))
            nodes.append(Node(piece, child.step, index, ends=child.ends, drawn=child.drawn))
    return assemble(nodes)


def assemble(nodes: Sequence[Node]) -> Tree:
    """The tree of nodes whose parents are given: order, depth, children and leaves are made anew.

    Node 0 must be the root; the others may come in any order.
    """
    children: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        if node.parent >= 0:
            children[node.parent].append(index)
    order, parents = [0], [-1]
    for place, index in enumerate(order):  # grows while it is read
        # By text, so that two runs with the same rollouts in another order give the same indices.
        found = sorted(children[index], key=lambda i: (nodes[i].piece, nodes[i].kind))
        order += found
        parents += [place] * len(found)
    new: list[Node] = []
    for index, parent in zip(order, parents, strict=True):
        depth = new[parent].depth + 1 if parent >= 0 else 0
        new.append(replace(nodes[index], parent=parent, depth=depth))
    leaves = [node.ends for node in new]
    below: list[list[int]] = [[] for _ in new]
    for place in range(len(new) - 1, 0, -1):
        leaves[new[place].parent] += leaves[place]
        below[new[place].parent].append(place)
    return Tree(
        tuple(
            replace(node, children=tuple(reversed(below[place])), leaves=leaves[place])
            for place, node in enumerate(new)
        )
    )


def pieces(text: str, cuts: Cuts = "\n") -> list[tuple[str, str]]:
    """A text cut where its steps begin: (verbatim piece, step). The pieces join to the text again, so the
    first holds the reasoning block, where there is one."""
    steps = segment(text, cuts)
    ends = [0, *(len(prefix_of(text, steps, i)) for i in range(1, len(steps))), len(text)]
    return [(text[a:b], step.text) for a, b, step in zip(ends, ends[1:], steps, strict=False)]


def _asked(prefix: str, cuts: Cuts) -> list[tuple[str, str]]:
    """The pieces of a prefix. One that continues inside a reasoning block holds the steps so far there."""
    inside = in_block(prefix)
    found = pieces(inside, cuts)
    if not found:
        return []
    (first, step), *rest = found
    return [(prefix.removesuffix(inside) + first, step), *rest]


def _add(root: _Growing, rollout: Rollout, cuts: Cuts) -> None:
    prefix = rollout.prefix.rstrip(" \t")  # earlier versions asked with the next step's spaces
    text = rollout.prefix[len(prefix) :] + rollout.text
    asked = _asked(prefix, cuts)
    written = [] if is_thinking(prefix + text) else pieces(text, cuts)
    outcome = grade_of(rollout.outcome)
    if len(asked) + len(written) > MOST_STEPS:
        asked, written, outcome = asked[:MOST_STEPS], [], Count(n_failed=1)
    elif rollout.stopped != "stop":
        written = written[:-1]
    node = _walk(root, asked)
    # The rollout counts where it was asked for, and below where it ended: see the module's docstring.
    node.drawn += outcome
    node = _walk(node, written)
    node.ends += outcome


def _walk(node: _Growing, path: list[tuple[str, str]]) -> _Growing:
    for piece, step in path:
        node = node.children.setdefault(piece, _Growing(step))
    return node
