"""A run to look at: its configuration, manifest, rows and rollouts. Nothing is written."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.outputs.report import batches_of, rows_of, summarise
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from pipeline.storage.recorded import config_here
from schemas.arrow import SCHEMA
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.records import LabelledSolution, Rollout
from schemas.sources import Sources


class RunView:
    """A run's folder, to be read. Iterating over it gives its rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """The run's folder."""
        self.config: RunConfig = config_here(path)
        """The configuration that the run was made with."""

    @property
    def manifest(self) -> Manifest | None:
        """Digests, versions, counts and costs of the sealed dataset; None while the run is not sealed.
        UserError where the file was changed."""
        return read_manifest(self.path)

    @property
    def sources(self) -> Sources:
        """What is declared of each source of the run's votes; `stepmint.fuse` needs it."""
        return self._store.sources()

    def rows(self) -> Iterator[LabelledSolution]:
        """The labelled solutions, one by one, once all files are known to be as they were written. UserError
        while the run is not sealed, and for a file that is not as it was."""
        return rows_of(self._store)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The same rows as Arrow columns (data/README.md names them), some hundred at a time; all columns, or
        those that are named. It takes a small part of the time of `rows`. UserError as there, and for a
        column that the rows do not have."""
        unknown = sorted({*(columns or ())} - {*SCHEMA.names})
        if unknown:
            raise UserError(f"no column {unknown[0]!r}: expected some of {', '.join(SCHEMA.names)}")
        return batches_of(self._store, lambda name: columns is None or name in columns)

    def __iter__(self) -> Iterator[LabelledSolution]:
        return self.rows()

    def rollouts(self) -> Iterator[Rollout]:
        """Every completion that was paid for, problem by problem; also of a run that is not sealed yet."""
        for shard in range(self.config.shards):
            yield from map(Rollout.model_validate, self._store.rollouts(shard))

    def report(self) -> dict[str, Any]:
        """The figures that `stepmint run` prints: counts, costs, what each source said, and how the labels
        agree with gold labels where there are any. UserError while the run is not sealed."""
        return summarise(self._store)

    @property
    # Made anew each time: the run may have gone on since the view was opened.
    def _store(self) -> RunStore:
        return RunStore(self.path, self.config)

    def __repr__(self) -> str:
        return f"RunView({str(self.path)!r})"
