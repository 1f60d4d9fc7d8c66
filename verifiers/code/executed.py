"""What a step's Python blocks show when they are run in the sandbox, or why that is not known."""

import json
from dataclasses import dataclass
from pathlib import Path

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


def execute(
    blocks: tuple[str, ...],
    *,
    shift: str = "",
    table: Table | None = None,
    hash_seed: int = 0,
    limits: Limits | None = None,
) -> Shown:
    """Run blocks one after the other; what the last of them shows.

    `shift` adds one to every literal equal to that number; a table is there as `table`, a list of
    dictionaries of texts, and `columns`.
    """
    # The blocks go in as data: quotes or line ends in a step cannot break out of the notebook's source.
    job = {"blocks": blocks, "shift": shift, "table": table and table.model_dump()}
    run = run_python(_NOTEBOOK, files={"job.json": json.dumps(job)}, limits=limits, hash_seed=hash_seed)
    # A program may leave by `os._exit(0)` with a good status; only the mark shows that it reached its end.
    ended = run.status == "ok" and run.stdout.endswith(notebook.END)
    return Shown(run.stdout[:-1] if ended else None, run)
