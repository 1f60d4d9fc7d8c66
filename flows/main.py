"""The flow of `stepmint run`: synthesize, train, evaluate, and write the figures of all to `summary.json`."""

from pathlib import Path
from typing import Any

from flows.ahead import Drawing, drawing
from flows.checks import check_stages
from flows.engine import flow
from flows.synthesize import synthesize
from flows.train import checkpoint_of, evaluate_model, train_model
from pipeline.outputs.report import summarise
from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import is_night
from schemas.config import RunConfig


@flow("stepmint", "{config.name}")
def main(config: RunConfig) -> dict[str, Any]:
    """Every stage the run file asks for; what is already done for the same dataset is not repeated."""
    check_stages(config)  # before hours of work
    if trains_as_series(config):  # that evaluates its PRM after this run
        return _stages(config, None)
    with drawing(config, checkpoint_of(config)) as ahead:
        return _stages(config, ahead)


def _stages(config: RunConfig, ahead: Drawing | None) -> dict[str, Any]:
    sealed = synthesize(config)
    store = RunStore.open(config)
    figures: dict[str, Any] = {
        **summarise(store),
        "path": sealed["run"],
        "dataset_digest": sealed["dataset_digest"],
    }
    figures |= trained(config, checkpoint_of(config), ahead)
    records.write_summary(store.path, figures)
    return figures


def trained(config: RunConfig, checkpoint: Path, ahead: Drawing | None = None) -> dict[str, Any]:
    """Train on a sealed run and evaluate, as far as the run file asks for it; returns the figures."""
    if not config.train or trains_as_series(config):
        return {}
    folder = str(checkpoint)
    figures: dict[str, Any] = {"checkpoint": folder, "training": train_model(config, folder)}
    if config.evaluate:
        figures["evaluation"] = evaluate_model(config, folder, ahead.file() if ahead else "")
    return figures


def trains_as_series(config: RunConfig) -> bool:
    """Whether a run is a night of a series whose PRM is trained on all of them (`flows.series`)."""
    return is_night(config) and config.series is not None and config.series.retrain_rows is not None
