"""Unit tests as graded evidence about code: an outcome for each test, and partial rewards.

The expected values stay outside the sandbox, so a program cannot pass a test by printing something clever or
by leaving early. Time-outs, missing packages and a closed sandbox decide nothing. The reward follows VeRPO
(arXiv 2601.03525): a test that few programs pass weighs more, and like tests share their weight.
"""

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.records import UnitTest
from verifiers.base import Finding
from verifiers.code.executed import Shown, execute
from verifiers.isolation.sandbox import run_python

Outcome = Literal["pass", "wrong", "exception", "timeout", "resource", "harness_error"]
_UNFINISHED = {"NameError", "SyntaxError", "IndentationError", "NotImplementedError", "EOFError"}
"""Errors of code that may be finished by a later step."""
# A function whose body is only `pass` or `...`: a later step may fill it in.
_STUB = re.compile(
    r"^\s*def [^\n]*:\s*(?:#[^\n]*)?\n?\s*(?:\"\"\".*?\"\"\"\s*)?(?:pass|\.\.\.)\s*$", re.M | re.S
)
_FAULTS: dict[str, Outcome] = {
    "timeout": "timeout", "memory": "resource", "output_limit": "resource", "killed": "resource",
    "unavailable": "harness_error", "error": "exception",
}  # fmt: skip


@dataclass(frozen=True)
class Tested:
    """One test's outcome; `why` is for people."""

    outcome: Outcome
    why: str = ""


def run_test(code: str, test: UnitTest) -> Tested:
    """Run one test in a sandbox of its own."""
    if test.call:
        wanted = _canonical(test.expected)
        if wanted is None:
            return Tested("harness_error", f"expected value {test.expected[:60]!r} cannot be read")
        shown = execute((code,), call=test.call, stdin=test.stdin)
    else:
        run = run_python(code, stdin=test.stdin)
        shown, wanted = Shown(run.stdout if run.status == "ok" else None, run), test.expected
    if shown.text is None:
        return _fault(shown)
    # What a program prints may be spaced otherwise; in a value every character counts.
    if shown.text == wanted if test.call else shown.text.split() == wanted.split():
        return Tested("pass")
    return Tested("wrong", f"{shown.text.strip()[:80]}, not {wanted.strip()[:80]}")


def _fault(shown: Shown) -> Tested:
    if shown.run.status == "ok":
        return Tested("exception", "it left before the call returned")
    # The sandbox has the standard library alone; code that needs numpy may be right elsewhere.
    if shown.run.exception in ("ModuleNotFoundError", "ImportError"):
        return Tested("harness_error", "a package is missing in the sandbox")
    return Tested(_FAULTS[shown.run.status], shown.why)


@functools.lru_cache(maxsize=4096)
def _canonical(expected: str) -> str | None:
    return execute((), call=expected).text


def run_tests(code: str, tests: Sequence[UnitTest]) -> tuple[Tested, ...]:
    """The outcomes of a program, in the tests' order."""
    return tuple(run_test(code, test) for test in tests)


def pass_fraction(outcomes: Sequence[Outcome]) -> float | None:
    """Share of passes among decided tests (pass, wrong, exception); None where nothing was decided."""
    decided = [outcome for outcome in outcomes if outcome in ("pass", "wrong", "exception")]
    return decided.count("pass") / len(decided) if decided else None


def judge_tests(code: str, tests: Sequence[UnitTest]) -> Finding:
    """Three-valued: all tests pass, one is wrong, or it cannot be told."""
    tested = run_tests(code, tests)
    outcomes = [test.outcome for test in tested]
    share = pass_fraction(outcomes)
    evidence = "; ".join(f"{i}: {t.outcome} {t.why}".strip() for i, t in enumerate(tested))[:1000]
    summary = f"passes {outcomes.count('pass')} of {len(tests)} tests"
    if outcomes.count("pass") == len(tests):
        return Finding("holds", summary, evidence)
    # Steps may build a program bit by bit: a missing name or an empty function is no mistake of this step
    # yet.
    if share is None or _STUB.search(code) or any(t.why in _UNFINISHED for t in tested):
        return Finding("abstains", f"{summary}; the code may be unfinished or could not be run", evidence)
    if "wrong" in outcomes or "exception" in outcomes:
        return Finding("fails", summary, evidence)
    return Finding("abstains", f"{summary}; the others were not decided", evidence)


def pass_rates(group: Sequence[Sequence[Sequence[bool]]]) -> list[float]:
    """rho_j over all turns of all solutions: `group[i][t][j]`: turn t of solution i passes test j."""
    turns = [turn for solution in group for turn in solution]
    return [sum(column) / len(turns) for column in zip(*turns, strict=True)]


def weights(rates: Sequence[float], *, alpha: float = 1.0, bandwidth: float | None = None) -> list[float]:
    """Weights of the tests, summing to 1: exp(-alpha rho), over a Gaussian density of the rates.

    Without a bandwidth the density is left out; a narrow one counts a cluster of like tests once.
    """
    raw = [math.exp(-alpha * rate) for rate in rates]
    if bandwidth is not None:
        raw = [
            weight / (sum(math.exp(-(((rate - other) / bandwidth) ** 2) / 2) for other in rates) / len(rates))
            for weight, rate in zip(raw, rates, strict=True)
        ]
    total = sum(raw)
    return [weight / total for weight in raw]


def dense_reward(weighed: Sequence[float], passes: Sequence[bool]) -> float:
    """Partial reward in [0, 1]: exactly 1 where all tests pass, 0 where none does."""
    if all(passes):
        return 1.0
    return min(1.0, math.fsum(w for w, passed in zip(weighed, passes, strict=True) if passed))
