"""What all readers of rule-bound tasks share: the form of their verdicts, and a few words."""

import re
from collections.abc import Sequence

from verifiers.calculation.checked import Checked
from verifiers.claims.parsed import LONGEST_STEP, ParsedText

Texts = tuple[ParsedText, ...]
Judged = tuple[tuple[Checked, ...], ...]
"""The verdicts on the claims of each step, in the order of the steps."""

MOST_STEPS = 1_000
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
# "The answer is (D)", "Answer: (D)."
ANSWER = re.compile(
    r"\s*\b(?:so|thus|therefore|hence)?,?\s*(?:the )?(?:final )?answer(?: is)?\s*:?\s*"
    r"\(?(?P<option>[A-R])\)?\.?\s*$",
    re.I,
)
# `(A) green ball.` in the list of a problem's options.
_OPTION = re.compile(r"^\(([A-R])\)\s*(.+?)\s*\.?\s*$", re.M)
# `**Step 2:** `, `3. `, `- `: what stands before a line's words.
_LEAD = re.compile(r"^\s*(?:(?:step\s+)?\d{1,3}\s*[.):]\s+|[-*•]\s+)", re.I)
# "if", "suppose": the sentence may not state what it shows. "Not" is read by those who know where it stands.
_HEDGE = re.compile(
    r"\b(?:if|whether|unless|suppose|assum\w*|imagine|pretend|wrong\w*|incorrect\w*|mistak\w*|error|false"
    r"|claim\w*|said|says|maybe|perhaps|might|would|could|try|trying|guess\w*|hypothe\w*)\b|\?",
    re.I,
)


def is_readable(texts: Texts) -> bool:
    """Whether a solution is of a size that its steps are read at all."""
    return len(texts) <= MOST_STEPS and len(texts[0].text) <= LONGEST_STEP


def lines_of(text: str) -> list[str]:
    """The lines of a step without bold type, numbers and bullets; none of a step that is too long."""
    if len(text) > LONGEST_STEP:
        return []
    plain = (_LEAD.sub("", line.replace("**", "")).strip() for line in text.split("\n"))
    return [line for line in plain if line]


def sentences_of(text: str) -> list[str]:
    """The sentences of a step, without their full stops."""
    found = (re.split(r"(?<=[\w)\"'\]])\.(?:\s+|$)", line) for line in lines_of(text))
    return [one.strip() for part in found for one in part if one.strip()]


def is_hedged(sentence: str) -> bool:
    """Whether a sentence asks, supposes or rejects what it shows."""
    return _HEDGE.search(sentence) is not None


def options_of(problem: str) -> dict[str, str]:
    """A problem's options by their letters; empty where one letter stands twice."""
    found = _OPTION.findall(problem)
    return dict(found) if len({letter for letter, _ in found}) == len(found) else {}


def holds(text: str) -> Checked:
    """What the rule confirms."""
    return Checked("holds", text[:300])


def fails(text: str, really: str) -> Checked:
    """What the rule refutes, with what it gives instead."""
    return Checked("fails", f"{text[:300]}: {really[:300]}")


def unread(text: str) -> Checked:
    """A statement about the task that is not fully understood."""
    return Checked("abstains", f"{text[:300]}: not understood", "parse")


def nothing(texts: Sequence[ParsedText]) -> Judged:
    """No claim in any step."""
    return ((),) * (len(texts) - 1)
