"""`stepmint deploy`, and a schedule that fires: a Prefect server, a worker and a series of runs."""

import asyncio
import json
import re
from argparse import Namespace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from flows import deployed
from flows.cli import main
from flows.deploy import is_daily
from flows.engine import without_prefect
from flows.main import main as run_plainly
from pipeline.runs.remote import last_manifest
from pipeline.storage.generations import read_manifest
from pipeline.storage.object_store import open_objects
from schemas.config import load_config
from tests.flows.conftest import rows, write_run_file
from tests.flows.serving import Serving

Capture = pytest.CaptureFixture[str]


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
        (["--set", "series.name=nightly", "--concurrency", "2"], "--concurrency 2"),
        (["--concurrency", "0"], "--concurrency 0"),
        (["--on-event", "new problems"], "'new problems'"),
        (["--name", "a/b"], "--name 'a/b'"),
        (["--set", "ray.address='auto'"], "[ray] needs an object store"),
        (["--set", "root='s3://me:hunter2@bucket/runs'"], "--set: holds a password"),
        (["--pool-type", "process", "--image", "mine"], "--image mine"),
        (["--set", "root='s3://bucket/runs'", "--set", "train.epochs=1"], "leave [train] and [evaluate] out"),
        (["--pool-type", "docker"], "--image is needed"),
        (["--pool-type", "kubernetes", "--image", "mine"], "a pod's folders go with it"),
        (
            ["--pool-type", "kubernetes", "--image", "mine", "--set", "series.name=nightly"],
            "a pod's folders go with it",
        ),
        (
            ["--set", "root='s3://b/r'", "--set", "series.name=nightly", "--set", "train.epochs=1"],
            "or give a [series] retrain_rows",
        ),
        (["--pool-type", "ecs"], "invalid choice: 'ecs'"),
        (["--cron", "0 2 * * *", "--every", "9"], "not allowed with"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    run_file: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", str(run_file), *given]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cron", "every", "daily"),
    [
        ("0 2 * * *", None, True),
        ("0 2,14 * * *", None, False),
        ("0 2 * * * */10", None, False),  # a sixth field: every ten seconds of a minute
        ("", 86400, True),
        ("", 3600, False),
        ("", None, False),  # started by hand, perhaps twice a day
    ],
)
def test_a_day_names_runs_only_where_one_is_due_a_day(cron: str, every: int | None, daily: bool) -> None:
    assert is_daily(Namespace(cron=cron, every=every, on_event="")) is daily


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
    add(tmp_path)
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


def test_on_a_store_every_fire_lets_the_one_run_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_file, place = write_run_file(tmp_path, problems=3), f"file://{tmp_path}/objects"
    changes = [f"root={place}"]
    assert fire(run_file, 27, changes=changes) == f"problems labelled: 3, in {place}/demo"
    assert fire(run_file, 28, changes=changes) == f"nothing to do: {place}/demo is sealed"
    add(tmp_path)
    assert fire(run_file, 29, changes=changes) == f"problems labelled: 4, in {place}/demo"
    assert fire(run_file, 30, changes=changes).startswith("nothing to do")
    fire(run_file, 30, changes=["name=plain"])
    assert digest_at(f"{place}/demo") == digest_in(tmp_path / "runs/plain")


def digest_at(url: str) -> str:
    manifest = last_manifest(open_objects(url))
    assert manifest
    return manifest.digest()


def digest_in(folder: Path) -> str:
    manifest = read_manifest(folder)
    assert manifest
    return manifest.digest()


def add(folder: Path) -> None:
    with (folder / "problems.jsonl").open("a") as file:
        file.write(f"{NEW}\n")


def files(folder: Path) -> dict[str, bytes]:
    # The cache of digests is written when a file is old enough, two seconds, to be known by its time.
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "digests.json"}


def labelling(serving: Serving, deployment: str, n: int) -> dict[str, Any]:
    """The fire that labelled so many problems, when it has ended. Every other one must have been well, too,
    and have found nothing new."""

    def found() -> list[dict[str, Any]]:
        ended = serving.runs(deployment, "COMPLETED", "FAILED", "CRASHED")
        for run in ended:
            assert re.match(r"new problems labelled: |nothing new: ", run["state"]["message"]), run
        begins = f"new problems labelled: {n},"
        return [run for run in ended if run["state"]["message"].startswith(begins)]

    run: dict[str, Any] = serving.until(found, 120)[0]
    return run


def made_by(run: dict[str, Any]) -> Path:
    """The folder of the run that a fire labelled."""
    found = re.search(r" in ([^;\s]+)", run["state"]["message"])
    assert found, run["state"]
    return Path(found[1])


@pytest.mark.slow
def test_each_fire_of_a_cron_labels_and_publishes_what_is_new(
    serving: Serving,
    at_server: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On PostgreSQL, as a team would have it. Each night's rows are those of a plain run on its problems."""
    monkeypatch.chdir(tmp_path)
    series = '[series]\nname = "nightly"\ndataset = "me/demo"'
    run_file, hub = write_run_file(tmp_path, series, problems=3), serving.hub
    # Prefect reads a sixth field as seconds.
    assert main(["deploy", str(run_file), "--cron", "* * * * * */10", "--pool", "nights", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["pool_made"]
    with serving.worker("nights"):
        first = labelling(serving, about["id"], 3)
        add(tmp_path)
        second = labelling(serving, about["id"], 1)
        serving.delete(about["id"])
    if serving.database is not None:
        assert count_completed(serving.database.url) >= 2
    made = [made_by(run) for run in (first, second)]
    nights = [run.name.removeprefix("nightly-") for run in made]
    for run, night in zip((first, second), nights, strict=True):
        assert run["state"]["type"] == "COMPLETED"
        assert run["auto_scheduled"]
        assert run["state"]["message"].endswith(f"; published: {night}, at {hub.url}/datasets/me/demo")
    assert sorted((tmp_path / "runs").iterdir()) == made
    assert [texts(run) for run in made] == [{f"Problem {i}" for i in range(3)}, {"A new problem"}]
    assert list(hub.tags) == nights
    assert len(hub.commits) == 2
    for night, problems in zip(nights, (3, 0), strict=True):
        plain = tmp_path / f"plain-{problems}"
        plain.mkdir()
        alone = write_run_file(plain, problems=problems)
        if not problems:
            (plain / "problems.jsonl").write_text(f"{NEW}\n")
        with without_prefect():
            run_plainly.fn(load_config(alone))
        sent = {name: data for name, data in hub.files.items() if name.startswith(f"data/steps/{night}-")}
        assert rows(map(BytesIO, sent.values())) == rows((plain / "runs" / "demo" / "shards").iterdir())


@pytest.mark.slow
def test_a_run_on_a_store_grows_when_its_deployment_fires(
    serving: Serving, at_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    run_file, place = write_run_file(tmp_path, problems=3), f"file://{tmp_path}/objects"
    run_file.write_text(run_file.read_text().replace(str(tmp_path / "runs"), place))
    assert main(["deploy", str(run_file), "--name", "grows", "--json"]) == 0
    deployment = json.loads(capsys.readouterr().out)["id"]
    for n in (3, 4):
        serving.fire(deployment)
        ended = serving.until(lambda n=n: serving.runs(deployment, "COMPLETED", "FAILED")[n - 3 :], 120)
        assert ended[0]["state"]["message"] == f"problems labelled: {n}, in {place}/demo"
        add(tmp_path)
    serving.delete(deployment)


# It is met in the middle of a run, and waits there.
WAITING = """
import time
from pathlib import Path
from pipeline.policies.simulated import SimulatedPolicy

def make():
    here = Path(__file__)
    here.with_name("began").touch()
    while not here.with_name("go on").exists():
        time.sleep(0.1)
    return SimulatedPolicy(n_steps=5, slip=0.25)
"""


@pytest.mark.slow
def test_a_database_that_is_restarted_in_the_middle_of_a_run_costs_no_rows(
    serving: Serving,
    at_server: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if serving.database is None:
        pytest.skip("PostgreSQL is not installed (no initdb)")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "waiting.py").write_text(WAITING)
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"', problems=3)
    text = run_file.read_text()
    before, after = text.index("[policy]"), text.index("[[annotate]]")
    policy = '[policy]\nkind = "python"\nfactory = "waiting:make"\n'
    run_file.write_text(text[:before] + policy + text[after:])
    assert main(["deploy", str(run_file), "--name", "restarted", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    serving.fire(about["id"])
    serving.until((tmp_path / "began").exists, 120)

    def counted() -> bool:
        asked = serving.client.post(f"{serving.url}/flow_runs/count", json={})
        return asked.status_code == 200

    serving.database.stop()
    assert not counted()
    serving.database.start()
    serving.until(counted, 60)
    (tmp_path / "go on").touch()
    first = made_by(labelling(serving, about["id"], 3))
    with without_prefect():
        run_plainly.fn(load_config(run_file, ("name=plain",)))
    assert rows((first / "shards").iterdir()) == rows((tmp_path / "runs/plain/shards").iterdir())
    add(tmp_path)
    serving.fire(about["id"])
    assert texts(made_by(labelling(serving, about["id"], 1))) == {"A new problem"}
    serving.delete(about["id"])


NEW = '{"text": "A new problem", "answer": "right", "kind": "text"}'


def count_completed(database: str) -> int:
    """The completed flow runs that a database holds."""
    import asyncpg

    async def ask() -> int:
        connection = await asyncpg.connect(database.replace("+asyncpg", ""))
        try:
            asked = "select count(*) from flow_run where state_type = 'COMPLETED'"
            return int(await connection.fetchval(asked))
        finally:
            await connection.close()

    return asyncio.run(ask())


def texts(run: Path) -> set[str]:
    """The problems of a sealed run."""
    assert (run / "manifest.json").is_file()
    lines = [line for file in (run / "problems").glob("0*.jsonl") for line in file.read_text().splitlines()]
    return {json.loads(line)["text"] for line in lines}
