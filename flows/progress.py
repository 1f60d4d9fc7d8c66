"""Shows the progress of stages on stderr: a bar in a terminal, a few lines in a log file, nothing for --json.

The listener is held in a context variable: Prefect sends a task's parameters to other machines, and a
listener cannot be sent. On a cluster the shards report to Prefect, and no listener is set.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Protocol

from flows import logs
from schemas.errors import redacted
from schemas.text import one_line


class Listener(Protocol):
    """Is told about stages, of which one runs at a time."""

    def begin(self, stage: str, total: int | None, done: int) -> None:
        """A stage of `total` problems starts, `done` of them earlier; None where they cannot be counted."""
        ...

    def advance(self) -> None:
        """One problem is done."""
        ...

    def note(self, text: str) -> None:
        """Something that happens within the stage and is worth a line."""
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

    def note(self, text: str) -> None:
        """Say nothing."""

    def end(self, *, whole: bool) -> None:
        """Say nothing."""


class Lines:
    """A line when a stage starts, one every so often while it goes on, and one when it ends.

    `every` is in seconds. On long stages the lines become rarer, a twentieth of the time so far apart: ten
    hours give about a hundred. `say` takes a line; by default it is printed on stderr.
    """

    def __init__(self, every: float = 10.0, say: Callable[[str], None] | None = None) -> None:
        self._every, self._say = every, say or _line
        self._stage, self._total, self._done, self._earlier = "", 0, 0, 0
        self._start, self._over = 0.0, threading.Event()
        self._pulse: threading.Thread | None = None

    def begin(self, stage: str, total: int | None, done: int) -> None:
        """Name the stage and its size."""
        self._stage, self._total, self._done, self._earlier = stage, total or 0, done, done
        self._start = time.monotonic()
        size = f": {total} problems" if total else ""
        self._say(f"{stage}{size}{f', {done} done earlier' if done else ''}")
        # A thread, because problems are labelled side by side: for minutes none may be done, and a log that
        # says nothing looks like a program that hangs.
        self._over.clear()
        # In this context: Prefect keeps in it which run a line of the log belongs to.
        self._pulse = threading.Thread(
            target=copy_context().run, args=(self._beat,), name="progress", daemon=True
        )
        self._pulse.start()

    def advance(self) -> None:
        """Count the problem."""
        self._done += 1

    def note(self, text: str) -> None:
        """Print it."""
        self._say(text)

    def end(self, *, whole: bool) -> None:
        """Say how long it took."""
        self._over.set()
        if self._pulse is not None:
            self._pulse.join()
        if whole:
            self._say(f"{self._stage}: {duration(time.monotonic() - self._start)}")

    def _beat(self) -> None:
        passed = 0.0
        while not self._over.wait(max(self._every, passed / 20)):
            passed = time.monotonic() - self._start
            self._say(f"{self._stage}: {self._so_far(passed)}")

    def _so_far(self, passed: float) -> str:
        """What is done, how fast, and how long the rest would take at that rate."""
        if not self._total:
            return f"{duration(passed)} so far"
        said = f"{self._done}/{self._total} ({self._done / self._total:.0%}), {duration(passed)}"
        now = self._done - self._earlier
        if not now:
            return said
        left = duration(passed * (self._total - self._done) / now)
        rate = 60 * now / passed
        return f"{said}, {rate:,.{0 if rate >= 10 else 1}f} a minute, about {left} left"


def _line(text: str) -> None:
    logs.line(text)


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

    def note(self, text: str) -> None:
        """Print it above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

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
    return Bars() if sys.stderr.isatty() and not logs.is_json() else Lines()


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


def note(text: str) -> None:
    """Something that happens within the current stage."""
    _LISTENER.get().note(one_line(text))


class Warned(logging.Handler):
    """Prints what is warned of beside the progress: a run that waits for a slow server says why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print it as a line."""
        note(redacted(record.getMessage()))


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
