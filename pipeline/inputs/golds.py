"""Reads gold answers as data sets hold them: a text, a number, or a list of accepted answers.

It also decides how answers are compared with them: as numbers, words or expressions.
"""

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pipeline.inputs.rows import Unreadable
from schemas.records import AnswerKind

LONGEST = 1_000_000
"""Characters of a problem's text or answer."""
_MOST = 1000  # accepted answers of one problem: every rollout is compared with each of them
# What pandas, NumPy, spreadsheets and databases write into an empty cell.
_NO_ANSWER = frozenset({"", "nan", "none", "null", "n/a", "#n/a", "<na>"})
# `42`, `-3.5`, `$1,200`, `.5`, `12%`; fractions and powers need the comparison of expressions.
_NUMBER = re.compile(r"-?\$?[\d,]*\.?\d+%?")
# `yes`, `New York`. A single letter is no word: `x` may be a variable, and `B` the choice of an option.
_WORDS = re.compile(r"[A-Za-z]{2,}( [A-Za-z]+)*")
_LETTERS = "ABCDEFGHIJ"
"""Of options; answers are compared with these (`verifiers.answers.choices`)."""
_REMEDY = "write it as text or a number, or as a list of the answers that are accepted"


def golds_of(value: Any) -> tuple[str, ...] | Unreadable:
    """The accepted answers, as their source writes them; empty where there is none: null, NaN, blank, or a
    word that stands for it. What is neither text nor a number nor a list of these is refused."""
    if not isinstance(value, list | tuple):
        found = _gold(value)
        return found if isinstance(found, Unreadable) else (found,) if found is not None else ()
    if not 0 < len(value) <= _MOST:
        return Unreadable(f"a list of {len(value):,} answers, expected 1 to {_MOST:,}: {_REMEDY}")
    several = [_gold(item) for item in value]
    bad = next((item for item in several if isinstance(item, Unreadable)), None)
    if bad is not None:
        return bad
    return tuple(dict.fromkeys(item for item in several if isinstance(item, str)))


def lettered(options: Any, golds: Sequence[str]) -> str | Unreadable:
    """The options of a choice, a line each with its letter before it; `golds` must be letters of these.

    A gold answer that is a number or an option's text would count every right choice as wrong.
    """
    if isinstance(options, dict) and "text" in options:  # ARC: {"label": ["A", ...], "text": [...]}
        options = options["text"]
    if not isinstance(options, list) or not all(isinstance(one, str) and one.strip() for one in options):
        return Unreadable(f"expected a list of options, found {type(options).__name__} {str(options)[:40]!r}")
    letters = _LETTERS[: len(options)]
    if not 2 <= len(options) == len(letters):
        return Unreadable(f"found {len(options)} options, expected 2 to {len(_LETTERS)}")
    for gold in golds:
        if gold.strip("() .") not in letters:
            return Unreadable(f"the gold answer is {gold[:40]!r}, expected one of the letters {letters}")
    # AQuA writes the letters itself: `A)32400`.
    own = all(re.match(rf"\(?{a}[).:]", one.strip()) for a, one in zip(letters, options, strict=True))
    return "\n".join(one if own else f"{a}) {one}" for a, one in zip(letters, options, strict=True))


def _gold(value: Any) -> str | None | Unreadable:
    match value:
        case None:
            return None
        case str():
            pass
        case bool():
            return Unreadable(
                f'found the truth value {value}, which cannot be compared: {_REMEDY}, such as "yes"'
            )
        case float() | Decimal() if math.isinf(value):
            return Unreadable(f"found infinity, expected a finite number: {_REMEDY}")
        case int() | float() | Decimal():
            pass
        case dict():
            inside = f'; or name what is inside: fields = {{answer = "COLUMN.{next(iter(value), "KEY")}"}}'
            return Unreadable(f"found dict {repr(value)[:60]}: {_REMEDY}{inside}")
        case _:
            return Unreadable(f"found {type(value).__name__} {repr(value)[:60]}: {_REMEDY}")
    text = str(value)
    if len(text) > LONGEST:
        return Unreadable(f"an answer of {len(text):,} characters")
    return None if text.strip().lower() in _NO_ANSWER else text


def kind_of(golds: tuple[str, ...]) -> AnswerKind:
    """How answers are compared with the accepted ones: as numbers or as words where all of them are."""
    if all(_NUMBER.fullmatch(gold.strip()) for gold in golds):
        return "number"
    return "text" if all(_WORDS.fullmatch(gold.strip()) for gold in golds) else "expression"
