"""What a document says in code: the pieces in backticks, and the blocks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Said(NamedTuple):
    """A piece of code in a document."""

    line: int
    text: str
    is_block: bool


def pieces(document: str) -> Iterator[Said]:
    """What stands in backticks, and each block of code as a whole."""
    block: list[str] = []
    fence, before, start = "", "", 0
    lines = [*(ROOT / document).read_text(encoding="utf-8").splitlines(), ""]
    for number, line in enumerate(lines, 1):
        mark = re.match(r"(```+)", line.strip())
        indented = line.startswith("    ") and (block or not before.strip())
        if fence or (indented and not mark):
            if fence and line.strip() == fence:
                yield Said(start, "\n".join(block), is_block=True)
                fence, block = "", []
                continue
            start = start if block else number
            block.append(line if fence else line[4:])
            continue
        if block and not line.strip():
            block.append("")
        elif block:
            yield Said(start, "\n".join(block).rstrip(), is_block=True)
            block = []
        if mark and line.strip().count("```") == 1:
            fence, start = mark[1], number + 1
            continue
        if not block:
            yield from (
                Said(number, found[2].strip(), is_block=False)
                for found in re.finditer(r"(`+)(.+?)\1(?!`)", line)
            )
        before = line
    if block:
        yield Said(start, "\n".join(block).rstrip(), is_block=True)


def spoken(document: str, *, blocks: bool | None = None) -> list[Said]:
    return [said for said in pieces(document) if blocks is None or said.is_block == blocks]


def faults(document: str, found: Iterator[tuple[Said, str]]) -> list[str]:
    return [f"{document}:{said.line}: {said.text.splitlines()[0]!r}: {what}" for said, what in found]
