"""A temporary Prefect server for one command, where no server is configured.

Prefect would start one itself, but in our process group: Ctrl-C would stop the server before the flow could
report its end, and pages of connection errors would follow. Ours runs in its own session, ends when its
parent has ended, and starts while the command reads the problems and imports Prefect. It has its own
database, which is deleted with it: servers that share one migrate and lock it at the same time.
"""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from flows.importing import uncollected
from flows.settings import DEFAULTS, set_defaults
from pipeline.storage.atomic import fresh_folder
from schemas.errors import BackendError
from verifiers.isolation.lifeline import lifeline

# It starts in three seconds, but a database of the user's is migrated first: 14 s on an idle machine, three
# minutes on a busy one.
_PATIENCE_S = 600.0
# A user who sets a variable with one of these beginnings wants a certain database: then ours is not used.
_DATABASE = ("PREFECT_API_DATABASE_", "PREFECT_SERVER_DATABASE_")
_SQLITE = "sqlite+aiosqlite:///"
# A server for one command needs no web page and registers no blocks, which would only delay its start. It is
# asked by its one flow alone, and its database is deleted with it: nobody reads the events, and what is made
# of them.
_LEAN = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


@contextmanager
def starting() -> Iterator["Server | None"]:
    """Start a server if none is configured; call `ready` on it before the first flow."""
    set_defaults()  # Prefect reads its environment while it is imported
    with fresh_folder() as folder:
        # Importing Prefect's settings takes two seconds. Where our own look finds none, the server starts
        # first and uses this time.
        server = Server(folder) if _nothing_is_set() else None
        try:
            if server is None:
                from prefect.settings import PREFECT_API_URL

                server = None if PREFECT_API_URL.value() else Server(folder)
            yield server
        finally:
            if server is not None:
                server.stop()


def _nothing_is_set() -> bool:
    """Whether Prefect has no settings but its defaults and ours, as far as can be told without importing
    it."""
    ours = {*DEFAULTS, "PREFECT_HOME"}
    named = any(name.upper().startswith("PREFECT_") and name not in ours for name in os.environ)
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    where = {
        home / "profiles.toml": "",
        Path("prefect.toml"): "",
        Path("pyproject.toml"): "tool.prefect",
        Path(".env"): "prefect",
    }
    written = any(f.is_file() and word in f.read_text(errors="replace").lower() for f, word in where.items())
    return not named and not written and "prefect" not in sys.modules


class Server:
    """A server process on a free port of the loopback interface, with its database in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        # The system gives a free port. Another process could take it before the server does; then the server
        # does not start, and says so.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url, self.folder = f"http://127.0.0.1:{port}/api", folder
        settings = {**os.environ, **_settings()}
        if not any(name.upper().startswith(_DATABASE) for name in settings):
            settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"{_SQLITE}{folder / 'server.db'}"
            # `_lay_tables` makes the tables; no migration would find them in order.
            settings["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "0"
        line = lifeline().fileno()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        """The server's stderr; its last line explains why it did not start."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(port), str(line), str(folder)],
            env={**settings, **_LEAN},
            pass_fds=[line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C in the terminal does not reach it
        )

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Wait until it answers, then send every flow inside to it. BackendError when it does not start."""
        with uncollected():
            import flows.orchestration  # noqa: F401 - takes seconds, in which the server starts
        from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

        self._wait()
        # Nobody could read the log on this server: it shows no page, and its database is deleted.
        with temporary_settings({PREFECT_API_URL: self.url, PREFECT_LOGGING_TO_API_ENABLED: False}):
            try:
                yield
            finally:
                _drain()

    def stop(self) -> None:
        """Kill the process: nothing in its database is needed any more."""
        self._process.kill()
        self._process.wait()
        self._said.close()

    def _wait(self) -> None:
        import httpx

        deadline = time.monotonic() + _PATIENCE_S
        with httpx.Client(trust_env=False) as client:  # a proxy has no way to this machine's own server
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    if client.get(f"{self.url}/health").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        raise BackendError(f"Prefect's temporary server did not start: {' '.join(last) or 'no answer'}")


def _settings() -> dict[str, str]:
    """What this process has set beyond its environment; nothing before Prefect is imported."""
    if "prefect" not in sys.modules:
        return {}
    from prefect.settings import get_current_settings

    return get_current_settings().to_environment_variables(exclude_unset=True)


def _drain() -> None:
    """Send what Prefect has queued, while the server still runs; later it would log connection errors."""
    from prefect.events.worker import EventsWorker

    EventsWorker.instance().drain()


def _leave_with(line: int, folder: Path) -> None:
    os.read(line, 1)  # the command never writes: it returns when the command has ended, however that was
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _lay_tables(database: Path) -> None:
    """Make a new database with Prefect's tables as its classes declare them.

    Prefect itself would repeat a hundred migrations of its history, a quarter of a minute for the same
    tables. Left out are indexes that only they make, for deployments and for searches by name.
    """
    from prefect.server.database.orm_models import Base
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable

    tables = Base.metadata.sorted_tables
    made: list[CreateTable | CreateIndex] = [CreateTable(table) for table in tables]
    # One index is declared twice.
    made += [CreateIndex(index, if_not_exists=True) for table in tables for index in table.indexes]
    dialect = sqlite.dialect()  # type: ignore[no-untyped-call, unused-ignore]
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript("".join(f"{statement.compile(dialect=dialect)};" for statement in made))


def serve(port: int, line: int, folder: Path) -> None:
    """Run the server of a command, until the command has ended."""
    threading.Thread(target=_leave_with, args=(line, folder), daemon=True).start()
    with uncollected():
        import uvicorn

        database = folder / "server.db"
        if os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL") == f"{_SQLITE}{database}":
            _lay_tables(database)
        from prefect.server.api.server import create_app

        app = create_app()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
