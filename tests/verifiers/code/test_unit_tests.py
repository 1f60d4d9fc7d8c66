"""Outcomes of unit tests in the sandbox, and the partial rewards' known answers."""

import ast
import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import UnitTest
from verifiers.code.unit_tests import (
    Program,
    dense_reward,
    judge_tests,
    pass_fraction,
    pass_rates,
    run_test,
    weights,
)
from verifiers.isolation.sandbox import unavailable

MBPP = Path(os.environ.get("STEPMINT_DATA", "../shared/data"), "mbpp", "mbpp_prompt_validation_train.jsonl")


@pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")
@pytest.mark.parametrize(
    ("code", "test", "outcome"),
    [
        ("def f(x): return {x: {2, 1}}", {"call": "f(3)", "expected": "{3: {1, 2}}"}, "pass"),
        ("def f(x): return x / 2", {"call": "f(4)", "expected": "2"}, "pass"),
        ("def f(x): return 0.1 + 0.2", {"call": "f(4)", "expected": "0.3"}, "pass"),
        ("def f(x): return (1, 2)", {"call": "f(4)", "expected": "[1, 2]"}, "wrong"),
        ("def f(x): return '2'", {"call": "f(4)", "expected": "2"}, "wrong"),
        ("def f(s): return s", {"call": "f('a  b')", "expected": "'a b'"}, "wrong"),
        ("def f(s): return [s + ' ']", {"call": "f('a')", "expected": "['a']"}, "wrong"),
        ("def f(s): return s", {"call": "f('a  b')", "expected": "'a  b'"}, "pass"),
        ("def f(): return 1", {"call": "f()", "expected": "True"}, "pass"),
        ("def f(): return [False, 2.0]", {"call": "f()", "expected": "[0, 2]"}, "pass"),
        ("def f(): return 'True'", {"call": "f()", "expected": "True"}, "wrong"),
        (
            "from collections import namedtuple\ndef f(): return namedtuple('P', 'x y')(1, 2)",
            {"call": "f()", "expected": "(1, 2)"},
            "pass",
        ),
        ("def f(x): print(x); return x", {"call": "f(4)", "expected": "4"}, "pass"),
        ("def f(x): return x[0]", {"call": "f([])", "expected": "4"}, "exception"),
        ("def f(x): return bytearray(2**34)", {"call": "f(1)", "expected": "4"}, "resource"),
        ("import numpy", {"call": "f(1)", "expected": "4"}, "harness_error"),
        ("def f(x): return x", {"call": "f(1)", "expected": "(("}, "harness_error"),
        ("print(int(input()) * 2)", {"stdin": "21\n", "expected": "42\n"}, "pass"),
        (
            "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())",
            {"stdin": "a b", "expected": "a  b"},
            "pass",
        ),
        ("print(42)\nexit = 0\nraise SystemExit", {"expected": "42"}, "pass"),
        ("print(41)", {"expected": "42"}, "wrong"),
    ],
)
def test_outcomes(code, test, outcome):
    found = run_test(code, UnitTest(**test))
    assert found.outcome == outcome, found


def test_only_what_the_sandbox_failed_counts_for_neither_side():
    assert pass_fraction(["pass", "wrong", "timeout", "harness_error"]) == pytest.approx(1 / 3)
    assert pass_fraction(["timeout"]) == pass_fraction(["resource"]) == 0
    assert pass_fraction(["harness_error"]) is None


def test_weights_by_rarity():
    found = weights([1, 0.5, 0])
    assert found == pytest.approx([0.1863, 0.3072, 0.5065], abs=1e-4)
    assert dense_reward(found, [True, True, False]) == pytest.approx(0.4935, abs=1e-4)
    assert dense_reward(found, [True] * 3) == 1
    assert dense_reward(found, [False] * 3) == 0
    assert weights([0.9, 0.1, 0.5], alpha=0) == pytest.approx([1 / 3] * 3)


def test_a_cluster_counts_once():
    assert weights([0.9, 0.9, 0.9, 0.1], alpha=0) == pytest.approx([0.25] * 4)
    narrow = weights([0.9, 0.9, 0.9, 0.1], alpha=0, bandwidth=0.05)
    assert narrow == pytest.approx([1 / 6] * 3 + [0.5])


def test_pass_rates_count_turns():
    assert pass_rates([[[False], [True]], [[True]]]) == [pytest.approx(2 / 3)]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12), st.floats(0, 5))
def test_rewards_are_bounded_and_monotone(tests, alpha):
    weighed = weights([rate for rate, _ in tests], alpha=alpha, bandwidth=0.1)
    passes = [passed for _, passed in tests]
    reward = dense_reward(weighed, passes)
    assert 0 <= reward <= 1
    for i in range(len(passes)):
        assert dense_reward(weighed, [*passes[:i], True, *passes[i + 1 :]]) >= reward - 1e-12


@pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")
@pytest.mark.skipif(not MBPP.is_file(), reason=f"{MBPP} is not there")
def test_gold_programs_pass_their_tests_and_only_theirs():
    with MBPP.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in itertools.islice(lines, 6)]
    suites = [[as_test(text) for text in row["test_list"]] for row in rows]
    for row, suite in zip(rows, suites, strict=True):
        assert judge_tests(Program((row["code"],)), suite).verdict == "holds"
        changed = [test.model_copy(update={"expected": f"[{test.expected}]"}) for test in suite]
        assert judge_tests(Program((row["code"],)), changed).verdict == "fails"


def as_test(text: str) -> UnitTest:
    """MBPP writes `assert call == literal`."""
    comparison = ast.parse(text).body[0].test
    return UnitTest(call=ast.unparse(comparison.left), expected=ast.unparse(comparison.comparators[0]))
