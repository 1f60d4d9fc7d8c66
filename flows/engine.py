"""Everything that flows take from Prefect, and a task runner that stays in the flow's thread.

Prefect reads environment variables while it is imported. It is imported only here, after they are set.
"""

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Self
from uuid import uuid4

from flows.settings import set_defaults

set_defaults()

from prefect import flow, task, unmapped  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.futures import PrefectConcurrentFuture, PrefectFuture  # noqa: E402
from prefect.task_engine import run_task_sync  # noqa: E402
from prefect.task_runners import TaskRunner  # noqa: E402

__all__ = ["NO_CACHE", "HereTaskRunner", "flow", "task", "unmapped"]


class HereTaskRunner(TaskRunner[PrefectFuture[Any]]):
    """Runs each task at once, in the thread that submits it, so one task after the other.

    One engine fills a machine, so shards do not run side by side. A pool with one thread would do the same,
    but Ctrl-C would wait until that thread has finished its shard. On a cluster, give a flow another runner:
    `flow.with_options(task_runner=...)`.
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
