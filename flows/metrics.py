"""Counters for Prometheus: served on a port while a command labels, and written into a file at its end."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from schemas.errors import UserError

if TYPE_CHECKING:
    from pipeline.labelling.measured import Meter

LOOPBACK = "127.0.0.1"
EVERY_S = 15.0
"""How often the file is written anew."""


def add_arguments(*commands: argparse.ArgumentParser) -> None:
    """The options of commands that label."""
    for added in commands:
        added.add_argument(
            "--metrics-port",
            type=int,
            metavar="PORT",
            help="serve counters for Prometheus on this port of 127.0.0.1 (docs/operations.md)",
        )
        added.add_argument(
            "--metrics-host",
            default=LOOPBACK,
            metavar="ADDRESS",
            help="listen there instead; 0.0.0.0 is every network of this machine, and asks for no password",
        )
        added.add_argument(
            "--metrics-file",
            default="",
            metavar="FILE",
            help="write the counters into this file every 15 s and at the end, e.g. runs/mine/metrics.prom",
        )
        added.add_argument(
            "--price-per-hour",
            type=float,
            metavar="DOLLARS",
            help="what this machine costs; stepmint_cost_dollars_total counts it",
        )


@contextmanager
def measured(args: argparse.Namespace) -> Iterator[None]:
    """Count what a command does, if its arguments ask for it."""
    port, file = getattr(args, "metrics_port", None), getattr(args, "metrics_file", "")
    if port is None and not file:
        yield
        return
    from pipeline.labelling.measured import Meter, counting

    with ExitStack() as stack:
        meter = stack.enter_context(counting(Meter(args.price_per_hour)))
        if port is not None:
            stack.enter_context(_served(meter, args.metrics_host, port))
        if file:
            stack.enter_context(_written(meter, Path(file)))
        yield


@contextmanager
def _served(meter: "Meter", host: str, port: int) -> Iterator[None]:
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, host, meter.registry)
    except (OSError, OverflowError) as error:
        raise UserError(f"--metrics-port {port}: cannot listen on {host} ({error})") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _written(meter: "Meter", file: Path) -> Iterator[None]:
    from prometheus_client import generate_latest

    from pipeline.storage.atomic import write_bytes

    over = Event()

    def write() -> None:
        # The folder of a run is made by the run; before that there is nothing to count.
        if file.parent.is_dir():
            write_bytes(file, generate_latest(meter.registry))

    def pulse() -> None:
        while not over.wait(EVERY_S):
            # What the disk does not take now it may take later; if not, the last writing says so.
            with suppress(UserError):
                write()

    thread = Thread(target=pulse, name="metrics", daemon=True)
    thread.start()
    failed = True
    try:
        yield
        failed = False
    finally:
        over.set()
        thread.join()
        # The error of the command itself says more.
        with suppress(UserError) if failed else nullcontext():
            write()
