"""Splits a solution's text into steps.

Labelling, training and evaluation use this one splitter, so that a label always belongs to the same text.
"""

import re

from schemas.records import Step

# A line that only gives the answer: `#### 57`, `Answer: 57`, `The final answer is 57`, `So the answer is 57`.
_ANSWER_LINE = re.compile(r"\s*(####|(the|so the)?\s*(final )?answer\s*(is|:))", re.IGNORECASE)


def segment(text: str, separator: str = "\n") -> tuple[Step, ...]:
    """Steps with their character spans. Blank pieces are not steps.

    A line that only gives the answer (`#### 57`) is part of the step before it. As a step of its own it would
    add no reasoning, and every count of right steps would be too high.
    """
    steps: list[Step] = []
    position = 0
    for piece in text.split(separator):
        start, end = position, position + len(piece)
        position = end + len(separator)
        stripped = piece.strip()
        if not stripped:
            continue
        start += len(piece) - len(piece.lstrip())
        end = start + len(stripped)
        if steps and _ANSWER_LINE.match(stripped):
            steps[-1] = Step(text=text[steps[-1].start : end], start=steps[-1].start, end=end)
        else:
            steps.append(Step(text=stripped, start=start, end=end))
    return tuple(steps)


def without_answer(step: str) -> str:
    """A step without its answer line and what follows it, and without space at its end."""
    first, *others = step.split("\n")
    kept = next((i for i, line in enumerate(others) if _ANSWER_LINE.match(line.lstrip())), len(others))
    return "\n".join([first, *others[:kept]]).rstrip()


def prefix_of(text: str, steps: tuple[Step, ...], n_steps: int) -> str:
    """The text before step `n_steps` (0-based), verbatim, for the policy to continue; the whole text when
    there are no more steps.

    Line ends before the step are kept, and spaces are not. A tokenizer's words begin with their space (" 12"
    is one token), so after a prefix that ends in a space the model would have to begin inside a word.
    """
    return text if n_steps >= len(steps) else text[: steps[n_steps].start].rstrip(" \t")
