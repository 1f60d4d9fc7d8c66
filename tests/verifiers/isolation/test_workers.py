"""Killable workers: whatever happens in one comes back as a failure, and the next call is served."""

import operator
import os
import subprocess
import sys
import threading
import time

import pytest

from verifiers.isolation.workers import Pool


@pytest.fixture(scope="module")
def pool():
    pool = Pool(2)
    yield pool
    pool.close()


def run(pool, function, *args, timeout_s=5.0, memory_mb=256):
    return pool.run(function, args, timeout_s=timeout_s, memory_mb=memory_mb)


def test_a_value_comes_back_from_another_process(pool):
    assert run(pool, operator.add, 1, 2).value == 3
    assert run(pool, os.getpid).value != os.getpid()


@pytest.mark.parametrize(
    ("function", "args", "failure"),
    [
        (time.sleep, (60,), "timeout"),
        (operator.mul, (b"x", 10**10), "memory"),
        (os._exit, (3,), "crash"),
        (os.abort, (), "crash"),
        (operator.truediv, (1, 0), "ZeroDivisionError"),
        (operator.pow, (9, 10**9), "timeout"),
    ],
)
def test_what_goes_wrong_is_a_failure_and_the_next_call_works(pool, function, args, failure):
    started = time.monotonic()
    result = run(pool, function, *args, timeout_s=0.5)
    assert result.value is None
    assert failure in result.failure
    assert time.monotonic() - started < 15
    assert run(pool, operator.add, 1, 2).value == 3


def test_threads_share_a_pool_and_get_their_own_answers(pool):
    answers = {}

    def ask(number):
        answers[number] = run(pool, operator.mul, number, 2).value

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: 2 * n for n in range(20)}


def test_the_light_modules_load_no_heavy_library():
    code = (
        "import sys, verifiers.claims.find, verifiers.calculation.arithmetic\n"
        "import verifiers.answers.grade, verifiers.proofs.premises\n"
        "print([m for m in ('sympy', 'z3', 'math_verify', 'mpmath', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_pool_that_is_stopped_ends_the_calls_under_way_and_serves_no_more():
    pool, results = Pool(1), []
    threads = [threading.Thread(target=lambda: results.append(run(pool, time.sleep, 60, timeout_s=60)))
               for _ in range(3)]  # fmt: skip
    for thread in threads:
        thread.start()
    while not pool._busy:
        time.sleep(0.05)
    pool.stop()
    for thread in threads:
        thread.join(timeout=30)
    assert len(results) == 3
    assert all(result.failure.startswith("crash") for result in results)
    assert run(pool, operator.add, 1, 2).failure
