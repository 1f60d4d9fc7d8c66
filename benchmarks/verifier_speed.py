"""Speed of the verifiers that read natural steps: on real steps, on one long solution, on hostile texts."""

import resource
import time
from collections.abc import Callable
from typing import Any

from benchmarks.corpora import ANNOTATION, gold, rows
from benchmarks.hostile import texts
from benchmarks.natural import naive
from pipeline.inputs.segment import segment
from schemas.records import Problem
from verifiers.answers.grade import extract_answer, grade
from verifiers.base import StepContext, contexts_of
from verifiers.calculation.arithmetic import Arithmetic
from verifiers.calculation.number_provenance import orphans
from verifiers.claims.parsed import ParsedText
from verifiers.review import review

Figures = dict[str, Any]
Solutions = list[tuple[Problem, list[str]]]
LONG = 10_000
_TIMED = 8_000
_LONGEST_S = 100.0
"""Seconds by the clock for the hostile texts: a bench that does not end says nothing."""
_PROBLEM = Problem(text="-")


def speed() -> Figures:
    """Steps/s of the arithmetic verifier on one core, on distinct lines of GSM8K, each read alone; beside it
    the regular expression that is the baseline of all figures. In the details the same of all verifiers, on
    whole solutions, and of steps of ProcessBench and of the embedded default.

    The time is this process's. What SymPy's workers take is not in it; `seconds_waited` has the clock."""
    lines = list(dict.fromkeys(ANNOTATION.sub("", line) for _, lines in gold() for line in lines))[:_TIMED]
    written = list(rows("processbench/*.jsonl*"))
    distinct = list(dict.fromkeys(step for row in written for step in row["steps"]))
    chat: Solutions = [(Problem(text=row["problem"]), row["steps"]) for row in written[::4]]
    problems: Solutions = []
    for question, steps in gold():
        problems.append((Problem(text=question), [ANNOTATION.sub("", step) for step in steps]))
    all_gsm8k, _ = _whole(problems[:2_000])
    all_chat, waited = _whole(chat)
    return {
        "value": _rate(_arithmetic, lines),
        "unit": "steps/s",
        "baseline": _rate(naive, lines),
        "n": len(lines),
        "details": {
            "arithmetic": {
                "gsm8k": _rate(_arithmetic, lines),
                "processbench": _rate(_arithmetic, distinct),
                "embedded": _rate(_arithmetic, _embedded(500)),
            },
            "all_verifiers": {"gsm8k": all_gsm8k, "processbench": all_chat},
            "distinct_steps": {"gsm8k": len(lines), "processbench": len(distinct)},
            "seconds_waited": waited,
        },
    }


def _arithmetic(text: str) -> None:
    # A new context: one remembers what was read in it, and a second pass would measure the memory.
    Arithmetic().check(StepContext(_PROBLEM, (text,)))


def _whole(solutions: Solutions) -> tuple[float, float]:
    """Steps/s of a review of whole solutions, and for how many seconds it waited for others."""
    waited, start = time.perf_counter(), time.process_time()
    for solution in solutions:
        for context in contexts_of(*solution):
            review(context)
    took = time.process_time() - start
    return round(sum(len(steps) for _, steps in solutions) / took, 1), round(
        time.perf_counter() - waited - took, 1
    )


def long() -> Figures:
    """Seconds of one core for all verifiers on one solution of 10,000 steps, distinct lines of GSM8K; beside
    it twice what its first half takes, which is as much where time grows in proportion to the steps."""
    lines = list(dict.fromkeys(ANNOTATION.sub("", line) for _, lines in gold() for line in lines))[:LONG]

    def seconds(steps: list[str]) -> float:
        return 1 / _rate(lambda one: [review(c) for c in contexts_of(_PROBLEM, one)], [steps])

    half, whole = seconds(lines[: LONG // 2]), seconds(lines)
    return {"value": whole, "unit": "s", "baseline": 2 * half, "n": len(lines)}


def reading() -> Figures:
    """Steps/s of all verifiers of natural steps on one core; beside, when each of them reads for itself."""
    from verifiers.calculation.algebra import Algebra
    from verifiers.constraints.constraints import Constraints

    checks = [verifier.check for verifier in (Arithmetic(), Algebra(), Constraints())]
    ways: list[Callable[[StepContext], Any]] = [*checks, orphans, review]
    solutions = [(Problem(text=row["problem"]), row["steps"]) for row in rows("processbench/*.jsonl*")]

    def shared(solution: tuple[Problem, list[str]]) -> None:
        for context in contexts_of(*solution):
            for way in ways:
                way(context)

    def alone(solution: tuple[Problem, list[str]]) -> None:
        for context in contexts_of(*solution):
            texts = (context.problem.text, *context.steps)
            for way in ways:
                way(StepContext(context.problem, context.steps, tuple(map(ParsedText, texts))))

    solutions = solutions[::16]  # reading alone takes the square of the steps, five times
    steps = sum(len(texts) for _, texts in solutions)
    value, baseline = (_rate(way, solutions) * steps / len(solutions) for way in (shared, alone))
    return {"value": value, "unit": "steps/s", "baseline": baseline, "n": steps}


def _embedded(n: int) -> list[str]:
    from pipeline.embedded.problems.truth import problems

    return [step.text for problem in problems(n, seed=0) for step in segment(problem.reference or "")]


def _rate(call: Callable[[Any], Any], items: list[Any]) -> float:
    """The best of three passes: other work on the machine only ever slows one down."""
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        for item in items:
            call(item)
        best = max(best, len(items) / (time.process_time() - start))
    return best


def hostile() -> Figures:
    """Hostile texts read without a crash, of 9,000, or of as many as are read in 100 s on a busy machine; the
    slowest in ms of this process's time, all together in seconds of it, and the growth of memory in MB
    beside."""
    slowest, worst, crashes, n = 0.0, 0, [], 0
    before, until, used = _memory(), time.monotonic() + _LONGEST_S, time.process_time()
    for index, text in enumerate(texts(9_000)):
        if time.monotonic() > until:
            break
        n += 1
        try:
            took = _read(text)
            # What the machine does besides may stop one reading; it does not stop three of the same.
            if took > slowest:
                took = min(took, *(_read(text + " " * more) for more in (1, 2)))
            # The review may ask SymPy in a worker, which takes seconds on some of these: every fiftieth is
            # enough to see a crash.
            if index % 50 == 0:
                review(StepContext(_PROBLEM, (text,)))
        except Exception as error:  # noqa: BLE001 - a crash of any kind is what is counted
            crashes.append(f"{index}: {error!r}"[:200])
        else:
            slowest, worst = max((slowest, worst), (took, index))
    return {
        "value": 1 - len(crashes) / n,
        "unit": "share of texts",
        "baseline": 1.0,
        "n": n,
        "details": {
            "crashes": crashes[:10],
            "slowest_ms": round(slowest * 1000, 1),
            "slowest_text": worst,
            "cpu_s": round(time.process_time() - used, 1),
            "memory_grown_mb": round((_memory() - before) / 1024, 1),
        },
    }


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _read(text: str) -> float:
    """Seconds to read a text as a step and as an answer."""
    start = time.process_time()
    context = StepContext(_PROBLEM, (text,), (ParsedText("-"), ParsedText(text)))
    Arithmetic().check(context)
    orphans(context)
    grade("12", extract_answer(text) or text, "number")
    return time.process_time() - start
