"""SeaweedFS on loopback: an S3 server of this machine's own, for tests and benches."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

WEED = Path(sys.executable).parent / "weed"
_STARTS_S = 120
"""It starts in four seconds, but not on a machine that is busy."""
_PORTS = tuple(f"{of}.port{kind}" for of in ("s3", "master", "volume", "filer") for kind in ("", ".grpc"))


def free_ports(n: int) -> list[int]:
    """Ports of loopback that nothing listens on at the moment."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


@contextmanager
def bucket_of(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """An empty bucket in a folder: its address, and the environment that its clients need."""
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    folder.mkdir()
    where = [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64"]
    options = [f"-{name}={port}" for name, port in ports.items()]
    # Two services that nobody asks listen on fixed ports, and a second server on the machine would not start.
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([WEED, "server", "-s3", *where, *options], stdout=quiet, stderr=quiet)
    url = f"http://127.0.0.1:{ports['s3.port']}"
    keys = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_REGION": "us-east-1"}
    try:
        _wait_for(f"{url}/runs")
        yield "s3://runs", {"AWS_ENDPOINT_URL": url, **keys}
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str) -> None:
    until = time.monotonic() + _STARTS_S
    while time.monotonic() < until:
        try:
            if httpx.put(url).status_code in (200, 409):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    raise AssertionError(f"SeaweedFS did not start within {_STARTS_S} s")
