"""Whoever waits for asynchronous work gets its result, its error, or out of it."""

import asyncio
import signal
import threading

import pytest

from pipeline.labelling.background import Background


async def double(n: int) -> int:
    await asyncio.sleep(0)
    if n < 0:
        raise ValueError("negative")
    return 2 * n


def test_results_and_errors_come_back() -> None:
    with Background() as background:
        assert background.wait(double(2)) == 4
        with pytest.raises(ValueError, match="negative"):
            background.wait(double(-1))
        assert background.wait(double(3)) == 6


def test_a_caller_inside_a_running_loop_may_wait() -> None:
    async def cell() -> int:
        with Background() as background:
            return background.wait(double(2))

    assert asyncio.run(cell()) == 4


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread"
)
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_cancels_the_work_and_leaves_no_thread() -> None:
    ended = threading.Event()

    async def endless() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what is cancelled may still have to tidy up
            ended.set()

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), Background() as background:
        background.wait(endless())
    assert ended.is_set()
    assert set(threading.enumerate()) <= before
