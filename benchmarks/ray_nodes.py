"""A Ray cluster on loopback: each node has an address and a session of its own, and can be struck.

Two nodes of one machine need two addresses, 127.0.0.2 and 127.0.0.3: Ray turns 127.0.0.1 into the machine's
outside one. Only processes that were started here are ever signalled; `ray stop` would end every Ray of the
machine. Ray listens on all interfaces, so a random token keeps others out.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.weed import free_ports

RAY = Path(sys.executable).parent / "ray"
KEEPALIVE = {
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
"""What docs/ray.md advises: a node that says nothing for so long is given up, and its shards are moved."""
_STARTS = 3
"""Ray gives a node up that is not there after 30 s, which a busy machine may need."""


class Node:
    """A machine of the cluster: a raylet, its agents and its workers."""

    def __init__(self, address: str, options: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.address, self._environment, self._log = address, environment, log
        self._command = [RAY, "start", f"--node-ip-address={address}", *options]
        self._start()

    def _start(self) -> None:
        with self._log.open("wb") as out:
            self._starting = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._session = self._starting.pid

    def wait(self) -> None:
        """Until it has joined the cluster."""
        for _ in range(_STARTS):
            if not self._starting.wait():
                return
            self.kill()
            self._start()
        raise RuntimeError(f"the Ray node {self.address} did not start: {self._log.read_text()[-500:]}")

    def freeze(self) -> None:
        """Stop all of it."""
        self._strike(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._strike(signal.SIGCONT)

    def kill(self) -> None:
        """Kill all of it, as a power cut does."""
        while self._strike(signal.SIGKILL):
            time.sleep(0.01)

    def _strike(self, number: int) -> int:
        """Send a signal to every process of the node; returns how many there were."""
        found = list(self._processes())
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        return len(found)

    def _processes(self) -> Iterator[int]:
        """Those that are alive. Workers have process groups of their own, but all are in the session that was
        started with the node."""
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self._session and state not in "ZX":
                    yield int(place.name)


@contextmanager
def cluster(
    environment: Mapping[str, str], *, cpus: tuple[int, ...] = (1, 1)
) -> Iterator[tuple[str, list[Node], dict[str, str]]]:
    """A cluster of a node for each number of processors, the first of which is its head: the head's address,
    the nodes, and the environment that a driver needs."""
    # Sockets lie below it, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    port, client = free_ports(2)
    address = f"127.0.0.2:{port}"
    ours = {
        **environment,
        **KEEPALIVE,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_NUM_REDIS_GET_RETRIES": "120",
    }
    head = ["--head", f"--port={port}", f"--temp-dir={folder}", "--no-monitor"]
    head += ["--include-dashboard=false", f"--ray-client-server-port={client}"]
    nodes: list[Node] = []
    try:
        # All at once: the others wait for the head.
        for number, n in enumerate(cpus):
            options = [*(head if not number else [f"--address={address}"]), f"--num-cpus={n}"]
            options += [
                "--object-store-memory=100000000",
                "--include-log-monitor=false",
                "--dashboard-agent-listen-port=0",
            ]
            nodes.append(Node(f"127.0.0.{number + 2}", options, ours, folder / f"start-{number}"))
        for node in nodes:
            node.wait()
        yield address, nodes, ours
    finally:
        for node in nodes:
            node.kill()
        _remove(folder)


def _remove(folder: Path) -> None:
    # Killed processes may write for a moment still.
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
