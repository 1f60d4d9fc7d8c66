"""Partial rewards of code from the problem's unit tests (VeRPO, arXiv 2601.03525): a test that is seldom
passed weighs more than one that nearly everything passes.

A turn is a step that ends a block of code; what is tested is all code up to it. A program without blocks is
one turn, at the last step. Pass rates are those over all turns of all solutions of a problem, so a turn takes
part in its own weights: with few solutions one pass moves them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.methods.stored import Run
from schemas.derive import UnitTestSettings
from schemas.errors import UserError
from schemas.records import Finished, Problem, Solution
from verifiers.code.outputs import MOST_TEXT, blocks_of
from verifiers.code.programs import code_of_problem, program_of
from verifiers.code.unit_tests import Outcome, Program, dense_reward, pass_rates, run_tests, weights
from verifiers.isolation.sandbox import unavailable

COLUMNS = {
    "solution_id": "string",
    "step": "int32",
    "passed": "int32",
    "tests": "int32",
    "undecided": "int32",
    "reward": "float64",
    "solved": "bool",
}


@dataclass(frozen=True)
class Turn:
    """A step with code, and how the tests of all code up to it went."""

    solution: str
    step: int
    outcomes: tuple[Outcome, ...]

    @property
    def passes(self) -> list[bool]:
        """Which tests are passed."""
        return [outcome == "pass" for outcome in self.outcomes]

    @property
    def undecided(self) -> int:
        """Tests of which nothing is known: the sandbox failed, or lacks a package."""
        return self.outcomes.count("harness_error")


def rows(run: Run, settings: UnitTestSettings) -> Iterator[dict[str, Any]]:
    """One row a turn of every solution whose problem has tests. `reward` is null where a test of the turn was
    not decided, or where nothing of the problem was. UserError without a sandbox or without any tests."""
    if why := unavailable():
        raise UserError(f"unit_tests runs code, and there is no sandbox here: {why}; see `stepmint doctor`")
    tested = False
    for stored in run:
        tested |= bool(stored.finished.problem.tests)
        yield from rewarded(turns_of(stored.finished), settings, stored.finished.problem.id)
    # A run without tests would give an empty file, which looks like a method that found nothing.
    if not tested:
        raise UserError(f"no problem of the run {run.config.name!r} has `tests`: see docs/code-and-tables.md")


def rewarded(turns: list[Turn], settings: UnitTestSettings, problem_id: str) -> Iterator[dict[str, Any]]:
    """The rows of one problem's turns."""
    # Of such a turn nobody knows which tests it passes, so it counts in no pass rate.
    decided = [turn.passes for turn in turns if not turn.undecided]
    weighed = (
        weights(pass_rates([decided]), alpha=settings.alpha, bandwidth=settings.bandwidth) if decided else []
    )
    for turn in turns:
        yield {
            "problem_id": problem_id,
            "solution_id": turn.solution,
            "step": turn.step,
            "passed": sum(turn.passes),
            "tests": len(turn.outcomes),
            "undecided": turn.undecided,
            "reward": None if turn.undecided else dense_reward(weighed, turn.passes),
            "solved": None if turn.undecided else all(turn.passes),
        }


def turns_of(finished: Finished) -> list[Turn]:
    """Every turn of a problem's solutions, tested; none for problems without tests."""
    problem = finished.problem
    return (
        [turn for one in finished.candidates for turn in _turns(one.solution, problem)]
        if problem.tests
        else []
    )


def _turns(solution: Solution, problem: Problem) -> Iterator[Turn]:
    # The limit of the code verifier, so that both run the same programs.
    if len(solution.text) > MOST_TEXT or not solution.steps:
        return
    programs: dict[int, Program] = {}
    head, known = code_of_problem(problem.text), 0
    for index, step in enumerate(solution.steps):
        # Later steps use what earlier ones defined, so each turn runs all code so far.
        blocks = blocks_of(solution.text[: step.end])
        if len(blocks) > known:
            programs[index], known = Program(tuple(blocks), head), len(blocks)
    if not programs and (whole := program_of(problem.text, solution.text)):
        programs[len(solution.steps) - 1] = whole
    for index, program in programs.items():
        outcomes = tuple(one.outcome for one in run_tests(program, problem.tests))
        yield Turn(solution.id, index, outcomes)
