"""What follows the labelling of a night: it is published, and a PRM is trained when enough rows are new.

Both do what is missing, whichever fire it was that left it undone.
"""

from pathlib import Path

from flows import progress
from flows.engine import task
from flows.train import TRAINED, evaluate_model, read_json, train_on
from pipeline.outputs.nights import publish_nights
from pipeline.runs.series import LATEST, checkpoints_of, newest_prm, night_of, sealed_runs
from pipeline.storage.generations import sealed_manifest
from pipeline.storage.recorded import write_record
from schemas.config import RunConfig
from schemas.errors import BackendError
from schemas.records import content_id


def follow_up(config: RunConfig) -> list[str]:
    """Publish the sealed runs of a series, and train on them; says what was done, a line each."""
    if config.series is None:
        return []
    return [
        *([publish_series(config)] if config.series.dataset else []),
        *([retrain(config)] if config.series.retrain_rows else []),
    ]


@task("publish", delays=(10, 60), again=lambda error: isinstance(error, BackendError))
def publish_series(config: RunConfig) -> str:
    """Add the sealed runs that the dataset of the series does not have yet; says which."""
    assert config.series is not None
    assert config.series.dataset is not None
    runs = list(sealed_runs(Path(config.root), config.series.name))
    with progress.stage("publishing the series"):
        address, nights = publish_nights(runs, config.series.name, config.series.dataset)
    return f"published: {', '.join(nights) or 'nothing new'}, at {address}"


@task("retrain")
def retrain(config: RunConfig) -> str:
    """Train a PRM on all sealed runs of a series, if they have enough rows more than the last one was trained
    on; says what was done."""
    series, root = config.series, Path(config.root)
    assert series is not None
    assert series.retrain_rows is not None
    runs = list(sealed_runs(root, series.name))
    manifests = [sealed_manifest(run.path) for run in runs]
    rows = sum(manifest.solutions for manifest in manifests)
    place, last = checkpoints_of(config), newest_prm(config).get("rows")
    missing = series.retrain_rows - (rows - (last if isinstance(last, int) else 0))
    if missing > 0:
        return f"no PRM trained, rows missing: {missing:,}"
    newest = runs[-1].config
    digest = content_id([manifest.digest() for manifest in manifests])
    tag = night_of(newest)
    # An earlier night that was finished late: the PRM of this name stays, since runs may have it as a judge.
    if read_json(place / tag / TRAINED).get("dataset_digest", digest) != digest:
        tag = f"{tag}-{digest}"
    folder = place / tag
    train_on(runs, config, folder, digest)
    if config.evaluate:
        # That run's own settings: the file may have been edited since.
        evaluate_model(newest.model_copy(update={"evaluate": config.evaluate}), str(folder))
    write_record(place / LATEST, {"tag": tag, "rows": rows, "digest": digest})
    return f"PRM trained on {rows:,} rows, in {folder}"
