"""`stepmint deploy`, and a schedule that fires: a Prefect server, a worker and a series of runs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows import deployed
from flows.cli import main
from flows.engine import without_prefect
from tests.flows.conftest import write_run_file
from tests.flows.serving import Serving


def test_deploying_without_a_server_says_how_to_start_one(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert main(["deploy", str(run_file), "--pool", "mine"]) == 2
    said = capsys.readouterr().err
    assert "PREFECT_API_URL is not set" in said
    assert "prefect server start" in said
    assert "prefect worker start --pool mine" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--cron", "0 2 * *"], "'0 2 * *'"),
        (["--cron", "61 2 * * *"], "'61 2 * * *'"),
        (["--every", "0"], "--every 0"),
        (["--every", "-5"], "--every -5"),
        (["--set", "root='s3://bucket/runs'", "--set", "series.name=nightly"], "[series] needs a folder"),
        (["--set", "series.name=nightly", "--concurrency", "2"], "--concurrency 2"),
        (["--concurrency", "0"], "--concurrency 0"),
        (["--on-event", "new problems"], "'new problems'"),
        (["--pool-type", "process", "--image", "mine"], "--image mine"),
        (["--pool-type", "docker"], "--image is needed"),
        (["--pool-type", "kubernetes", "--image", "mine"], "a pod's folders go with it"),
        (["--pool-type", "ecs"], "invalid choice: 'ecs'"),
        (["--cron", "0 2 * * *", "--every", "9"], "not allowed with"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    run_file: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", str(run_file), *given]) == 2
    assert said in capsys.readouterr().err


def fire(run_file: Path, day: int, **changes: Any) -> str:
    """What a worker does when a fire of that day is due."""
    with without_prefect():
        run = deployed.ScheduledRun(run_file=str(run_file), **changes)
        return deployed.fire(run, datetime(2026, 11, day, 2, tzinfo=UTC))


def test_a_fire_of_a_series_is_a_run_on_what_is_new(tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"', problems=3)
    runs = tmp_path / "runs"
    assert fire(run_file, 27) == f"new problems labelled: 3, in {runs / 'nightly-2026-11-27'}"
    before = files(runs)
    assert fire(run_file, 27).startswith("nothing to do: ")
    assert fire(run_file, 28) == (
        "nothing new: earlier runs of the series have labelled every problem of its source, 3"
    )
    assert files(runs) == before
    with (tmp_path / "problems.jsonl").open("a") as file:
        file.write('{"text": "A new problem", "answer": "right", "kind": "text"}\n')
    assert fire(run_file, 29) == f"new problems labelled: 1, in {runs / 'nightly-2026-11-29'}"
    assert texts(runs / "nightly-2026-11-29") == {"A new problem"}
    assert fire(run_file, 30).startswith("nothing new")
    # Fires that are tried again, the first one after the last: each finds its own run as it is.
    assert fire(run_file, 29).startswith("nothing to do")
    assert sorted(folder.name for folder in runs.iterdir()) == ["nightly-2026-11-27", "nightly-2026-11-29"]


def test_without_a_series_every_fire_goes_on_with_one_run(tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, problems=3)
    assert fire(run_file, 27) == f"problems labelled: 3, in {tmp_path / 'runs/demo'}"
    assert fire(run_file, 28).startswith("nothing to do")
    changed = fire(run_file, 28, changes=["name=other", "problems.limit=2"])
    assert changed == f"problems labelled: 2, in {tmp_path / 'runs/other'}"


def files(folder: Path) -> dict[str, bytes]:
    # The cache of digests is written when a file is old enough, two seconds, to be known by its time.
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "digests.json"}


@pytest.mark.slow
def test_each_fire_of_a_schedule_labels_what_is_new(serving: Serving, tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"', problems=3)
    said = serving.stepmint("deploy", str(run_file), "--every", "10", "--json", cwd=tmp_path).communicate()
    about = json.loads(said[0])

    def ended(message: str) -> list[dict[str, Any]]:
        found = serving.runs(about["id"], "COMPLETED", "FAILED", "CRASHED")
        return [run for run in found if run["state"]["message"].startswith(message)]

    first = serving.until(lambda: ended(""), 120)[0]
    assert first["state"]["message"].startswith("new problems labelled: 3,"), first["state"]
    with (tmp_path / "problems.jsonl").open("a") as file:
        file.write('{"text": "A new problem", "answer": "right", "kind": "text"}\n')
    new = serving.until(lambda: ended("new problems labelled: 1,"), 120)[0]
    between = serving.until(lambda: ended(""), 60)
    serving.delete(about["id"])
    assert {run["state"]["message"].partition(" in ")[0].partition(": earlier")[0] for run in between} <= {
        "new problems labelled: 3,",
        "new problems labelled: 1,",
        "nothing new",
    }
    assert first["auto_scheduled"]
    assert new["auto_scheduled"]
    made = [Path(run["state"]["message"].partition(" in ")[2]) for run in (first, new)]
    assert [texts(run) for run in made] == [{f"Problem {i}" for i in range(3)}, {"A new problem"}]
    assert sorted((tmp_path / "runs").iterdir()) == made


def texts(run: Path) -> set[str]:
    """The problems of a sealed run."""
    assert (run / "manifest.json").is_file()
    lines = [line for file in (run / "problems").glob("0*.jsonl") for line in file.read_text().splitlines()]
    return {json.loads(line)["text"] for line in lines}
