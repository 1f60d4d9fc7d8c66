"""Reviews solutions step by step: the work behind `stepmint verify` and `stepmint.verify`."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, get_args

from pipeline.annotators.formal import verifier_named
from pipeline.inputs.solutions import Written
from schemas.config import VerifierName
from schemas.errors import UserError
from schemas.records import Problem
from verifiers.base import Finding, Verdict, Verifier, contexts_of
from verifiers.isolation.lifeline import hold, lifeline
from verifiers.review import review

_CHUNK, _AHEAD = 16, 8
"""Solutions a worker gets at a time, and such chunks under way per worker: no worker waits for another, and
files of any size fit."""

Results = list[dict[str, Any]]


class Verified(Results):
    """The results of all steps, in order, and why rows were left out."""

    def __init__(self, results: Iterable[dict[str, Any]], skipped: list[str]) -> None:
        super().__init__(results)
        self.skipped = tuple(skipped)
        """The place and the reason, of each row or solution that could not be read."""

    @property
    def summary(self) -> dict[str, dict[str, int]]:
        """How many findings there are of each kind: by `by`, then by verdict."""
        found: dict[str, dict[str, int]] = {}
        for one in (finding for result in self for finding in result["findings"]):
            counts = found.setdefault(one["by"], {"holds": 0, "fails": 0, "abstains": 0})
            counts[one["verdict"]] += 1
        return found


def verify(solutions: Iterable[Written], *, workers: int = 1) -> Iterator[dict[str, Any]]:
    """One result a step, in order: `id`, `step` (0-based), `verdict`, `findings`, the step's `text`, and the
    `row` of the solution (from 1).

    A finding holds `span`, `claim`, `verdict`, `reason` and `by`.
    """
    if workers <= 1:
        for solution in solutions:
            yield from _verified(solution)
        return
    solutions, under_way = iter(solutions), deque[Future[Results]]()
    # Fresh interpreters, as everywhere: a fork of a process with threads may hang.
    spawned = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawned, initializer=hold, initargs=(lifeline(),))
    first = list(islice(solutions, _CHUNK))
    # They all start now; Ctrl-C would reach them while they are importing.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        under_way.append(pool.submit(_verified_all, first))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        while chunk := list(islice(solutions, _CHUNK)):
            under_way.append(pool.submit(_verified_all, chunk))
            # Bounded, so that a file of any size is read only as fast as it is checked.
            if len(under_way) >= workers * _AHEAD:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def check(solutions: Iterable[Written], verifiers: Sequence[str | Verifier]) -> Iterator[dict[str, Any]]:
    """The same by verifiers of one's own choice. Each speaks of the step as a whole: a step fails when one of
    them refutes it, holds when none does and one proves something, and abstains otherwise.
    UserError for the name of a verifier that there is not."""
    chosen = [_verifier(one) for one in verifiers]
    for solution in solutions:
        problem = Problem(text=solution.problem, premises=solution.premises)
        contexts = contexts_of(problem, solution.steps)
        # Steps before `first` were checked already; they are read as context only.
        for index in range(solution.first, len(contexts)):
            context = contexts[index]
            found = {verifier.name: verifier.check(context) for verifier in chosen}
            said = {finding.verdict for finding in found.values()}
            # One refutation decides. Silence of one verifier does not undo the proof of another: they look at
            # different things.
            verdict: Verdict = "fails" if "fails" in said else "holds" if "holds" in said else "abstains"
            findings = [_finding(context.step, name, finding) for name, finding in found.items()]
            yield _result(solution, index, verdict, findings)


def _verifier(one: str | Verifier) -> Verifier:
    if not isinstance(one, str):
        return one
    if one not in get_args(VerifierName) and ":" not in one:
        known = ", ".join(get_args(VerifierName))
        raise UserError(f"verifiers: {one!r}: expected {known}, package.module:function, or a Verifier")
    return verifier_named(one)


def _finding(step: str, by: str, found: Finding) -> dict[str, Any]:
    return {
        "span": [0, len(step)],
        "claim": step,
        "verdict": found.verdict,
        "reason": found.reason,
        "by": by,
    }


def _verified_all(solutions: list[Written]) -> Results:
    return [result for solution in solutions for result in _verified(solution)]


def _verified(solution: Written) -> Results:
    problem, found = Problem(text=solution.problem, premises=solution.premises), []
    contexts = contexts_of(problem, solution.steps)
    for index in range(solution.first, len(contexts)):
        reviewed = review(contexts[index])
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
        found.append(_result(solution, index, reviewed.verdict, findings))
    return found


def _result(solution: Written, step: int, verdict: Verdict, findings: Results) -> dict[str, Any]:
    result = {"id": solution.id, "step": step, "verdict": verdict, "findings": findings}
    return {**result, "text": solution.steps[step], "row": solution.row}
