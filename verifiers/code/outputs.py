"""Checks steps that compute by Python: runs the code and compares with the output the step says it has.

`holds` says that the code computes this output, not that computing it was the right thing to do. A program
that merely repeats the claimed value, or never reads the table it is about, is no evidence. On problems with
unit tests the step's code must pass them.
"""

import ast
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from schemas.records import Table
from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.code.evidence import why_none
from verifiers.code.executed import Shown, execute
from verifiers.code.programs import PYTHON, Block, code_of_problem, fenced_blocks
from verifiers.code.unit_tests import Program, judge_tests

# A block straight after it is its output: ```output, or "[Code Output]" or "Output:" and a block.
_OUTPUT = re.compile(
    r"\s*+(?:\[Code Output\]|<output>|Output:)?\s*+```(?:output|text)?[ \t]*+\n(.*?)\n?```", re.S
)
# "The code prints 42", "output is: 3.5"; not the 1 of 1/2, of 10% or of 2^8.
_PROSE = re.compile(
    r"\b(?:(?:code|program|script) (?:prints|outputs|returns|gives)|output(?: is|:))[ :]*"
    r"\$?(-?\d[\d,]*(?:\.\d+)?)(?![\d/%^*]|\.\d)",
    re.I,
)
_UNSTABLE = re.compile(
    r"\b(?:random|time|datetime|date|uuid|secrets|platform|input|id|hash|object|version|os|sys|open|dir|help|vars"
    r"|globals|locals|getsizeof|except)\b"
)
"""What may show another output in another run, place or version of Python. With one such word in the code,
an output that differs is no mistake. `except` is one because messages of errors differ by version."""
# Random numbers and the clock: `random.randint(1, 6)`, `uuid.uuid4()`, `date.today()`, `time.time()`. A
# second run may agree by chance (one die in six), so the text decides. Seeded numbers never change.
_DRAWS = re.compile(r"\b(?:random|secrets|uuid)\b|\b(?:today|now|utcnow|time|perf_counter|monotonic)\(\)")
_SEEDED = re.compile(r"\b(?:seed|Random)\(\s*\d+\s*\)")
# `<object at 0x7f...>` differs in every run.
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")
# An assertion is a claim without an output.
_ASSERTS = re.compile(r"^[ \t]*assert\b", re.M)
_UNSTABLE_WHY = "the output may differ from run to run"
MOST_TEXT = 20_000
_MOST_VALUE = 2_000
"""Characters of an output that is read as a value."""


@dataclass(frozen=True)
class _Claim:
    code: str
    output: str
    exact: bool
    """Whether the whole output is shown, or one number of it named."""


class Code:
    """Holds when the code gives the output shown, fails when it gives another, abstains otherwise."""

    name = "code"
    sources = check_source(name)

    def check(self, context: StepContext) -> Finding:
        """Run the last block of the step after all blocks before it."""
        if sum(map(len, context.steps)) > MOST_TEXT:
            return Finding("abstains", "too long to run")
        blocks = tuple(block for step in context.steps for block in blocks_of(step))
        if not blocks_of(context.step):
            return Finding("abstains", "no code to run")
        if context.problem.tests:
            program = Program(blocks, code_of_problem(context.problem.text))
            return judge_tests(program, context.problem.tests)
        claim = read_claim(context.step)
        if claim is None and not _ASSERTS.search(blocks[-1]):
            return Finding("abstains", "no output is claimed")
        return _judge(claim, blocks, context)


def blocks_of(text: str) -> list[str]:
    """The Python blocks of a text that end in it."""
    return [block.code for block in _blocks(text)]


def _blocks(text: str) -> list[Block]:
    return [b for b in fenced_blocks(text) if b.language in PYTHON and b.end is not None]


def read_claim(step: str) -> _Claim | None:
    """The last block of a step with the output it is said to have; None where none is claimed."""
    last = _blocks(step)[-1]
    rest = step[last.end :]
    shown = _OUTPUT.match(rest)
    if shown:
        return None if "..." in shown.group(1) else _Claim(last.code, shown.group(1), exact=True)
    said = list(_PROSE.finditer(rest))
    return _Claim(last.code, said[0].group(1), exact=False) if len(said) == 1 else None


def _judge(claim: _Claim | None, blocks: tuple[str, ...], context: StepContext) -> Finding:
    table = context.problem.table
    shown = execute(blocks, table=table)
    code = "\n".join(blocks)
    if shown.text is None:
        # An assertion of an earlier block is that step's fault, not this one's.
        places = re.findall(r'File "block(\d+)\.py"', shown.run.stderr)
        own = places and int(places[-1]) == len(blocks) - 1
        if own and shown.run.exception == "AssertionError" and not _UNSTABLE.search(code):
            return Finding("fails", "the code's own assertion fails", shown.run.stderr[-300:])
        return Finding("abstains", f"the code did not run to its end: {shown.why}")
    if claim is None:
        return Finding("abstains", "no output is claimed")
    if not claim.exact and len(shown.text.split()) != 1:
        return Finding("abstains", "the output is not the one number that is named")
    said, found = claim.output.strip()[:200], shown.text.strip()[:200]
    if same_text(claim.output, shown.text):
        idle = _idle(claim, shown, blocks, context)
        if idle:
            return Finding("abstains", idle)
        # The order of a set and `hash()` depend on the hash seed: the output of one run may agree by chance.
        if not _is_seeded(code) or execute(blocks, table=table, hash_seed=1).text != shown.text:
            return Finding("abstains", _UNSTABLE_WHY)
        return Finding("holds", f"the code gives {said}", found)
    unstable = _UNSTABLE.search(code) or _ADDRESS.search(claim.output + shown.text)
    if unstable or execute(blocks, table=table, hash_seed=1).text != shown.text:
        return Finding("abstains", _UNSTABLE_WHY)
    if _is_spaced_otherwise(claim.output, shown.text):
        return Finding("abstains", "the output differs in spaces or quotes alone")
    return Finding("fails", f"the code gives {found}, not {said}", found)


def _is_spaced_otherwise(claimed: str, shown: str) -> bool:
    """Whether outputs differ in what depends on how they were printed. Two values in quotes never do."""
    if all(_value(text) is not None and re.search(r"['\"]", text) for text in (claimed, shown)):
        return False
    return re.sub(r"[\s'\"]", "", claimed) == re.sub(r"[\s'\"]", "", shown)


def _is_seeded(code: str) -> bool:
    """Whether the code draws no random number and reads no clock, or draws from a seed it states."""
    return not _DRAWS.search(code) or bool(_SEEDED.search(code))


def _idle(claim: _Claim, shown: Shown, blocks: tuple[str, ...], context: StepContext) -> str:
    """Why an output that agrees is no evidence; empty where it is."""
    table = context.problem.table
    if table is not None and execute(blocks, table=_changed(table)).text == shown.text:
        return "the code's output does not depend on the table"
    return why_none(claim.output, shown.text or "", blocks, context)


def _changed(table: Table) -> Table:
    """The table with every cell different and one row fewer."""
    rows = [
        [str(number * 3 + 7 * i + j + 1) if (number := _number(cell)) is not None else f"{cell}~{i}"
         for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows[:-1])
    ]  # fmt: skip
    return Table.model_validate({"columns": table.columns, "rows": rows})


def same_text(claimed: str, shown: str) -> bool:
    """Whether two outputs agree: as Python values where both are some, texts in quotes exactly; else line by
    line and word by word, numbers by value or rounded to the digits claimed."""
    if _same_line(claimed, shown):
        return True
    left, right = claimed.strip().split("\n"), shown.strip().split("\n")
    return len(left) == len(right) > 1 and all(map(_same_line, left, right))


def _same_line(claimed: str, shown: str) -> bool:
    values = _value(claimed), _value(shown)
    if None in values:
        return _same_words(claimed, shown)
    # In a quoted text every space counts. `1,200` is a number of the text, though Python reads a tuple.
    if not re.search(r"['\"]", claimed + shown) and _same_words(claimed, shown):
        return True
    return _same_value(values[0], values[1])


def _same_words(claimed: str, shown: str) -> bool:
    left, right = claimed.split(), shown.split()
    return len(left) == len(right) and all(map(_same_word, left, right))


def _value(text: str) -> Any:
    """The Python value that a text writes out; None where it is none, or `None`."""
    if len(text) > _MOST_VALUE:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _same_value(claimed: Any, shown: Any) -> bool:
    """`==`, with floats inside of lists rounded as they are outside."""
    match claimed, shown:
        case (list(), list()) | (tuple(), tuple()):
            return len(claimed) == len(shown) and all(map(_same_value, claimed, shown))
        case dict(), dict():
            return claimed.keys() == shown.keys() and all(_same_value(claimed[k], shown[k]) for k in claimed)
        case float(), int() | float():
            return bool(claimed == shown) or _same_word(repr(claimed), repr(shown))
        case _:
            return bool(claimed == shown)


def _same_word(claimed: str, shown: str) -> bool:
    if claimed == shown:
        return True
    left, right = _number(claimed), _number(shown)
    if left is None or right is None:
        return False
    decimals = -int(left.as_tuple().exponent)
    unit = Decimal(1).scaleb(-decimals)
    near = abs(left - right) <= Decimal("1e-9") * abs(right)
    return left == right or near or (decimals > 0 and abs(left - right) <= unit / 2)


def _number(word: str) -> Decimal | None:
    if len(word) > 40 or not re.fullmatch(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d{1,3})?", word):
        return None
    try:
        return Decimal(word.replace(",", ""))
    except InvalidOperation:
        return None
