"""Everything that flows take from Prefect, and a task runner that stays in the flow's thread.

Prefect reads environment variables while it is imported. It is imported only here, after they are set.
"""

from collections.abc import Iterable
from concurrent.futures import Future
from datetime import datetime
from functools import cache
from typing import Any, Self
from uuid import uuid4

from flows import engine
from flows.settings import set_defaults

set_defaults()

import prefect  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.futures import PrefectConcurrentFuture, PrefectFuture  # noqa: E402
from prefect.task_engine import run_task_sync  # noqa: E402
from prefect.task_runners import TaskRunner  # noqa: E402


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
