"""Labels finished problems: from journals' columns to the dataset's columns, and from records to rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.fusion.ballots import Ballots, Bools, ballots_in, ballots_of
from pipeline.fusion.consensus import all_compared, pair_of
from pipeline.fusion.first_error import OPEN
from pipeline.fusion.labels import Labels, fused
from pipeline.fusion.trust import Model
from schemas.arrow import SCHEMA
from schemas.arrow_values import column, numbers, numpy_of, scalar, texts
from schemas.config import FusionConfig
from schemas.records import Finished, LabelledSolution, StepLabel
from schemas.sources import Sources

_OF_PROBLEMS = {
    "problem_id": "id",
    "problem": "text",
    "gold_answer": "answer",
    **{
        name: name
        for name in (
            "alternatives",
            "answer_kind",
            "premises",
            "reference",
            "table",
            "tests",
            "domain",
            "source",
            "licence",
        )
    },
}
_OF_SOLUTIONS = {
    "solution_id": "id",
    "solution": "text",
    **{name: name for name in ("answer", "outcome", "stopped", "tokens", "policy")},
}
_OF_STEPS = {"steps": "text", "step_start": "start", "step_end": "end"}
_OF_LABELS = {
    "labels": "label",
    "p": "p",
    "rate_low": "rate_low",
    "rate_high": "rate_high",
    "decided_by": "decided_by",
    "reason": "reason",
}


def candidates_of(finished: pa.Table) -> pa.StructArray:
    """All candidates of finished problems (`schemas.arrow_finished`), in their order."""
    return finished.column("candidates").combine_chunks().flatten()


def ballots_on(candidates: pa.StructArray, sources: Sources) -> Ballots:
    """Candidates' votes."""
    steps = pc.struct_field(pc.struct_field(candidates, "solution"), "steps")
    n_steps = numpy_of(pc.list_value_length(steps)).astype(np.int64)
    return ballots_in(n_steps, pc.struct_field(candidates, "votes"), sources)


def labelled(finished: pa.Table, model: Model, fusion: FusionConfig) -> pa.Table:
    """The rows of finished problems, as columns of the dataset."""
    candidates = candidates_of(finished)
    solution = pc.struct_field(candidates, "solution")
    parents = pc.list_parent_indices(finished.column("candidates").combine_chunks())
    problem = finished.column("problem").combine_chunks().take(parents)
    ballots = ballots_on(candidates, model.sources)
    labels = fused(ballots, model, fusion)
    kept, how = _filtered(ballots, _gradable(problem), fusion)
    steps = pc.struct_field(solution, "steps")
    offsets = numbers(ballots.starts, pa.int32())
    first = labels.first_error
    columns = {
        **{name: pc.struct_field(problem, field) for name, field in _OF_PROBLEMS.items()},
        **{name: pc.struct_field(solution, field) for name, field in _OF_SOLUTIONS.items()},
        **{
            name: pa.ListArray.from_arrays(offsets, pc.struct_field(steps.flatten(), field))
            for name, field in _OF_STEPS.items()
        },
        **{name: _lists(offsets, getattr(labels, field), name) for name, field in _OF_LABELS.items()},
        "label_kind": _lists(offsets, [StepLabel().kind] * len(ballots.owner), "label_kind"),
        "first_error": numbers(first, pa.int32(), missing=first == OPEN),
        "kept": numbers(kept),
        "consensus": texts(how),
        "votes": pc.struct_field(candidates, "votes"),
        "gold": pc.struct_field(candidates, "gold"),
    }
    return pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _lists(offsets: pa.Array, values: list[object], name: str) -> pa.ListArray:
    return pa.ListArray.from_arrays(offsets, column(values, SCHEMA.field(name).type.value_type))


def _gradable(problem: pa.StructArray) -> Bools:
    tested = pc.greater(pc.list_value_length(pc.struct_field(problem, "tests")), scalar(0))
    found = pc.or_(pc.is_valid(pc.struct_field(problem, "answer")), tested)
    return numpy_of(found)


def ungraded(finished: pa.Table) -> int:
    """How many of the problems have neither a gold answer nor unit tests."""
    return int((~_gradable(finished.column("problem").combine_chunks())).sum())


def _filtered(ballots: Ballots, gradable: Bools, fusion: FusionConfig) -> tuple[Bools, list[str]]:
    """Whether the consensus filter keeps each solution, and why. One that it drops stays in the dataset with
    `kept` false: whoever wants it can train on it."""
    pair = pair_of(fusion.consensus)
    if pair is None:
        return np.ones(len(ballots.n_steps), bool), [""] * len(ballots.n_steps)
    return all_compared(ballots, fusion.threshold, has_gold=gradable, pair=pair)


def label(items: Sequence[Finished], model: Model, fusion: FusionConfig) -> Iterator[LabelledSolution]:
    """The rows of finished problems as records."""
    candidates = [(item.problem, candidate) for item in items for candidate in item.candidates]
    votes = [(len(candidate.solution.steps), candidate.votes) for _, candidate in candidates]
    ballots = ballots_of(votes, model.sources)
    gradable = np.array([problem.is_gradable for problem, _ in candidates], bool)
    found: Labels = fused(ballots, model, fusion)
    kept, how = _filtered(ballots, gradable, fusion)
    steps = found.records()
    for place, (problem, candidate) in enumerate(candidates):
        first = int(found.first_error[place])
        yield LabelledSolution(
            problem=problem,
            solution=candidate.solution,
            labels=tuple(next(steps) for _ in candidate.solution.steps),
            first_error=None if first == OPEN else first,
            kept=bool(kept[place]),
            consensus=how[place],
            votes=candidate.votes,
            gold=candidate.gold,
        )
