"""Unit tests as graded evidence about code: an outcome for each test, and partial rewards.

A program only answers calls. What it should answer is not in its sandbox: values are compared here, and
assertions judge the answers in a sandbox of their own. So no program passes a test by printing something
clever, by leaving early or by changing what judges it. A program that fails in any way (a time-out and a
memory error, too) fails its test; only the sandbox's own failure decides nothing. The reward follows VeRPO
(arXiv 2601.03525): a test that few programs pass weighs more, and like tests share their weight.
"""

import functools
import json
import math
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from schemas.records import UnitTest
from verifiers.base import Finding
from verifiers.code import trial
from verifiers.isolation.sandbox import Limits, Run, run_python

Outcome = Literal["pass", "wrong", "exception", "timeout", "resource", "harness_error"]
_UNFINISHED = {"NameError", "SyntaxError", "IndentationError", "NotImplementedError", "EOFError"}
"""Errors of code that may be finished by a later step."""
_FAULTS: dict[str, Outcome] = {"timeout": "timeout", "memory": "resource", "output_limit": "resource"}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_TRIAL = Path(trial.__file__).read_text(encoding="utf-8")
LIMITS = Limits(output_bytes=4 * 2**20)
"""Of a program that answers all calls of its tests: some answer with long lists."""
_MOST_RESTARTS = 20
"""Processes that a program is given again, after a time-out or a crash. Each may take its limit of seconds: a
program that sleeps for nine in each of a thousand tests would be tried for hours."""
# Times that an assertion may ask the program again because its next call depends on an answer.
_MOST_ROUNDS = 20


@dataclass(frozen=True)
class Program:
    """A program as a solution gives it."""

    blocks: tuple[str, ...]
    head: str = ""
    """Code of the problem's text that comes before it: imports, and the function whose body it may give."""


@dataclass(frozen=True)
class Tested:
    """One test's outcome; `why` is for people."""

    outcome: Outcome
    why: str = ""
    error: str = ""
    """The name of the exception that the program ended with."""


_NOT_RUN = Tested("harness_error", "not run")


@dataclass
class _Trial:
    """What a program has answered so far, and how it ended where it did not go on."""

    program: Program
    patient: bool
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The call as JSON -> (`value` or `error`, what it said as JSON)."""
    faults: dict[str, Tested] = field(default_factory=dict)
    """Calls that ended the program, or the sandbox."""
    ended: Tested | None = None
    """Why no call at all is answered any more."""
    is_stub: bool = False
    restarts: int = 0

    def ask(self, calls: Iterable[dict[str, Any]]) -> None:
        """Have the calls answered that are not yet. After a call that ends the program, the next ones are
        asked of a fresh one; without patience none is asked any more."""
        keys = list(dict.fromkeys(map(json.dumps, calls)))
        owed = [key for key in keys if key not in self.answers and key not in self.faults]
        while owed and self.ended is None:
            job = {
                "head": self.program.head,
                "blocks": self.program.blocks,
                "calls": list(map(json.loads, owed)),
            }
            run, said = _run(job)
            if not said or said[0][1] == "error":
                self.ended = _raised(said[0][2], at_start=True) if said else _fault(run)
                return
            self.is_stub = said[0][1] == "stub"
            answered = dict(zip(owed, _in_order(said[1:]), strict=False))
            self.answers |= answered
            owed = owed[len(answered) :]
            # The calls of one process share its limits: one that came late is given its own before it counts.
            self.restarts += bool(owed)
            is_last = self.restarts > _MOST_RESTARTS
            if owed and (is_last or not (answered and run.status in ("timeout", "output_limit"))):
                fault = _fault(run)
                self.faults[owed.pop(0)] = fault
                if is_last or not self.patient or fault.outcome == "harness_error":
                    self.ended = fault

    def of(self, call: dict[str, Any]) -> tuple[str, str] | Tested:
        """What a call was answered, or why it was not."""
        key = json.dumps(call)
        return self.answers.get(key) or self.faults.get(key) or self.ended or _NOT_RUN


def _in_order(said: Iterable[list[str]]) -> list[tuple[str, str]]:
    """The answers to the calls 0, 1, 2, ..., as far as they go on without a gap."""
    return [
        (kind, text)
        for _, (_, kind, text) in takewhile(lambda line: line[1][0] == str(line[0]), enumerate(said))
    ]


def _loads(text: str) -> Any:
    """JSON that a program may have written itself; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _run(job: dict[str, Any]) -> tuple[Run, list[list[str]]]:
    """Run a job; the lines that it said, each as [what, kind, JSON]."""
    # Unknown before the program begins, so that a program that prints such lines is not believed.
    mark = secrets.token_hex(16)
    text = json.dumps({**job, "mark": mark})
    run = run_python(_TRIAL, files={"job.json": text}, limits=LIMITS)
    if run.status == "timeout" and run.cpu_s < 0.8 * LIMITS.cpu_s:
        # It waits, or the machine was busy: only a second time-out, at a multiple of the limit, counts.
        run = run_python(_TRIAL, files={"job.json": text}, limits=replace(LIMITS, wall_s=2 * LIMITS.wall_s))
    lines = [line.split(" ", 3)[1:] for line in run.stdout.split("\n") if line.startswith(f"{mark} ")]
    return run, [line for line in lines if len(line) == 3]


def _fault(run: Run) -> Tested:
    """How a program ended that did not answer."""
    if run.status == "ok":
        return Tested("exception", "it left before the call returned")
    # Nothing in the sandbox can send this signal: the kernel does, when the machine has no memory left.
    if run.status == "unavailable" or (run.status == "killed" and run.exit_code in (None, -9)):
        return Tested("harness_error", run.why or "the sandbox was killed")
    return Tested(_FAULTS.get(run.status, "exception"), run.why or run.exception or run.status, run.exception)


def _raised(said: str, *, at_start: bool = False) -> Tested:
    """The outcome of an exception, by what the program's side says of it."""
    match _loads(said):
        case [str(name), str(text)]:
            name = name[:80]
        case _:
            name, text = "an error", ""
    # The sandbox has the standard library alone; a program that needs numpy may be right elsewhere. Inside a
    # call it counts, or a wrong program would import what is not there wherever it does not know the answer.
    if at_start and name == "ModuleNotFoundError":
        return Tested("harness_error", f"a package is missing in the sandbox: {text}"[:100], name)
    return Tested("resource" if name == "MemoryError" else "exception", f"{name}: {text}"[:100], name)


def run_test(code: str, test: UnitTest) -> Tested:
    """Run one test."""
    return run_tests(Program((code,)), [test])[0]


def run_tests(program: Program, tests: Sequence[UnitTest], *, patient: bool = True) -> tuple[Tested, ...]:
    """The outcomes of a program, in the tests' order.

    One process answers the calls of all tests in turn, as the data sets' own harnesses do. Without patience
    the tests after one that ends the program are not run, and get its outcome.
    """
    return _tried(program, tests, patient=patient)[0]


def _tried(program: Program, tests: Sequence[UnitTest], *, patient: bool) -> tuple[tuple[Tested, ...], bool]:
    """The outcomes, and whether a function of the program is a stub."""
    tried = _Trial(program, patient)
    assertions = tuple(dict.fromkeys(test.assertion for test in tests if test.assertion))
    calls = [{"text": test.call} for test in tests if test.call]
    wanted = _wanted(tuple(dict.fromkeys(test.expected for test in tests if test.call)))
    tried.ask([*calls, *map(json.loads, _calls_of(assertions) or ())])
    # A program that does not even begin answers no assertion either.
    judged = _judged(assertions, tried) if assertions and not tried.ended else {}
    printed = _printed(program, [test for test in tests if not test.call and not test.assertion], patient)

    def outcome(test: UnitTest) -> Tested:
        if test.assertion:
            return judged.get(test.assertion) or tried.ended or _NOT_RUN
        return _called(tried, test, wanted.get(test.expected)) if test.call else next(printed)

    outcomes = tuple(map(outcome, tests))
    return outcomes, tried.is_stub


def _called(tried: _Trial, test: UnitTest, wanted: str | None) -> Tested:
    if wanted is None:
        return Tested("harness_error", f"expected value {test.expected[:60]!r} cannot be read")
    found = tried.of({"text": test.call})
    if isinstance(found, Tested):
        return found
    kind, said = found
    if kind == "error":
        return _raised(said)
    if said == wanted:
        return Tested("pass")
    # The address of an object differs from run to run.
    return Tested("wrong", _ADDRESS.sub("", f"{said[:80]}, not {wanted[:80]}"))


def _printed(program: Program, tests: Sequence[UnitTest], patient: bool) -> Iterator[Tested]:
    """The outcomes of tests that run the whole program, each in a sandbox of its own."""
    found: list[Tested] = []
    for test in tests:
        run = run_python("\n".join(program.blocks), stdin=test.stdin)
        found.append(_fault(run) if run.status != "ok" else _compared(run.stdout, test.expected))
        if not patient and found[-1].outcome not in ("pass", "wrong"):
            return iter([*found, *[found[-1]] * (len(tests) - len(found))])
    # As in `_raised`: a package that one test misses and another does not was not needed.
    if found and all(one.error == "ModuleNotFoundError" for one in found):
        return iter(
            [Tested("harness_error", "a package is missing in the sandbox", found[0].error)] * len(found)
        )
    return iter(found)


def _compared(shown: str, expected: str) -> Tested:
    # What a program prints may be spaced otherwise; in a value every character counts.
    if shown.split() == expected.split():
        return Tested("pass")
    return Tested("wrong", f"{shown.strip()[:80]}, not {expected.strip()[:80]}")


class _Unreadable(Exception):
    """No cache keeps an exception: the sandbox may stand the next time."""

    def __init__(self, read: Mapping[str, str]) -> None:
        super().__init__()
        self.read = read


def _wanted(expected: tuple[str, ...]) -> Mapping[str, str]:
    """The canonical texts of expected values; those that cannot be read are left out."""
    try:
        return _canonical(expected)
    except _Unreadable as some:
        return some.read


# All values of a problem in one sandbox: of 300 tests, each in its own took a minute.
@functools.lru_cache(maxsize=1024)
def _canonical(expected: tuple[str, ...]) -> Mapping[str, str]:
    reading = _Trial(Program(()), patient=True)
    calls = [{"text": one} for one in expected]
    reading.ask(calls)
    found = dict(zip(expected, map(reading.of, calls), strict=True))
    read = {one: said[1] for one, said in found.items() if isinstance(said, tuple) and said[0] == "value"}
    if len(read) < len(expected):
        raise _Unreadable(read)
    return read


# Assertions


@functools.lru_cache(maxsize=1024)
def _calls_of(assertions: tuple[str, ...]) -> tuple[str, ...] | None:
    """The calls, as JSON, that assertions make whatever the answers are: found without any program.

    None where the assertions do not end by themselves: then their time-outs are no fault of a program.
    """
    if not assertions:
        return ()
    run, said = _run({"assertions": assertions, "collect": True, "answers": {}})
    calls = tuple(json.dumps(call) for _, _, text in said for call in _loads(text) or ())
    return calls if run.status == "ok" else None


def _judged(assertions: tuple[str, ...], tried: _Trial) -> dict[str, Tested]:
    """Each assertion's outcome by the program's answers."""
    for _ in range(_MOST_ROUNDS):
        run, said = _run({"assertions": assertions, "collect": False, "answers": tried.answers})
        asked = [call for _, kind, text in said if kind == "asks" for call in _loads(text) or ()]
        known = len(tried.answers)
        tried.ask(asked)
        if len(tried.answers) == known:
            break
    unjudged = Tested("harness_error", f"the test did not end: {run.why or run.status}")
    # A huge number as an answer keeps what judges it busy.
    if run.status in _FAULTS and _calls_of(assertions) is not None:
        unjudged = Tested(_FAULTS[run.status], "its answers cannot be judged within the limits")
    verdicts = [_verdict(kind, text, tried) for _, kind, text in said]
    return dict(zip(assertions, [*verdicts, *[unjudged] * len(assertions)], strict=False))


def _verdict(kind: str, text: str, tried: _Trial) -> Tested:
    if kind == "pass":
        return Tested("pass")
    if kind == "asks":
        faults = (found for call in _loads(text) or () if isinstance(found := tried.of(call), Tested))
        return next(faults, Tested("harness_error", "the test asks for more and more calls"))
    why = ": ".join(map(str, filter(None, json.loads(text))))[:100]
    if kind == "broken":
        return Tested("harness_error", f"the test itself cannot run: {why}")
    return Tested("wrong" if kind == "wrong" else "exception", why or "the assertion fails")


# What outcomes say


def pass_fraction(outcomes: Sequence[Outcome]) -> float | None:
    """Share of passes among all tests but those that the sandbox failed; None where no other is left."""
    decided = [outcome for outcome in outcomes if outcome != "harness_error"]
    return decided.count("pass") / len(decided) if decided else None


def judge_tests(program: Program, tests: Sequence[UnitTest]) -> Finding:
    """Three-valued: all tests pass, one is failed, or it cannot be told."""
    tested, is_stub = _tried(program, tests, patient=True)
    outcomes = [test.outcome for test in tested]
    share = pass_fraction(outcomes)
    evidence = "; ".join(f"{i}: {t.outcome} {t.why}".strip() for i, t in enumerate(tested))[:1000]
    summary = f"passes {outcomes.count('pass')} of {len(tests)} tests"
    if outcomes.count("pass") == len(tests):
        return Finding("holds", summary, evidence)
    # Steps may build a program bit by bit: a missing name or an empty function is no mistake of this step
    # yet.
    if share is None or is_stub or any(t.error in _UNFINISHED for t in tested):
        return Finding("abstains", f"{summary}; the code may be unfinished or could not be run", evidence)
    if share < 1:
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
