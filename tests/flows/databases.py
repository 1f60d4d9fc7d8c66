"""A PostgreSQL server for the length of a test."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path | None:
    """Where initdb and postgres lie, if they are installed. Debian does not put them on the path."""
    config = shutil.which("pg_config")
    said = subprocess.run([config, "--bindir"], stdout=subprocess.PIPE, check=True) if config else None
    places = [Path(said.stdout.decode().strip())] if said else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


def _owner() -> pwd.struct_passwd | None:
    """Whom root lends the server to: PostgreSQL refuses to run as root."""
    known = {user.pw_name: user for user in pwd.getpwall()}
    return (known.get("postgres") or known.get("nobody")) if os.geteuid() == 0 else None


@dataclass
class Database:
    """A PostgreSQL server with an empty database. It can be stopped, and started again on what it has."""

    programs: Path
    folder: Path
    as_owner: dict[str, Any]
    port: int = field(default_factory=free_port)
    server: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Its address, as Prefect has it."""
        return f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Lay its files out."""
        made = [self.programs / "initdb", "-D", self.folder / "data", "-U", "prefect", "-A", "trust"]
        self._run(*made, "--no-locale", "--no-sync", "-E", "UTF8")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        start = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
        start += [f"-c{one}" for one in settings]
        with (self.folder / "log").open("ab") as log:
            self.server = subprocess.Popen(start, cwd=self.folder, stdout=log, stderr=log, **self.as_owner)
        ready = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(600):
            if subprocess.run(ready).returncode == 0:
                return
            assert self.server.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stop it at once, as a machine does that is switched off."""
        if self.server is not None:
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait()
            self.server = None

    def _run(self, *command: "str | Path") -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, **self.as_owner)
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def postgres() -> Iterator[Database | None]:
    """A PostgreSQL server of its own, which trusts everybody on loopback; None where none can be started."""
    programs, owner = _programs(), _owner()
    if programs is None or (owner is None and os.geteuid() == 0):
        yield None
        return
    # Not in pytest's folder, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="stepmint-postgres-") as folder:
        as_owner: dict[str, Any] = {}
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        database = Database(programs, Path(folder), as_owner)
        database.make()
        try:
            database.start()
            yield database
        finally:
            database.stop()
