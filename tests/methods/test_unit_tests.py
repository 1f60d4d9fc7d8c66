"""Partial rewards from unit tests: a case worked out by hand, and code that is really run."""

import math

import pytest

from pipeline.methods.stored import Run
from pipeline.methods.unit_tests import COLUMNS, Turn, rewarded, rows, turns_of
from schemas.derive import UnitTestSettings
from schemas.errors import UserError
from schemas.records import Candidate, Finished, PolicyIdentity, Problem, Solution, Step, UnitTest
from verifiers.isolation.sandbox import unavailable

needs_sandbox = pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")
DEFAULTS = UnitTestSettings()


def test_a_rare_pass_weighs_more() -> None:
    """Both decided turns pass the first test, one the second: weights exp(-1) and exp(-1/2), of their sum."""
    turns = [
        Turn("a", 0, ("pass", "wrong")),
        Turn("b", 1, ("pass", "pass")),
        Turn("b", 2, ("pass", "harness_error")),
    ]
    found = list(rewarded(turns, DEFAULTS, "p"))
    assert all(list(row) == ["problem_id", *COLUMNS] for row in found)
    easy, hard = math.exp(-1), math.exp(-0.5)
    assert [row["reward"] for row in found] == [pytest.approx(easy / (easy + hard)), 1.0, None]
    assert [row["solved"] for row in found] == [False, True, None]
    assert [(row["passed"], row["tests"], row["undecided"]) for row in found] == [
        (1, 2, 0),
        (2, 2, 0),
        (1, 2, 1),
    ]
    (first, *_) = rewarded(turns, UnitTestSettings(alpha=0), "p")
    assert first["reward"] == 0.5


def test_where_nothing_was_decided_there_is_no_reward() -> None:
    (row,) = rewarded([Turn("a", 0, ("harness_error",))], DEFAULTS, "p")
    assert (row["reward"], row["solved"]) == (None, None)
    assert not list(rewarded([], DEFAULTS, "p"))


def solved(*steps: str) -> Finished:
    tests = (UnitTest(call="f(2)", expected="4"), UnitTest(call="f(3)", expected="9"))
    problem = Problem(text="Square a number.", answer=None, tests=tests)
    text = "\n".join(steps)
    starts = [text.index(step) for step in steps]
    parts = tuple(Step(text=s, start=i, end=i + len(s)) for s, i in zip(steps, starts, strict=True))
    policy = PolicyIdentity(kind="k", model="m")
    solution = Solution(problem_id=problem.id, text=text, steps=parts, policy=policy)
    return Finished(problem=problem, candidates=(Candidate(solution=solution),))


@needs_sandbox
def test_each_step_with_code_is_a_turn_with_all_code_before_it() -> None:
    double, square = (f"```python\ndef f(x):\n    return {body}\n```" for body in ("2 * x", "x * x"))
    found = turns_of(solved(double, "Not for 3.", square))
    assert [(turn.step, turn.outcomes) for turn in found] == [(0, ("pass", "wrong")), (2, ("pass", "pass"))]
    assert not turns_of(solved("No code."))
    # A program whose steps are parts of it is one turn, as is one without a block.
    assert [turn.step for turn in turns_of(solved(*square.split("\n")))] == [3]
    assert [turn.step for turn in turns_of(solved("def f(x):", "    return x * x"))] == [1]


@needs_sandbox
def test_a_run_without_tests_is_one_line(run: Run) -> None:
    with pytest.raises(UserError, match="no problem of the run 'demo' has `tests`"):
        list(rows(run, DEFAULTS))
