"""Two things that all code on torch and transformers needs: loading without output, and padding of rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor
from transformers.utils import logging as library_logging

Number = TypeVar("Number", int, float)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences transformers' progress bars and warnings: they would break up the command's own progress."""
    level, bars = library_logging.get_verbosity(), library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        library_logging.set_verbosity(level)
        if bars:
            library_logging.enable_progress_bar()


def pad_right(rows: Sequence[list[Number]], pad: Number) -> Tensor:
    """Token ids, or a number for each, as one (rows, longest) tensor."""
    width = max(map(len, rows))
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows])
