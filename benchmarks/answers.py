"""How answers are found and graded: sampled solutions with marks, pairs of different answers, and the speed.

The problems are in two parts by a hash of their text. The graders are written on the part `work`; figures
are quoted of `kept`, whose solutions nobody looks at to improve them.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.corpora import rows
from schemas.records import AnswerKind
from verifiers.answers.grade import extract_answer

Figures = dict[str, Any]
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
PAIRS, TIMED = 1000, 300
"""Pairs of different answers that are graded, and pairs of each kind that both graders are timed on."""


class Sampled(NamedTuple):
    """A model's solution, the gold answer, and the mark that came with it, which may be wrong."""

    source: str
    problem: str
    text: str
    gold: str
    kind: AnswerKind
    mark: bool


def sampled() -> Iterator[Sampled]:
    """The solutions of `sampled_solutions`, with gold answers from the problems' own files."""
    known = {
        row["question"]: row["answer"].rpartition("####")[2].strip() for row in rows("gsm8k/test_part.jsonl")
    }
    known |= {row["problem"]: row["answer"] for row in rows("math/math500_part.jsonl")}
    kinds: tuple[tuple[str, AnswerKind], ...] = (("gsm8k", "number"), ("math500", "expression"))
    for name, kind in kinds:
        for row in rows(f"sampled_solutions/{name}_32_per_problem_part.jsonl.gz"):
            for drawn in row["candidates"]:
                problem = drawn["problem"]["question"]
                if problem in known:
                    text = drawn["raw_text"].rpartition("\nassistant\n")[2]
                    yield Sampled(name, problem, text, known[problem], kind, drawn["is_correct"])
    for row in rows("sampled_solutions/qwen25math_math100*"):
        for text, mark in zip(row["response"], row["score"], strict=True):
            yield Sampled("math100", row["question"], text, row["answer"], "expression", mark)
    golds = {row["question"]: row["final_answer"] for row in rows("olympiadbench/*.jsonl")}
    for row in rows("sampled_solutions/qwen25_7b_olympiadbench*"):
        for steps, mark in zip(row["steps"], row["labels"], strict=True):
            if gold := golds.get(row["question"]):
                text = "\n\n".join(steps)
                yield Sampled("olympiadbench", row["question"], text, ", ".join(gold), "expression", mark)


def golds() -> Iterator[tuple[str, str, AnswerKind]]:
    """A problem of MATH or PRM800K and its gold answer, boxed in the solution where there is one."""
    for row in rows("math/*.jsonl*"):
        answer = row.get("answer") or row.get("final_answer") or extract_answer(row.get("solution") or "")
        if answer:
            yield row["problem"], answer, "expression"
    for row in rows("prm800k/phase1_test*"):
        yield row["question"]["problem"], row["question"]["ground_truth_answer"], "expression"
