"""The grader of answers beside math-verify: pairs/s over all pairs, and agreement."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks import answers
from benchmarks.shares import share
from verifiers.answers.grade import grade


def math_verify() -> dict[str, Any]:
    """Pairs/s of the grader beside math-verify over all of some pairs of MATH, the slow ones too, where
    `verifiers.answers.speed` has the median pair; in the details also of GSM8K, and how often the verdicts
    agree where the grader has one, and how often each is as the mark in the data."""
    library = answers.math_verify()
    counts, differ, drawn = Counter[str](), [], answers.pairs()
    rates: dict[str, tuple[float, float]] = {}
    for kind, marked in drawn.items():
        ours = [_timed(lambda a, b, kind=kind: grade(a, b, kind).verdict, *pair) for pair in marked]
        theirs = [_timed(library, *pair) for pair in marked]
        rates[kind] = _rate(ours), _rate(theirs)
        for (pair, mark), (one, _), (other, _) in zip(marked.items(), ours, theirs, strict=True):
            counts["open" if one is None else "agree" if one == other else "differ"] += 1
            counts.update({"ours as the mark": one == mark, "math-verify as the mark": other == mark})
            if one is not None and one != other:
                differ.append([*pair, one, "as the mark" if one == mark else "against the mark"])
    return {
        "value": rates["expression"][0],
        "unit": "pairs/s",
        "baseline": rates["expression"][1],
        "n": sum(map(len, drawn.values())),
        "details": {
            "agreement": share(counts["agree"], counts["agree"] + counts["differ"]),
            "numbers_per_s": rates["number"][0],
            "math_verify_numbers_per_s": rates["number"][1],
            "counts": dict(sorted(counts.items())),
            "differ": differ,
        },
    }


def _timed(work: Callable[[str, str], bool | None], gold: str, said: str) -> tuple[bool | None, float]:
    start = time.process_time()
    found = work(gold, said)
    return found, time.process_time() - start


def _rate(found: list[tuple[bool | None, float]]) -> float:
    return round(len(found) / sum(took for _, took in found), 1)
