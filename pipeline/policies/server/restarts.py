"""Recognises a text that starts an answer again instead of continuing it.

Some chat servers do that. Rollouts from a prefix would then say nothing about the prefix.
"""

import re

from pipeline.policies.chat import OPEN
from schemas.reasoning import is_thinking

# Characters of a prefix, and of its first line, below which a repetition means nothing: many begin "So ".
_LEAST_PREFIX, _LEAST_LINE = 16, 8
_OPENING = re.compile(
    r"\W*(sure|certainly|of course|absolutely|okay|ok|great)\b[^\n]{0,60}\b(here|solution|answer|solve|step)",
    re.IGNORECASE,
)
"""How a chat model begins an answer: "Sure! Here is the solution", "Okay, let's solve this step by step"."""
_NUMBERED = re.compile(r"[^\d\n]{0,12}\d+")
"""How a numbered first step begins: `1.`, `Step 1`, `**Step 1`. A continuation has a higher number."""


def looks_restarted(prefix: str, text: str) -> bool:
    """Whether `text` repeats the beginning of `prefix`, or opens like a new answer, with new thinking even.

    This is a suspicion and no proof: a model may write a line twice. The caller asks again before it acts.
    """
    start = text.lstrip()
    if len(prefix) >= _LEAST_PREFIX and text.startswith(prefix):
        return True
    begun = prefix.lstrip()
    first = begun.split("\n", 1)[0].strip()
    number, again = _NUMBERED.match(begun), _NUMBERED.match(start)
    return (
        (len(first) >= _LEAST_LINE and start.startswith(first))
        or (number is not None and again is not None and number[0] == again[0])
        or _OPENING.match(start) is not None
        or (start.startswith(OPEN) and not is_thinking(prefix))
    )
