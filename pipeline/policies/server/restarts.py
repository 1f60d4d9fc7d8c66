"""Whether a text that should continue a begun answer looks like the beginning of a new one."""

import re

_LEAST_PREFIX, _LEAST_LINE = 16, 8
"""Characters of a prefix, and of its first line, below which repeating them says nothing."""
_OPENING = re.compile(
    r"\W*(sure|certainly|of course|absolutely|okay|ok|great)\b[^\n]{0,60}\b(here|solution|answer|solve|step)",
    re.IGNORECASE,
)
"""How a chat model begins to answer."""
_NUMBERED = re.compile(r"[^\d\n]{0,12}\d+")
"""How a numbered first step begins: `1.`, `Step 1`, `**Step 1`."""


def looks_restarted(prefix: str, text: str) -> bool:
    """A suspicion, not a verdict: a model may say a line twice."""
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
    )
