"""A step without a vote is labelled nowhere: not in the row, not in an export, not in training."""

import pyarrow as pa

from pipeline.fusion.trust import Model
from pipeline.labelling.rows import label
from pipeline.outputs.export import FORMATS
from pipeline.prm.train import targets_of
from schemas.arrow import SCHEMA, from_row, to_row
from schemas.config import FusionConfig
from schemas.records import (
    Candidate,
    Finished,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Solution,
    Step,
    Vote,
)
from schemas.sources import EARLIER


def table_of(rows: list[LabelledSolution]) -> pa.Table:
    return pa.Table.from_pylist([to_row(row) for row in rows], SCHEMA)


def labelled(*votes: Vote, answer: str | None = "5", n_steps: int = 4) -> LabelledSolution:
    """The row of a solution with these votes, after a trip through Parquet's types. The hazard alone would
    call every step right."""
    problem = Problem(text="What is 2+3?", answer=answer)
    steps = tuple(Step(text=f"s{i}", start=3 * i, end=3 * i + 2) for i in range(n_steps))
    solution = Solution(
        problem_id=problem.id,
        text="\n".join(step.text for step in steps),
        steps=steps,
        policy=PolicyIdentity(kind="k", model="m"),
    )
    finished = Finished(problem=problem, candidates=(Candidate(solution=solution, votes=votes),))
    (row,) = label([finished], Model(0.02, 0.02, {}, EARLIER), FusionConfig())
    assert [from_row(stored) for stored in table_of([row]).to_pylist()] == [row]
    return row


def test_what_nobody_voted_on_is_neither_exported_nor_trained_on() -> None:
    silent = Vote(step=0, source="monte_carlo", asks="solvable", n_failed=8, why="none could be graded")
    row = labelled(silent)
    assert {x.label for x in row.labels} == {None}
    assert targets_of(row, "hard") == targets_of(row, "soft") == [None] * 4
    assert [FORMATS[name](row) for name in ("trl", "math_shepherd", "processbench")] == [None] * 3
    ratings = [step["completions"][0]["rating"] for step in (FORMATS["prm800k"](row) or {})["label"]["steps"]]
    assert ratings == [None] * 4


def test_a_row_ends_where_its_votes_do() -> None:
    """Eight of eight after step 1 speak for steps 0 and 1; of the rest nobody said anything."""
    row = labelled(Vote(step=1, source="monte_carlo", asks="solvable", p=1.0, correct=8, n=8))
    assert targets_of(row, "hard") == [1, 1, None, None]
    assert [p is None for p in targets_of(row, "soft")] == [False, False, True, True]
    exported = FORMATS["trl"](row)
    assert exported is not None
    assert exported["completions"] == ["s0", "s1"]


def test_judged_rows_without_gold_or_rollouts_are_kept_and_say_so() -> None:
    judged = [
        Vote(step=0, source="judge:review", asks="valid", p=1.0, correct=3, n=3),
        Vote(step=1, source="judge:review", asks="valid", p=0.0, correct=0, n=3),
    ]
    row = labelled(*judged, answer=None)
    assert (row.kept, row.consensus) == (True, "no_gold")
    row = labelled(*judged)
    assert (row.kept, row.consensus) == (True, "judge_only")
