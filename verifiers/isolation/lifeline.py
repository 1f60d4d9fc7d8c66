"""Helper processes end with the process that started them, even when that one is killed.

Each process makes one pipe. It alone holds the writing end, and every helper that it starts holds the reading
end. When the process is gone, for whatever reason, the pipe closes; the kernel then sends each helper SIGIO,
which ends it even in the middle of a solver's C code. (PR_SET_PDEATHSIG would need no pipe, but it ends a
helper as soon as the thread that started it ends.)
"""

import fcntl
import functools
import os
import select
import signal
from multiprocessing.connection import Connection, Pipe


@functools.cache
def _ends() -> tuple[Connection, Connection]:
    return Pipe(duplex=False)


def lifeline() -> Connection:
    """The end that a helper is given."""
    return _ends()[0]


def hold(line: Connection) -> None:
    """Called by a helper: from now on it ends when its starter does. Ctrl-C is left to the starter, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    # What is asked of the kernel holds for an opened file, which all helpers share: open it once more.
    mine = line.fileno()
    if os.path.exists(f"/proc/self/fd/{mine}"):
        mine = os.open(f"/proc/self/fd/{mine}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(mine, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(mine, fcntl.F_SETFL, fcntl.fcntl(mine, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([line], [], [], 0)[0]:  # it was gone before the kernel was asked
        os._exit(1)


os.register_at_fork(after_in_child=_ends.cache_clear)
