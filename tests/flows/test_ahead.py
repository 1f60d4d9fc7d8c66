"""Solutions that are drawn beside the labelling are those that the evaluation would draw."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import ahead
from flows import main as stages
from flows.ahead import Drawing, drawing
from flows.train import evaluate_model
from pipeline.outputs import report
from pipeline.outputs.report import draw_into, drawn_in, held_out_samples
from pipeline.runs.run_store import RunStore
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


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[report.Samples]:
    """What was measured, in place of measuring it."""
    found: list[report.Samples] = []
    monkeypatch.setattr(report, "evaluate_samples", lambda samples, _: found.append(samples) or {"n": 1})
    return found


def test_what_is_drawn_beside_is_what_the_evaluation_would_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[report.Samples]
) -> None:
    """However far the process has come, which on a busy machine may be nowhere."""
    config = run(tmp_path)
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    with drawing(config, tmp_path / "prm") as drawn:
        assert drawn is not None
        assert evaluate_model.fn(config, str(tmp_path), drawn.file()) == {"n": 1}
    assert measured == [asyncio.run(held_out_samples(config))]
    assert [len(solutions) for _, solutions in measured[0]] == [2, 2]


def test_the_process_draws_and_nothing_of_it_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = run(tmp_path)
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    monkeypatch.setattr(ahead, "NICENESS", 0)  # at the lowest priority it may take for ever
    with drawing(config, tmp_path / "prm") as drawn:
        assert drawn is not None
        assert drawn._process.wait() == 0
        file = Path(drawn.file())
        assert drawn_in(file) == {p.id: found for p, found in asyncio.run(held_out_samples(config))}
    assert not file.exists()


def test_what_is_drawn_already_is_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[report.Samples]
) -> None:
    """A last line that was torn when the process was ended is drawn again."""
    config, file = run(tmp_path, policy={"kind": "simulated"}), tmp_path / "samples.jsonl"
    RunStore.open(config)
    draw_into(file, config)
    whole = file.read_bytes()
    first, second = whole.splitlines(keepends=True)
    for part, left in ((whole, 0), (first + second[:-1], 1), (first + second[:-9], 1), (b"", 2)):
        file.write_bytes(part)
        assert len(drawn_in(file)) == 2 - left
        (tmp_path / "evaluation.json").unlink(missing_ok=True)
        evaluate_model.fn(config, str(tmp_path), str(file))
    assert measured == [asyncio.run(held_out_samples(config))] * 4
    file.write_bytes(whole.replace(b"step 0", b"line 0"))  # the policy would say "step"
    (tmp_path / "evaluation.json").unlink()
    evaluate_model.fn(config, str(tmp_path), str(file))
    texts = [solution.text for _, solutions in measured[4] for solution in solutions]
    assert [text.startswith("line 0") for text in texts] == [True] * 4


def test_a_process_that_failed_is_no_hindrance(tmp_path: Path) -> None:
    failed = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    failed.wait()
    assert Drawing(failed, tmp_path / "none.jsonl").file() == ""


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
