"""Two rounds of self-training in earnest, and what the same command does again."""

import json
from pathlib import Path

import pytest

from flows.cli import main
from flows.selftrain import round_config
from schemas.config import RunConfig

Capture = pytest.CaptureFixture[str]


def run_file(folder: Path) -> Path:
    path = folder / "self.toml"
    path.write_text(f"""
name = "st"
root = {str(folder / "runs")!r}
seed = 1
[problems]
source = "embedded"
limit = 4
steps = [3, 3]
[policy]
model = "embedded"
[prompt]
max_tokens = 120
[propose]
kind = "sample"
n = 4
[train]
epochs = 1
[self_train]
rounds = 2
epochs = 1
""")
    return path


@pytest.mark.slow
def test_rounds_feed_each_other_and_are_kept(tmp_path: Path, capsys: Capture) -> None:
    path = run_file(tmp_path)
    assert main(["selftrain", "--no-prefect", str(path), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [item["round"] for item in first["rounds"]] == [0, 1]
    for item in first["rounds"]:
        assert item["policy"]["solutions"] > 0
        assert item["policy"]["n"] + item["policy"]["n_failed"] == 16
        assert (Path(item["value"]["folder"]) / "prm.json").is_file()
    drawn = first["rounds"][1]["run"]
    recorded = (Path(drawn) / "run.toml").read_text()
    assert first["rounds"][0]["policy"]["folder"] in recorded  # round 1 asks what round 0 taught
    weights = Path(first["policy"]) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert main(["selftrain", "--no-prefect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert weights.stat().st_mtime_ns == before


def test_a_policy_without_weights_cannot_learn(tmp_path: Path, capsys: Capture) -> None:
    assert (
        main(["selftrain", "--no-prefect", str(run_file(tmp_path)), "--set", "policy={kind='simulated'}"])
        == 2
    )
    assert "whose weights it can change, not 'simulated'" in capsys.readouterr().err


def test_a_round_differs_in_policy_and_name_only() -> None:
    config = RunConfig(name="x")
    here = round_config(config, 1, "checkpoints/x-round0/policy")
    assert (here.name, here.policy.model) == ("x-round1", "checkpoints/x-round0/policy")
    assert here.model_copy(update={"name": "x", "policy": config.policy}) == config
