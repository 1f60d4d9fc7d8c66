"""Training and evaluation as tasks and a flow.

A finished checkpoint is kept while the dataset and the settings that it was made from are the same.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flows import progress
from flows.engine import flow, task
from pipeline.outputs.report import evaluate_run, rows_of
from pipeline.prm.ranks import rank
from pipeline.runs.run_store import RunStore
from pipeline.storage.atomic import write_json
from pipeline.storage.generations import sealed_manifest
from schemas.config import RunConfig, TrainConfig
from schemas.places import is_url
from schemas.records import LabelledSolution

TRAINED = "training.json"
"""The file with the dataset and settings of a checkpoint; absent when the training was cut short."""
EVALUATED = "evaluation.json"


def checkpoint_of(config: RunConfig) -> Path:
    """Where a run's PRM goes: `checkpoints/NAME` beside the folder of runs; of a run on an object store, in
    the present folder."""
    beside = Path() if is_url(config.root) else Path(config.root).parent
    return beside / "checkpoints" / config.name


@task()
def train_model(config: RunConfig, out: str) -> dict[str, Any]:
    """Train on a sealed run and return the metrics; a checkpoint of the same rows and settings is kept."""
    store = RunStore.reopen(config)
    digest, rows = sealed_manifest(store.path).digest(), rows_of(store, votes=False)
    return train_on(rows, store.template(), config, Path(out), digest)


def train_on(
    rows: Iterable[LabelledSolution], template: str, config: RunConfig, folder: Path, digest: str
) -> dict[str, Any]:
    """Train on rows with this digest, and with the prompt that they were made with; returns the metrics. A
    checkpoint of the same rows and settings is kept, and then no row is read."""
    settings = config.train or TrainConfig()
    wanted = {"dataset_digest": digest, "template": template, "train": settings.model_dump(mode="json")}
    if read_json(folder / TRAINED) == wanted and (folder / "prm.json").is_file():
        return {**read_json(folder / "metrics.json"), "kept": True}

    from pipeline.prm.train import train_prm

    with progress.stage("training the PRM"):
        metrics = train_prm(rows, settings, folder, template=template, dataset_digest=digest)
    if not rank():  # of several processes the first writes
        write_json(folder / TRAINED, wanted)
    return metrics


@task()
def evaluate_model(config: RunConfig, checkpoint: str, drawn: str = "") -> dict[str, Any]:
    """Measure a checkpoint on held-out problems; figures of the same settings are kept with it.

    `drawn` is a file with those of the solutions to choose from that are drawn already (`flows.ahead`).
    """
    folder = Path(checkpoint)
    if (before := measured_before(config, folder)) is not None:
        return before

    with progress.stage("evaluating the PRM"):
        figures = evaluate_run(RunStore.reopen(config), folder, Path(drawn) if drawn else None)
    write_json(folder / EVALUATED, {"settings": _measured_with(config), "figures": figures})
    return figures


def measured_before(config: RunConfig, checkpoint: Path) -> dict[str, Any] | None:
    """The figures that are kept with a checkpoint; None where they were measured with other settings."""
    found = read_json(checkpoint / EVALUATED)
    return found["figures"] if found.get("settings") == _measured_with(config) else None


def _measured_with(config: RunConfig) -> dict[str, Any]:
    """Everything that the figures depend on beside the checkpoint itself."""
    return config.model_dump(mode="json", include={"seed", "problems", "policy", "prompt", "evaluate"})


@flow("train", "{config.name}")
def train(config: RunConfig, out: str = "") -> dict[str, Any]:
    """Train a PRM on a sealed run. Returns where it is and what was measured on its held-out share."""
    folder = out or str(checkpoint_of(config))
    return {"checkpoint": folder, **train_model(config, folder)}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty when it is missing or torn, for then the work is done again."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
