r"""What a judge's reply says: the index of the first wrong step, none, or nothing that can be relied on.

Chat models wrap a verdict in markdown, LaTeX, JSON or a sentence, think aloud before it, and quote the answer
of the problem beside it. What was asked for, a number in `\boxed{}`, comes first; then JSON, then sentences
that name a first error or say that there is none. Of several verdicts the last counts. Where two readings
stand against each other, or a box may as well hold the answer of the problem, nothing is read: a reply that
cannot be read is a vote lost, a reply misread is a wrong label.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.annotators.boxes import BACK, boxes, is_review
from pipeline.annotators.wording import (
    NONE,
    Said,
    called_wrong,
    fields,
    final_line,
    plain,
    sentences,
)
from pipeline.inputs.segment import segment
from schemas.reasoning import UNCLOSED, answer_part

TWO = "it says two different things"
_LONGEST = 20_000
"""Characters of a reply that are read, its last ones: there the verdict stands."""


class Reading(NamedTuple):
    """What a reply says: the 0-based index of the first wrong step, -1 for none; or None and the reason."""

    first: int | None
    why: str = ""
    wrong: frozenset[int] | None = None
    """Every wrong step, where the reply was to name all of them."""
    score: float | None = None
    """The score of the whole solution, from 0 to 1, where the reply was to give one; then there is no
    `first`."""

    @property
    def is_read(self) -> bool:
        """Whether the reply says something."""
        return self.first is not None or self.score is not None


def tail_of(reply: str) -> str | None:
    """What a reply says after its thoughts, as much of its end as is read; None when it has only thoughts."""
    said = answer_part(reply)
    return None if said is None else said[-_LONGEST:]


def read_first_error(reply: str, n_steps: int, counts_from: int = 0) -> Reading:
    """Read a reply that names the first wrong step, counting from `counts_from`, or that says there is
    none."""
    said = tail_of(reply)
    if said is None:
        return Reading(None, UNCLOSED)
    text = plain(said)
    # Where a reply corrects itself, its later verdict is the one that it means.
    asked = sorted([*boxes(text), *fields(text)], key=lambda found: found.at)
    found = _decided(asked[-1], text) if asked else _last(text)
    if found.number is None:
        return Reading(None, found.why or "it names no step, and does not say that there is no error")
    if found.number == NONE:
        return Reading(NONE)
    index = found.number - counts_from
    if 0 <= index < n_steps:
        return Reading(index)
    return Reading(None, "it names a step that the solution does not have")


def _decided(last: Said, text: str) -> Said:
    """The last verdict in the form asked for, unless a sentence stands against it: any later one, or any at
    all where the verdict may be the answer of the problem."""
    if last.number is None:
        return last
    if not is_review(text):
        return Said(last.at, None, "it solves the problem instead of reviewing the solution")
    told = sentences(text[_since(last, text) :] if last.loose else text[last.at :])
    after = text[last.at :]
    against = any(said.number not in (None, last.number) for said in told) or bool(BACK.search(after))
    if last.number == NONE:
        # "No error ... but step 3 is wrong" contradicts itself: it is a lost vote, not a yes.
        against = against or bool(called_wrong(after))
    else:
        before = [said.number for said in sentences(text[: last.at])]
        against = against or before[-1:] == [NONE]
    return Said(last.at, None, TWO) if against else last


def _since(last: Said, text: str) -> int:
    """Where the thoughts begin that lead to a verdict: after the last "Wait", if they name it themselves."""
    back = max((match.end() for match in BACK.finditer(text, 0, last.at)), default=0)
    named = {said.number for said in sentences(text[back : last.at])}
    return back if last.number in named else 0


def _last(text: str) -> Said:
    """The verdict of a last line or of the last sentence, unless others stand against it."""
    told = list(sentences(text))
    numbers = [said.number for said in told if said.number is not None]
    if line := final_line(text):
        if line.loose and line.number not in {*numbers, *called_wrong(text)}:
            return Said(line.at, None, "its last number may be the answer of the problem")
        return line if set(numbers) <= {line.number} else Said(line.at, None, TWO)
    called = called_wrong(text)
    if not numbers:
        return Said(0, called.pop() if len(called) == 1 and not told else None)
    last = told[-1]
    against = last.number == NONE and (called or set(numbers) != {NONE})
    return Said(last.at, None, TWO) if against else last


# The solution done again


# `- `, `Step 2:`, `3. `: what models put before a step that they copy.
_BULLET = re.compile(r"^\s*(?:[-*•>]\s+|(?:step|paragraph)\s*\d+\s*[:.)-]\s*|\d{1,3}[.)]\s+)", re.IGNORECASE)
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\s*\w*\s*")
_WORD = re.compile(r"[^\W\d_]+")
_OPENING = re.compile(
    r"[^\d\n=]*\b(?:here\b.{0,9}\b(?:is|are)|here's|solution|solve|again|sure|okay|let me|let's)\b[^\d\n=]*",
    re.IGNORECASE,
)
_KNOWN = 0.8
"""Share of its words that a step done again has from the problem and the solution: below it is other text."""


def read_redone(reply: str, steps: Sequence[str], problem: str = "") -> Reading:
    """Read a reply that does the solution again: the first step that it words or answers otherwise.

    For models too small to compare two steps but able to do one, such as the embedded one. Steps after the
    reply's answer are not held against the solution, another answer is. Nothing is read from a reply that
    reaches no answer, or that parts from the solution in words that neither it nor the problem has.
    """
    said = answer_part(reply)
    if said is None:
        return Reading(None, UNCLOSED)
    text = _unmarked(said)
    answers = {answer.strip() for answer in re.findall(r"^####(.*)$", text, re.MULTILINE)} - {""}
    if not answers:
        return Reading(None, "it reaches no answer")
    if len(answers) > 1:
        return Reading(None, TWO)
    answer = answers.pop()
    # Line by line, because the reply is read so and a step may have several.
    lines = [(index, line.text) for index, step in enumerate(steps) for line in segment(step)]
    redone = [step.text.partition("\n####")[::2] for step in segment(text)]
    redone = redone[: next((i for i, (_, end) in enumerate(redone, 1) if end), 1)]
    # "Here is the solution:", which is no step: with it there is just one line too many.
    if len(redone) == len(lines) + 1 and _OPENING.fullmatch(redone[0][0]):
        redone = redone[1:]
    known = {word for text in (problem, *steps) for word in _WORD.findall(text)}
    for place, (index, line) in enumerate(lines):
        told, _, answered = _unmarked(line).partition("\n####")
        if place < len(redone) and told.split() != redone[place][0].split():
            words = _WORD.findall(redone[place][0])
            n_known = sum(word in known for word in words)
            is_step = words and n_known >= _KNOWN * len(words)
            return Reading(index) if is_step else Reading(None, "it is not the solution done again")
        if answered.strip() not in ("", answer):
            return Reading(index)
    return Reading(NONE)


def _unmarked(text: str) -> str:
    """Lines without bold, list signs and step numbers; those of a code fence are none."""
    lines = (line for line in text.split("\n") if not _FENCE.fullmatch(line))
    return "\n".join(_BULLET.sub("", line.replace("**", "")) for line in lines)
