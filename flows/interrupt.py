"""Ctrl-C, SIGTERM and SIGHUP end a command within seconds, whatever it is doing.

The first signal raises `Interrupted` in the main thread, so that what is being written is closed, servers are
told and temporary files go. But Python's handlers wait while C code runs, and a library may swallow the
exception. So a thread of ours hears of every signal, too, and ends the process when the way out takes too
long: the run's folder is made for that, and helper processes end by their lifeline
(`verifiers.isolation.lifeline`). C code that holds the interpreter's lock, such as the loader of a large
library, stops the thread as well. So a small process of ours, the keeper, hears of the signals first, tells
the thread, and kills the command when all that fails.
"""

import atexit
import logging
import mmap
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE = "interrupted; resume with the same command"
PATIENCE_S = 3.0
"""How long the orderly way out may take."""
_KILL_S = 4.5
"""After so long the keeper kills the command."""
_APART_S = 0.5
"""A second signal so long after the first is impatience. Sooner, it is the terminal's or Prefect's echo."""
_CLEAN = "\r\x1b[K\x1b[?25h"
"""Of a progress bar: clear its line, show the cursor."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked the command to end."""


class _Heard:
    """What has been heard so far; one command a process."""

    number = 0
    """The first signal; 0 while there was none."""
    unwinding = False
    """Nothing more is raised: the command is on its way out, or has ended."""
    code: int | None = None
    said = mmap.mmap(-1, 1)
    """Whether the line was printed; shared with the keeper."""
    saying = threading.Lock()
    pipe = -1
    """Where Python's C code writes each signal, and we what shall wake the thread. The keeper reads it."""


def heed() -> None:
    """From now on signals end this process. Call in the main thread, before anything slow."""
    atexit.register(_leave)
    told, _Heard.pipe = os.pipe()
    reading, relay = os.pipe()
    command = os.getpid()
    if not os.fork():
        os.close(_Heard.pipe)
        os.close(reading)
        _keep(told, relay, command)
    os.close(told)
    os.close(relay)
    os.set_blocking(_Heard.pipe, False)
    signal.set_wakeup_fd(_Heard.pipe, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, and jobs in the background of a script
            signal.signal(number, _raise)
    threading.Thread(target=_watch, args=(reading,), name="signals", daemon=True).start()
    os.register_at_fork(after_in_child=_unheed)


def _unheed() -> None:
    """A fork is another process: its signals are not for our thread, which it does not have. Nor may it
    hold the pipe: the keeper stays as long as somebody does."""
    signal.set_wakeup_fd(-1)
    if _Heard.pipe >= 0:
        os.close(_Heard.pipe)
        _Heard.pipe = -1
    for number in SIGNALS:
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_DFL)


def _keep(told: int, relay: int, command: int) -> NoReturn:
    """The keeper: pass on what is told; kill the command where it has not ended in time; leave after it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for stream in (0, 1):  # whoever reads the command's output waits for its end, not for ours
        os.close(stream)
    until: float | None = None
    while select.select([told], [], [], until and max(0.0, until - time.monotonic()))[0]:
        heard_now = os.read(told, 64)
        if not heard_now:  # nobody is left who could be told anything
            os._exit(0)
        with suppress(OSError):
            os.write(relay, heard_now)
        if until is None and any(number in SIGNALS for number in heard_now):
            until = time.monotonic() + _KILL_S
    if os.getppid() == command:
        _say()
        os.kill(command, signal.SIGKILL)
    os._exit(0)


def _hush() -> None:
    """On the way out libraries have much to say about what they were doing."""
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    logging.raiseExceptions = False


def _raise(number: int, _: FrameType | None) -> None:
    if not _Heard.unwinding:
        _Heard.number = _Heard.number or number
        _Heard.unwinding = True
        _hush()
        os.write(_Heard.pipe, b"\0")  # an event loop may have taken the thread's ear
        raise Interrupted


def _watch(reading: int) -> None:
    """Wait for a signal, then until time is up or another one comes; and end the process."""
    while not _Heard.number:
        heard = [number for number in os.read(reading, 64) if number in SIGNALS]
        _Heard.number = _Heard.number or next(iter(heard), 0)
    _hush()
    first = time.monotonic()
    while (left := first + PATIENCE_S - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            again = any(number in SIGNALS for number in os.read(reading, 64))
            if again and time.monotonic() > first + _APART_S:
                break
    end()


def heard() -> bool:
    """Whether a signal has asked for the end: what goes wrong from then on is its doing."""
    return _Heard.number != 0


def finish(code: int) -> None:
    """The command has done its work: a late signal does not disturb its end, for which this is the code."""
    _Heard.unwinding = True
    _Heard.code = code


def _leave() -> None:
    """The last exit handler. What Python does after it only takes time, without our handlers."""
    if _Heard.code is not None:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(_Heard.code)


def end() -> NoReturn:
    """Say how to go on and end the process at once, with the processes that its libraries have begun."""
    _say()
    # Not imported: an import that was under way would be waited for.
    children = getattr(sys.modules.get("multiprocessing"), "active_children", list)
    for child in children():
        child.kill()
    os._exit(128 + (_Heard.number or signal.SIGINT))


def _say() -> None:
    """Print the line, once; never wait for whoever should read it."""
    with _Heard.saying, suppress(OSError):
        if not _Heard.said[0] and select.select([], [2], [], 0.5)[1]:
            _Heard.said[0] = 1
            cursor = _CLEAN if os.isatty(2) else ""
            os.write(2, f"{cursor}stepmint: {LINE}\n".encode())
