"""What a round of self-training learns from a sealed run (ReST-MCTS*, arXiv 2406.03816, section 3.4).

The policy learns its right solutions, the value model the quality values along every graded solution, right
or wrong. The values are learnt by cross-entropy to v and not by the paper's squared error: the minimum is the
same, and a value model is then an ordinary PRM checkpoint.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.annotators.scan import ROOT
from pipeline.inputs.segment import segment
from pipeline.methods.counts import Count, count
from pipeline.methods.quality import values
from pipeline.methods.stored import Run, Stored
from pipeline.methods.tree import Tree
from pipeline.prm.model import PRM
from pipeline.prm.policy_finetune import Lesson
from pipeline.prm.selection import overall
from pipeline.prompts.filling import fill
from pipeline.prompts.posed import posed_text
from schemas.records import LabelledSolution, PolicyIdentity, Solution, StepLabel


def pass_rate(run: Run) -> Count:
    """How often the policy solves the bare problem, over all problems."""
    drawn = (count(r for r in stored.rollouts if not r.prefix and r.purpose in ROOT) for stored in run)
    return sum(drawn, Count())


def lessons(run: Run, per_problem: int, value_model: PRM | None = None) -> Iterator[Lesson]:
    """At most `per_problem` different right solutions a problem: those the value model ranks highest by
    their weakest step, or those most often found, and then the first by their text."""
    template = run.template
    for stored in run:
        tree = stored.tree
        right: Counter[str] = Counter()
        for index, node in tree.below():
            if node.ends.correct:
                right[tree.prefix(index)] += node.ends.correct
        ranked = [
            # The weakest step decides: one wrong step makes a solution a bad lesson, however good the others
            # are.
            (-_weakest(value_model, stored, text) if value_model else -float(times), text)
            for text, times in right.items()
        ]
        prompt = fill(template, problem=posed_text(stored.finished.problem))
        for _, text in sorted(ranked)[:per_problem]:
            yield Lesson(prompt, text)


def _weakest(model: PRM, stored: Stored, text: str) -> float:
    steps = [step.text for step in segment(text, stored.prompt.cuts)]
    return overall(model.score_steps(stored.finished.problem.text, steps), "min")


def value_rows(run: Run) -> Iterator[LabelledSolution]:
    """Every graded solution of the trees with its quality values as soft labels; none of a tree without a
    right solution, in which no step has a value."""
    policy = run.config.policy
    who = PolicyIdentity(kind=policy.kind, model=policy.model)
    for stored in run:
        tree = stored.tree
        found = values(tree)
        for index, node in tree.below():
            v = _values_at(tree, found, index)
            text = tree.prefix(index)
            steps = segment(text, stored.prompt.cuts)
            # A solution that was not graded has no truth to learn; a step without a value leaves a hole in
            # its labels.
            if not node.ends.n or None in v.values() or any(step.end not in v for step in steps):
                continue
            labels = [StepLabel(p=v[step.end], kind="quality", decided_by="quality") for step in steps]
            yield LabelledSolution(
                problem=stored.finished.problem,
                solution=Solution(
                    problem_id=stored.finished.problem.id,
                    text=text,
                    steps=steps,
                    outcome="correct" if node.ends.correct else "incorrect",
                    policy=who,
                ),
                labels=tuple(labels),
            )


def _values_at(tree: Tree, found: Sequence[float | None], index: int) -> dict[int, float | None]:
    """Values on the way to a node by where in the text their steps end.

    Not by their number: a rollout that begins with the answer line makes it a node, in the whole text it
    belongs to the step before.
    """
    v: dict[int, float | None] = {}
    start = 0
    for at in tree.path(index):
        piece = tree.nodes[at].piece
        v[start + len(piece.rstrip())] = found[at]
        start += len(piece)
    return v
