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
from pathlib import Path

import pytest


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path:
    """Where initdb and postgres lie. Debian does not put them on the path."""
    config = shutil.which("pg_config")
    said = subprocess.run([config, "--bindir"], stdout=subprocess.PIPE, check=True) if config else None
    places = [Path(said.stdout.decode().strip())] if said else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next((place for place in places if (place / "initdb").exists()), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed (no initdb)")
    return found


def _owner() -> pwd.struct_passwd | None:
    """Whom root lends the server to: PostgreSQL refuses to run as root."""
    if os.geteuid():
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known.get("nobody")
    return user or pytest.skip("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database on a server of its own, which trusts everybody on loopback."""
    programs, owner, port = _programs(), _owner(), free_port()
    # Not in pytest's folder, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="stepmint-postgres-") as folder:
        as_owner = {}
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        data = f"{folder}/data"
        make = [programs / "initdb", "-D", data, "-U", "prefect", "-A", "trust", "--no-locale", "--no-sync"]
        made = subprocess.run([*make, "-E", "UTF8"], cwd=folder, capture_output=True, **as_owner)
        assert made.returncode == 0, made.stderr.decode()
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        start = [programs / "postgres", "-D", data, "-p", str(port), *(f"-c{one}" for one in settings)]
        with Path(folder, "log").open("wb") as log:
            server = subprocess.Popen(start, cwd=folder, stdout=log, stderr=log, **as_owner)
        try:
            ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            for _ in range(600):
                if subprocess.run(ready).returncode == 0:
                    break
                assert server.poll() is None, Path(folder, "log").read_text()
                time.sleep(0.1)
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait()
