"""Runs that are handed to a deployment: they are followed, refused, and go on without their follower."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows import deployed
from flows.cli import main
from flows.deployed import ScheduledRun, text_of
from flows.engine import without_prefect
from pipeline.storage.generations import read_manifest
from schemas.errors import UserError
from tests.flows.conftest import write_run_file
from tests.flows.serving import Serving


@pytest.mark.slow
def test_a_run_is_handed_over_and_followed(
    serving: Serving,
    at_server: None,
    interruptible: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run_file = write_run_file(tmp_path)
    assert main(["deploy", str(run_file), "--name", "handed", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    followed = serving.stepmint("run", str(run_file), "--submit", "handed", cwd=tmp_path)
    assert followed.stderr
    first = [followed.stderr.readline() for _ in range(2)]
    assert first[1].startswith("state: ")
    followed.send_signal(signal.SIGINT)
    said = followed.communicate(timeout=60)[1]
    assert followed.returncode == 130
    (run,) = serving.runs(about["id"])
    assert f"the run goes on: `prefect flow-run watch {run['id']}` follows it" in said
    assert f"`prefect flow-run cancel {run['id']}` ends it" in said
    (ended,) = serving.until(lambda: serving.runs(about["id"], "COMPLETED", "FAILED", "CRASHED"), 120)
    assert ended["state"]["message"] == f"problems labelled: 12, in {tmp_path / 'runs/demo'}"

    again = ["run", str(run_file), "--submit", "stepmint-scheduled/handed", "--set=root=runs"]
    assert main([*again, "--set=name=other"]) == 0
    out, err = capsys.readouterr()
    assert "Completed: problems labelled: 12, in runs/other" in out
    assert "state: " in err
    assert "labelling: 12 problems" in err
    plain = fired(run_file, changes=("name=plain",))
    digests = {
        name: manifest.digest()
        for name in ("demo", "other", "plain")
        if (manifest := read_manifest(tmp_path / "runs" / name))
    }
    assert len(digests) == 3, plain
    assert digests["demo"] == digests["plain"]

    (tmp_path / "problems.jsonl").unlink()
    assert main([*again, "--set=name=third"]) == 2
    assert "problems.jsonl" in capsys.readouterr().err
    assert main([*again[:2], "--submit", "nobody"]) == 2
    assert "no deployment 'stepmint-scheduled/nobody'" in capsys.readouterr().err


def fired(run_file: Path, **given: Any) -> str:
    with without_prefect():
        run = ScheduledRun(run_file=str(run_file), **given)
        return deployed.fire(run, datetime(2026, 11, 27, 2, tzinfo=UTC))


def test_a_run_file_that_is_sent_need_not_be_there(tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, problems=3)
    moved = run_file.read_text().replace(str(tmp_path / "problems.jsonl"), "problems.jsonl")
    run_file.unlink()
    assert fired(run_file, text=moved).startswith("problems labelled: 3,")


def test_a_run_that_is_handed_over_is_no_fire_of_its_series(tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"', problems=3)
    assert fired(run_file, named_by="file").endswith(f"in {tmp_path / 'runs/demo'}")
    # On a store neither, and there it takes more problems, which a night does not.
    far = (f"root='file://{tmp_path}/far'",)
    assert fired(run_file, named_by="file", changes=far).endswith("/far/demo")
    assert fired(run_file, named_by="file", changes=far).endswith("/far/demo is sealed")


def test_a_published_series_does_not_close_a_run_that_is_handed_over(tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"\ndataset = "me/demo"', problems=3)
    fired(run_file, named_by="file")
    assert fired(run_file, named_by="file").endswith("is sealed, and no problem is new")


def test_a_run_on_an_object_store_is_worked_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = write_run_file(tmp_path, problems=3)
    far = f"file://{tmp_path / 'far'}"
    assert fired(run_file, changes=(f"root='{far}'",)) == f"problems labelled: 3, in {far}/demo"
    assert fired(run_file, changes=(f"root='{far}'",)) == f"nothing to do: {far}/demo is sealed"
    assert main(["run", str(run_file), "--set", f"root='{far}'", "--set", "name=second", "--begin"]) == 0
    said = capsys.readouterr().out
    assert f"stepmint work {far}/second" in "".join(said.split("\n"))
    assert "look inside" not in said  # nothing is labelled yet
    assert not (tmp_path / "far/second/manifest.json").exists()
    assert main(["work", f"{far}/second"]) == 0


def test_beginning_needs_an_object_store(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(run_file), "--begin"]) == 2
    assert "where no other can join" in capsys.readouterr().err


def test_a_run_file_that_holds_a_password_is_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_file = write_run_file(tmp_path)
    run_file.write_text(run_file.read_text().replace(str(tmp_path / "runs"), "s3://me:hunter2@bucket/runs"))
    assert main(["run", str(run_file), "--submit", "nightly"]) == 2
    said = capsys.readouterr().err
    assert "holds a password" in said
    assert "hunter2" not in said


def test_a_folder_or_a_long_file_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the folder of a run"):
        text_of(tmp_path)
    run_file = tmp_path / "long.toml"
    run_file.write_text("#" * 100_001)
    with pytest.raises(UserError, match="100,001 characters"):
        text_of(run_file)
