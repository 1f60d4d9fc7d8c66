"""`stepmint deploy`, and a schedule that fires: a Prefect server, a worker and a series of runs."""

import asyncio
import json
import os
import re
from argparse import Namespace
from collections.abc import Iterable
from contextlib import ExitStack, redirect_stdout
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from benchmarks.hub import LARGE, Hub, serving
from flows import deployed
from flows.cli import main
from flows.deploy import is_daily
from flows.engine import without_prefect
from flows.main import main as run_plainly
from flows.settings import DEFAULTS
from schemas.arrow import from_row
from schemas.config import load_config
from tests.flows.conftest import write_run_file
from tests.flows.databases import free_port, postgres
from tests.flows.serving import running, until

ROOT = Path(__file__).parents[2]


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
        (["--name", "a/b"], "--name 'a/b'"),
        (["--set", "ray.address='auto'"], "[ray] needs an object store"),
        (["--set", "root='s3://me:hunter2@bucket/runs'"], "--set: holds a password"),
        (["--pool-type", "process", "--image", "mine"], "--image mine"),
        (["--set", "root='s3://bucket/runs'", "--set", "train.epochs=1"], "leave [train] and [evaluate] out"),
        (["--pool-type", "docker"], "--image is needed"),
        (["--pool-type", "kubernetes", "--image", "mine"], "a pod's folders go with it"),
        (
            ["--pool-type", "kubernetes", "--image", "mine", "--set", "series.name=nightly"],
            "a [series] needs a folder that outlasts its runs",
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


def settings(tmp_path: Path, database: str, hub: Hub) -> dict[str, str]:
    """The environment of a Prefect server on this database, and of a worker that publishes to this Hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return {
        **kept,
        **{name: value for name, value in DEFAULTS.items() if "CONSOLE" not in name},
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_stand_in",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_UI_ENABLED": "0",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        # Nobody reads the events.
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "20",
    }


class Served:
    """A Prefect server with a worker, and a deployment that it fires."""

    def __init__(self, env: dict[str, str], folder: Path, stack: ExitStack) -> None:
        self.env, self.folder, self.stack = env, folder, stack
        self.url = env["PREFECT_API_URL"]
        self.client = stack.enter_context(httpx.Client(trust_env=False, timeout=30))
        self.log = folder / "server.log"
        port = self.url.rpartition(":")[2].partition("/")[0]
        server = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        stack.enter_context(running(server, env, self.log))
        until(self.answers, 120, self.log)

    def answers(self) -> bool:
        try:
            return self.client.get(f"{self.url}/health").status_code == 200
        except httpx.TransportError:
            return False

    def deploy(self, run_file: Path, *when: str) -> dict[str, Any]:
        """Deploy a run file by the command, and start a worker for its pool."""
        from prefect.settings import PREFECT_API_URL, temporary_settings

        # Here, since a process of its own takes ten seconds on a busy machine.
        with temporary_settings({PREFECT_API_URL: self.url}), redirect_stdout(StringIO()) as said:
            assert main(["deploy", str(run_file), *when, "--json"]) == 0
        self.about: dict[str, Any] = json.loads(said.getvalue())
        self.log = self.folder / "worker.log"
        worker = ["prefect", "worker", "start", "--pool", self.about["pool"]]
        self.stack.enter_context(running(worker, self.env, self.log))
        return self.about

    def ended(self) -> list[dict[str, Any]]:
        """The fires that were run to an end, in the order of their planned times."""
        asked = {
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
            "deployments": {"id": {"any_": [self.about["id"]]}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        return list(self.client.post(f"{self.url}/flow_runs/filter", json=asked).raise_for_status().json())

    def labelling(self, n: int) -> dict[str, Any]:
        """The fire that labelled so many problems, when it has ended. Every other one must have been well,
        too, and have found nothing new."""

        def found() -> list[dict[str, Any]]:
            for run in self.ended():
                assert re.match(r"new problems labelled: |nothing new: ", run["state"]["message"]), run
            begins = f"new problems labelled: {n},"
            return [run for run in self.ended() if run["state"]["message"].startswith(begins)]

        run: dict[str, Any] = until(found, 120, self.log)[0]
        return run


@pytest.mark.slow
def test_each_fire_of_a_cron_labels_and_publishes_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL, as a team would have it. Each night's rows are those of a plain run on its problems."""
    monkeypatch.chdir(tmp_path)
    series = '[series]\nname = "nightly"\ndataset = "me/demo"'
    run_file = write_run_file(tmp_path, series, problems=3)
    with ExitStack() as stack:
        hub = stack.enter_context(serving(Hub(ends=LARGE)))
        database = stack.enter_context(postgres())
        served = Served(settings(tmp_path, database, hub), tmp_path, stack)
        # Prefect reads a sixth field as seconds.
        about = served.deploy(run_file, "--cron", "* * * * * */10")
        assert about["pool_made"]
        first = served.labelling(3)
        with (tmp_path / "problems.jsonl").open("a") as file:
            file.write(f"{NEW}\n")
        second = served.labelling(1)
        assert count_completed(database) >= 2
    made = [Path(re.search(r" in (\S+);", run["state"]["message"])[1]) for run in (first, second)]  # type: ignore[index]
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


NEW = '{"text": "A new problem", "answer": "right", "kind": "text"}'


def rows(files: Iterable[Any]) -> list[str]:
    """The labelled solutions of Parquet files, but for the places that the problems were read from."""
    found = [from_row(row) for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(row.model_dump_json(exclude={"problem": {"source"}}) for row in found)


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
