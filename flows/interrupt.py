"""Ctrl-C, SIGTERM and SIGHUP end a command within seconds, whatever it is doing.

There are three ways out, because each of the first two can fail:

1. The first signal raises `Interrupted` in the main thread, so files are closed and temporary ones go. That
   fails while C code runs, because Python's signal handlers wait, and when a library swallows the exception.
2. A thread (`_watch`) is told of every signal, and ends the process after PATIENCE_S. A run's folder allows
   that, and helper processes end by their lifeline (`verifiers.isolation.lifeline`). It fails while C code
   holds the interpreter's lock, as the loader of a large library does.
3. A small child process, the keeper (`_keep`), reads the signals first and passes them to the thread. After
   `_KILL_S` it kills the command.
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

from flows import logs

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE = "interrupted; resume with the same command"
PATIENCE_S = 3.0
"""How long the orderly way out may take, before the thread ends the process."""
# When the keeper kills the command: late enough that the thread had its PATIENCE_S and a second to end.
_KILL_S = 4.5
# A second signal at least this long after the first is from an impatient user and ends the wait. A sooner one
# is the same Ctrl-C again: the terminal signals the whole process group, and Prefect passes signals on.
_APART_S = 0.5
_CLEAN = "\r\x1b[K\x1b[?25h"  # clears the line of a progress bar and shows the cursor that it has hidden


class Interrupted(KeyboardInterrupt):
    """A signal has asked the command to end."""


class _Heard:
    """What is known about signals so far. A class and no instance: a process runs one command."""

    number = 0
    """The first signal; 0 while there was none."""
    unwinding = False
    """Whether the command is on its way out or has ended. Then no signal raises anything any more."""
    code: int | None = None
    said = mmap.mmap(-1, 1)
    """1 when the line was printed; in memory that is shared with the keeper, so that only one prints it."""
    saying = threading.Lock()
    line = LINE
    """What is printed when a signal ends the command."""
    pipe = -1
    """The pipe that the keeper reads. Python's C code writes the number of each signal there, at once, also
    while its handlers wait."""


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
    """Undo `heed` in a fork. Its signals are its own, and it does not have our thread. It must close the pipe
    too: the keeper stays until every process has closed it."""
    signal.set_wakeup_fd(-1)
    if _Heard.pipe >= 0:
        os.close(_Heard.pipe)
        _Heard.pipe = -1
    for number in SIGNALS:
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_DFL)


def _keep(told: int, relay: int, command: int) -> NoReturn:
    """The keeper's loop: pass signals on to the thread, kill the command when it does not end in time, and
    exit after the command."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for stream in (0, 1):  # a pipe that reads the command's output ends with the command, not with the keeper
        os.close(stream)
    until: float | None = None
    while select.select([told], [], [], until and max(0.0, until - time.monotonic()))[0]:
        heard_now = os.read(told, 64)
        if not heard_now:  # every writer has closed the pipe: the command has ended
            os._exit(0)
        with suppress(OSError):
            os.write(relay, heard_now)
        if until is None and any(number in SIGNALS for number in heard_now):
            until = time.monotonic() + _KILL_S
    if os.getppid() == command:
        _say()
        os.kill(command, signal.SIGKILL)
    os._exit(0)


def say_instead(line: str) -> None:
    """Print this at the end of an interrupted command, where the same command would not go on."""
    _Heard.line = line


def line() -> str:
    """What an interrupted command prints."""
    return _Heard.line


def _hush() -> None:
    """Silence errors that libraries print while they are being ended: they are no news to the user."""
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    logging.raiseExceptions = False


def _raise(number: int, _: FrameType | None) -> None:
    if not _Heard.unwinding:
        _Heard.number = _Heard.number or number
        _Heard.unwinding = True
        _hush()
        # An event loop replaces the wakeup descriptor by its own, so this signal was perhaps not written to
        # our pipe. The byte 0 is no signal, but it wakes the thread, which then sees `number`.
        os.write(_Heard.pipe, b"\0")
        raise Interrupted


def _watch(reading: int) -> None:
    """The thread's work: wait for a signal, then for PATIENCE_S or a second signal, and end the process."""
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
    """Whether a signal has come. Errors after it are its consequences, and are not reported."""
    return _Heard.number != 0


def finish(code: int) -> None:
    """The command has done its work and will end with this exit code. Signals are ignored from here on."""
    _Heard.unwinding = True
    _Heard.code = code


def _leave() -> None:
    """The last exit handler: end the process with its code. What Python would do after it takes time, in
    which signals would not be handled."""
    if _Heard.code is not None:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(_Heard.code)


def end() -> NoReturn:
    """Print how to go on, then end the process and its children at once, with the usual code (128 +
    signal)."""
    _say()
    # Not imported here: if the main thread is just importing it, an import would wait for that one.
    children = getattr(sys.modules.get("multiprocessing"), "active_children", list)
    for child in children():
        child.kill()
    os._exit(128 + (_Heard.number or signal.SIGINT))


def _say() -> None:
    """Print the line once. It waits half a second at most for a terminal or pipe that takes nothing."""
    with _Heard.saying, suppress(OSError):
        if not _Heard.said[0] and select.select([], [2], [], 0.5)[1]:
            _Heard.said[0] = 1
            cursor = _CLEAN if os.isatty(2) else ""
            line = _Heard.line
            said = logs.encoded(line, "warning") if logs.is_json() else f"{cursor}stepmint: {line}"
            os.write(2, f"{said}\n".encode())
