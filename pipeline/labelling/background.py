"""Run asynchronous work for callers that wait for it: in a script, a thread, or a notebook.

The work runs on an event loop in a thread of its own, so a caller may itself stand inside a running loop,
and a model that is kept open between two calls keeps the loop that it belongs to.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Background:
    """An event loop in a thread, from `with` to the end of its block, where what still runs is cancelled."""

    def __init__(self) -> None:
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        # A daemon: whoever interrupts twice must not wait for a library that does not end.
        self._thread = threading.Thread(target=self._run, name="stepmint", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop = self._ready.result()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns, or raises. Interrupted (Ctrl-C), the work is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _run(self) -> None:
        # Its end cancels what is left, and waits for it.
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._ready.set_result(asyncio.get_running_loop())
        await self._stop.wait()
