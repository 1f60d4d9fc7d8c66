"""What follows the labelling of a night: it is published, and a PRM is trained when enough rows are new.

Both do what is missing, whichever fire it was that left it undone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flows import progress
from flows.engine import task
from flows.train import TRAINED, evaluate_model, read_json, train_on
from pipeline.outputs.nights import publish_nights
from pipeline.outputs.report import rows_of
from pipeline.runs.series import SealedNight, sealed_night, sealed_runs
from pipeline.runs.series_prms import called, fetch_prm, keep_prm, newest_prm, prms_here
from pipeline.storage.generations import sealed_manifest
from schemas.config import RunConfig
from schemas.errors import BackendError
from schemas.places import is_url
from schemas.records import LabelledSolution, content_id


def follow_up(config: RunConfig) -> list[str]:
    """Publish the sealed runs of a series, and train on them; says what was done, a line each."""
    if config.series is None:
        return []
    return [
        *([publish_series(config)] if config.series.dataset else []),
        *([retrain(config)] if config.series.retrain_rows else []),
    ]


def nights_of(config: RunConfig) -> list[SealedNight]:
    """The sealed runs of a series, in the order of their names."""
    assert config.series is not None
    if not is_url(config.root):
        return [sealed_night(run) for run in sealed_runs(Path(config.root), config.series.name)]
    from pipeline.runs.far_series import sealed_nights

    return sealed_nights(config.root, config.series.name)


@task("publish", delays=(10, 60), again=lambda error: isinstance(error, BackendError))
def publish_series(config: RunConfig) -> str:
    """Add the sealed runs that the dataset of the series does not have yet; says which."""
    assert config.series is not None
    assert config.series.dataset is not None
    with progress.stage("publishing the series"):
        address, nights = publish_nights(lambda: nights_of(config), config.series.name, config.series.dataset)
    return f"published: {', '.join(nights) or 'nothing new'}, at {address}"


def rows_of_nights(nights: Sequence[SealedNight]) -> Iterator[LabelledSolution]:
    """The rows of some nights. Others wait for a night's copy on this machine while it is read, and not while
    a PRM learns from it. BackendError where a night was sealed anew since it was listed."""
    for night in nights:
        with night.opened(False) as run:
            # The PRM is recorded as one of the rows that were listed.
            if sealed_manifest(run.path).digest() != night.digest:
                raise BackendError(f"{night.where}: was sealed anew meanwhile: the next fire trains")
            yield from rows_of(run, votes=False)


@task("retrain")
def retrain(config: RunConfig) -> str:
    """Train a PRM on all sealed runs of a series, if they have enough rows more than the last one was trained
    on; says what was done."""
    series = config.series
    assert series is not None
    assert series.retrain_rows is not None
    nights = nights_of(config)
    rows, last = sum(night.rows for night in nights), newest_prm(config).get("rows")
    missing = series.retrain_rows - (rows - (last if isinstance(last, int) else 0))
    if missing > 0:
        return f"no PRM trained, rows missing: {missing:,}"
    digest, tag = content_id([night.digest for night in nights]), nights[-1].name
    with nights[-1].opened(False) as newest:
        template, settings = newest.template(), newest.config
    with prms_here(config) as made:
        folder = made / tag
        fetch_prm(config, folder)
        # An earlier night that was finished late: the PRM of this name stays, since runs may have it as a
        # judge.
        if read_json(folder / TRAINED).get("dataset_digest", digest) != digest:
            tag = f"{tag}-{digest}"
            folder = folder.with_name(tag)
            fetch_prm(config, folder)
        train_on(rows_of_nights(nights), template, config, folder, digest)
        if config.evaluate:
            with nights[-1].opened(False):
                # That run's own settings: the file may have been edited since.
                evaluate_model(settings.model_copy(update={"evaluate": config.evaluate}), str(folder))
        keep_prm(config, folder, {"tag": tag, "rows": rows, "digest": digest})
    return f"PRM trained on {rows:,} rows, in {called(config, tag)}"
