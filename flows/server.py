"""A temporary Prefect server for one command, where no server is configured.

Prefect would start one itself, but in our process group: Ctrl-C would stop the server before the flow could
report its end, and pages of connection errors would follow. Ours runs in its own session, ends when its
parent has ended, and starts while the command imports its libraries and reads the problems. It has its own
database, which is deleted with it: servers that share one migrate and lock it at the same time.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
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
    # A library of its queues would check the types of its own calls.
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "true",
}
_SOON = (
    "flows.orchestration",
    "anyio._backends._asyncio",
    "fastapi.encoders",
    "prefect.flow_engine",
    "prefect.main",
    "prefect.utilities.visualization",
    "pydantic.v1.decorator",
)
"""What a flow under Prefect imports. It takes seconds, in which the server starts."""
_AHEAD: "list[Server]" = []
"""The server that was started ahead, until it is taken or stopped."""


@contextmanager
def ahead() -> Iterator[None]:
    """Start the server of a command that is going to run a flow, before anything else. The command then
    imports its libraries beside it. A server that is not taken is stopped."""
    if not _nothing_is_set():
        yield
        return
    with fresh_folder() as folder:
        _AHEAD.append(Server(folder, lean=True))
        try:
            yield
        finally:
            stop_ahead()


def stop_ahead() -> None:
    """Stop the server that was started ahead, if it was not taken: no flow is going to run."""
    while _AHEAD:
        _AHEAD.pop().stop()


@contextmanager
def starting() -> Iterator["Server | None"]:
    """Start a server if none is configured; call `ready` on it before the first flow."""
    set_defaults()  # Prefect reads its environment while it is imported
    with fresh_folder() as folder:
        # Importing Prefect's settings takes two seconds. Where our own look finds none, the server starts
        # first and uses this time.
        server = _AHEAD.pop() if _AHEAD else Server(folder, lean=True) if _nothing_is_set() else None
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
    """A server process on a free port of the loopback interface, with its database in a temporary folder.

    A `lean` one is Prefect's application in parts (`flows.server_process`), for who has set nothing of it.
    """

    def __init__(self, folder: Path, *, lean: bool = False) -> None:
        settings = {**os.environ, **_settings()}
        if not any(name.upper().startswith(_DATABASE) for name in settings):
            settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"{_SQLITE}{folder / 'server.db'}"
            # The process makes the tables; no migration would find them in order.
            settings["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "0"
        line = lifeline().fileno()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        """The server's stderr; its last line explains why it did not start."""
        self.folder = folder
        # It listens before the process does: the first request waits there for its answer.
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            told = (str(listening.fileno()), str(line), str(folder), "lean" if lean else "whole")
            self._process = subprocess.Popen(
                # Without -P a folder `flows` where the command was given would be taken for ours.
                [sys.executable, "-P", "-m", "flows.server_process", *told],
                env={**settings, **_LEAN, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[listening.fileno(), line],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C in the terminal does not reach it
            )

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Wait until it answers, then send every flow inside to it. BackendError when it does not start."""
        with uncollected():
            for name in _SOON:
                with suppress(ModuleNotFoundError):  # another version of Prefect may do without
                    import_module(name)
            from prefect.events.clients import NullEventsClient
            from prefect.events.worker import EventsWorker
            from prefect.settings import temporary_settings

        # Nobody could read the log or the events on this server: it shows no page, and its database is
        # deleted. A heart that beats is seen by nobody, and each flow would wait up to a second for its end.
        settings = {
            "api.url": self.url,
            "client.csrf_support_enabled": False,
            "flows.heartbeat_frequency": None,
            "logging.to_api.enabled": False,
        }
        with temporary_settings(settings):
            self._wait()
            EventsWorker.set_client_override(NullEventsClient)
            try:
                yield
            finally:
                # What Prefect has queued it would log as connection errors later.
                EventsWorker.instance().drain()
                EventsWorker.set_client_override(None)

    def stop(self) -> None:
        """Kill the process: nothing in its database is needed any more."""
        self._process.kill()
        self._process.wait()
        self._said.close()

    def _wait(self) -> None:
        import httpx

        try:
            # A proxy has no way to this machine's own server.
            with httpx.Client(trust_env=False, timeout=_PATIENCE_S) as client:
                if client.get(f"{self.url}/health").status_code == 200:
                    return
        except httpx.TransportError:
            pass
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        raise BackendError(f"Prefect's temporary server did not start: {' '.join(last) or 'no answer'}")


def _settings() -> dict[str, str]:
    """What this process has set beyond its environment; nothing before Prefect is imported."""
    if "prefect" not in sys.modules:
        return {}
    from prefect.settings import get_current_settings

    return get_current_settings().to_environment_variables(exclude_unset=True)
