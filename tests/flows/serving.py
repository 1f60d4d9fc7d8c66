"""A Prefect server with a process worker, as a team has them, for the tests that need the real ones.

It is on PostgreSQL where that is installed, else on SQLite.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.hub import LARGE, Hub
from benchmarks.hub import serving as serving_hub
from flows.settings import DEFAULTS
from tests.flows.databases import Database, free_port, postgres

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Serving:
    """A server that answers, its worker, and the environment in which commands find them."""

    url: str
    env: dict[str, str]
    client: httpx.Client
    log: Path
    """What the worker says."""
    hub: Hub
    """The stand-in for the Hub that the worker publishes to."""
    database: Database | None
    """None where the server is on SQLite."""

    @contextmanager
    def worker(self, pool: str) -> Iterator[None]:
        """One more worker, for a pool of its own."""
        command = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
        with running(command, self.env, self.log.with_name(f"{pool}.log")):
            yield

    def fire(self, deployment: str) -> str:
        """Start a run of a deployment by hand; returns its id."""
        asked = self.client.post(f"{self.url}/deployments/{deployment}/create_flow_run", json={})
        return str(asked.raise_for_status().json()["id"])

    def stepmint(self, *arguments: str, cwd: Path, **more: Any) -> subprocess.Popen[str]:
        """A command of ours as a process, beside the server."""
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.Popen(
            command, env=self.env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )

    def post(self, path: str, **asked: Any) -> Any:
        """What the server answers; nothing where its database does not, as SQLite does now and then."""
        try:
            answer = self.client.post(f"{self.url}/{path}", json=asked)
            answer.raise_for_status()
        except httpx.HTTPError:
            return []
        return answer.json()

    def runs(self, deployment: str, *states: str) -> list[dict[str, Any]]:
        """The runs of a deployment in these states, in the order of their planned times."""
        return list(
            self.post(
                "flow_runs/filter",
                flow_runs={"state": {"type": {"any_": list(states)}}} if states else {},
                deployments={"id": {"any_": [deployment]}},
                sort="EXPECTED_START_TIME_ASC",
            )
        )

    def delete(self, deployment: str) -> None:
        """End its schedule, for the sake of the tests that follow."""
        address = f"{self.url}/deployments/{deployment}"
        self.until(lambda: self.client.delete(address).status_code in (204, 404), 60)

    def until(self, found: Callable[[], Any], within_s: float) -> Any:
        """What is found in the end."""
        return until(found, within_s, self.log)


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
        time.sleep(0.2)
    raise AssertionError(f"not within {within_s:.0f} s: {said.read_text()[-3000:]}")


def environment(folder: Path, url: str, hub: Hub, database: Database | None) -> dict[str, str]:
    """The environment of a server on this database, and of a worker that publishes to this Hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return {
        **kept,
        **{name: value for name, value in DEFAULTS.items() if "CONSOLE" not in name},
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_stand_in",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_UI_ENABLED": "0",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        # Nobody reads old events, and SQLite is locked while the server writes them.
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "0",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "20",
        **({"PREFECT_API_DATABASE_CONNECTION_URL": database.url} if database else {}),
    }


@contextmanager
def served(folder: Path) -> Iterator[Serving]:
    """The server and the worker, with their files in a folder."""
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/api"
    log = folder / "server.log"
    with ExitStack() as stack:
        hub, database = stack.enter_context(serving_hub(Hub(ends=LARGE))), stack.enter_context(postgres())
        env = environment(folder, url, hub, database)
        client = stack.enter_context(httpx.Client(trust_env=False, timeout=30))
        server = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        stack.enter_context(running(server, env, log))

        def answers() -> bool:
            try:
                return client.get(f"{url}/health").status_code == 200
            except httpx.TransportError:
                return False

        until(answers, 120, log)
        log = folder / "worker.log"
        worker = ["prefect", "worker", "start", "--pool", "stepmint", "--type", "process"]
        stack.enter_context(running(worker, env, log))
        yield Serving(url, env, client, log, hub, database)
