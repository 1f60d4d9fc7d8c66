"""What a step's Python blocks show when they are run in the sandbox, or why that is not known."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from schemas.records import Table
from verifiers.code import notebook
from verifiers.isolation.sandbox import Limits, Run, run_python

_NOTEBOOK = Path(notebook.__file__).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Shown:
    """The text a run showed; None with a reason where it did not reach its end."""

    text: str | None
    run: Run

    @property
    def why(self) -> str:
        """Why there is no text."""
        return self.run.why or self.run.exception or self.run.status


@dataclass(frozen=True)
class Change:
    """Other literals for another run of the same blocks."""

    numbers: Sequence[tuple[float, int]] = ()
    """A value and what is added to it, wherever the blocks write it, also inside a text."""
    texts: Sequence[tuple[str, str]] = ()
    """A text and what takes its place."""
    digits: bool = False
    """Whether numbers inside all other texts are changed."""


@dataclass(frozen=True)
class Literals:
    """The numbers and texts that blocks write out."""

    numbers: tuple[float, ...]
    texts: tuple[str, ...]


def execute(
    blocks: tuple[str, ...],
    *,
    change: Change | None = None,
    table: Table | None = None,
    hash_seed: int = 0,
    limits: Limits | None = None,
) -> Shown:
    """Run blocks one after the other; what the last of them shows.

    With a change, of blocks whose literals are changed. A table is there as `table`, a list of dictionaries
    of texts, and `columns`.
    """
    settings = {"change": asdict(change or Change()), "table": table and table.model_dump()}
    return _run(blocks, limits, hash_seed, **settings)


def literals_of(blocks: tuple[str, ...]) -> Literals | None:
    """The literals that blocks write out, read without running them; None where they cannot be read."""
    shown = _run(blocks, None, 0, list=True)
    if shown.text is None:
        return None
    found = json.loads(shown.text)
    return Literals(tuple(map(float, filter(_is_short, found["numbers"]))), tuple(found["texts"]))


def _is_short(number: str) -> bool:
    return len(number) <= 40  # a longer one is no quantity, and float() may overflow


def _run(blocks: tuple[str, ...], limits: Limits | None, hash_seed: int, **settings: Any) -> Shown:
    # The blocks go in as data: quotes or line ends in a step cannot break out of the notebook's source.
    job = {"blocks": blocks, "table": None, "change": {}, "list": False, **settings}
    run = run_python(_NOTEBOOK, files={"job.json": json.dumps(job)}, limits=limits, hash_seed=hash_seed)
    # A program may leave by `os._exit(0)` with a good status; only the mark shows that it reached its end.
    ended = run.status == "ok" and run.stdout.endswith(notebook.END)
    return Shown(run.stdout[:-1] if ended else None, run)
