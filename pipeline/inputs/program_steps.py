"""Splits a program into steps: the statements of a function's body, each with the block below it.

A step ends where a statement ends, so a policy can go on with the text before any step. Nothing is parsed,
because a model's program may be unfinished or broken: lines are read by their indentation.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.inputs.segment import Cuts, segment
from schemas.reasoning import answer_start
from schemas.records import Problem, Step
from verifiers.code.programs import FENCE, PYTHON, begins_program

_DEFINES = re.compile(r"(?:async\s+def|def|class)\b")
# What goes on with a statement at the same indentation: `else:`, and the end of a bracket.
_GOES_ON = re.compile(r"(?:else|elif|except|finally)\b|[)\]}]")
# What says nothing without the statement after it: comments, decorators, imports, docstrings.
_LEADS = re.compile(r"#|@|(?:import|from)\s|[rRuU]?(?:\"\"\"|'''|\"|')")
_QUOTE = re.compile(r"\"\"\"|'''|\"|'")


def steps_of(problem: Problem, text: str, cuts: Cuts = "\n") -> tuple[Step, ...]:
    """The steps of a solution: of a problem with unit tests its program's, unless the text is to be cut
    otherwise than at line ends. A reasoning block holds none."""
    if not problem.tests or cuts != "\n":
        return segment(text, cuts)
    start = answer_start(text)
    if start is None:
        return ()
    found = program_steps(text[start:])
    return tuple(Step(text=one.text, start=start + one.start, end=start + one.end) for one in found)


def program_steps(text: str) -> tuple[Step, ...]:
    """Steps with their spans. They keep the indentation of their first line, so that joining them by line
    ends gives the program again, without its blank lines. Outside of programs each line is a step."""
    steps: list[Step] = []
    start: int | None = None
    for part in _parts(text):
        if part.kind == "goes on" and (steps or start is not None):
            if start is None:
                begun = steps.pop().start
                steps.append(_step(text, begun, part.end))
            continue
        if part.kind == "ends" and start is None and steps:
            steps.append(_step(text, steps.pop().start, part.end))
            continue
        start = part.start if start is None else start
        if part.kind in ("statement", "ends"):
            steps.append(_step(text, start, part.end))
            start = None
    if start is not None:  # a comment, or an import, with nothing after it
        begun = steps.pop().start if steps else start
        steps.append(_step(text, begun, len(text)))
    return tuple(steps)


def _step(text: str, start: int, end: int) -> Step:
    held = text[start:end].rstrip()
    return Step(text=held, start=start, end=start + len(held))


@dataclass(frozen=True)
class _Part:
    """A line, and what it is to the step that it belongs to."""

    start: int
    end: int
    kind: str
    """`statement` begins a step, `leads` belongs to the one after it, and `goes on` to the one before it;
    `ends` ends the step that is open, or else belongs to the one before."""


def _parts(text: str) -> Iterator[_Part]:
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    has_fence = any(FENCE.fullmatch(line) for line in lines)
    # Without a fence the whole text is a program, if it begins as one or as a function's body.
    bare = not has_fence and (first[:1] in (" ", "\t") or any(map(begins_program, lines)))
    code = _Code() if bare else None
    fence, position = "", 0
    for line in lines:
        begun, position = position, position + len(line) + 1
        end, match = position - 1, FENCE.fullmatch(line.rstrip("\r"))
        if not line.strip():
            continue
        if fence and match and match[1].startswith(fence) and not match[2]:
            yield _Part(begun, end, "ends")
            fence, code = "", None
        elif match and not fence:
            fence, code = match[1], _Code() if match[2].lower() in (*PYTHON, "") else None
            yield _Part(begun, end, "leads")
        elif code:
            yield _Part(begun, end, code.kind(line))
        else:
            yield _Part(begun + len(line) - len(line.lstrip()), end, "leads" if fence else "statement")


@dataclass
class _Code:
    """What has been read of a program: where statements begin, and what is still open."""

    levels: list[int] = field(default_factory=list)
    """Indentations at which steps begin: the margin, and the bodies of open classes and functions."""
    awaits_body: bool = False
    is_function: bool = False
    """Whether the innermost level is a function's body: a function inside it is one statement."""
    leading: bool = False
    open: int = 0
    """Brackets that are open."""
    quote: str = ""
    """The quotes of a text that goes on over lines."""

    def kind(self, line: str) -> str:
        """What a line is to its step."""
        inside = bool(self.open or self.quote)
        words, indent = line.lstrip(), len(line) - len(line.lstrip())
        self._scan(line)
        if inside:
            return "leads" if self.leading else "goes on"
        if self.awaits_body or not self.levels:
            self.levels.append(indent)
        while len(self.levels) > 1 and indent < self.levels[-1]:
            self.levels.pop()
            self.is_function = False
        if indent < self.levels[-1]:  # the body of a function that the problem began is over
            self.levels, self.is_function = [indent], False
        elif not self.awaits_body and len(self.levels) == 1 and indent == self.levels[0] > 0:
            self.is_function = True
        self.awaits_body = False
        if indent > self.levels[-1] or _GOES_ON.match(words):
            self.leading = False
            return "goes on"
        return self._begins(words)

    def _begins(self, words: str) -> str:
        is_head = bool(_DEFINES.match(words)) and not self.is_function
        if is_head:
            # `def f(x): return x` has its body in its own line.
            self.awaits_body = words.partition("#")[0].rstrip().endswith((":", "(", ",", "\\")) or bool(
                self.open
            )
            self.is_function = self.awaits_body and not words.startswith("class")
        # A text as a statement is a docstring; `"a".join(b)` is not.
        self.leading = (is_head and self.awaits_body) or (
            bool(_LEADS.match(words)) and not _is_expression(words)
        )
        return "leads" if self.leading else "statement"

    def _scan(self, line: str) -> None:
        """Follow brackets and long texts through a line."""
        place = 0
        while place < len(line):
            if self.quote:
                end = line.find(self.quote, place)
                if end < 0:
                    return
                place, self.quote = end + 3, ""
                continue
            letter = line[place]
            if letter == "#":
                break
            if match := _QUOTE.match(line, place):
                place = self._after_quote(line, match)
                continue
            self.open = max(0, self.open + (letter in "([{") - (letter in ")]}"))
            place += 1

    def _after_quote(self, line: str, match: re.Match[str]) -> int:
        if len(match[0]) == 3:
            self.quote = match[0]
            return match.end()
        place = match.end()
        while place < len(line) and line[place] != match[0]:
            place += 2 if line[place] == "\\" else 1
        return place + 1


def _is_expression(words: str) -> bool:
    """Whether a line that begins with a short text goes on after it."""
    match = re.match(r"[rRuU]?(\"(?!\"\")[^\"]*\"|'(?!'')[^']*')\s*(\S)", words)
    return match is not None and match[2] != "#"
