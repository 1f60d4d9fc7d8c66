"""Finds what a reasoning model thought aloud before its answer, e.g. between `<think>` and `</think>`.

A reasoning block is evidence of how a text came about. It is no part of the answer: its drafts are neither
graded, nor cut into steps, nor shown to a judge.
"""

import re
from collections.abc import Iterator
from typing import Literal

Continued = Literal["after", "inside"]
"""Where rollouts of a reasoning model continue a solution: after its reasoning block, or inside one."""
UNCLOSED = "it ended while it was thinking"
"""Why nothing is read from a text whose reasoning block never closes."""

# `</think>` (DeepSeek-R1, Qwen3), `[/THINK]` (Magistral), `◁/think▷` (Kimi), `</seed:think>` (Seed-OSS),
# `<|end_of_thought|>` (OpenThoughts, Sky-T1).
_WORDS = "(?:seed:)?(?:think|thinking|thought|thoughts|reasoning|scratchpad)"
_CLOSING = rf"(?:[<\[\u25c1]/{_WORDS}[>\]\u25b7]|<\|end_of_thought\|>)"
# In quotes it is only spoken of: `text.split("</think>")` in a solution would make all before it a thought.
_CLOSES = re.compile(rf"(?P<quote>[`\"']){_CLOSING}(?P=quote)|(?P<tag>{_CLOSING})", re.IGNORECASE)
# An opening tag stands where a line begins. In square brackets it is in capitals: a program holds
# `scores[thought]`, and a solution may have the heading `[Reasoning]`, which nothing closes.
_OPENS = re.compile(
    rf"^[ \t]*((?:<(?i:{_WORDS})>)|\[THINK(?:ING)?\]|\[THOUGHTS?\]|\u25c1(?i:{_WORDS})\u25b7|"
    r"<\|begin_of_thought\|>)",
    re.MULTILINE,
)


def answer_start(text: str) -> int | None:
    """Where the answer begins: after the last block's closing tag and the space behind it, or at 0 where
    there is no block. None where a block opens and never closes.

    Chat templates that open the block themselves leave only the closing tag in the text: all before it was
    thought.
    """
    # Every tag has one of these; most texts have none, and are asked about at each grade.
    if "<" not in text and "[" not in text and "\u25c1" not in text:
        return 0
    start = 0
    for closing in _closings(text):
        start = closing.end("tag")
    rest = text[start:]
    if _OPENS.search(rest):
        return None
    return start + len(rest) - len(rest.lstrip()) if start else 0


def answer_part(text: str) -> str | None:
    """A text without its reasoning block; the whole text where there is none; None where it never closes."""
    start = answer_start(text)
    return None if start is None else text[start:]


def opening_tag(block: str) -> str:
    """The tag that opens a reasoning block: its own, or, where the chat template wrote it, the counterpart
    of the tag that closes the block. Empty where there is no tag."""
    if opening := _OPENS.search(block):
        return opening[1]
    closing = next(_closings(block), None)
    return closing["tag"].replace("/", "", 1).replace("end_of", "begin_of") if closing else ""


def _closings(text: str) -> Iterator[re.Match[str]]:
    return (found for found in _CLOSES.finditer(text) if found["tag"])


def is_thinking(prefix: str) -> bool:
    """Whether a text that continues this one begins inside a reasoning block."""
    return answer_start(prefix) is None


def in_block(prefix: str) -> str:
    """What stands in the reasoning block that a prefix leaves open; the prefix itself where none is open."""
    openings = list(_OPENS.finditer(prefix)) if is_thinking(prefix) else []
    return prefix[openings[-1].end() :] if openings else prefix
