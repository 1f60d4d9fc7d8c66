"""`verifiers.rules`: the first errors that people marked in tasks with a rule (BIG-Bench Mistake)."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.corpora import rows
from benchmarks.natural import digest, reviewed
from benchmarks.shares import share
from schemas.records import Problem
from verifiers.base import Verdict, contexts_of
from verifiers.review import Review, review

TASKS = (
    "dyck_languages",
    "word_sorting",
    "tracking_shuffled_objects",
    "logical_deduction",
    "multistep_arithmetic",
)


class _Read(NamedTuple):
    steps: list[str]
    error: int | None
    """The first error that people marked, from 0."""
    reviews: list[Review]


def rules() -> dict[str, Any]:
    """First errors found exactly, in per cent of the solutions, all verifiers together.

    Solutions without a marked error and with a wrong answer are left out: something in them is wrong. The
    baseline has the same verifiers without `rules`. `details` has for each task: first errors found exactly,
    steps before the first error that are called wrong (each is listed; `misprint` where a reader found it
    wrong indeed) or have any verdict, and the verdicts on the marked steps.
    """
    details: dict[str, Any] = {}
    exact = alone = count = 0
    called: list[dict[str, str]] = []
    before = wrong = 0
    for task in TASKS:
        reads = list(_read(task))
        found = sum(_first(one) == one.error for one in reads)
        others = sum(_first(one, without="rules") == one.error for one in reads)
        passed = [(step, said) for one in reads for step, said in _passed(one)]
        refuted = [(step, said) for step, said in passed if said.verdict == "fails"]
        marked = Counter(one.reviews[one.error].verdict for one in reads if one.error is not None)
        details[task] = {
            "first_error_exact": share(found, len(reads), per=100),
            "right_steps_called_wrong": share(len(refuted), len(passed), per=100),
            "right_steps_with_a_verdict": share(
                sum(said.verdict != "abstains" for _, said in passed), len(passed), per=100
            ),
            "marked_steps": dict(marked),
        }
        exact, alone, count = exact + found, alone + others, count + len(reads)
        before, wrong = before + len(passed), wrong + len(refuted)
        called += [_shown(task, step, said) for step, said in refuted]
    details["right_steps_called_wrong"] = {**share(wrong, before, per=100), "steps": called}
    return {**share(exact, count, per=100), "unit": "%", "baseline": 100 * alone / max(1, count),
            "details": details}  # fmt: skip


def _read(task: str) -> Iterator[_Read]:
    for row in rows(f"big_bench_mistake/{task}_part.jsonl"):
        error = row["mistake_index"]
        if error is None and (row["answer"] or "").rstrip(".") != row["target"]:
            continue
        contexts = contexts_of(Problem(text=row["input"]), row["steps"])
        last = len(row["steps"]) if error is None else error + 1
        yield _Read(row["steps"], error, [review(contexts[at]) for at in range(last)])


def _verdict(said: Review, without: str) -> Verdict:
    if not without:
        return said.verdict
    return "fails" if any(r.verdict == "fails" and r.by != without for r in said.remarks) else "abstains"


def _first(one: _Read, without: str = "") -> int | None:
    """The first step that is called wrong, up to the one that people marked."""
    return next((at for at, said in enumerate(one.reviews) if _verdict(said, without) == "fails"), None)


def _passed(one: _Read) -> Iterator[tuple[str, Review]]:
    yield from list(zip(one.steps, one.reviews, strict=False))[: one.error]


def _shown(task: str, step: str, said: Review) -> dict[str, str]:
    reason = next(remark.reason for remark in said.remarks if remark.verdict == "fails")
    found = digest(step)
    return {"task": task, "digest": found, "read": reviewed().get(found, "not read"), "reason": reason[-200:]}
