"""Splits a solution's text into steps.

Labelling, training and evaluation use this one splitter, so that a label always belongs to the same text. A
reasoning block (`schemas.reasoning`) holds no steps: they begin after it.
"""

import re

from pipeline.inputs.paragraphs import Span, gives_answer, is_blank, spans
from schemas.config import SplitConfig
from schemas.reasoning import Continued, answer_start, opening_tag
from schemas.records import Step

Cuts = str | SplitConfig
"""How a text is cut: at every separator, or by the rules for real text (`PromptConfig.cuts`)."""

# A line that only gives the answer: `#### 57`, `Answer: 57`, `The final answer is 57`, `So the answer is 57`.
_ANSWER_LINE = re.compile(r"\s*(####|(the|so the)?\s*(final )?answer\s*(is|:))", re.IGNORECASE)


def segment(text: str, cuts: Cuts = "\n") -> tuple[Step, ...]:
    """Steps with their character spans. Blank pieces are not steps; a text whose reasoning block never
    closes has none.

    A line that only gives the answer (`#### 57`) is part of the step before it. As a step of its own it would
    add no reasoning, and every count of right steps would be too high.
    """
    start = answer_start(text)
    if start is None:
        return ()
    body = text[start:]
    found = spans(body, cuts.least, cuts.most) if isinstance(cuts, SplitConfig) else _separated(body, cuts)
    return tuple(Step(text=body[a:b], start=start + a, end=start + b) for a, b in found)


def _separated(text: str, separator: str) -> list[Span]:
    found: list[Span] = []
    position = 0
    for piece in text.split(separator):
        start, end = position, position + len(piece)
        position = end + len(separator)
        stripped = piece.strip()
        if is_blank(stripped):
            continue
        start += len(piece) - len(piece.lstrip())
        end = start + len(stripped)
        if found and _ANSWER_LINE.match(stripped):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def without_answer(step: str) -> str:
    """A step without its answer line and what follows it, and without space at its end."""
    first, *others = step.split("\n")
    answers = (i for i, line in enumerate(others) if _ANSWER_LINE.match(line) or gives_answer(line.strip()))
    kept = next(answers, len(others))
    text = "\n".join([first, *others[:kept]]).rstrip()
    # Of a formula that holds nothing but the answer its opening is left: `\\[`, and below it `\\boxed{5}`.
    return text if kept == len(others) else text.removesuffix("\\[").removesuffix("$$").rstrip()


def prefix_of(text: str, steps: tuple[Step, ...], n_steps: int, continued: Continued = "after") -> str:
    """The text before step `n_steps` (0-based), for the policy to continue; the whole text when there are no
    more steps.

    It is verbatim and begins with the reasoning block, where the text has one. Continued `inside`, it is an
    opened block with the steps so far, without what the model thought before it wrote them.

    Line ends before the step are kept, and spaces are not. A tokenizer's words begin with their space (" 12"
    is one token), so after a prefix that ends in a space the model would have to begin inside a word.
    """
    if n_steps >= len(steps):
        return text
    begin, end = steps[0].start, steps[n_steps].start
    tag = opening_tag(text[:begin]) if continued == "inside" else ""
    return (f"{tag}\n{text[begin:end]}" if tag else text[:end]).rstrip(" \t")
