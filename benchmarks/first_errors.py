"""Where the verifiers alone find the first error of a solution, beside where people marked it."""

from collections import Counter
from typing import Any

from benchmarks.corpora import rows
from benchmarks.shares import share
from schemas.records import Problem
from verifiers.base import contexts_of
from verifiers.review import review

_SETS = ("gsm8k", "math", "olympiadbench", "omnimath")


def first_errors() -> dict[str, Any]:
    """Wrong solutions of ProcessBench whose first error the verifiers name exactly. They speak only of what
    they can decide, so most first errors are passed over. `details` has each dataset, how many solutions are
    called wrong too early, and how many right ones are called wrong."""
    found = {name: _counted(name) for name in _SETS}
    total = Counter[str]()
    for counts in found.values():
        total += counts
    details = {
        name: {
            "exact": share(counts["exact"], counts["wrong"], per=100),
            "too early": counts["early"],
            "steps with a verdict": share(counts["decided"], counts["steps"], per=100),
            "right solutions called wrong": [counts["false"], counts["right"]],
        }
        for name, counts in found.items()
    }
    return {
        **share(total["exact"], total["wrong"], per=100),
        "unit": "% of wrong solutions",
        "baseline": 0.0,
        "details": details,
    }


def _counted(name: str) -> Counter[str]:
    counts = Counter[str]()
    for row in rows(f"processbench/{name}_part.jsonl*"):
        contexts = contexts_of(Problem(text=row["problem"]), row["steps"])
        verdicts = [review(context).verdict for context in contexts]
        named = verdicts.index("fails") if "fails" in verdicts else -1
        label = row["label"]
        counts["steps"] += len(verdicts)
        counts["decided"] += sum(verdict != "abstains" for verdict in verdicts)
        counts["right" if label == -1 else "wrong"] += 1
        if named != -1:
            counts["false"] += label == -1
            counts["exact"] += named == label
            counts["early"] += named < label
    return counts
