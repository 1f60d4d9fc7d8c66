"""Labels for the tokens they cost, on the embedded model's own solutions, whose exact truth is known.

Every arm labels the same candidate solutions of the same held-out problems. Counted is every token
generated beyond those solutions' own texts: rollouts of prefixes, and rollouts of the bare problem that are
no candidate themselves. A labelled step is a distinct text from the problem to the end of a step that gets a
1 or a 0. Seconds are those in which the votes of rollouts are drawn, one arm after the other on an engine
that has nothing else to do: the solutions, and the verifiers' votes on them, are there before. `cpu_s` is
fairer than `wall_s` on a busy machine. `peak_gb` is the whole process.
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.metering import Took, apart, metered
from pipeline.annotators.base import Context
from pipeline.annotators.bisection import Bisection
from pipeline.annotators.formal import Verify, verifier_named
from pipeline.annotators.monte_carlo import MonteCarlo, answer_vote
from pipeline.fusion.first_error import measured
from pipeline.inputs.segment import prefix_of
from pipeline.proposers import omegaprm, sample
from pipeline.sampling.roller import Roller
from schemas.config import (
    BisectionConfig,
    FusionConfig,
    MonteCarloConfig,
    OmegaConfig,
    PromptConfig,
    SampleConfig,
    VerifierName,
)
from schemas.records import Candidate, Problem, Solution, Vote
from schemas.sources import EARLIER

Figures = dict[str, Any]
PROBLEMS = 64
SEED = 17
SEARCH = BisectionConfig(first=2, prefixes=2, grow=2, batch=1, budget=24, worth=0.04)
"""As `configs/embedded.toml` searches."""
PROMPT = PromptConfig(max_tokens=400)
CHECKS: tuple[VerifierName, ...] = ("arithmetic", "logic")


@dataclass
class Arm:
    """One way to label: the votes it gave, and the tokens and the time it took."""

    tokens: int = 0
    rows: list[tuple[Problem, Solution, list[Vote]]] = field(default_factory=list)
    took: Took = field(default_factory=Took)

    def add(self, roller: Roller, candidates: Sequence[Solution], votes: Sequence[list[Vote]]) -> None:
        own = {solution.text for solution in candidates}
        for rollout in roller.taken:
            text = rollout.prefix + rollout.text
            # The solutions to be labelled were paid for by whoever proposed them; each is left out once, so
            # that a rollout which happens to repeat one is counted.
            if text in own:
                own.remove(text)
            else:
                self.tokens += rollout.tokens
        self.rows += [(roller.problem, s, v) for s, v in zip(candidates, votes, strict=True)]

    def without(self, names: Sequence[str]) -> "Arm":
        """The same votes less those of some sources."""
        kept = [(p, s, [vote for vote in votes if vote.source not in names]) for p, s, votes in self.rows]
        return Arm(self.tokens, kept, self.took)


Labelled = list[tuple[int | None, int]]
"""Of every solution its first error (-1 for none, None where it is left open) and how many of its steps, from
the first on, are labelled."""


def fused(arm: Arm) -> Labelled:
    """By fusion, fitted to the arm's own votes."""
    from pipeline.fusion.labels import fuse
    from pipeline.fusion.trust import fit, model_of

    # Each arm is fitted to its own votes alone, as a run of it would be.
    model = model_of(fit([(len(solution.steps), votes) for _, solution, votes in arm.rows], EARLIER), EARLIER)
    candidates = [Candidate(solution=solution, votes=tuple(votes)) for _, solution, votes in arm.rows]
    found = fuse(candidates, model, FusionConfig())
    return [(first, sum(label.label is not None for label in labels)) for labels, first in found]


def measured_of(arm: Arm) -> Labelled:
    """As the papers label, by rollouts alone and without a fit."""
    return [measured(len(solution.steps), votes, EARLIER) for _, solution, votes in arm.rows]


Pairs = list[tuple[int | None, int]]
"""First errors: each that was named (None where it was left open) with the true one."""


def told(arm: Arm, labelled: Labelled) -> dict[str, Pairs]:
    """The first errors that an arm named, beside the true ones, by problem."""
    from pipeline.embedded.problems.truth import first_error

    found: dict[str, Pairs] = {}
    for (problem, solution, _), (said, _) in zip(arm.rows, labelled, strict=True):
        truth = first_error(problem, solution.step_texts())
        # A step that cannot be read has no truth, so its solution is left out of quality but not of the cost.
        if truth is not None:
            found.setdefault(problem.id, []).append((said, truth))
    return found


def judged(arm: Arm, labelled: Labelled) -> Figures:
    """Labelled steps for a thousand tokens, and how right they are."""
    from pipeline.outputs.fidelity import first_errors

    # Distinct texts: two solutions with one beginning give one labelled step, not two.
    prefixes = set()
    for (problem, solution, _), (_, n) in zip(arm.rows, labelled, strict=True):
        prefixes |= {(problem.id, prefix_of(solution.text, solution.steps, i + 1)) for i in range(n)}
    quality = first_errors([pair for pairs in told(arm, labelled).values() for pair in pairs])
    # By the names that earlier records of this bench have.
    keep = {
        "f1": "label_f1",
        "f1_labelled": "label_f1_decided",
        "precision": "precision",
        "recall": "acc_err",
        "exact": "exact",
        "labelled": "decided",
        "solutions": "solutions",
    }
    return {
        "steps": len(prefixes),
        "tokens": arm.tokens,
        "rate": round(1000 * len(prefixes) / max(1, arm.tokens), 2),
        **arm.took.figures(),
        "steps_per_s": round(len(prefixes) / max(1e-9, arm.took.wall_s), 2),
        "steps_per_cpu_s": round(len(prefixes) / max(1e-9, arm.took.cpu_s), 2),
        "steps_per_gb": round(len(prefixes) / max(1e-9, arm.took.peak_gb), 1),
        **{name: quality[figure] for name, figure in keep.items()},
    }


async def _bisect(
    roller: Roller, solutions: Sequence[Solution], checked: Sequence[list[Vote]]
) -> list[list[Vote]]:
    pairs = zip(solutions, checked, strict=True)
    found = await asyncio.gather(
        *(Bisection(SEARCH).annotate(Context(roller, checked=c), s) for s, c in pairs)
    )
    return [[*votes, answer_vote(s)] for votes, s in zip(found, solutions, strict=True)]


def problems(n: int) -> list[Problem]:
    from pipeline.embedded.problems import truth

    return truth.problems(n, seed=SEED, split="held-out")


Known = tuple[Roller, list[Solution], list[list[Vote]]]
"""What an arm begins with for one problem: its roller, the solutions to label and the verifiers' votes."""


async def opened(work: Callable[[Any, list[Problem]], Awaitable[None]], n: int) -> None:
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.transformers.policy import TransformersPolicy

    async with TransformersPolicy(str(EMBEDDED)) as policy:
        await work(policy, problems(n))


async def timed(
    arm: Arm, known: Sequence[Known], draw: Callable[[Known], Awaitable[list[list[Vote]]]]
) -> None:
    """Draw an arm's votes for all problems at once, and note what that took."""
    with metered(arm.took):
        drawn = await asyncio.gather(*map(draw, known))
    for (roller, found, checked), votes in zip(known, drawn, strict=True):
        arm.add(roller, found, [a + b for a, b in zip(votes, checked, strict=True)])


async def bisected(known: Known) -> list[list[Vote]]:
    """The votes of a search for the first error of each solution of a problem."""
    return await _bisect(*known)


async def rolled_out(known: Known) -> list[list[Vote]]:
    """The votes of 8 rollouts after every step."""
    roller, found, _ = known
    each = (MonteCarlo(MonteCarloConfig()).annotate(Context(roller), s) for s in found)
    return list(await asyncio.gather(*each))


async def propose_two(policy: Any, posed: Sequence[Problem]) -> list[Known]:
    """Two samples of each problem, with the verifiers' votes; equal texts are one solution."""
    verify = Verify([verifier_named(name) for name in CHECKS])

    async def one(problem: Problem) -> Known:
        roller = Roller(policy, PROMPT, problem, seed=SEED)
        found = [c.solution for c in await sample.propose(roller, SampleConfig(n=2))]
        return roller, found, [await verify.annotate(Context(roller), s) for s in found]

    return list(await asyncio.gather(*map(one, posed)))


def vs_monte_carlo() -> Figures:
    """Labelled steps for 1,000 tokens: bisection, verifiers and fusion; baseline: 8 rollouts after every
    step, with or without the same verifiers and fusion, whichever gives more.

    `f1` counts what is left open as missed, `f1_labelled` does not. `alone` labels as the paper does.
    `faster` is how many times the seconds of bisection the other side takes, by wall clock and CPU.
    """
    ours, theirs = Arm(), Arm()

    async def work(policy: Any, posed: list[Problem]) -> None:
        for arm, draw in ((ours, bisected), (theirs, rolled_out)):
            await timed(arm, await propose_two(policy, posed), draw)

    asyncio.run(opened(work, PROBLEMS))
    found = _compared(
        {
            "bisection, verifiers, fused": judged(ours, fused(ours)),
            "k=8, verifiers, fused": judged(theirs, fused(theirs)),
            "k=8, fused": judged(theirs, fused(theirs.without(CHECKS))),
            "k=8 alone": judged(theirs, measured_of(theirs)),
        },
        {"bisection, fused": judged(ours, fused(ours.without(CHECKS)))},
    )
    return _with_speed(found, ours, theirs)


def vs_omegaprm() -> Figures:
    """Labelled steps for 1,000 tokens on the solutions that an OmegaPRM tree with the paper's constants
    searched; baseline: the tree's labels as its paper gives them.

    `over_fused` is the ratio to a tree that is not the paper's: its votes fused with the same verifiers.
    Both arms pay for 8 rollouts of the bare problem. The tree's solutions are given to bisection for nothing,
    but not what else the tree drew. The tree cannot be timed apart from finding its solutions.
    """
    ours, theirs, verify = Arm(), Arm(), Verify([verifier_named(name) for name in CHECKS])

    async def work(policy: Any, posed: list[Problem]) -> None:
        trees = [Roller(policy, PROMPT, problem, seed=SEED) for problem in posed]
        with metered(theirs.took):
            grown = await asyncio.gather(*(omegaprm.propose(tree, OmegaConfig()) for tree in trees))
        known: list[Known] = []
        for tree, candidates in zip(trees, grown, strict=True):
            found = [candidate.solution for candidate in candidates]
            checked = [await verify.annotate(Context(tree), s) for s in found]
            theirs.add(tree, found, [[*c.votes, *m] for c, m in zip(candidates, checked, strict=True)])
            known.append((Roller(policy, PROMPT, tree.problem, seed=SEED), found, checked))

        async def bisect(one: Known) -> list[list[Vote]]:
            # The tree begins with these rollouts; bisection gets as many, so that both arms know the problem
            # alike.
            await one[0].roll("", OmegaConfig().rollouts, omegaprm.SOURCE)
            return await _bisect(*one)

        await timed(ours, known, bisect)

    asyncio.run(opened(work, PROBLEMS))
    tree = judged(theirs, fused(theirs))
    found = _compared(
        {
            "bisection, verifiers, fused": judged(ours, fused(ours)),
            "tree alone": judged(theirs, measured_of(theirs.without(CHECKS))),
        },
        {"tree, verifiers, fused": tree, "bisection, fused": judged(ours, fused(ours.without(CHECKS)))},
    )
    found["details"]["over_fused"] = round(found["value"] / tree["rate"], 2)
    return _with_speed(found, ours, theirs)


def memory() -> Figures:
    """GB that a process holds at most to label 90 problems as `configs/embedded.toml` says; baseline: 30
    problems. `details` has those of other numbers, and the processor's seconds."""
    found = {n: _labelled_apart(n) for n in (8, 30, 90)}
    return {
        "value": found[90]["peak_gb"],
        "unit": "GB",
        "baseline": found[30]["peak_gb"],
        "n": 90,
        "details": {"problems": found},
    }


def _labelled_apart(n: int) -> dict[str, float]:
    config = Path("configs/embedded.toml").resolve()
    with tempfile.TemporaryDirectory() as folder:
        changes = ["--no-prefect", "--set", f"problems.limit={n}"]
        took = apart(["synthesize", str(config), *changes], Path(folder))
    return {"peak_gb": round(took.peak_gb, 3), "cpu_s": round(took.cpu_s, 1)}


def _with_speed(found: Figures, ours: Arm, theirs: Arm) -> Figures:
    found["details"]["faster"] = faster(ours, theirs)
    found["details"]["load"] = round(os.getloadavg()[0], 1)
    return found


def faster(ours: Arm, theirs: Arm) -> dict[str, float]:
    """How many times the seconds of one arm the other takes, by wall clock and CPU."""
    return {
        "wall": round(theirs.took.wall_s / ours.took.wall_s, 2),
        "cpu": round(theirs.took.cpu_s / ours.took.cpu_s, 2),
    }


def _compared(rows: dict[str, Figures], more: dict[str, Figures]) -> Figures:
    """The first row against the best rate of the others; `more` is told beside them."""
    first, *others = rows.values()
    return {
        "value": first["rate"],
        "unit": "labelled steps per 1,000 tokens",
        "baseline": max(row["rate"] for row in others),
        "n": first["solutions"],
        "details": {"rows": rows | more},
    }
