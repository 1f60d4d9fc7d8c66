"""SeaweedFS on loopback: an S3 server of this machine's own, for tests and benches."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

WEED = Path(sys.executable).parent / "weed"
BUCKET = "runs"
_PORTS = tuple(f"{of}.port{kind}" for of in ("s3", "master", "volume", "filer") for kind in ("", ".grpc"))
_NOT_SERVED = (("s3.port.iceberg", 0), ("s3.port.lance", 0))
_STARTS_S = 180
"""It starts in four seconds, but not on a machine that is busy."""


def free_ports(n: int) -> list[int]:
    """Ports of loopback that nothing listens on."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


class Weed:
    """SeaweedFS with an S3 gateway on loopback, which can be killed and started again on what it has."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.port = self._ports["s3.port"]
        where = (f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64")
        # Its catalogues for tables listen on fixed ports: a second server on a machine would die of it.
        options = (f"-{name}={port}" for name, port in (*self._ports.items(), *_NOT_SERVED))
        self._command = [str(WEED), "server", "-s3", *where, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to serve; returns at once."""
        quiet = subprocess.DEVNULL
        # With the clients' keys in its environment it would ask every request for them.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet, env=environment)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def revive(self) -> bool:
        """Start it again where it has ended by itself, as it does when a busy machine lets it wait for its
        parts; says whether it had."""
        if self._process is None or self._process.poll() is None:
            return False
        self.start()
        return True

    def wait(self) -> None:
        """Until it answers and the bucket is there; it is started again if it has died meanwhile.
        AssertionError after three minutes: a busy machine is slow."""
        until, said = time.monotonic() + _STARTS_S, "no answer"
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                self.start()
            try:
                answer = httpx.put(f"http://127.0.0.1:{self.port}/{BUCKET}", timeout=20)
                if answer.status_code in (200, 409):
                    return
                said = f"{answer.status_code} {answer.text[:200]}"
            except httpx.TransportError as error:
                said = repr(error)
            time.sleep(0.25)
        raise AssertionError(f"SeaweedFS did not start within {_STARTS_S} s: {said}")

    def environment(self) -> dict[str, str]:
        """What its clients need."""
        keys = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything"}
        return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_REGION": "us-east-1", **keys}


@contextmanager
def serving(folder: Path) -> Iterator[Weed]:
    """A server with an empty bucket, which lies in this folder."""
    server = Weed(folder)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()
