"""Reads files piece by piece, so that their size does not matter, and appends lines to unfinished ones."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size`, the last one shorter (`itertools.batched` needs Python 3.12)."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file without their line ends.

    Only "\\n" ends a line: JSON may hold a carriage return or U+2028, at which Python would split too.
    """
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield line.rstrip("\n")


def opened(path: Path) -> BinaryIO:
    """A file's bytes to read; none where there is no such file."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        return BytesIO()


def append_lines(path: Path, lines: Iterable[str], *, anew: bool) -> None:
    """Append lines to a file that nobody reads yet; with `anew`, replace what it holds."""
    with path.open("w" if anew else "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
