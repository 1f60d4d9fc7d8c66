"""Reviews solutions step by step: the work behind `stepmint verify`."""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Any

from pipeline.solutions import Written
from schemas.records import Problem
from verifiers.context import StepContext
from verifiers.review import review

_BATCH = 512
"""Solutions handed to the workers at a time: enough to keep them busy, few enough for any file to fit."""


def verify(solutions: Iterable[Written], *, workers: int = 1) -> Iterator[dict[str, Any]]:
    """One result a step, in order: `id`, `step` (0-based), `verdict`, `findings`, and the step's `text`.

    A finding holds `span`, `claim`, `verdict`, `reason` and `by`.
    """
    if workers <= 1:
        for solution in solutions:
            yield from _verified(solution)
        return
    solutions = iter(solutions)
    # Fresh interpreters, as everywhere: a fork of a process with threads may hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        while batch := list(islice(solutions, _BATCH)):
            for found in pool.map(_verified, batch, chunksize=8):
                yield from found


def _verified(solution: Written) -> list[dict[str, Any]]:
    problem, found = Problem(text=solution.problem), []
    for index in range(solution.first, len(solution.steps)):
        reviewed = review(StepContext(problem, solution.steps[: index + 1]))
        findings = [
            {
                "span": list(remark.span),
                "claim": remark.claim,
                "verdict": remark.verdict,
                "reason": remark.reason,
                "by": remark.by,
            }
            for remark in reviewed.remarks
        ]
        result = {"id": solution.id, "step": index, "verdict": reviewed.verdict, "findings": findings}
        found.append({**result, "text": solution.steps[index]})
    return found
