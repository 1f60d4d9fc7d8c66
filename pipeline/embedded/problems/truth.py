"""Embedded problems as records, and the exact truth of every step that anyone writes about them."""

import random
from collections.abc import Sequence

from pipeline.embedded.problems import arithmetic, logic
from pipeline.embedded.problems.lessons import case, solving
from schemas.records import Problem, Source, content_id


def problems(n: int, *, seed: int, steps: tuple[int, int] = (3, 8), split: str = "train") -> list[Problem]:
    """`n` different problems; another `split` gives others, and none of its texts is repeated here."""
    found: dict[str, Problem] = {}
    row = 0
    while len(found) < n:
        problem = _problem(seed, split, row, steps)
        # Short problems repeat by chance; an equal one is drawn anew, so that there are n different ones.
        found.setdefault(problem.id, problem)
        row += 1
    return list(found.values())


def _problem(seed: int, split: str, row: int, steps: tuple[int, int]) -> Problem:
    # A generator per problem: the hundredth problem is the same, whether or not the others are made.
    rng = random.Random(content_id("embedded", seed, split, row))
    posed = case(rng, rng.randint(*steps))
    is_logic = isinstance(posed, logic.LogicCase)
    return Problem(
        text=posed.text,
        answer=posed.answer,
        answer_kind="choice" if is_logic else "number",
        premises=posed.premises,
        reference=solving(posed).reply,
        domain="logic" if is_logic else "arithmetic",
        source=Source(dataset="embedded", split=split, row=row),
        licence="Apache-2.0",
    )


def step_truth(problem: Problem, steps: Sequence[str]) -> list[bool | None]:
    """Whether each step states only what the problem implies; None where it states nothing readable.

    An answer given in a step must be the gold answer.
    """
    check = logic.statement_truth if problem.domain == "logic" else arithmetic.statement_truth
    truth: list[bool | None] = []
    for step in steps:
        statement, _, answer = step.partition("\n####")
        stated = check(statement, problem.premises)
        # A right calculation with a wrong answer line under it is a wrong step.
        if answer and answer.strip() != problem.answer:
            stated = False
        truth.append(stated)
    return truth


def first_error(problem: Problem, steps: Sequence[str]) -> int | None:
    """0-based index of the first untrue step, -1 when all are true; None when an unreadable step comes
    first."""
    for index, is_true in enumerate(step_truth(problem, steps)):
        if is_true is None:
            return None
        if not is_true:
            return index
    return -1
