"""Write what a method derives from a sealed run: one Parquet file, which says how it came about."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.methods import (
    advantage,
    compression,
    fork,
    progress,
    quality,
    similarity,
)
from pipeline.methods.stored import Run
from pipeline.storage.checksums import write_vouched
from pipeline.storage.files import batches
from pipeline.storage.parquet import write_parquet
from schemas.arrow_values import table
from schemas.derive import (
    AdvantageSettings,
    CompressionSettings,
    DeriveSettings,
    ForkSettings,
    ProgressSettings,
    QualitySettings,
    ScanSettings,
    SignalSettings,
    SimilaritySettings,
    UnitTestSettings,
)

# Rows held in memory at a time; a run may have millions of steps.
_ROWS_PER_WRITE = 1024
Row = dict[str, Any]


def derive(run: Run, settings: DeriveSettings, out: Path) -> dict[str, Any]:
    """Derive and write; the file appears whole or not at all. Returns counts.

    Its metadata hold the method, its settings and the digest of the dataset; the values of two provers,
    policies or settings are never in one file.
    """
    columns, rows = _table(run, settings)
    metadata = {
        "stepmint_method": settings.method,
        "stepmint_settings": settings.model_dump_json(),
        "stepmint_dataset_digest": run.manifest.digest(),
        "stepmint_config_digest": run.manifest.config_digest,
    }
    # Every method's rows begin with the problem's id, by which they are joined with the dataset.
    names = {"problem_id": "string", **columns}
    schema = pa.schema([pa.field(n, pa.type_for_alias(t)) for n, t in names.items()], metadata)
    n_rows = _write(out, rows, schema, vouch=out.parent == run.derived)
    return {
        "out": str(out),
        "method": settings.method,
        "rows": n_rows,
        "settings": json.loads(settings.model_dump_json(exclude={"method"})),
        "dataset_digest": run.manifest.digest(),
    }


def _table(run: Run, settings: DeriveSettings) -> tuple[dict[str, str], Iterator[Row]]:
    """A method's columns beside `problem_id`, and its rows."""
    # A match and no registry: a new method is one more case, and the type checker names a case that is
    # missing. What grades answers or asks a policy is imported where it is asked for.
    match settings:
        case AdvantageSettings():
            return advantage.COLUMNS, advantage.rows(run, settings)
        case ProgressSettings():
            return progress.COLUMNS, progress.rows(run, settings)
        case ScanSettings():
            from pipeline.methods import scan

            return scan.COLUMNS, scan.rows(run, settings)
        case CompressionSettings():
            return compression.COLUMNS, compression.rows(run, settings)
        case QualitySettings():
            return quality.COLUMNS, quality.rows(run, settings)
        case SimilaritySettings():
            return similarity.COLUMNS, similarity.rows(run, settings)
        case ForkSettings():
            return fork.COLUMNS, fork.rows(run, settings)
        case SignalSettings():
            from pipeline.methods import probing

            return probing.COLUMNS, probing.rows(run, settings)
        case UnitTestSettings():
            from pipeline.methods import unit_tests

            return unit_tests.COLUMNS, unit_tests.rows(run, settings)


def _write(path: Path, rows: Iterable[Row], schema: pa.Schema, *, vouch: bool) -> int:
    """Write the rows, with their checksum beside them where the file lies in the run's own folder."""
    waiting = batches(rows, _ROWS_PER_WRITE)
    first = list(islice(waiting, 1))  # what cannot begin leaves no folder behind
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = (table(some, schema) for some in chain(first, waiting))
    return write_vouched(path, tables, schema) if vouch else write_parquet(path, tables, schema)[0]
