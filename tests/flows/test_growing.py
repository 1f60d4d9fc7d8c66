"""The commands on a run that grows, and on one that is only read."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from flows.cli import main
from flows.train import evaluate_model, train_model
from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import run_shard
from pipeline.runs import identity
from pipeline.runs.run_store import RunStore
from pipeline.sampling import roller as rollouts
from pipeline.storage.journal_packing import unpack
from schemas.config import load_config
from schemas.errors import UserError
from verifiers.answers.grade import EQUAL

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def mine(sealed: Path, tmp_path: Path) -> Path:
    """A copy of a sealed run, and of its problem file."""
    shutil.copy(sealed.parent.parent / "problems.jsonl", tmp_path)
    return Path(shutil.copytree(sealed, tmp_path / "runs" / "demo"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def problems(folder: Path, answers: dict[int, str], n: int) -> None:
    made = [{"text": f"Problem {i}", "answer": answers.get(i, "right"), "kind": "text"} for i in range(n)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))


def test_a_run_grows_and_is_graded_again_by_its_own_command(
    run_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["synthesize", "--no-prefect", str(run_file), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    problems(tmp_path, {1: "wrong", 2: "wrong"}, 15)
    assert main(["synthesize", "--no-prefect", str(run_file)]) == 0
    out, err = capsys.readouterr()
    assert "2 problems changed: grading the stored rollouts again: 2 problems" in err
    assert "labelling: 15 problems, 12 done earlier" in err
    assert main(["synthesize", "--no-prefect", str(run_file), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["problems"] == 15
    assert again["dataset_digest"] != first["dataset_digest"]
    assert main(["show", first["run"], "--json", "-n", "99"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {r["problem"] for r in rows if r["gold_answer"] == "wrong"} == {
        "Problem 1",
        "Problem 2",
    }


def test_a_first_run_that_failed_is_mended_under_its_name(run_file: Path, capsys: Capture) -> None:
    bad = ["--set", "problems.path=nowhere.jsonl", "--set", "seed=4"]
    assert main(["synthesize", "--no-prefect", str(run_file), *bad]) == 2
    assert main(["synthesize", "--no-prefect", str(run_file)]) == 0
    assert main(["synthesize", "--no-prefect", str(run_file), "--set", "seed=4"]) == 2
    assert "was started with seed=0, not 4" in capsys.readouterr().err


def test_a_whole_run_is_graded_again(mine: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(mine / "shards")
    assert main(["regrade", str(mine), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {name: figures[name] for name in ("changed", "same", "missing", "owed")} == {
        "changed": 0,
        "same": 12,
        "missing": 0,
        "owed": 0,
    }
    assert files(mine / "shards") == before
    monkeypatch.setattr(rollouts, "grade_solution", lambda *_: EQUAL)
    assert main(["regrade", str(mine)]) == 0
    assert "12" in capsys.readouterr().out
    assert files(mine / "shards") != before


def test_grading_again_needs_no_prompt_as_it_was(mine: Path) -> None:
    known = identity.recorded(mine)
    assert known is not None
    asked = known.inputs["prompt.template"].model_copy(update={"name": "gone.txt"})
    identity.record(mine, known.model_copy(update={"inputs": {**known.inputs, "prompt.template": asked}}))
    config = load_config(mine / "run.toml", ("prompt.template=gone.txt", f"root={str(mine.parent)!r}"))
    RunStore(mine, config).record_config()
    assert main(["regrade", str(mine)]) == 0


def test_grading_again_leaves_what_it_cannot_do_to_the_run(mine: Path, capsys: Capture) -> None:
    journal = mine / "journal" / "00000.jsonl"
    unpack(journal)
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    assert main(["regrade", str(mine)]) == 1
    assert "problems are owed: `stepmint run`" in capsys.readouterr().out


def test_training_with_other_settings_never_rewrites_the_run(mine: Path, tmp_path: Path) -> None:
    before = files(mine)
    config = load_config(
        mine / "run.toml", (f"root={str(mine.parent)!r}", "train.model='/nowhere'", "train.epochs=7")
    )
    with pytest.raises((UserError, OSError)):
        train_model.fn(config, str(tmp_path / "checkpoint"))
    with pytest.raises(UserError, match="evaluate"):
        evaluate_model.fn(config, str(tmp_path / "checkpoint"))
    assert files(mine) == before
    args = ["train", str(mine), "--set", "prompt.temperature=0.5"]
    with pytest.raises(UserError, match=r"was started with prompt\.temperature=1\.0, not 0\.5: leave"):
        train_model.fn(load_config(mine / "run.toml", (f"root={str(mine.parent)!r}", args[-1])), "x")
    assert files(mine) == before


def test_a_fusion_that_fails_leaves_the_run_as_it_was(mine: Path) -> None:
    journal = mine / "journal" / "00000.jsonl"
    unpack(journal)
    whole = journal.read_bytes()
    journal.write_bytes(b"")
    before = (mine / "run.toml").read_bytes()
    assert main(["fuse", str(mine), "--set", "fusion.accept=0.9"]) == 2
    assert (mine / "run.toml").read_bytes() == before
    journal.write_bytes(whole)
    assert main(["fuse", str(mine), "--set", "fusion.accept=0.9"]) == 0
    assert "accept = 0.9" in (mine / "run.toml").read_text()


def test_commands_that_look_write_nothing(mine: Path, tmp_path: Path, capsys: Capture) -> None:
    before = files(mine)
    assert main(["status", str(mine)]) == 0
    assert main(["show", str(mine)]) == 0
    assert main(["export", str(mine), "--format", "trl", "--out", str(tmp_path / "x.jsonl")]) == 0
    assert main(["publish", str(mine), "me/mine", "--dry-run"]) == 0
    assert files(mine) == before


def test_a_run_that_was_moved_goes_on_where_it_lies(run_file: Path, tmp_path: Path, capsys: Capture) -> None:
    store = RunStore.open(load_config(run_file))
    read_problems(store)
    asyncio.run(run_shard(store, 0, most=2))
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    store.path.rename(moved)
    assert main(["synthesize", "--no-prefect", str(moved), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(moved)
    assert main(["status", str(moved)]) == 0
    assert not store.path.exists()
