"""Finished training and evaluation are kept while they fit the rows and the settings, and no longer."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows import train as flows
from flows.train import evaluate_model, read_json, train_model
from pipeline.prm import train as training
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from schemas.config import EvaluateConfig, RunConfig, load_config
from schemas.errors import UserError


@pytest.fixture
def config(sealed: Path, tmp_path: Path) -> RunConfig:
    """Of a sealed run that trains for three epochs."""
    shutil.copytree(sealed, tmp_path / "runs" / "demo")
    return load_config(sealed / "run.toml", (f"root={str(tmp_path / 'runs')!r}", "train.epochs=3"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was trained, instead of training it."""
    asked: list[dict[str, Any]] = []

    def train_prm(rows: Any, settings: Any, folder: Path, **named: Any) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        asked.append({"rows": len(list(rows)), "epochs": settings.epochs, **named})
        (folder / "prm.json").write_text("{}")
        (folder / "metrics.json").write_text(json.dumps({"times": len(asked)}))
        return {"times": len(asked)}

    monkeypatch.setattr(training, "train_prm", train_prm)
    return asked


def test_a_checkpoint_is_made_once(config: RunConfig, trained: list[dict[str, Any]], tmp_path: Path) -> None:
    out = str(tmp_path / "prm")
    manifest = read_manifest(RunStore.reopen(config).path)
    assert manifest is not None
    assert train_model.fn(config, out) == {"times": 1}
    assert train_model.fn(config, out) == {"times": 1, "kept": True}
    (told,) = trained
    assert (told["rows"], told["epochs"]) == (manifest.solutions, 3)
    assert told["dataset_digest"] == manifest.digest()


@pytest.mark.parametrize("spoilt", ["training.json", "prm.json"])
def test_a_checkpoint_that_was_cut_short_is_made_again(
    config: RunConfig, trained: list[dict[str, Any]], tmp_path: Path, spoilt: str
) -> None:
    """`training.json` is written last, so without it nobody knows how far the training came."""
    out = tmp_path / "prm"
    train_model.fn(config, str(out))
    (out / spoilt).unlink()
    assert train_model.fn(config, str(out)) == {"times": 2}


@pytest.mark.parametrize("key", ["dataset_digest", "template", "train"])
def test_a_checkpoint_of_other_rows_prompt_or_settings_is_made_again(
    config: RunConfig, trained: list[dict[str, Any]], tmp_path: Path, key: str
) -> None:
    out = tmp_path / "prm"
    train_model.fn(config, str(out))
    told = json.loads((out / "training.json").read_text())
    (out / "training.json").write_text(json.dumps(told | {key: "other"}))
    assert train_model.fn(config, str(out)) == {"times": 2}


def test_an_open_run_is_not_trained_on(
    config: RunConfig, trained: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "runs" / "demo" / "manifest.json").unlink()
    with pytest.raises(UserError, match="not sealed yet: `stepmint run"):
        train_model.fn(config, str(tmp_path / "prm"))
    assert not trained


def test_figures_are_measured_once_and_again_for_other_settings(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[Path] = []

    def measure(store: RunStore, folder: Path, drawn: Path | None) -> dict[str, Any]:
        times.append(folder)
        return {"times": len(times)}

    monkeypatch.setattr(flows, "evaluate_run", measure)
    assert [evaluate_model.fn(config, str(tmp_path)) for _ in range(2)] == [{"times": 1}] * 2
    later = config.model_copy(update={"fusion": config.fusion.model_copy(update={"accept": 0.9})})
    assert evaluate_model.fn(later, str(tmp_path)) == {"times": 1}  # labels are not what is measured
    other = config.model_copy(update={"evaluate": EvaluateConfig(samples=2)})
    assert evaluate_model.fn(other, str(tmp_path)) == {"times": 2}
    assert times == [tmp_path] * 2


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", b"\xff"])
def test_a_torn_record_is_as_good_as_none(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_json(path) == {}
    assert read_json(tmp_path / "none.json") == {}
