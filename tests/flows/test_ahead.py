"""Solutions that are drawn beside the labelling are those that the evaluation would draw."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import ahead
from flows import main as stages
from flows import train as flows
from flows.ahead import Drawing, drawing
from flows.train import evaluate_model
from pipeline.outputs.report import held_out_samples
from pipeline.storage.atomic import write_json
from schemas.config import RunConfig


def run(root: Path, **changes: Any) -> RunConfig:
    """A run on the embedded default that trains and evaluates."""
    sections = {
        "problems": {"source": "embedded", "limit": 2, "steps": [1, 1]},
        "prompt": {"template": "embedded_solve", "max_tokens": 60},
        "train": {},
        "evaluate": {"problems": 2, "samples": 2},
    }
    return RunConfig.model_validate({"name": "r", "root": str(root), **sections, **changes})


def test_what_is_drawn_beside_is_what_the_evaluation_would_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run(tmp_path)
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    measured = []
    monkeypatch.setattr(flows, "evaluate_samples", lambda samples, _: measured.append(samples) or {"n": 1})
    with drawing(config, tmp_path / "prm") as drawn:
        assert drawn is not None
        assert evaluate_model.fn(config, str(tmp_path), drawn.file()) == {"n": 1}
        file = Path(drawn.file())
    assert not file.exists()
    assert measured == [asyncio.run(held_out_samples(config))]
    assert [len(solutions) for _, solutions in measured[0]] == [2, 2]


def test_samples_that_were_not_drawn_are_drawn_by_the_evaluation(tmp_path: Path) -> None:
    failed = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    assert Drawing(failed, tmp_path / "none.json").file() == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": {"kind": "simulated"}},
        {"policy": {"kind": "transformers", "model": "elsewhere"}},
        {"evaluate": None},
    ],
)
def test_nothing_is_drawn_ahead_where_it_is_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    with drawing(run(tmp_path, **changes), tmp_path) as drawn:
        assert drawn is None
    assert not list(tmp_path.iterdir())


def test_nothing_is_drawn_for_a_night_that_is_not_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PRM of such a series is trained and evaluated after the night, on all runs."""
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    monkeypatch.setattr(stages, "_stages", lambda _, drawn: {"drawn": drawn})
    series = {"name": "nightly", "retrain_rows": 10}
    night = run(tmp_path, name="nightly-2026-11-27", series=series)
    assert stages.main.fn(night) == {"drawn": None}
    assert stages.main.fn(run(tmp_path, name="by-hand", series=series))["drawn"] is not None


def test_nothing_is_drawn_again_for_figures_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run(tmp_path / "runs")
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    votes = config.model_dump(mode="json", include={"seed", "problems", "policy", "prompt", "evaluate"})
    write_json(tmp_path / "evaluation.json", {"settings": votes, "figures": {"f1": 0.5}})
    with drawing(config, tmp_path) as drawn:
        assert drawn is None
    assert evaluate_model.fn(config, str(tmp_path)) == {"f1": 0.5}
    monkeypatch.setattr(ahead, "cores", lambda: 1)
    with drawing(config.model_copy(update={"seed": 7}), tmp_path) as drawn:
        assert drawn is None
