"""The figures of a run: what was kept, what it cost, and, where there are gold labels, how well ours agree
with them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from pipeline.labelling.remarks import remarks, unread
from pipeline.outputs.fidelity import fidelity
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import sealed_manifest
from schemas.config import EmbeddedProblems, RunConfig
from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.records import GoldLabels, LabelledSolution, Problem, Solution, first_error_labels

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.policies.base import Policy

Figures = dict[str, Any]
_AT_ONCE = 512
"""Rows that are read together: a row holds a solution with all its votes."""


def batches_of(store: RunStore, wanted: "Callable[[str], bool]" = bool) -> "Iterator[pa.RecordBatch]":
    """The rows of a sealed run in the columns whose names are wanted, some hundred rows at a time; read shard
    by shard once all of them are known to be as they were written. UserError while the run is open, and for a
    file that is not as it was."""
    import pyarrow.parquet as pq

    from pipeline.storage.generations import shards_of

    manifest = sealed_manifest(store.path)
    for path in shards_of(store.path, manifest):
        if not path.exists():
            shards_of(store.path, manifest)  # sealed anew since we began
        with pq.ParquetFile(path) as file:
            columns = list(filter(wanted, file.schema_arrow.names))
            yield from file.iter_batches(batch_size=_AT_ONCE, columns=columns)


def rows_of(
    store: RunStore,
    *,
    votes: bool = True,
    chosen: "Callable[[pa.RecordBatch], pa.BooleanArray] | None" = None,
) -> Iterator[LabelledSolution]:
    """Every row of a sealed run as a record; of each batch of rows those that are `chosen`, if that is given.
    Without `votes`, which are most of a run, no row has any, and reading takes half the time. UserError as in
    `batches_of`."""
    from schemas.arrow_records import records_of

    for batch in batches_of(store, lambda name: votes or name != "votes"):
        yield from records_of(batch if chosen is None else batch.filter(chosen(batch)))


def rows_named(store: RunStore, name: str, *, first_errors: bool) -> Iterator[LabelledSolution]:
    """The rows whose solution or problem has an id that begins with `name`; of those, with `first_errors`,
    the ones that have one."""
    import pyarrow.compute as pc

    from schemas.arrow_values import scalar

    def chosen(rows: "pa.RecordBatch") -> "pa.BooleanArray":
        ids = (rows.column(column) for column in ("solution_id", "problem_id"))
        named = pc.or_(*(pc.starts_with(column, name) for column in ids))
        first = rows.column("first_error")
        first = pc.fill_null(first, scalar(-1, first.type))
        return pc.and_(named, pc.greater_equal(first, scalar(0 if first_errors else -1)))

    return rows_of(store, chosen=chosen)


def summarise(store: RunStore) -> Figures:
    """Counts, cost, yield per source, and the agreement with gold labels where there are any."""
    manifest = sealed_manifest(store.path)
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
    if found := _fidelity_of(store, manifest):
        figures["fidelity"] = found
    return figures


def _fidelity_of(store: RunStore, manifest: Manifest) -> Figures:
    """How the labels agree with the truth, where there is any: of every row of the embedded problems, else of
    those rows that came with gold labels. The rows are read only where some have them."""
    if isinstance(store.config.problems, EmbeddedProblems):
        return fidelity(rows_of(store), store.sources(), store.config.fusion, exact)
    if not any(_has_gold(store.path / shard.file) for shard in manifest.shards):
        return {}
    return fidelity(rows_of(store), store.sources(), store.config.fusion)


def _has_gold(shard: Path) -> bool:
    """Whether some row of a shard may have gold labels, by the counts in the file's footer."""
    import pyarrow.parquet as pq

    about = pq.read_metadata(shard)
    for group in map(about.row_group, range(about.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema == "gold.by":  # shards of an earlier schema have no such column
                nulls = column.statistics and column.statistics.null_count
                if nulls is None or nulls < column.num_values:
                    return True
    return False


def exact(row: LabelledSolution) -> GoldLabels | None:
    """The exact truth of a solution of an embedded problem, up to its first error; None where a step cannot
    be read."""
    from pipeline.embedded.problems.truth import first_error

    first, n = first_error(row.problem, row.solution.step_texts()), len(row.labels)
    if first is None:
        return None
    return GoldLabels(labels=first_error_labels(first, n), first_error=first, by="exact truth")


Drawn = Mapping[str, list[Solution]]
"""What was drawn for a problem, by the problem's id."""
Samples = list[tuple[Problem, list[Solution]]]
_LINE = TypeAdapter(tuple[Problem, list[Solution]])


def evaluate_run(store: RunStore, checkpoint: Path, drawn: Path | None = None) -> Figures:
    """Measure a PRM on problems that no run trains on: first errors against exact truth, and best-of-n.

    `drawn` is a file with some of the solutions to choose from (`draw_into`); the others are drawn now.
    """
    before = drawn_in(drawn) if drawn else {}
    samples = asyncio.run(held_out_samples(store.config, store.templates(), before))
    return evaluate_samples(samples, checkpoint)


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


async def held_out_samples(
    config: RunConfig,
    templates: Mapping[str, str] | None = None,
    drawn: Drawn | None = None,
    keep: Callable[[Problem, list[Solution]], object] = lambda *_: None,
) -> Samples:
    """The solutions that a PRM of the run chooses from: `evaluate.samples` for each of `evaluate.problems`
    problems that no run trains on. Those of `drawn` are not drawn again; `keep` is told of each that is."""
    from pipeline.embedded.problems.truth import problems
    from pipeline.policies import open_policy
    from pipeline.policies.server.probe import prepare
    from pipeline.proposers.sample import to_solution
    from pipeline.sampling.roller import Roller, sampling_of

    if config.evaluate is None or not isinstance(config.problems, EmbeddedProblems):
        raise UserError(
            "best-of-n needs [evaluate] and embedded problems; for other data: stepmint evaluate FILE"
        )
    n, found = config.evaluate.samples, dict(drawn or {})
    posed = problems(
        config.evaluate.problems, seed=config.seed, steps=config.problems.steps, split="held-out"
    )

    async def draw(policy: "Policy", problem: Problem) -> None:
        roller = Roller(policy, config.prompt, problem, seed=config.seed, templates=templates)
        # A sample that was cut off or failed keeps its place: it is a sample that is not right.
        solutions = [to_solution(roller, rollout) for rollout in await roller.roll("", n, "held-out")]
        found[problem.id] = solutions
        keep(problem, solutions)

    if missing := [problem for problem in posed if problem.id not in found]:
        async with open_policy(config.policy) as policy:
            await prepare(policy, sampling_of(config.prompt), prefixes=False)
            await asyncio.gather(*(draw(policy, problem) for problem in missing))
    return [(problem, found[problem.id]) for problem in posed]


def draw_into(file: Path, config: RunConfig, templates: Mapping[str, str] | None = None) -> None:
    """Draw the same into a file, a line for each problem as soon as it is drawn."""
    with file.open("w", encoding="utf-8", buffering=1) as lines:
        asyncio.run(
            held_out_samples(
                config, templates, keep=lambda *one: lines.write(f"{_LINE.dump_json(one).decode()}\n")
            )
        )


def drawn_in(file: Path) -> Drawn:
    """What such a file holds. A last line without its end was torn when its writer was ended."""
    whole = (line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n"))
    return {problem.id: solutions for problem, solutions in map(_LINE.validate_json, whole)}
