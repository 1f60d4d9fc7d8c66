"""Flows and tasks: what is declared here is run by Prefect or, with `--no-prefect`, as the plain functions
that they are.

Nothing here imports Prefect. `flows.orchestration` does, when the first flow runs under it.
"""

import functools
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

log = logging.getLogger(__name__)

_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def without_prefect() -> Iterator[None]:
    """Run every flow and task inside as a plain function."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


class Flow(Generic[P, R]):
    """A function that Prefect shows as a run of its own. `name` is the flow's, `run_name` a template of the
    run's."""

    def __init__(self, fn: Callable[P, R], name: str, run_name: str | None) -> None:
        functools.update_wrapper(self, fn)
        self.fn, self.name, self.run_name = fn, name, run_name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it."""
        if _PLAIN.get():
            return self.fn(*args, **kwargs)
        from flows import orchestration

        found: R = orchestration.flow_of(self)(*args, **kwargs)
        return found


class Task(Generic[P, R]):
    """A part of a flow. It is tried again after each of `delays` (seconds), where `again` says so of its
    error."""

    def __init__(
        self,
        fn: Callable[P, R],
        run_name: str | None,
        delays: tuple[float, ...],
        again: Callable[[BaseException], bool],
    ) -> None:
        functools.update_wrapper(self, fn)
        self.fn, self.run_name, self.delays, self.again = fn, run_name, delays, again

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it."""
        if _PLAIN.get():
            return self._tried(*args, **kwargs)
        from flows import orchestration

        found: R = orchestration.task_of(self)(*args, **kwargs)
        return found

    def each(self, shared: Any, items: Iterable[Any]) -> list[Any]:
        """Run it on `shared` and each of the items; what it returned, or the error that it ended in. A
        failure does not stop the others."""
        if not _PLAIN.get():
            from flows import orchestration

            return orchestration.each(self, shared, items)
        run: Callable[..., Any] = self._tried
        found: list[Any] = []
        for item in items:
            try:
                found.append(run(shared, item))
            except Exception as error:
                found.append(error)
        return found

    def _tried(self, *args: P.args, **kwargs: P.kwargs) -> R:
        for delay in self.delays:
            try:
                return self.fn(*args, **kwargs)
            except Exception as error:
                if not self.again(error):
                    raise
                log.warning("%s: %s; tried again in %g s", self.fn.__name__, error, delay)
                time.sleep(delay)
        return self.fn(*args, **kwargs)


def flow(name: str, run_name: str | None = None) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow."""
    return lambda fn: Flow(fn, name, run_name)


def task(
    run_name: str | None = None,
    delays: tuple[float, ...] = (),
    again: Callable[[BaseException], bool] = lambda _: False,
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task."""
    return lambda fn: Task(fn, run_name, delays, again)


@contextmanager
def shown_progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Inside, each call of what is given counts one of `total` on the page of the run, where Prefect shows
    one."""
    if _is_plain():
        yield lambda: None
        return
    from flows import orchestration

    with orchestration.shown_progress(name, total) as advance:
        yield advance


def show_labels(name: str, rows: list[dict[str, Any]], text: str) -> None:
    """Put a table and a text (Markdown) on the page of the run, where Prefect shows one."""
    if not _is_plain():
        from flows import orchestration

        orchestration.show_labels(name, rows, text)


def _is_plain() -> bool:
    # A task may also be called as the function that it is, where nothing of Prefect was imported.
    return _PLAIN.get() or "flows.orchestration" not in sys.modules
