"""Which program a solution gives, and how unit tests grade it: known answers and hostile programs."""

import time
from pathlib import Path

import pytest

from schemas.records import UnitTest
from verifiers.code import programs
from verifiers.code.outputs import read_claim
from verifiers.code.programs import fenced_blocks, grade_program, program_of
from verifiers.isolation import sandbox

sandboxed = pytest.mark.skipif(
    bool(sandbox.unavailable()), reason=f"no sandbox here: {sandbox.unavailable()}"
)
PROMPT = 'from typing import List\n\n\ndef square(x: int) -> int:\n    """ Its square. """\n'
WORDS = "Write a function `square(x)`."
TESTS = (
    UnitTest(call="square(2)", expected="4"),
    UnitTest(call="square(3)", expected="9"),
    UnitTest(assertion="import math\nassert math.isclose(square(5), 25)\nassert abs(square(-1) - 1) < 1e-6"),
)


def fenced(code: str, language: str = "python") -> str:
    return f"Here it is:\n```{language}\n{code}\n```\nDone."


SQUARE = "def square(x):\n    return x * x"


@pytest.mark.parametrize(
    ("problem", "solution", "blocks"),
    [
        (WORDS, fenced(SQUARE), (SQUARE,)),
        (WORDS, fenced(SQUARE, "Python3"), (SQUARE,)),
        (WORDS, fenced(SQUARE, ""), (SQUARE,)),
        (WORDS, fenced("pip install x", "bash") + "\n" + fenced(SQUARE), (SQUARE,)),
        (WORDS, f"~~~python\n{SQUARE}\n~~~", (SQUARE,)),
        (WORDS, f"````python\n{SQUARE}\n```\n````", (f"{SQUARE}\n```",)),
        (WORDS, f"```python\n{SQUARE}", (SQUARE,)),  # it ended at a stop text
        (WORDS, fenced("x = 1") + fenced("y = 2").removeprefix("Here it is:"), ("x = 1", "y = 2")),
        (WORDS, SQUARE, (SQUARE,)),
        (WORDS, f"Sure!\n{SQUARE}\n\nThis function returns the square.", (f"{SQUARE}\n",)),
        (PROMPT, "    return x * x\n", ("    return x * x\n",)),
        (WORDS, "    return x * x\n", None),  # nothing that it could be the body of
        (WORDS, fenced("puts 1", "ruby"), None),
        (WORDS, fenced("4", ""), None),  # an output
        (WORDS, fenced("n = int(input())\nprint(n * n)", ""), ("n = int(input())\nprint(n * n)",)),
        (WORDS, "from the definition we see that it is 4.", None),
        (WORDS, "", None),
        (WORDS, "```python\n\n", None),
    ],
)
def test_the_program_of_a_solution(problem: str, solution: str, blocks: tuple[str, ...] | None) -> None:
    found = program_of(problem, solution)
    assert (found and found.blocks) == blocks


GRADES = [
    ("right", SQUARE, True),
    ("right, in pieces", "import math\ndef square(x):\n    return int(math.pow(x, 2))", True),
    ("wrong once", "def square(x):\n    return 4 if x == 2 else 9 if x == 3 else 0", False),
    ("another type", "def square(x):\n    return str(x * x)", False),
    ("an exception", "def square(x):\n    return x / 0", False),
    ("a syntax error", "def square(x:\n    return", False),
    ("no such name", "def cube(x):\n    return x ** 3", False),
    ("memory", "def square(x):\n    return bytearray(2**34)", False),
    (
        "raises where it does not know",
        "def square(n):\n    if n == 3: return 9\n    raise ImportError",
        False,
    ),
    ("imports what is not there", "def square(n):\n    if n == 3: return 9\n    import numpy", False),
    ("a missing package", "import numpy\ndef square(x):\n    return x", None),
    ("leaves at once", "import os\nos._exit(0)", False),
    ("leaves in a call", "import sys\ndef square(x):\n    sys.exit(0)", False),
    ("prints the text", "import os\nprint('4\\x04', flush=True)\nos.write(1, b'4')\nos._exit(0)", False),
    ("forks", "import os\nos.fork()\n" + SQUARE, False),
    ("starts a program", "import subprocess\nsubprocess.run(['true'])\n" + SQUARE, False),
    (
        "lowers its limits",
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n" + SQUARE,
        False,
    ),
    ("aborts", "import os\ndef square(x):\n    os.abort()", False),
    (
        "equals everything",
        "class E(int):\n    def __eq__(s, o): return True\n    def __abs__(s): return 0\n"
        "    def __sub__(s, o): return 0\ndef square(x):\n    return E()",
        False,
    ),
    (
        "patches the checker",
        "import math, builtins, json\nmath.isclose = lambda *a: True\n"
        "builtins.abs = lambda v: 0\njson.dumps = lambda *a, **k: '4'\ndef square(x):\n    return 4",
        False,
    ),
    (
        "claims to be answered",
        "import sys, os\nframe = sys._getframe()\nwhile frame:\n"
        "    say = frame.f_locals.get('say')\n    if say:\n        say('setup', 'whole', '\"\"')\n"
        "        for i in range(9): say(str(i), 'pass', '[]')\n        os._exit(0)\n    frame = frame.f_back",
        False,
    ),
]


@sandboxed
@pytest.mark.parametrize(("code", "verdict"), [row[1:] for row in GRADES], ids=[row[0] for row in GRADES])
def test_grades(code: str, verdict: bool | None) -> None:
    found = grade_program(WORDS, fenced(code), TESTS)
    assert found.verdict is verdict, found


@sandboxed
def test_a_time_out_counts_against_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifiers.code.unit_tests.LIMITS", sandbox.Limits(wall_s=0.5, cpu_s=1))
    for body in ("while True: pass", "import time; time.sleep(60)"):
        found = grade_program(WORDS, fenced(f"def square(x):\n    {body}"), TESTS)
        assert found.verdict is False
        assert "timeout" in found.reason


@sandboxed
@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("    return x * x\n", True),
        ("    return x + x\n", False),
        # A model that does not know where to end goes on with other code.
        ("    return x * x\n\n\nimport requests\nassert square(2) == 5\nprint(", True),
        ("    text = '''\nat the margin\n'''\n    return x * x\nimport requests", True),
        ("    def inner():\n        return x\n    return inner() * x\n", True),
        ("    return (x *\n", False),
        (fenced("    return x * x"), True),  # a body in a fence
        (fenced("def square(x: int) -> List[int]:\n    return x * x"), True),  # imports of the problem hold
    ],
)
def test_completions_of_the_problems_function(body: str, verdict: bool) -> None:
    assert grade_program(PROMPT, body, TESTS).verdict is verdict


@sandboxed
def test_examples_of_use_may_fail() -> None:
    """A model's own example, or the problem's, is not what is tested; what the program itself raises is."""
    example = "```python\nassert square(2) == 5\n```"
    assert grade_program(WORDS, f"{fenced(SQUARE)}\n{example}", TESTS).verdict is True
    assert grade_program(f"{WORDS}\n{example}", fenced(SQUARE), TESTS).verdict is True
    assert grade_program(WORDS, fenced(f"{SQUARE}\nassert square(2) == 5"), TESTS).verdict is False
    assert grade_program(WORDS, example, TESTS).verdict is False


@sandboxed
def test_no_program_and_too_much_of_one_are_no_grade() -> None:
    assert grade_program(WORDS, "It is 4.", TESTS) == programs.NO_PROGRAM
    assert grade_program(WORDS, "x" * 200_000, TESTS).verdict is None


def test_what_the_sandbox_failed_is_a_doubt_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed sandbox gives no grade, and its failure is not kept as the program's."""
    monkeypatch.setattr("verifiers.isolation.sandbox.unavailable", lambda: "no namespaces")
    code = fenced("def square(x):\n    return x * x  # tried again")
    found = grade_program(WORDS, code, TESTS)
    assert found.verdict is None
    assert "no namespaces" in found.reason
    monkeypatch.undo()
    if not sandbox.unavailable():
        assert grade_program(WORDS, code, TESTS).verdict is True


@sandboxed
def test_equal_programs_run_once() -> None:
    before = programs._graded.cache_info().misses
    for _ in range(3):
        grade_program(WORDS, fenced(f"{SQUARE}  # once"), TESTS)
    assert programs._graded.cache_info().misses == before + 1


def test_reading_takes_linear_time() -> None:
    """Openings without an end, and thousands of line ends, once held a reader for half a minute."""
    start = time.process_time()
    list(fenced_blocks("a\n```python\n" * 20_000))
    program_of(WORDS, "def f(x):\n" * 20_000)
    read_claim("```python\n1\n```" + "\n" * 50_000)
    assert time.process_time() - start < 2


def test_the_notebook_and_the_trial_know_nothing_of_us() -> None:
    """They are read as text and run where Stepmint cannot be imported."""
    for name in ("trial", "notebook"):
        text = (Path(programs.__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        assert not any(f"from {ours}" in text for ours in ("schemas", "verifiers", "pipeline"))
