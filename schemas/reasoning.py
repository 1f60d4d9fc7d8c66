"""Finds what a reasoning model thought aloud before its answer, e.g. between `<think>` and `</think>`.

A reasoning block is evidence of how a text came about. It is no part of the answer: its drafts are neither
graded, nor cut into steps, nor shown to a judge.
"""

import re
from typing import Literal

Continued = Literal["after", "inside"]
"""Where rollouts of a reasoning model continue a solution: after its reasoning block, or inside one."""
UNCLOSED = "it ended while it was thinking"
"""Why nothing is read from a text whose reasoning block never closes."""

# `</think>` (DeepSeek-R1, Qwen3), `[/THINK]` (Magistral), `◁/think▷` (Kimi), `</seed:think>` (Seed-OSS).
_WORDS = "(?:seed:)?(?:think|thinking|thought|thoughts|reasoning|scratchpad)"
_CLOSES = re.compile(rf"[<\[\u25c1]/{_WORDS}[>\]\u25b7]", re.IGNORECASE)
# An opening tag stands where a line begins. In square brackets it is in capitals: a program holds
# `scores[thought]`, and a solution may have the heading `[Reasoning]`, which nothing closes.
_OPENS = re.compile(
    rf"^[ \t]*((?:<(?i:{_WORDS})>)|\[THINK(?:ING)?\]|\[THOUGHTS?\]|\u25c1(?i:{_WORDS})\u25b7)", re.MULTILINE
)


def answer_start(text: str) -> int | None:
    """Where the answer begins: after the last block's closing tag and the space behind it, or at 0 where
    there is no block. None where a block opens and never closes.

    Chat templates that open the block themselves leave only the closing tag in the text: all before it was
    thought.
    """
    start = 0
    for closing in _CLOSES.finditer(text):
        start = closing.end()
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
    closing = _CLOSES.search(block)
    return closing[0].replace("/", "", 1) if closing else ""


def is_thinking(prefix: str) -> bool:
    """Whether a text that continues this one begins inside a reasoning block."""
    return answer_start(prefix) is None


def in_block(prefix: str) -> str:
    """What stands in the reasoning block that a prefix leaves open; the prefix itself where none is open."""
    openings = list(_OPENS.finditer(prefix)) if is_thinking(prefix) else []
    return prefix[openings[-1].end() :] if openings else prefix
