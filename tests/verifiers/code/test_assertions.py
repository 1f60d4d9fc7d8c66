"""Assertions judge a program's answers in a sandbox of their own; values are carried between the two."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import UnitTest
from verifiers.code.trial import canonical, decode, encode
from verifiers.code.unit_tests import Program, judge_tests, run_test, run_tests
from verifiers.isolation.sandbox import Limits, unavailable

CASES = Path(os.environ.get("STEPMINT_DATA", "../shared/data")).parent / "cases" / "unit_tests.jsonl"
sandboxed = pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")


@sandboxed
@pytest.mark.parametrize(
    ("code", "assertion", "outcome"),
    [
        ("def f(x): return x / 3", "assert abs(f(2) - 2 / 3) < 1e-6", "pass"),
        ("def f(x): return x / 3", "assert abs(f(2) - 1) < 1e-6", "wrong"),
        ("def f(x): return True", "assert f(2) is True", "pass"),
        ("def f(x): return 1", "assert f(2) is True", "wrong"),
        ("def f(x): return (y for y in x)", "assert sorted(f([2, 1])) == [1, 2]", "pass"),
        ("def f(x): return (y for y in x)", "assert f([1]) == [1]", "wrong"),
        ("def f(x, *, y): return {x: {y}}", "assert f('a', y=2.5) == {'a': {2.5}}", "pass"),
        ("def f(x, t): return [t(y) for y in x]", "assert f(range(2), str) == ['0', '1']", "pass"),
        ("def f(x): return x", "assert f(float('inf')) > 10 ** 400 and f(b'x') == b'x'", "pass"),
        # A hundred random calls, and calls that depend on answers.
        (
            "def f(x): return x + 1",
            "import random\nfor _ in range(100):\n    x = random.random()\n    assert f(x) == x + 1",
            "pass",
        ),
        ("def f(x): return x + 1", "x = 0\nwhile x < 5:\n    x = f(x)\nassert x == 5", "pass"),
        ("def f(x): return x + 1", "assert f(f(f(1))) == 4", "pass"),
        ("def f(x): return x + 1\ndef g(x): return x - 1", "assert g(f(1)) == 1", "pass"),
        # An error that the test expects, and others.
        (
            "def f(x): raise ValueError('no')",
            "try:\n    f(1)\n    assert False\nexcept ValueError:\n    pass",
            "pass",
        ),
        ("def f(x): return 1", "try:\n    f(1)\n    assert False\nexcept ValueError:\n    pass", "wrong"),
        ("def f(x): raise NameError('y')", "assert f(1) == 1", "exception"),
        ("def f(x): return None", "assert f(1) + 1 == 2", "exception"),
        ("def f(x): return object()", "assert f(1) == f(1)", "wrong"),
        ("import os\ndef f(x): os._exit(0)", "assert f(1) == 1", "exception"),
        # The test itself is at fault: no program could pass it.
        ("def f(x): return x", "assert f(1 == 1", "harness_error"),
        ("def f(x): return x", "import numpy\nassert f(1) == 1", "harness_error"),
        ("def f(x): return x", "assert f(object()) is None", "harness_error"),
        # No program could fail it: it calls nothing.
        ("def f(x): return x", "def test_f():\n    assert f(2) == 4", "harness_error"),
        ("def f(x): return x", "for x in []:\n    assert f(x) == 4", "harness_error"),
        ("def f(x): return x", "assert callable(f)", "harness_error"),
        # What it needs is an object of the program, which is not carried.
        ("class S:\n    def f(self, x): return x * x", "assert S().f(2) == 4", "harness_error"),
        ("class P: pass\ndef f(p): return 1", "assert f([P()]) == 1", "harness_error"),
        ("class S:\n    f = abs", "assert S.f(-2) == 2", "harness_error"),
        ("X = 5", "assert X == 5", "harness_error"),
    ],
)
def test_outcomes(code: str, assertion: str, outcome: str) -> None:
    found = run_test(code, UnitTest(assertion=assertion))
    assert found.outcome == outcome, found


@sandboxed
def test_a_test_that_ends_the_program_costs_the_others_nothing() -> None:
    """Later tests are asked of a fresh process; without patience they are not run."""
    code = "import os\ndef f(x):\n    return x if x != 2 else os._exit(0)"
    tests = [UnitTest(call=f"f({x})", expected=str(x)) for x in (1, 2, 3)]
    tests.append(UnitTest(assertion="assert f(4) == 4"))
    outcomes = [test.outcome for test in run_tests(Program((code,)), tests)]
    assert outcomes == ["pass", "exception", "pass", "pass"]
    hasty = [test.outcome for test in run_tests(Program((code,)), tests, patient=False)]
    assert hasty == ["pass", "exception", "exception", "exception"]


@sandboxed
def test_a_program_is_not_tried_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers a test and then ends, in every process, is given no more than some processes."""
    monkeypatch.setattr("verifiers.code.unit_tests._MOST_RESTARTS", 2)
    code = "import os\ndef f(x):\n    return x if x % 2 else os._exit(0)"
    tests = [UnitTest(call=f"f({x})", expected=str(x)) for x in range(1, 12)]
    outcomes = [test.outcome for test in run_tests(Program((code,)), tests)]
    assert outcomes == ["pass", "exception"] * 3 + ["exception"] * 5


@sandboxed
def test_the_expected_values_of_many_tests_are_read_at_once() -> None:
    """Those that cannot be read cost the others nothing, and are read again the next time."""
    began = time.monotonic()
    tests = [UnitTest(call=f"f({x})", expected=str(x * x)) for x in range(2000)]
    broken = UnitTest(call="f(3)", expected="1 /")
    outcomes = [one.outcome for one in run_tests(Program(("def f(x): return x * x",)), [*tests, broken])]
    assert outcomes == ["pass"] * 2000 + ["harness_error"]
    assert time.monotonic() - began < 60  # each alone takes minutes


@sandboxed
def test_answers_that_keep_the_judge_busy_count_against_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifiers.code.unit_tests.LIMITS", Limits(wall_s=1, cpu_s=1, output_bytes=2**20))
    test = UnitTest(assertion="assert sum(1 for _ in range(f(2))) == 4")
    assert run_test("def f(x): return 10**12", test).outcome == "timeout"
    endless = UnitTest(assertion="assert f(2) == 4\nwhile True: pass")
    assert run_test("def f(x): return x * x", endless).outcome == "harness_error"


@sandboxed
def test_a_call_may_make_objects_of_the_program_first() -> None:
    """MBPP's task 927 builds a tree before its tests."""
    code = "class Node:\n    def __init__(self, v): self.v = v\ndef f(node): return node.v"
    found = run_test(code, UnitTest(call="root = Node(3)\nroot.v += 1\nf(root)", expected="4"))
    assert found.outcome == "pass"


@sandboxed
def test_examples_of_use_are_not_run() -> None:
    code = "def f(x):\n    return x\n\nif __name__ == '__main__':\n    f(input())"
    assert judge_tests(Program((code,)), [UnitTest(call="f(1)", expected="1")]).verdict == "holds"


@sandboxed
@pytest.mark.parametrize(
    ("value", "expected", "outcome"),
    [
        ("__import__('decimal').Decimal('2')", "2", "pass"),
        ("__import__('decimal').Decimal('0.5')", "0.5", "pass"),
        ("__import__('fractions').Fraction(1, 2)", "0.5", "pass"),
        ("__import__('collections').Counter('aab')", "{'a': 2, 'b': 1}", "pass"),
        ("{1: 2}.keys()", "{1}", "pass"),
        ("float('nan')", "1", "wrong"),
        ("float('inf')", "1e999", "pass"),
        ("[0.1 + 0.2, -0.0]", "[0.3, 0]", "pass"),
    ],
)
def test_values_are_compared_as_equality_does(value: str, expected: str, outcome: str) -> None:
    found = run_test(f"def f(): return {value}", UnitTest(call="f()", expected=expected))
    assert found.outcome == outcome, found


@sandboxed
@pytest.mark.skipif(not CASES.is_file(), reason=f"{CASES} is not there")
def test_cases_that_once_came_out_wrong() -> None:
    for row in map(json.loads, CASES.read_text(encoding="utf-8").splitlines()):
        found = run_test(row["program"], UnitTest(call=row["call"], expected=row["expected"]))
        assert (found.outcome == "pass") is row["passes"], row["why"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner)
        | st.frozensets(st.integers()) | st.sets(st.text())
    ),
    max_leaves=10,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_survive_the_way(value: object) -> None:
    found = decode(json.loads(json.dumps(encode(value))))
    assert found == value
    assert type(found) is type(value)
    assert canonical(found) == canonical(value)


@pytest.mark.parametrize(
    "fields", [{}, {"call": "f()"}, {"assertion": "assert f()", "call": "f()"}, {"stdin": "1"}]
)
def test_what_is_no_test_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="assertion"):
        UnitTest(**fields)
