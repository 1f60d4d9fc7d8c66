"""`stepmint deploy`, and a schedule that fires: a Prefect server, a worker and a series of runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import deployed
from flows.cli import main
from flows.engine import without_prefect
from flows.settings import DEFAULTS
from tests.flows.conftest import write_run_file

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


@contextmanager
def running(command: list[str], env: dict[str, str], said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all that it starts, killed at the end."""
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=env, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(found: Callable[[], Any], within_s: float, said: Path) -> Any:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(1)
    raise AssertionError(f"not within {within_s:.0f} s: {said.read_text()[-3000:]}")


@pytest.mark.slow
def test_each_fire_of_a_schedule_labels_what_is_new(tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"', problems=3)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    env = {
        **kept,
        **{name: value for name, value in DEFAULTS.items() if "CONSOLE" not in name},
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_UI_ENABLED": "0",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        # Nobody reads the events, and the server's database is locked while it writes them.
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "20",
    }
    log = tmp_path / "server.log"
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(trust_env=False, timeout=30))
        server = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        stack.enter_context(running(server, env, log))

        def answers() -> bool:
            try:
                return client.get(f"{url}/health").status_code == 200
            except httpx.TransportError:
                return False

        until(answers, 120, log)
        deployed = subprocess.run(
            [sys.executable, "-m", "flows.cli", "deploy", str(run_file), "--every", "10", "--json"],
            env=env,
            cwd=tmp_path,
            check=True,
            stdout=subprocess.PIPE,
        )
        about = json.loads(deployed.stdout)
        assert about["pool_made"]
        log = tmp_path / "worker.log"
        stack.enter_context(running(["prefect", "worker", "start", "--pool", "stepmint"], env, log))

        def ended() -> list[dict[str, Any]]:
            """The fires that were run to an end, in the order of their planned times."""
            asked = {
                "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
                "deployments": {"id": {"any_": [about["id"]]}},
                "sort": "EXPECTED_START_TIME_ASC",
            }
            try:
                return list(client.post(f"{url}/flow_runs/filter", json=asked).raise_for_status().json())
            except httpx.HTTPError:  # SQLite is locked now and then
                return []

        first = until(ended, 120, log)[0]
        assert first["state"]["message"].startswith("new problems labelled: 3,"), first["state"]
        with (tmp_path / "problems.jsonl").open("a") as file:
            file.write('{"text": "A new problem", "answer": "right", "kind": "text"}\n')
        new = until(
            lambda: [
                run for run in ended() if run["state"]["message"].startswith("new problems labelled: 1,")
            ],
            120,
            log,
        )[0]
        between = until(ended, 60, log)
        assert {
            run["state"]["message"].partition(" in ")[0].partition(": earlier")[0] for run in between
        } <= {
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
