"""Split a solution's text into steps. One splitter serves labelling, training and evaluation alike."""

import re

from schemas.records import Step

_ANSWER_LINE = re.compile(r"\s*(####|(the|so the)?\s*(final )?answer\s*(is|:))", re.IGNORECASE)


def segment(text: str, separator: str = "\n") -> tuple[Step, ...]:
    """Steps with their character spans; blank pieces are no steps.

    A line that only gives the answer (`#### 57`) belongs to the step before it: alone it would be a step
    that says nothing new, and would inflate every count.
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
    """A step without the lines from which on it only gives the answer, and without space at its end."""
    first, *others = step.split("\n")
    kept = next((i for i, line in enumerate(others) if _ANSWER_LINE.match(line.lstrip())), len(others))
    return "\n".join([first, *others[:kept]]).rstrip()


def prefix_of(text: str, steps: tuple[Step, ...], n_steps: int) -> str:
    """The text before step `n_steps` (0-based), verbatim: what the policy is asked to continue.

    Line ends before that step belong to it; spaces do not. A model's words begin with their space, so after a
    prefix that ends in one it would begin in the middle of a word. The whole text when `n_steps` is all of
    them.
    """
    return text if n_steps >= len(steps) else text[: steps[n_steps].start].rstrip(" \t")
