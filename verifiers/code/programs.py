"""Finds the program in a solution's text, and grades a solution by its problem's unit tests.

A chat model gives its program in fenced blocks. A completion model goes on with the function that the problem
begins, as HumanEval's samples do.
"""

import functools
import os
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple

from schemas.records import UnitTest
from verifiers.answers.grade import Grade
from verifiers.code.unit_tests import Program, run_tests

MOST_CODE = 100_000
"""Characters of a solution whose program is run."""
NO_PROGRAM = Grade(None, "no program found")
FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([\w+.-]*)[^`\n]*")
"""The line that begins or ends a fenced block: its marks, and the language."""
PYTHON = ("python", "python3", "py", "py3")
"""The languages of fences whose blocks are run."""
# A line at the margin that begins a program outside of any fence. `import` and `from` also begin English
# sentences, so a module's name has to follow, and nothing else but code.
_BEGINS = re.compile(
    r"(?:async def|def|class) \w+.*[:(,\\]|@\w|import \w[\w.]*(?:\s*,|\s+as\s|$)|from [\w.]+ import \w"
)
# A line that begins with an assignment, a call or a word of Python: `x = 1`, `print(x)`, `for x in y`.
_STATEMENT = re.compile(
    r"^[ \t]*(?:[A-Za-z_][\w.]*[ \t]*(?:=(?!=)|\()|(?:def|class|import|from|for|while|if|return)[ \t])", re.M
)
# "This function returns ...": after a program, three words in a row at the margin are no Python.
_PROSE = re.compile(r"[A-Z][\w'-]*,? [\w'-]+ [\w'-]+")
_SLOTS = threading.BoundedSemaphore(os.cpu_count() or 2)
"""Programs under test at once: their limits are seconds, which more of them than processors would use up."""


class Block(NamedTuple):
    """A fenced block of a text."""

    language: str
    """As the fence names it, in lower case; empty where it names none."""
    code: str
    end: int | None
    """Where the text after the block begins; None where the text ends inside the block."""


def program_of(problem: str, solution: str) -> Program | None:
    """The program of a solution to a problem; None where there is none."""
    head = code_of_problem(problem)
    fenced = list(fenced_blocks(solution))
    blocks = [block.code for block in fenced if block.language in PYTHON]
    # A fence without a language may be an output, so one that says Python wins, and a line has to look so.
    blocks = blocks or [b.code for b in fenced if not b.language and _STATEMENT.search(b.code)]
    if blocks:
        return Program(tuple(blocks), head)
    lines = solution.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if head and first[:1] in (" ", "\t") and not fenced:
        return Program((solution,), head)
    begin = next((i for i, line in enumerate(lines) if begins_program(line)), None)
    if begin is None or fenced:
        return None
    end = next((i for i in range(begin + 1, len(lines)) if _PROSE.match(lines[i])), len(lines))
    return Program(("\n".join(lines[begin:end]),), head)


def fenced_blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a text. It may end inside one, as a completion that ends at a stop text does."""
    fence, language, position = "", "", 0
    held: list[str] = []
    for line in text.split("\n"):
        position += len(line) + 1
        match = FENCE.fullmatch(line.rstrip("\r"))
        if not fence:
            if match:
                (fence, language), held = match.groups(), []
        # A block ends at a fence of its own kind that is as long at least and names no language.
        elif match and match[1].startswith(fence) and not match[2]:
            yield Block(language.lower(), "\n".join(held), min(position, len(text)))
            fence = ""
        else:
            held.append(line)
    if fence and "\n".join(held).strip():
        yield Block(language.lower(), "\n".join(held), None)


def begins_program(line: str) -> bool:
    """Whether a line at the margin begins a program outside of any fence."""
    return bool(_BEGINS.match(line))


def code_of_problem(problem: str) -> str:
    """The code that a problem's text gives: in its fenced blocks, or the whole text, as in HumanEval."""
    blocks = [block.code for block in fenced_blocks(problem) if block.language in (*PYTHON, "")]
    if blocks:
        return "\n".join(blocks)
    return problem if any(map(begins_program, problem.split("\n"))) else ""


def grade_program(problem: str, solution: str, tests: tuple[UnitTest, ...]) -> Grade:
    """Run the tests of a problem on a solution: equal where all pass, different where the program fails one
    in whatever way, a doubt without a program or where the sandbox failed. Equal programs are run once."""
    if len(solution) > MOST_CODE:
        return Grade(None, "too long to run")
    program = program_of(problem, solution)
    if program is None:
        return NO_PROGRAM
    try:
        return _graded(program, tests)
    except _Undecided as undecided:
        return undecided.grade


class _Undecided(Exception):
    """The sandbox failed. No cache keeps an exception, so the program is run again when it is met again."""

    def __init__(self, grade: Grade) -> None:
        super().__init__(grade.reason)
        self.grade = grade


@functools.lru_cache(maxsize=4096)
def _graded(program: Program, tests: tuple[UnitTest, ...]) -> Grade:
    with _SLOTS:
        tested = run_tests(program, tests, patient=False)
    passed = sum(test.outcome == "pass" for test in tested)
    if passed == len(tests):
        return Grade(True, f"passes {passed} of {len(tests)} tests")
    number, failed = next(
        ((i, test) for i, test in enumerate(tested, 1) if test.outcome not in ("pass", "harness_error")),
        (0, None),
    )
    if failed is None:
        why = next(test.why for test in tested if test.outcome == "harness_error")
        raise _Undecided(Grade(None, f"the tests could not be run: {why}"))
    return Grade(
        False, f"passes {passed} of {len(tests)} tests; test {number}: {failed.outcome} {failed.why}".rstrip()
    )
