"""A helper ends when its starter is killed, even while it is busy in C."""

import os
import signal
import subprocess
import sys
import time

import pytest

HELPER = """
import sys
from multiprocessing.connection import Connection
from verifiers.isolation.lifeline import hold
hold(Connection(int(sys.argv[1]), writable=False))
print("held", flush=True)
sum(range(10**12))
"""
STARTER = """
import operator, os, subprocess, sys, threading, time
from verifiers.isolation.lifeline import lifeline
from verifiers.isolation.workers import Pool
if sys.argv[1] == "two":
    line = lifeline().fileno()
    helper = [sys.executable, "-c", sys.argv[2], str(line)]
    for _ in range(2):
        one = subprocess.Popen(helper, pass_fds=[line], stdout=subprocess.PIPE, start_new_session=True)
        one.stdout.read(5)
        print(one.pid, flush=True)
else:
    pool = Pool(1)
    print(pool.run(os.getpid, (), timeout_s=20, memory_mb=512).value, flush=True)
    ask = dict(timeout_s=600, memory_mb=2048)
    threading.Thread(target=pool.run, args=(operator.pow, (9, 10**8)), kwargs=ask, daemon=True).start()
    time.sleep(0.3)
print("busy", flush=True)
time.sleep(600)
"""


def is_there(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kind", ["two", "worker"])
def test_helpers_end_with_a_killed_starter(kind: str) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, kind, HELPER], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    helpers = [int(line) for line in iter(lambda: starter.stdout.readline().strip(), "busy")]  # type: ignore[union-attr]
    assert helpers
    assert all(map(is_there, helpers))
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 20
    while any(map(is_there, helpers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_there, helpers))
