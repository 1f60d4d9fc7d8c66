"""The figures of a run: what was kept, what it cost, and, where the truth is known, how good the labels
are."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.fusion.first_error import measured
from pipeline.labelling.remarks import remarks, unread
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from schemas.config import EmbeddedProblems, RunConfig
from schemas.errors import UserError
from schemas.records import LabelledSolution, Problem, Solution
from schemas.sources import Sources

Figures = dict[str, Any]


def rows_of(store: RunStore) -> Iterator[LabelledSolution]:
    """Every row of a sealed run, read shard by shard once all of them are known to be as they were written.
    UserError while the run is open, and for a file that is not."""
    import pyarrow.parquet as pq

    from pipeline.storage.generations import shards_of
    from schemas.arrow import from_row

    manifest = read_manifest(store.path)
    if manifest is None:
        raise UserError(f"{store.path}: not sealed yet: `stepmint run {store.path}` finishes it")
    for path in shards_of(store.path, manifest):
        if not path.exists():
            shards_of(store.path, manifest)  # sealed anew since we began
        # Some hundred rows at a time: a row holds a solution with all its votes.
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                yield from map(from_row, batch.to_pylist())


def summarise(store: RunStore) -> Figures:
    """Counts, cost, yield per source, and label quality where the problems are embedded."""
    manifest = read_manifest(store.path)
    if manifest is None:
        raise UserError(f"{store.path}: not sealed yet")
    figures: Figures = {
        "run": manifest.name,
        "problems": manifest.problems,
        "skipped": manifest.skipped,
        "quarantined": manifest.quarantined,
        "ungraded": manifest.ungraded,
        "remarks": remarks(manifest),
        "unread": unread(manifest),
        "solutions": manifest.solutions,
        "merged": manifest.merged,
        "steps": manifest.steps,
        "labelled_steps": manifest.labelled_steps,
        "consensus": {"kept": manifest.kept, "dropped": manifest.dropped},
        "sources": {name: count.model_dump() for name, count in manifest.sources.items()},
        "rollouts": manifest.rollouts,
        "tokens": {**manifest.tokens, "total": sum(manifest.tokens.values())},
        "prompt_tokens": {"total": manifest.prompt_tokens, "cached": manifest.cached_tokens},
    }
    if manifest.budget.run or manifest.budget.per_problem:
        figures["budget"] = manifest.budget.model_dump()
    if manifest.plan is not None:
        figures["plan"] = manifest.plan.model_dump()
    # Only the embedded problems have the truth of every step.
    if isinstance(store.config.problems, EmbeddedProblems):
        figures["label_quality"] = label_quality(
            rows_of(store), store.sources(), store.config.fusion.threshold
        )
    return figures


def label_quality(rows: Iterable[LabelledSolution], sources: Sources, threshold: float = 0.0) -> Figures:
    """First-error labels against exact truth, for Monte Carlo alone, the consensus of it with the judge,
    and fusion.

    `f1` is the F1 of the class "first error, at this very step" over all solutions whose truth is known; a
    solution that a method leaves open counts as missed there. `f1_labelled` looks only at those the method
    labels.
    """
    from pipeline.embedded.problems.truth import first_error

    found: dict[str, list[tuple[int | None, int]]] = {"monte_carlo": [], "consensus": [], "fused": []}
    unknown = 0
    for row in rows:
        truth = first_error(row.problem, row.solution.step_texts())
        if truth is None:
            unknown += 1
            continue
        # By rollouts alone: what a run without judge, verifiers and fusion would have said.
        alone, _ = measured(len(row.labels), row.votes, sources, threshold)
        found["monte_carlo"].append((alone, truth))
        found["consensus"].append((alone if row.kept else None, truth))
        found["fused"].append((row.first_error, truth))
    return {"truth_unknown": unknown, **{name: _quality(pairs) for name, pairs in found.items()}}


def _quality(pairs: list[tuple[int | None, int]]) -> Figures:
    labelled = [(said, truth) for said, truth in pairs if said is not None]
    return {
        "solutions": len(pairs),
        "labelled": len(labelled),
        **_error_f1(pairs),
        "f1_labelled": _error_f1(labelled)["f1"],
        "exact": round(sum(said == truth for said, truth in labelled) / max(1, len(labelled)), 4),
    }


def _error_f1(pairs: Sequence[tuple[int | None, int]]) -> Figures:
    # A hit is an error named at its very step; "no error", rightly said, is neither hit nor miss here.
    hit = sum(said == truth != -1 for said, truth in pairs)
    named = sum(said is not None and said != -1 for said, _ in pairs)
    wrong = sum(truth != -1 for _, truth in pairs)
    # The denominators differ: of the errors that were named, and of those that there are.
    precision, recall = hit / max(1, named), hit / max(1, wrong)
    f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


Samples = list[tuple[Problem, list[Solution]]]


def evaluate_run(store: RunStore, checkpoint: Path) -> Figures:
    """Measure a PRM on problems that no run trains on: first errors against exact truth, and best-of-n."""
    return evaluate_samples(asyncio.run(held_out_samples(store.config, store.templates())), checkpoint)


def evaluate_samples(samples: Samples, checkpoint: Path) -> Figures:
    """The same on samples that are drawn already."""
    from pipeline.embedded.problems.truth import first_error
    from pipeline.prm.evaluate import GoldSolution, Scored, evaluate_prm
    from pipeline.prm.model import PRM

    gold: list[GoldSolution] = []
    groups: list[list[Scored]] = []
    for problem, solutions in samples:
        group = []
        for solution in solutions:
            steps = tuple(solution.step_texts())
            is_right = solution.outcome == "correct"
            group.append(Scored(problem=problem.text, steps=steps, answer=solution.answer, right=is_right))
            truth = first_error(problem, steps)
            if truth is not None:
                gold.append(GoldSolution(solution.id, problem.text, steps, truth))
        groups.append(group)
    return evaluate_prm(PRM.load(checkpoint), gold, groups)


async def held_out_samples(config: RunConfig, templates: Mapping[str, str] | None = None) -> Samples:
    """The solutions that a PRM of the run chooses from: `evaluate.samples` for each of `evaluate.problems`
    problems that no run trains on."""
    from pipeline.embedded.problems.truth import problems
    from pipeline.policies import open_policy
    from pipeline.policies.server.probe import prepare
    from pipeline.proposers.sample import to_solution
    from pipeline.sampling.roller import Roller, sampling_of

    if config.evaluate is None or not isinstance(config.problems, EmbeddedProblems):
        raise UserError(
            "best-of-n needs [evaluate] and embedded problems; for other data: stepmint evaluate FILE"
        )
    posed = problems(
        config.evaluate.problems, seed=config.seed, steps=config.problems.steps, split="held-out"
    )
    async with open_policy(config.policy) as policy:
        await prepare(policy, sampling_of(config.prompt), prefixes=False)
        rollers = [
            Roller(policy, config.prompt, problem, seed=config.seed, templates=templates) for problem in posed
        ]
        drawn = await asyncio.gather(
            *(roller.roll("", config.evaluate.samples, "held-out") for roller in rollers)
        )
        # A sample that was cut off or failed keeps its place: it is a sample that is not right.
        return [
            (problem, [to_solution(roller, rollout) for rollout in rollouts])
            for problem, roller, rollouts in zip(posed, rollers, drawn, strict=True)
        ]
