"""A temporary server starts early only where nothing can point Prefect elsewhere, and without what no flow
asks for."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flows.server import _AHEAD, _nothing_is_set, ahead, stop_ahead
from flows.server_process import _is_locked

ASKED = """
import asyncio, json, sqlite3, sys
from pathlib import Path
from flows import server_process

server_process.lay_tables(Path(sys.argv[1]))
whole = "prefect.server.api.background_workers"
app = server_process.app_of(lean=True)
import httpx

async def ask():
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/api") as client:
        nobody = "00000000-0000-0000-0000-000000000000"
        flow = (await client.post("/flows/", json={"name": "one"})).json()["id"]
        made = await client.post("/flow_runs/", json={"flow_id": flow, "state": {"type": "PENDING"}})
        state = {"state": {"type": "RUNNING"}}
        set_state = await client.post(f"/flow_runs/{made.json()['id']}/set_state", json=state)
        sqlite3.connect(sys.argv[1]).executescript("DROP TABLE flow_run_input")
        said = [
            (await client.get("/health")).status_code,
            made.status_code,
            set_state.json()["status"],
            (await client.get(f"/flow_runs/{nobody}")).status_code,
            (await client.post("/flow_runs/", json={})).status_code,
            (await client.post(f"/flow_runs/{nobody}/input/filter", json={"prefix": ""})).status_code,
            whole in sys.modules,
            (await client.post("/variables/filter", json={})).json(),
            whole in sys.modules,
            (await client.post("/flows/filter", json={})).json()[0]["name"],
        ]
    server_process._VERSION = "another"
    print(json.dumps([*said, type(server_process.app_of(lean=True)).__name__]))

asyncio.run(ask())
"""


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of one's own, and no word about Prefect."""
    for name in [name for name in os.environ if name.upper().startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_starts_early_where_nothing_is_set(untold: Path) -> None:
    (untold / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert _nothing_is_set()


@pytest.mark.parametrize(
    "name", ["PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "prefect_api_url"]
)
def test_a_variable_is_heeded(untold: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:  # noqa: ARG001
    monkeypatch.setenv(name, "local")
    assert not _nothing_is_set()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("home/profiles.toml", "active = 'mine'"),
        ("prefect.toml", "[api]"),
        ("pyproject.toml", "[tool.prefect.api]"),
        (".env", "prefect_api_url=http://x"),
    ],
)
def test_a_file_is_heeded(untold: Path, file: str, text: str) -> None:
    (untold / file).parent.mkdir(exist_ok=True)
    (untold / file).write_text(text)
    assert not _nothing_is_set()


def test_a_flow_is_answered_at_once_and_other_requests_by_prefects_own_application(tmp_path: Path) -> None:
    database = tmp_path / "server.db"
    settings = {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "0",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(database)],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [200, 201, "ACCEPT", 404, 422, 500, False, [], True, "one", "FastAPI"]


def test_only_a_database_in_use_is_asked_again() -> None:
    from sqlalchemy.exc import IntegrityError, OperationalError

    def refused(said: str) -> OperationalError:
        return OperationalError("SELECT 1", {}, sqlite3.OperationalError(said))

    assert _is_locked(refused("database is locked"))
    assert not _is_locked(refused("database or disk is full"))
    assert not _is_locked(IntegrityError("SELECT 1", {}, sqlite3.IntegrityError("database is locked")))


def test_a_folder_of_the_users_is_not_taken_for_ours(untold: Path) -> None:
    (untold / "flows").mkdir()
    (untold / "flows" / "__init__.py").touch()
    with ahead():
        _AHEAD[0]._wait()


def test_a_server_that_is_not_taken_is_stopped(untold: Path) -> None:  # noqa: ARG001
    with ahead():
        [server] = _AHEAD
        assert server.folder.is_dir()
        assert server._process.poll() is None
        stop_ahead()
        assert server._process.poll() is not None
    assert not server.folder.exists()


def test_none_is_started_ahead_where_one_is_named(untold: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with ahead():
        assert _AHEAD == []


@pytest.mark.usefixtures("prefect")
def test_nobody_waits_for_what_nobody_sees() -> None:
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker
    from prefect.settings import get_current_settings

    assert get_current_settings().flows.heartbeat_frequency is None
    assert EventsWorker.instance().client_type is NullEventsClient
