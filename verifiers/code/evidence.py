"""Whether a program's output is evidence: it must be computed, and from what the problem states.

The program is run again with other literals, and its outputs are compared. A program that writes out what it
prints (`print(42)`, `print("42 apples")`, `print(int("4" + "2"))`) shows nothing, however it spells it; nor
does one that gets the value from numbers that nobody states (`print(40 + 2)`), or whose result stays the same
whatever the problem's numbers are. What cannot be told apart from these is no evidence.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

from verifiers.base import StepContext
from verifiers.calculation.number_provenance import comes_from, is_common, stated_in
from verifiers.claims.parsed import parsed_text
from verifiers.code.executed import Change, Literals, execute, literals_of
from verifiers.code.programs import fenced_blocks

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d{1,3}(?!\d))?")
REPEATS = "the code repeats the value instead of computing it"
_CONSTANT = "the code's output does not depend on the numbers of the problem"
_UNREAD = "the code cannot be told from one that repeats the value"
# 0 and 1 stand in every program (`x[0]`, `range(1, n)`), and a change of them changes what it does.
_TRIVIAL = (0.0, 1.0)
# Shorter texts, such as a letter, stand in any problem by chance.
_SHORTEST_TEXT = 3
# What makes digits of numbers: `bytes([52, 50]).decode()` writes 42.
_SPELT = re.compile(r"\b(?:chr|bytes|bytearray|decode|fromhex|unhexlify|b\d\ddecode)\b")
_MOST_LITERALS = 60


def why_none(claimed: str, shown: str, blocks: tuple[str, ...], context: StepContext) -> str:
    """Why an output that agrees with the claim is no evidence; empty where it is."""
    literals = literals_of(blocks)
    if literals is None or len(literals.numbers) + len(literals.texts) > _MOST_LITERALS:
        return _UNREAD
    sources = _sources(context)
    stated = stated_in(*map(parsed_text, sources))
    if (why := _repeated(claimed, shown, blocks, context, literals, stated)) or context.problem.table:
        return why  # whether the table is read is seen by changing it
    foreign: list[float] = []
    if stated:
        numbers = [n for n in literals.numbers if comes_from(_fraction(n), stated)]
        foreign = [n for n in literals.numbers if n not in numbers and not is_common(_fraction(n))]
    elif _SPELT.search("\n".join(blocks)):
        return _UNREAD
    else:  # a problem without numbers: then any may be its own
        numbers = [n for n in literals.numbers if n not in _TRIVIAL]
    said = "\n".join(sources).casefold()
    texts = [t for t in literals.texts if len(t.strip()) >= _SHORTEST_TEXT and t.strip().casefold() in said]
    if not _depends(shown, blocks, numbers, texts):
        return _CONSTANT
    if foreign and execute(blocks, change=Change(list(_adding(foreign, 1)))).text != shown:
        return f"the code uses {', '.join(f'{n:g}' for n in foreign[:3])}, which nothing before it states"
    return ""


def _sources(context: StepContext) -> list[str]:
    """The problem's text, and what the steps before say outside of their code."""
    found = [context.problem.text]
    for step in context.steps[:-1]:
        for block in fenced_blocks(step):
            step = step.replace(block.code, "") if block.language else step
        found.append(step)
    return found


def _fraction(number: float) -> Fraction:
    return Fraction(repr(number)) if number == number and abs(number) < 1e300 else Fraction(0)


def numbers_in(text: str) -> list[float]:
    """The numbers of an output, without their signs and units."""
    return [float(found.replace(",", "")) for found in islice(_NUMBER.findall(text), 1000)]


def _repeated(
    claimed: str,
    shown: str,
    blocks: tuple[str, ...],
    context: StepContext,
    literals: Literals,
    stated: frozenset[Fraction | int],
) -> str:
    """Why the output, or a part of it that nobody states, is merely written out in the code."""
    numbers, table = numbers_in(shown), context.problem.table
    values = {*numbers, *numbers_in(claimed)}
    written = {abs(n) for n in literals.numbers}.union(*map(numbers_in, literals.texts))
    repeated: set[int] = set()
    # `round(41.9)` writes 42 as well: literals next to the value count as the value.
    close = sorted({n for n in written if any(abs(n - value) < 1 for value in values)})
    if close:
        change = Change([(signed, 1 if signed > 0 else -1) for n in close for signed in {n, -n}])
        other = execute(blocks, change=change, table=table).text
        if other is None:
            return _UNREAD
        found = numbers_in(other)
        if len(found) == len(numbers):
            repeated |= {i for i, n in enumerate(numbers) if abs(abs(found[i] - n) - 1) < 1e-6}
    if any(re.search(r"\d", text) for text in literals.texts):
        given = [(t, t) for t in literals.texts if any(t in source for source in _sources(context))]
        other = execute(blocks, change=Change(texts=given, digits=True), table=table).text
        if other is None:
            return _UNREAD
        found = numbers_in(other)
        repeated |= {i for i, n in enumerate(numbers) if i >= len(found) or found[i] != n}
    own = [i for i in repeated if _fraction(numbers[i]) not in stated]
    return REPEATS if own or (numbers and len(repeated) == len(numbers)) else ""


def _depends(shown: str, blocks: tuple[str, ...], numbers: list[float], texts: list[str]) -> bool:
    """Whether the output changes with these literals: a number to two others, anything else to one."""
    if not numbers and not texts:
        return False
    original = numbers_in(shown)
    needed = 3 if original else 2
    outputs = {tuple(original) if original else shown.strip()}
    for step, change in enumerate(_changes(numbers, texts), 1):
        other = execute(blocks, change=change).text
        if other is None:
            continue
        found = numbers_in(other)
        outputs.add(tuple(found) if original else other.strip())
        moved = [n for n in numbers if n not in _TRIVIAL]
        is_alone = len(moved) == len(original) == len(found) == 1 and not texts
        if step == 1 and is_alone and _is_moved(moved[0], original[0], found[0]):
            return False
        if len(outputs) >= needed:
            return True
    return False


def _is_moved(literal: float, before: float, after: float) -> bool:
    """Whether the value is the one literal itself, moved or scaled: 41 + 1, 0.42 for 42%."""
    by = after - before
    return abs(abs(by) - 1) < 1e-6 or abs(by * literal - before) < 1e-6 * max(1.0, before)


def _changes(numbers: list[float], texts: list[str]) -> Iterator[Change]:
    """Other problems of the same kind. Equal numbers stay equal, and no difference of two stays as it was."""
    for factor in (1, 2, 3):
        yield Change(list(_adding(numbers, factor)), [(t, t + t[-1:] + t * factor) for t in texts])
    # `x < 2` may turn only for numbers that are far away, and of another sign than the others.
    for every in (1, 2):
        yield Change([(n, -2 * int(n) - 7) for n in numbers[::every]], [(t, "") for t in texts])


def _adding(numbers: list[float], factor: int) -> Iterator[tuple[float, int]]:
    moved = [n for n in numbers if n not in _TRIVIAL] or numbers
    return ((n, factor * (i * i + 1)) for i, n in enumerate(moved))
