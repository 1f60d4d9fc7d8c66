"""Shows the progress of stages on stderr: a bar in a terminal, a few lines in a log file, nothing for --json.

The listener is held in a context variable: Prefect sends a task's parameters to other machines, and a
listener cannot be sent. On a cluster the shards report to Prefect, and no listener is set.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from schemas.text import one_line


class Listener(Protocol):
    """Is told about stages, of which one runs at a time."""

    def begin(self, stage: str, total: int | None, done: int) -> None:
        """A stage of `total` problems starts, `done` of them earlier; None where they cannot be counted."""
        ...

    def advance(self) -> None:
        """One problem is done."""
        ...

    def end(self, *, whole: bool) -> None:
        """The stage is over; not `whole` where an error or a signal has ended it."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, stage: str, total: int | None, done: int) -> None:
        """Say nothing."""

    def advance(self) -> None:
        """Say nothing."""

    def end(self, *, whole: bool) -> None:
        """Say nothing."""


class Lines:
    """A line when a stage starts, at every quarter, and when it ends."""

    def __init__(self) -> None:
        self._stage, self._total, self._done, self._start = "", 0, 0, 0.0

    def begin(self, stage: str, total: int | None, done: int) -> None:
        """Name the stage and its size."""
        self._stage, self._total, self._done, self._start = stage, total or 0, done, time.monotonic()
        size = f": {total} problems" if total else ""
        print(f"{stage}{size}{f', {done} done earlier' if done else ''}", file=sys.stderr, flush=True)

    def advance(self) -> None:
        """Count the problem; print a line at every quarter of the stage."""
        before, self._done = self._done, self._done + 1
        # In whole numbers, so that each quarter is passed exactly once, whatever the total.
        if self._total and before * 4 // self._total != self._done * 4 // self._total:
            print(f"{self._stage}: {self._done}/{self._total}", file=sys.stderr, flush=True)

    def end(self, *, whole: bool) -> None:
        """Say how long it took."""
        if whole:
            print(f"{self._stage}: {duration(time.monotonic() - self._start)}", file=sys.stderr, flush=True)


class Bars:
    """A rich progress bar a stage."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._id: Any = None

    def begin(self, stage: str, total: int | None, done: int) -> None:
        """Show a bar, or a spinner where progress cannot be counted."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        counted = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) if total else ()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *counted,
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._id = self._bar.add_task(stage, total=total, completed=done)
        self._bar.start()

    def advance(self) -> None:
        """Move the bar by one problem."""
        self._bar.advance(self._id)

    def end(self, *, whole: bool) -> None:
        """Leave the bar as it stands."""
        # A stage without a count has a spinner; a total of 1 stops it at a whole bar.
        if whole and self._bar.tasks[0].total is None:
            self._bar.update(self._id, total=1, completed=1)
        self._bar.stop()


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=Silent())  # noqa: B039


def listener(*, quiet: bool) -> Listener:
    """Bars if stderr is a terminal, else lines; nothing if `quiet`."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


@contextmanager
def listening(to: Listener) -> Iterator[None]:
    """Send the progress of everything inside to a listener."""
    token = _LISTENER.set(to)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def stage(name: str, total: int | None = None, done: int = 0) -> Iterator[None]:
    """Tell the listener that a stage begins, and that it ends."""
    heard = _LISTENER.get()
    heard.begin(one_line(name), total, done)
    whole = False
    try:
        yield
        whole = True
    finally:
        heard.end(whole=whole)


def advance() -> None:
    """One problem of the current stage is done."""
    _LISTENER.get().advance()


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
