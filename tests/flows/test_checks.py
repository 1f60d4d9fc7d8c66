"""The base of a PRM is tried out before the first label, and `train --dry-run` shows a row."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.synthesize import synthesize
from schemas.config import load_config
from schemas.errors import UserError


def run_file(folder: Path, model: str, text: str = "Mia is neat. Everyone who is glad is quick.") -> Path:
    row = json.dumps({"text": text, "answer": "3"})
    (folder / "problems.jsonl").write_text(row + "\n", encoding="utf-8")
    path = folder / "run.toml"
    path.write_text(f"""
name = "demo"
root = {str(folder / "runs")!r}
problems = {{source = "jsonl", path = {str(folder / "problems.jsonl")!r}}}
policy = {{kind = "server", model = "m", base_url = "http://127.0.0.1:9/v1"}}
train = {{model = {model!r}}}
""")
    return path


@pytest.mark.parametrize(
    ("model", "text", "said"),
    [
        (
            "embedded-reader",
            "\u03c0\u03cc\u03c3\u03b1 \u03bc\u03ae\u03bb\u03b1",
            "reads 100% of the text as unknown",
        ),
        ("/no/such/folder", "one", "/no/such/folder: not a model that transformers can load"),
    ],
)
def test_a_base_that_cannot_be_used_costs_no_label(
    model: str, text: str, said: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = run_file(tmp_path, model, text)
    assert main(["run", str(path), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert [line.startswith("stepmint: note: problems: ") for line in error.splitlines()] == [True, False]
    with pytest.raises(UserError, match=said):
        synthesize.fn(load_config(path))
    assert not list((tmp_path / "runs" / "demo").rglob("journal/*"))


GREEK = "\u03c0\u03cc\u03c3\u03b1 \u03bc\u03ae\u03bb\u03b1"


@pytest.mark.parametrize(
    "changes",
    [
        ['policy={kind="simulated"}'],
        ['propose={kind="given"}', 'annotate=[{kind="verify"}]'],
    ],
)
def test_a_base_that_cannot_read_the_solutions_costs_no_label(
    changes: list[str], tmp_path: Path, capsys: Any
) -> None:
    path = run_file(tmp_path, "embedded-reader")
    rows = json.loads((tmp_path / "problems.jsonl").read_text())
    (tmp_path / "problems.jsonl").write_text(json.dumps({**rows, "steps": [GREEK * 9, "#### 3"]}))
    assert main(["run", str(path), "--dry-run", *(f"--set={one}" for one in changes)]) == 2
    assert "of the text as unknown tokens" in capsys.readouterr().err
    with pytest.raises(UserError, match="of the text as unknown tokens"):
        synthesize.fn(load_config(path, tuple(changes)))
    assert not list((tmp_path / "runs" / "demo").rglob("journal/*"))


def test_a_dry_run_says_what_training_will_begin_with(tmp_path: Path, capsys: Any) -> None:
    path = run_file(tmp_path, "embedded-reader")
    assert main(["run", str(path), "--dry-run", "--json"]) == 0
    base = json.loads(capsys.readouterr().out)["base"]
    assert (base["step_token"], base["max_length"], base["problems_tried"]) == ("<step>", 1024, 1)
    assert main(["run", str(path), "--dry-run"]) == 0
    assert "# base: embedded-reader (llama), step token <step>" in capsys.readouterr().out
    assert main(["run", str(path), "--dry-run", "--set", "train.max_length=2000"]) == 2
    assert "reads no more than 1024 tokens" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_training_shows_a_row_token_by_token(
    sealed: Path, byte_base: str, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "prm"
    common = ["train", str(sealed), "--out", str(out), "--dry-run", "--set", "train.holdout=0.0"]
    code = main([*common, "--set", f"train.model={byte_base}"])
    shown = capsys.readouterr()
    assert (code, not shown.err) == (0, True), shown.err
    assert "<|step_end|>" in shown.out
    assert "<- 1" in shown.out
    assert not out.exists()
