"""Sequences of brackets: the stack after each symbol, the stack at the end, and what closes it.

The problem is a sequence that closes nothing wrongly. The lines of a solution are read in order, one symbol a
line; after a line that is not understood, nothing is said of the stacks that follow.
"""

import re
from typing import NamedTuple

from verifiers.calculation.checked import Checked
from verifiers.claims.parsed import ParsedText
from verifiers.rules.spoken import (
    Judged,
    Texts,
    fails,
    holds,
    is_hedged,
    is_readable,
    lines_of,
    nothing,
    unread,
)

_CLOSES = {")": "(", "]": "[", "}": "{", ">": "<"}
_CLOSER = {left: right for right, left in _CLOSES.items()}
_MOST = 400
"""Symbols of a sequence."""
# The whole problem, or its line `Input: [ { [`.
_INPUT = re.compile(r"(?:^|\b(?:input|sequence)\s*:)[ \t]*([()\[\]{}<>][()\[\]{}<> \t]*)$", re.I | re.M)
_B = r"[()\[\]{}<>]"
_QUOTED = rf"[\"'`“]?\s*({_B})\s*[\"'`”]?"
# `< ; stack: < <`, "`(` - push, stack is now `(`".
_PUSHED = re.compile(
    rf"{_QUOTED}\s*(?:(?:[;:,.–—|-]|->|→|=>|⇒|\b(?:push|pop|opening|closing|opens|closes|open|close|bracket"
    r"|is|an?|it|the|onto|from|now|so|and|then|we|stack(?=\s*[;,.]))\b)\s*)*"
    r"\bstack\s*(?:is now|becomes|is|now|=|:|->|→)+\s*(?P<stack>.*)",
    re.I,
)
_STACK = re.compile(r"(?:the )?(?:initial )?stack\s*(?:is|starts|:|=)+\s*(?P<stack>empty|\[\])\.?", re.I)
_FINAL = re.compile(
    r"(?:now, )?(?:we have reached the end\.? )?(?:so )?(?:the )?(?:final|remaining) stack\s*(?:is|:|=)+\s*"
    r"(?P<stack>.*)",
    re.I,
)
_POP = re.compile(
    r"(?:so,? )?we (?:will )?need to pop out (?P<stack>.*?)(?: one by one(?: in that order)?)?\.?", re.I
)
_NEED = re.compile(r"(?:so|thus|therefore),? we need (?P<stack>.*)", re.I)
_ANSWER = re.compile(
    r"(?:so|thus|therefore|hence)?,?\s*(?:the )?(?:final )?answer(?: is)?\s*:?\s*(?P<stack>.*)", re.I
)
_CUT = re.compile(r"\.?\s+(?=(?:So|Thus|Therefore|Hence),? (?:the )?(?:final )?answer)", re.I)


class _Sequence(NamedTuple):
    symbols: str
    stacks: tuple[str, ...]
    """The stack after so many symbols, from none on."""
    closing: str


def judged(texts: Texts) -> Judged:
    """The verdicts on what each step says of the problem's brackets."""
    sequence = texts[0].once(_sequence) if is_readable(texts) else None
    if sequence is None:
        return nothing(texts)
    reader, found = _Reader(sequence), []
    for text in texts[1:]:
        lines = (part for line in lines_of(text.text) for part in _CUT.split(line))
        found.append(tuple(checked for line in lines if (checked := reader.line(line))))
    return tuple(found)


def _sequence(parsed: ParsedText) -> _Sequence | None:
    """The one sequence that a problem is about."""
    found = _INPUT.findall(parsed.text)
    symbols = "".join(found[0].split()) if len(found) == 1 else ""
    if not 1 < len(symbols) <= _MOST:
        return None
    stacks = [""]
    for symbol in symbols:
        if symbol in _CLOSER:
            stacks.append(stacks[-1] + symbol)
        elif stacks[-1][-1:] == _CLOSES[symbol]:
            stacks.append(stacks[-1][:-1])
        else:
            return None
    return _Sequence(symbols, tuple(stacks), "".join(_CLOSER[one] for one in reversed(stacks[-1])))


def _listed(text: str) -> str | None:
    """The brackets of a list such as `"(", "["`, `( [` or `empty`; None where it is none."""
    said = text.strip().rstrip(".").strip()
    if said.strip("\"'`").strip().lower() in {"empty", "(empty)"}:
        return ""
    # `['(', '[']` is a list of two; without quotes `[ (` is two brackets.
    listed = re.fullmatch(rf"\[\s*(([\"'`]){_B}\2(?:\s*,\s*\2{_B}\2)*)\s*\]", said)
    said = listed[1] if listed else said
    said = re.sub(r"[\"'`“”]|\s+|,|\band\b", "", said)
    return said if re.fullmatch(rf"{_B}+", said) else None


def _shown(stack: str) -> str:
    return " ".join(stack) or "empty"


class _Reader:
    """Goes through a solution's lines and counts the symbols."""

    def __init__(self, sequence: _Sequence) -> None:
        self._sequence = sequence
        self._count: int | None = 0
        """Symbols read so far; None once a line was not understood."""

    def line(self, line: str) -> Checked | None:
        if is_hedged(line):
            return self._lost(line)
        if match := _PUSHED.fullmatch(line):
            return self._pushed(line, match[1], _listed(match["stack"]))
        if match := _STACK.fullmatch(line):
            return holds(line) if self._count == 0 else None
        sequence = self._sequence
        for pattern, right in (
            (_FINAL, sequence.stacks[-1]),
            (_POP, sequence.stacks[-1][::-1]),
            (_NEED, sequence.closing),
            (_ANSWER, sequence.closing),
        ):
            if match := pattern.fullmatch(line):
                return self._whole(line, match["stack"], right)
        return self._lost(line) if re.search(rf"stack.*{_B}|^[\"'`]?{_B}", line) else None

    def _lost(self, line: str) -> Checked | None:
        self._count = None
        return unread(line)

    def _pushed(self, line: str, symbol: str, stack: str | None) -> Checked | None:
        at = self._count
        if at is None or stack is None:
            return self._lost(line)
        if at >= len(self._sequence.symbols):
            return fails(line, f"the sequence has {len(self._sequence.symbols)} symbols only")
        self._count = at + 1
        if symbol != self._sequence.symbols[at]:
            self._count = None  # what the next line is about is anyone's guess
            return fails(line, f"symbol {at + 1} is {self._sequence.symbols[at]}")
        right = self._sequence.stacks[at + 1]
        return holds(line) if stack == right else fails(line, f"after {at + 1} symbols it is {_shown(right)}")

    def _whole(self, line: str, said: str, right: str) -> Checked | None:
        stack = _listed(said)
        # An answer that is left out may have been cut off.
        if not said.strip(" .\"'`"):
            return holds(line) if not right else None
        if stack is None:
            return unread(line)
        return holds(line) if stack == right else fails(line, f"it is {_shown(right)}")
