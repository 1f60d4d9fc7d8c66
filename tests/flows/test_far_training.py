"""`[train]` and `[evaluate]` of a run on an object store: who trains, when, and where the checkpoint goes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows import deployed
from flows.cli import main
from flows.deployed import ScheduledRun
from flows.engine import without_prefect
from pipeline.storage.object_store import open_objects
from tests.flows.conftest import write_run_file

Capture = pytest.CaptureFixture[str]
EVALUATED = """
name = "mine"
[problems]
source = "embedded"
limit = 4
steps = [3, 3]
[policy]
kind = "transformers"
model = "embedded"
[prompt]
template = "embedded_solve"
max_tokens = 200
[[annotate]]
kind = "monte_carlo"
rollouts = 2
[train]
epochs = 1
holdout = 0
[evaluate]
problems = 2
samples = 2
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def told(capsys: Capture, *arguments: object) -> dict[str, Any]:
    code = main([*map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_whoever_gave_the_run_trains_as_in_a_folder(tmp_path: Path, byte_base: str, capsys: Capture) -> None:
    file = write_run_file(tmp_path, f"[train]\nmodel = {byte_base!r}\nepochs = 1\nholdout = 0\n")
    far, place = ("--set", f"root='file://{tmp_path}/objects'"), Path("checkpoints/demo")
    begun = told(capsys, "run", file, *far, "--begin")
    assert begun["said"].endswith("when it is sealed, the same command without --begin trains")
    # Workers that join label and seal, and so does `synthesize`.
    assert told(capsys, "work", begun["run"])["labelled_here"] == 12
    told(capsys, "synthesize", file, *far)
    assert not place.exists()
    first = told(capsys, "run", file, *far)
    assert first["checkpoint"] == str(place)
    assert "kept" not in first["training"]
    # The same command again keeps the checkpoint.
    written = (place / "model.safetensors").stat().st_mtime_ns
    assert told(capsys, "run", file, *far)["training"] == first["training"] | {"kept": True}
    assert (place / "model.safetensors").stat().st_mtime_ns == written
    # A folder gives the same model.
    local = told(capsys, "run", file, "--no-prefect")
    assert Path(local["checkpoint"]) == tmp_path / "checkpoints/demo"
    assert local["dataset_digest"] == first["dataset_digest"]
    for name in ("model.safetensors", "training.json"):
        assert (place / name).read_bytes() == (tmp_path / "checkpoints/demo" / name).read_bytes(), name
    # With other settings of [train] it is made anew.
    assert "kept" not in told(capsys, "run", file, *far, "--set", "train.epochs=2")["training"]


def test_what_was_trained_is_evaluated_once_and_printed(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"root = 'file://{tmp_path}/objects'\n{EVALUATED}")
    first = told(capsys, "run", file)
    figures = Path("checkpoints/mine/evaluation.json")
    assert json.loads(figures.read_text())["figures"] == first["evaluation"]
    written = figures.stat().st_mtime_ns
    assert main(["run", str(file)]) == 0
    assert figures.stat().st_mtime_ns == written
    said = [line.strip() for line in capsys.readouterr().out.splitlines()]
    titles = [line for line in said if line in ("sealed", "training", "evaluation")]
    assert titles == ["sealed", "training", "evaluation"]
    assert "checkpoint  checkpoints/mine" in said


def test_a_dry_run_names_the_address_and_where_the_checkpoint_goes(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"root = 'file://{tmp_path}/objects/'\n{EVALUATED}")
    assert main(["run", str(file), "--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert f"# run: file://{tmp_path}/objects/mine" in said
    assert "# checkpoint: checkpoints/mine" in said
    assert "# stages: synthesize, train, evaluate" in said


def test_what_cannot_be_trained_is_refused_before_anything_is_on_the_store(
    tmp_path: Path, capsys: Capture
) -> None:
    far = f"file://{tmp_path}/objects"
    file = str(write_run_file(tmp_path))
    for changes, why in (
        (["train.model='/nowhere'"], "/nowhere"),
        (["train.epochs=1", "evaluate.samples=2"], "[evaluate] needs embedded problems"),
    ):
        given = [part for one in (f"root='{far}'", *changes) for part in ("--set", one)]
        assert main(["run", file, *given]) == 2
        assert why in capsys.readouterr().err.splitlines()[-1]
        assert open_objects(f"{far}/demo").read("run.json") is None


@pytest.mark.parametrize("more", ["", "[ray]\n"])
def test_a_deployment_does_not_train_and_says_so(tmp_path: Path, capsys: Capture, more: str) -> None:
    far = f"file://{tmp_path}/objects"
    file = write_run_file(tmp_path, f"{more}[train]\nholdout = 0\n")
    file.write_text(file.read_text().replace(str(tmp_path / "runs"), far))
    said = "where a deployment only labels and seals: leave [train] and [evaluate] out"
    for command in (["deploy", str(file)], ["run", str(file), "--submit", "nightly"]):
        assert main(command) == 2
        assert said in capsys.readouterr().err
    with without_prefect(), pytest.raises(deployed.UserError, match="a deployment only labels and seals"):
        deployed.fire(ScheduledRun(run_file=str(file)), datetime(2026, 11, 27, 2, tzinfo=UTC))
    assert open_objects(f"{far}/demo").read("run.json") is None
