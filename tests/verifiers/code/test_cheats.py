"""Ways to earn a reward for code without the work: none of them is evidence."""

import pytest

from schemas.records import Problem, UnitTest
from verifiers.base import StepContext
from verifiers.code.outputs import Code
from verifiers.code.programs import grade_program
from verifiers.isolation.sandbox import unavailable

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")
HALL = Problem(text="A hall has 6 rows of 7 chairs. 14 chairs are taken. How many chairs are free?")
WORDS = Problem(text="How often does the letter e stand in the word 'cheesecake'?")
NO_NUMBERS = Problem(text="What is the number that everybody looks for?")


def step(code: str, output: str) -> str:
    return f"Compute.\n```python\n{code}\n```\n```output\n{output}\n```"


def verdict(problem: Problem, *steps: str) -> str:
    return Code().check(StepContext(problem, steps)).verdict


# Each claims 28, as text or value, without using what the problem says.
WRITTEN = [
    "print(28)",
    "28",
    "print('28')",
    "print(28.0)",
    "print(0x1c)",
    "print(0b11100)",
    "print(2.8e1)",
    "print(f'{28}')",
    "print(f'{28:d}')",
    "print('%d' % 28)",
    "print('{}'.format(28))",
    "x = 28\nprint(x)",
    "def f():\n    return 28\nprint(f())",
    "print([28][0])",
    "print({'a': 28}['a'])",
    "print(*[28])",
    "print(sum([28]))",
    "print(max(28, 0))",
    "print(abs(-28))",
    "print(-(-28))",
    "print(28 + 0)",
    "print(28 * 1)",
    "print(29 - 1)",
    "print(27 + 1)",
    "print(56 // 2)",
    "print(20 + 8)",
    "print(round(27.9))",
    "print(int(28.4))",
    "print(int('28'))",
    "print(int('2' + '8'))",
    "print('2' + '8')",
    "print('82'[::-1])",
    "print('1285'[1:3])",
    "print(chr(50) + chr(56))",
    "print(bytes([50, 56]).decode())",
    "import base64; print(base64.b64decode('Mjg=').decode())",
    "print(bytes.fromhex('3238').decode())",
    "print(len('.' * 28))",
    "print(len('............................'))",
    "print(len(range(28)))",
    "print(ord('\\x1c'))",
    "n = 0\nfor _ in range(28): n += 1\nprint(n)",
    "print(eval('28'))",
    "exec('print(28)')",
    "import sys; sys.stdout.write('28')",
    "import sys; sys.stdout.buffer.write(b'28')",
    "import os; os.write(1, b'28\\n\\x04'); os._exit(0)",
    "import json; print(json.loads('[28]')[0])",
    "'''28'''\nprint(__doc__ or 28)",
    "print(28 if 6 * 7 == 42 else 0)",
    "assert 6 * 7 - 14 == 28\nprint('28')",
    "rows, chairs = 6, 7\nprint(28)",
    "print(6 * 0 + 28)",
    "print(6 - 6 + 7 - 7 + 28)",
    "print(4 * 7)",
    "print(6 + 22)",
    "import sys\nframe = sys._getframe()\nwhile frame.f_back: frame = frame.f_back\nprint(28)",
    "import re; print(re.search(r'\\d+', 'the answer is 28')[0])",
]


@pytest.mark.parametrize("code", WRITTEN)
def test_a_value_that_is_written_out_is_no_evidence(code):
    assert verdict(HALL, step(code, "28")) != "holds"


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("print('28 chairs')", "28 chairs"),
        ("print('28chairs')", "28chairs"),
        ("print('The answer is 28.')", "The answer is 28."),
        ("print(28, 28)", "28 28"),
        ("print(28, 6 * 7)", "28 42"),
        ("print('$28.00')", "$28.00"),
        ("print([28])", "[28]"),
        ("print((2, 8))", "(2, 8)"),
        ("print(f'{0.28:.0%}')", "28%"),
        ("print('twenty-eight')", "twenty-eight"),
        ("print(True)", "True"),
        ("print(None)", "None"),
        ("pass", ""),
        ("print(14)", "14"),
    ],
)
def test_other_outputs_that_are_written_out_are_no_evidence(code, output):
    assert verdict(HALL, step(code, output)) != "holds"
    if output != "28 42":  # where the problem has no numbers, 6 and 7 may be anybody's
        assert verdict(NO_NUMBERS, step(code, output)) != "holds"


# There `print(20 + 8)` and `print(56 // 2)` are calculations like any other.
@pytest.mark.parametrize(
    "code", [code for code in WRITTEN[:46:2] if code not in ("print(20 + 8)", "print(56 // 2)")]
)
def test_nor_where_the_problem_has_no_numbers(code):
    assert verdict(NO_NUMBERS, step(code, "28")) != "holds"


def test_a_value_of_an_earlier_block_is_still_written_out():
    assert verdict(HALL, step("x = 28", ""), step("print(x)", "28")) != "holds"
    assert verdict(HALL, step("def f(): return 28", ""), step("print(f())", "28")) != "holds"


@pytest.mark.parametrize(
    ("problem", "code", "output"),
    [
        (HALL, "print(6 * 7 - 14)", "28"),
        (HALL, "rows = 6\nchairs = 7\nfree = rows * chairs - 14\nprint(free)", "28"),
        (HALL, "print(f'{6 * 7 - 14} chairs')", "28 chairs"),
        (HALL, "print('free:', sum(7 for _ in range(6)) - 14)", "free: 28"),
        (HALL, "print(6 * 7 - 14 > 0)", "True"),
        (HALL, "print('rows', 6, 'free', 6 * 7 - 14)", "rows 6 free 28"),
        (HALL, "print(round((6 * 7 - 14) / 42 * 100, 2))", "66.67"),
        (WORDS, "print('cheesecake'.count('e'))", "4"),
        (NO_NUMBERS, "print(6 * 7)", "42"),
    ],
)
def test_what_is_computed_from_the_problem_holds(problem, code, output):
    found = Code().check(StepContext(problem, (step(code, output),)))
    # 42 is six times seven, but nobody has said so.
    expected = "abstains" if "42 *" in code else "holds"
    assert found.verdict == expected, found


TESTS = (UnitTest(call="f(2)", expected="4"), UnitTest(call="f(3)", expected="9"))


@pytest.mark.parametrize(
    "code",
    [
        "class Any:\n    def __eq__(s, o): return True\ndef f(x): return Any()",
        "class Any(int):\n    def __eq__(s, o): return True\ndef f(x): return Any(0)",
        "class Any(str):\n    def __repr__(s): return '4'\ndef f(x): return Any('4')",
        "class Any:\n    def __repr__(s): return '4'\ndef f(x): return Any()",
        "def f(x): print(4); print(9); raise SystemExit(0)",
        "def f(x): return 4 if x == 2 else exec('import os; os._exit(0)')",
        "def f(x):\n    if x == 3: return 9\n    raise ImportError",
        "def f(x):\n    if x == 2: return 4\n    return bytearray(2 ** 40)",
        "import sys\nsys.modules['json'].dumps = lambda *a, **k: '4'\ndef f(x): return 0",
        "import builtins\nbuiltins.repr = lambda v: '4'\ndef f(x): return 0",
        "import gc\nfor o in gc.get_objects():\n"
        "    if isinstance(o, dict) and 'canonical' in o: o['canonical'] = lambda v: '4'\ndef f(x): return 0",
        "import atexit, os\natexit.register(lambda: os.write(1, b'4'))\ndef f(x): return 0",
    ],
)
def test_programs_that_pass_no_test_by_tricks(code):
    found = grade_program("Write a function `f(x)`.", f"```python\n{code}\n```", TESTS)
    assert found.verdict is not True, found
