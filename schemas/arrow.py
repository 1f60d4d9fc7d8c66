"""The Arrow schema of the dataset, and the conversion between records and rows, which loses nothing.

The fields of steps are parallel lists of one length, so that a reader can load one column without the others;
votes are a list of structs.
"""

from typing import Any

import pyarrow as pa

from schemas.records import LabelledSolution

SCHEMA_VERSION = 4
"""2 added tables and unit tests; 3 calls the interval of the success rate `rate_low` and `rate_high`, and has
several accepted answers; 4 added gold labels, and assertions among unit tests."""
_FORMERLY = {"p_low": "rate_low", "p_high": "rate_high"}  # columns of versions 1 and 2
_PROBLEM = ("answer_kind", "premises", "reference", "domain", "source", "licence")
"""Columns that carry their record's own field names."""

VOTE = pa.struct(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("asks", pa.string(), nullable=False),
        pa.field("p", pa.float64()),
        pa.field("correct", pa.int32(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("n_failed", pa.int32(), nullable=False),
        pa.field("why", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
    ]
)
TABLE = pa.struct(
    [
        pa.field("columns", pa.list_(pa.string()), nullable=False),
        pa.field("rows", pa.list_(pa.list_(pa.string())), nullable=False),
    ]
)
TEST = pa.struct(
    [pa.field(name, pa.string(), nullable=False) for name in ("call", "stdin", "expected", "assertion")]
)
POLICY = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("prompt_digest", pa.string(), nullable=False),
        pa.field("temperature", pa.float64(), nullable=False),
        pa.field("top_p", pa.float64(), nullable=False),
        pa.field("max_tokens", pa.int32(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)
SOURCE = pa.struct(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)
GOLD = pa.struct(
    [
        pa.field("labels", pa.list_(pa.int8()), nullable=False),
        pa.field("first_error", pa.int32()),
        pa.field("by", pa.string(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("solution_id", pa.string(), nullable=False),
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("gold_answer", pa.string()),
        pa.field("alternatives", pa.list_(pa.string()), nullable=False),
        pa.field("answer_kind", pa.string(), nullable=False),
        pa.field("premises", pa.list_(pa.string()), nullable=False),
        pa.field("reference", pa.string()),
        pa.field("table", TABLE),
        pa.field("tests", pa.list_(TEST), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("source", SOURCE, nullable=False),
        pa.field("licence", pa.string()),
        pa.field("solution", pa.string(), nullable=False),
        pa.field("steps", pa.list_(pa.string()), nullable=False),
        pa.field("step_start", pa.list_(pa.int32()), nullable=False),
        pa.field("step_end", pa.list_(pa.int32()), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("stopped", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("policy", POLICY, nullable=False),
        pa.field("labels", pa.list_(pa.int8()), nullable=False),
        pa.field("p", pa.list_(pa.float64()), nullable=False),
        pa.field("rate_low", pa.list_(pa.float64()), nullable=False),
        pa.field("rate_high", pa.list_(pa.float64()), nullable=False),
        pa.field("label_kind", pa.list_(pa.string()), nullable=False),
        pa.field("decided_by", pa.list_(pa.string()), nullable=False),
        pa.field("reason", pa.list_(pa.string()), nullable=False),
        pa.field("first_error", pa.int32()),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("consensus", pa.string(), nullable=False),
        pa.field("votes", pa.list_(VOTE), nullable=False),
        pa.field("gold", GOLD),
    ],
    metadata={"stepmint_schema_version": str(SCHEMA_VERSION)},
)


def to_row(item: LabelledSolution) -> dict[str, Any]:
    """The dataset row of a labelled solution, in the order of `SCHEMA`."""
    problem, solution = item.problem, item.solution
    return {
        "solution_id": solution.id,
        "problem_id": problem.id,
        "problem": problem.text,
        "gold_answer": problem.answer,
        "alternatives": list(problem.alternatives),
        "answer_kind": problem.answer_kind,
        "premises": list(problem.premises),
        "reference": problem.reference,
        "table": problem.table and problem.table.model_dump(),
        "tests": [test.model_dump() for test in problem.tests],
        "domain": problem.domain,
        "source": problem.source.model_dump(),
        "licence": problem.licence,
        "solution": solution.text,
        "steps": [step.text for step in solution.steps],
        "step_start": [step.start for step in solution.steps],
        "step_end": [step.end for step in solution.steps],
        "answer": solution.answer,
        "outcome": solution.outcome,
        "stopped": solution.stopped,
        "tokens": solution.tokens,
        "policy": solution.policy.model_dump(),
        "labels": [label.label for label in item.labels],
        "p": [label.p for label in item.labels],
        "rate_low": [label.rate_low for label in item.labels],
        "rate_high": [label.rate_high for label in item.labels],
        "label_kind": [label.kind for label in item.labels],
        "decided_by": [label.decided_by for label in item.labels],
        "reason": [label.reason for label in item.labels],
        "first_error": item.first_error,
        "kept": item.kept,
        "consensus": item.consensus,
        "votes": [vote.model_dump() for vote in item.votes],
        "gold": item.gold and item.gold.model_dump(),
    }


def from_row(row: dict[str, Any]) -> LabelledSolution:
    """The labelled solution of a row, of this version of the schema or an older one. Raises pydantic's
    ValidationError where the parallel lists differ in length."""
    row = {_FORMERLY.get(name, name): value for name, value in row.items()}
    columns = ("labels", "p", "rate_low", "rate_high", "label_kind", "decided_by", "reason")
    labels = zip(*(row[column] for column in columns), strict=True)
    names = ("label", "p", "rate_low", "rate_high", "kind", "decided_by", "reason")
    return LabelledSolution.model_validate(
        {
            "problem": {
                "id": row["problem_id"],
                "text": row["problem"],
                "answer": row["gold_answer"],
                "alternatives": row.get("alternatives", ()),  # rows of version 2 have none
                "table": row.get("table"),  # rows of version 1 have neither
                "tests": row.get("tests", ()),
                **{k: row[k] for k in _PROBLEM},
            },
            "solution": {
                "id": row["solution_id"],
                "problem_id": row["problem_id"],
                "text": row["solution"],
                "steps": [
                    {"text": text, "start": start, "end": end}
                    for text, start, end in zip(row["steps"], row["step_start"], row["step_end"], strict=True)
                ],
                **{k: row[k] for k in ("answer", "outcome", "policy", "stopped", "tokens")},
            },
            "labels": [dict(zip(names, label, strict=True)) for label in labels],
            **{k: row[k] for k in ("first_error", "kept", "consensus", "votes")},
            "gold": row.get("gold"),  # rows of version 3 have none
        }
    )
