"""Which of the processes of `torchrun` this is. They share one training; the first of them writes."""

import os


def rank() -> int:
    """This process's number, from 0; 0 without `torchrun`."""
    return int(os.environ.get("RANK") or 0)


def world() -> int:
    """How many processes there are; 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE") or 1)
