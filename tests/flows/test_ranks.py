"""Two processes of `torchrun` train one model together, and the first of them writes it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flows.cli import main
from flows.train import train_model
from schemas.config import RunConfig, TrainConfig, load_config

SCRIPT = """
import sys
from pathlib import Path
from flows.train import train_model
from schemas.config import RunConfig

config = RunConfig.model_validate_json(Path(sys.argv[1]).read_text())
print(sorted(train_model.fn(config, sys.argv[2])))
"""


@pytest.fixture
def config(sealed: Path, tmp_path: Path, byte_base: str) -> RunConfig:
    shutil.copytree(sealed, tmp_path / "runs" / "demo")
    found = load_config(sealed / "run.toml", (f"root={str(tmp_path / 'runs')!r}",))
    # One update of all solutions an epoch: so both ways see the same batches.
    settings = TrainConfig(model=byte_base, epochs=3, batch_size=64, holdout=0.0)
    return found.model_copy(update={"train": settings})


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_and_one_of_them_writes(
    config: RunConfig, tmp_path: Path
) -> None:
    for name, text in (("script.py", SCRIPT), ("config.json", config.model_dump_json())):
        (tmp_path / name).write_text(text)
    together, alone = tmp_path / "together", tmp_path / "alone"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path / "config.json"), str(together)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent), "OMP_NUM_THREADS": "1"},
    )
    assert not done.returncode, done.stderr
    assert "[]" in done.stdout.split("\n")  # the second process has nothing to say
    one = train_model.fn(config, str(alone))
    metrics = json.loads((together / "metrics.json").read_text())
    assert metrics["updates"] == one["updates"] == 3
    assert metrics["loss"] == pytest.approx(one["loss"], abs=1e-4)
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("together.", ".together"))]
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (together, alone))
    for name, weight in ours.items():
        assert torch.allclose(weight, theirs[name], atol=1e-5), name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "any.toml"], "run is for one process, and torchrun started 2"),
        (["synthesize", "any.toml"], "only `stepmint train` shares"),
    ],
)
def test_other_commands_are_for_one_process(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_batch_that_cannot_be_shared_is_refused(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.prm.train import per_process
    from schemas.errors import UserError

    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="batch_size = 64 cannot be shared by 3 processes"):
        per_process(config.train or TrainConfig())


def test_the_second_process_helps_without_prefect_and_says_nothing(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(train_model, "fn", lambda config, folder: asked.append(folder))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["train", str(sealed), "--out", "somewhere"]) == 0
    assert asked == ["somewhere"]
    assert capsys.readouterr() == ("", "")
