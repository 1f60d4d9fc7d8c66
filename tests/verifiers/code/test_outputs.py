"""Executed steps: right outputs hold, wrong ones fail, and everything that proves nothing abstains."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from pipeline.annotators.formal import verifier_named
from schemas.records import Problem, Table, UnitTest
from verifiers.base import StepContext
from verifiers.code.executed import execute
from verifiers.code.outputs import Code, same_text
from verifiers.isolation import sandbox
from verifiers.isolation.sandbox import unavailable

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")
ROOT = str(Path(__file__).parents[3])
TABLE = Table(columns=("city", "pop"), rows=(("A", "10"), ("A", "12"), ("B", "7"), ("B", "9")))


def block(code: str, output: str | None = None, prose: str = "") -> str:
    shown = "" if output is None else f"```output\n{output}\n```\n"
    return f"Compute.\n```python\n{code}\n```\n{shown}{prose}"


def check(*steps: str, **fields):
    return Code().check(StepContext(Problem(text="p", **fields), steps))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (block("print(6 * 7)", "42"), "holds"),
        (block("print(6 * 7)", "43"), "fails"),
        (block("6 * 7", "42"), "holds"),
        (block("print(6 * 7)", prose="So the code prints 42."), "holds"),
        (block("print(6 * 7)", prose="The output is 41."), "fails"),
        (block("print(1 / 3)", prose="The program gives 0.33."), "holds"),
        (block("print(1 / 3)", "0.34"), "fails"),
        (block("print(2 + 3, 2 * 3)\nprint([2 ** 3])", "5 6\n[8]"), "holds"),
        (block("assert 2 + 2 == 5"), "fails"),
        (block("import sys; sys.stdout.buffer.write(b'%d' % (6 * 7))", "42"), "holds"),
        (block("import random; random.seed(3); print(random.random() < 2)", "True"), "holds"),
        (block("import sys; sys.stdout.write(str(6 * 7))", "42"), "holds"),
        # Nothing is proved by:
        (block("import random; print(random.randint(3, 3) * 2)", "6"), "abstains"),
        (block("from datetime import date; print(date.today().year > 1)", "True"), "abstains"),
        (block("x = 42\nprint(x)", "42"), "abstains"),
        (block("print('42')", "42"), "abstains"),
        (block("print(1, 2)\nprint([3])", "1 2\n[3]"), "abstains"),
        (block("print(6 * 7)"), "abstains"),
        (block("print('a' + 'b')", "'ab'"), "abstains"),
        (block("'a ' + ' b'", "'a b'"), "fails"),
        (block("print([2 ** n for n in (2, 3)])", "[4,8]"), "holds"),
        (block("assert 2 + 2 == 4"), "abstains"),
        (block("raise ValueError", "42"), "abstains"),
        (block("print(6 *", "42"), "abstains"),
        (block("import numpy; print(6 * 7)", "42"), "abstains"),
        (block("import os; print(6 * 7); os._exit(0)", "42"), "abstains"),
        (block("import random; print(random.random())", "1.5"), "abstains"),
        (block("print(list({'a', 'b', 'c', 'd', 'e'}))", "['a', 'b', 'c', 'd', 'e', 'f']"), "abstains"),
        (block("print(6 * 7)", "4..."), "abstains"),
        (block("print(6 * 7)", prose="It gives 42, not what 6 + 7 gives 13."), "abstains"),
        (block("print(6 * 7)", prose="This gives 12 apples a box."), "abstains"),
        (block("print(object())", "<object object at 0x7f0000000000>"), "abstains"),
        (block("try: int('x')\nexcept ValueError as e: print(e)", "invalid literal"), "abstains"),
        (block("print(6 * 7)\nprint(globals)", "42\n<function>"), "abstains"),
        ("No code at all.", "abstains"),
        ("```python\nprint(1)", "abstains"),
        ("x" * 30_000, "abstains"),
    ],
)
def test_steps(step, expected):
    found = check(step)
    assert found.verdict == expected, found


def test_an_output_that_agrees_by_the_order_of_hashes_is_no_evidence():
    """The same code shows another order under another hash seed, so agreeing with one run proves nothing."""
    code = "print(sorted('abcdef', key=hash))"
    shown = execute((code,)).text
    assert shown
    assert check(block(code, shown.strip())).verdict == "abstains"


def test_a_closed_sandbox_is_silence():
    """In a user namespace that may make no further ones, every step abstains."""
    code = (
        "from schemas.records import Problem; from verifiers.code.outputs import Code;"
        "from verifiers.base import StepContext;"
        f"print(Code().check(StepContext(Problem(text='p'), ({block('print(6 * 7)', '43')!r},))).verdict)"
    )
    shell = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", shell, "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert done.stdout == "abstains\n"


def test_earlier_blocks_are_run_first():
    assert check(block("x = 6"), block("print(x * 7)", "42")).verdict == "holds"
    assert check("no code", block("print(x * 7)", "42")).verdict == "abstains"


def test_an_earlier_assertion_is_not_this_steps_fault():
    assert check(block("assert 1 == 2"), block("print(6 * 7)", "43")).verdict == "abstains"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (block("print(sum(int(r['pop']) for r in table))", "38"), "holds"),
        (block("print(sum(int(r['pop']) for r in table))", "37"), "fails"),
        (block("print(19 * 2)", "38"), "abstains"),  # never looked
    ],
)
def test_code_about_a_table_must_read_it(step, expected):
    assert check(step, table=TABLE).verdict == expected


TESTS = (UnitTest(call="f(2, 3)", expected="5"), UnitTest(call="f(-1, 1)", expected="0"))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(a, b): return a + b", "holds"),
        ("def f(a, b): return a * b", "fails"),
        ("def f(a, b): return 5", "fails"),
        ("def f(a, b):\n    return 1 / 0", "fails"),
        ("def f(a, b):\n    pass", "abstains"),
        ("def f(a, b): ...", "abstains"),
        ("def g(a, b): return a + b", "abstains"),
        ("import numpy\ndef f(a, b): return a + b", "abstains"),
        ("print('5'); print(0)\nimport os; os._exit(0)", "fails"),
        ("class T:\n  def __eq__(s, o): return True\ndef f(a, b): return T()", "fails"),
    ],
)
def test_unit_tests(code, expected):
    found = check(block(code), tests=TESTS)
    assert found.verdict == expected, found


def test_what_does_not_end_proves_nothing_but_fails_its_tests(monkeypatch):
    quick = partial(sandbox.Limits, wall_s=1.0, cpu_s=1)
    monkeypatch.setattr(sandbox, "Limits", quick)
    monkeypatch.setattr("verifiers.code.unit_tests.LIMITS", quick())
    assert check(block("while True: pass", "42")).verdict == "abstains"
    found = check(block("def f(a, b):\n    while True: pass"), tests=TESTS)
    assert found.verdict == "fails", found


@pytest.mark.parametrize(
    ("claimed", "shown", "expected"),
    [
        ("1,200", "1200", True),
        ("3.14", "3.14159", True),
        ("3.15", "3.14159", False),
        ("3", "3.14159", False),
        ("1 2", "1", False),
        ("0.30000000000000004", "0.3", True),
        ("9" * 99, "9" * 98, False),
        ("[1,2]", "[1, 2]", True),
        ("[1, 2]", "(1, 2)", False),
        ("{'b': 2, 'a': 1.5}", "{'a': 1.5, 'b': 2}", True),
        ("[0.33]", "[0.3333333]", True),
        ("[1.0, 2]", "[1, 2.0]", True),
        ("1", "True", True),
        ("['a b']", "['a  b']", False),
        ("'a  b'", "'a b'", False),
        ('"a"', "'a'", True),
        ("1,200", "(1, 200)", True),
        ("a b\n[1,2]", "a  b\n[1, 2]", True),
        ("[1]\n[2]", "[1]\n[3]", False),
        ("[" * 1500, "[" * 1500, True),
        ("-" * 1900 + "1", "-" * 1901 + "1", False),
    ],
)
def test_outputs_are_compared_word_by_word(claimed, shown, expected):
    assert same_text(claimed, shown) is expected


def test_configurations_can_choose_them():
    assert [verifier_named(name).name for name in ("code", "tables")] == ["code", "tables"]
