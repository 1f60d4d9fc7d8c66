"""Everything that flows take from Prefect, and a task runner that stays in the flow's thread.

Prefect reads environment variables while it is imported. It is imported only here, after they are set.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from datetime import datetime
from functools import cache
from threading import Event, Thread
from typing import Any, Self
from uuid import uuid4

from flows import engine
from flows.settings import set_defaults
from schemas.errors import BackendError, UserError

set_defaults()

import prefect  # noqa: E402
from prefect.artifacts import (  # noqa: E402
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.context import FlowRunContext, TaskRunContext  # noqa: E402
from prefect.futures import PrefectConcurrentFuture, PrefectFuture  # noqa: E402
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED  # noqa: E402
from prefect.task_engine import run_task_sync  # noqa: E402
from prefect.task_runners import TaskRunner  # noqa: E402


def _without_traceback(record: logging.LogRecord) -> bool:
    """What the user can mend, and a server that is gone, are told in a line: a traceback would not help."""
    if record.exc_info and isinstance(record.exc_info[1], UserError | BackendError):
        record.exc_info = None
    return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_without_traceback)

PULSE_S = 10.0
"""How often a run's page shows how far a shard is."""


class HereTaskRunner(TaskRunner[PrefectFuture[Any]]):
    """Runs each task at once, in the thread that submits it, so one task after the other.

    One engine fills a machine, so shards do not run side by side. A pool with one thread would do the same,
    but Ctrl-C would wait until that thread has finished its shard. On a cluster `flows.on_ray` takes another.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]

    def duplicate(self) -> Self:
        """A new runner of the same kind."""
        return type(self)()

    def submit(
        self,
        task: Any,
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        """Run the task and return a future that is done."""
        task_run_id = uuid4()
        done: Future[Any] = Future()
        # `return_type="state"`: a failed task is a state and no exception, so the next shard still runs.
        done.set_result(
            run_task_sync(
                task,
                task_run_id=task_run_id,
                parameters=parameters,
                wait_for=list(wait_for or ()),
                return_type="state",
                dependencies=dependencies,
            )
        )
        return PrefectConcurrentFuture(task_run_id, done)


# Made once: Prefect warns when a second flow has the name of an earlier one.
@cache
def flow_of(declared: "engine.Flow[..., Any]") -> Any:
    """Prefect's flow of a declared one."""
    make = prefect.flow(name=declared.name, flow_run_name=declared.run_name, task_runner=HereTaskRunner())
    return make(declared.fn)


@cache
def task_of(declared: "engine.Task[..., Any]") -> Any:
    """Prefect's task of a declared one. Its results are not cached: the run's folder knows what is done."""

    # Prefect passes the three by name.
    def again(task: Any, task_run: Any, state: Any) -> bool:  # noqa: ARG001
        return declared.again(state.result(raise_on_failure=False))

    make = prefect.task(
        task_run_name=declared.run_name,
        retries=len(declared.delays),
        retry_delay_seconds=list(declared.delays) or None,
        retry_condition_fn=again if declared.delays else None,
        cache_policy=NO_CACHE,
    )
    return make(declared.fn)


def planned_time() -> datetime:
    """When the present run of a flow was planned to start; the same if the run starts late, or again."""
    time: datetime = prefect.runtime.flow_run.scheduled_start_time
    return time


def completed(message: str) -> Any:
    """What a flow returns to end well with a message, which Prefect's page shows beside the state."""
    return prefect.states.Completed(message=message)


def failed(message: str, name: str) -> Any:
    """What a flow returns to fail with a message and no traceback, in a state of its own name."""
    return prefect.states.Failed(message=message, name=name)


def each(declared: "engine.Task[..., Any]", shared: Any, items: Iterable[Any]) -> list[Any]:
    """`Task.each` under Prefect."""
    futures = task_of(declared).map(prefect.unmapped(shared), list(items))
    return [future.result(raise_on_failure=False) for future in futures]


def _has_page() -> bool:
    """Whether somebody can look at this run: a command's own temporary server shows nothing."""
    return bool(PREFECT_LOGGING_TO_API_ENABLED.value() and (FlowRunContext.get() or TaskRunContext.get()))


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@contextmanager
def shown_progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """`engine.shown_progress` under Prefect: an artifact on the page of the run."""
    done, over = list[None](), Event()

    def pulse() -> None:
        # The page is a courtesy: a server that does not answer must not end a run.
        with suppress(Exception):
            made: Any = create_progress_artifact(0.0, key=_key(name), description=f"{name}: {total} problems")
            while True:
                ended = over.wait(PULSE_S)
                update_progress_artifact(made, 100 * min(len(done) / total, 1))
                if ended:
                    return

    if not total or not _has_page():
        yield lambda: None
        return
    # In a thread: labelling must not wait for the server.
    thread = Thread(target=copy_context().run, args=(pulse,), name="page", daemon=True)
    thread.start()
    try:
        yield lambda: done.append(None)
    finally:
        over.set()
        thread.join(timeout=PULSE_S)


def show_labels(name: str, rows: list[dict[str, Any]], text: str) -> None:
    """`engine.show_labels` under Prefect: a table and a text on the page of the run."""
    if _has_page():
        with suppress(Exception):
            create_table_artifact(rows, key=_key(f"{name} labels"), description=f"Votes and labels of {name}")
            create_markdown_artifact(text, key=_key(f"{name} report"))
