"""How answers are found and graded: sampled solutions with marks, pairs of different answers, and the speed.

The problems are in two parts by a hash of their text. The graders are written on the part `work`; figures
are quoted of `kept`, whose solutions nobody looks at to improve them.
"""

import logging
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.corpora import rows
from benchmarks.segmenting import PARTS, part_of, wilson
from schemas.records import AnswerKind
from verifiers.answers.grade import extract_answer, grade, read_answer

Figures = dict[str, Any]
PAIRS, TIMED = 1_000, 200
"""Pairs of different answers graded in each part, and pairs of each kind that graders are timed on."""
_SHOWN = 40
"""Contradictions of a mark that are listed, most frequent first."""


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


def golds() -> Iterator[tuple[str, str]]:
    """A problem of MATH or PRM800K and its gold answer, boxed in the solution where there is one."""
    for row in rows("math/*.jsonl*"):
        answer = row.get("answer") or row.get("final_answer") or extract_answer(row.get("solution") or "")
        if answer:
            yield row["problem"], answer
    for row in rows("prm800k/phase1_test*"):
        yield row["question"]["problem"], row["question"]["ground_truth_answer"]


def answers() -> Figures:
    """Solutions that state an answer and stay without a verdict, on problems of the part `kept`; beside it
    the verdicts that contradict the solutions' marks, and answers of different problems told apart."""
    counts: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    why: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    against: Counter[tuple[str, str, str, bool]] = Counter()
    known: dict[tuple[str, str, AnswerKind], bool | None] = {}
    for one in sampled():
        part, found = part_of(one.problem), read_answer(one.text)
        said = found.answer
        if said is None:
            counts[part][f"{one.source} no answer"] += 1
            why[part][f"{one.source}: {found.why}"] += 1
            continue
        key = (one.gold, said, one.kind)
        if key not in known:
            known[key] = grade(*key).verdict
        verdict = known[key]
        outcome = "unknown" if verdict is None else "right" if verdict else "wrong"
        counts[part].update((f"{one.source} {outcome}", "stated", *(["unknown"] if verdict is None else [])))
        if verdict is not None and verdict != one.mark:
            counts[part][f"{one.source} {outcome}, marked {'right' if one.mark else 'wrong'}"] += 1
            if part == "kept":
                against[one.source, one.gold, said, verdict] += 1
    unknown, stated = counts["kept"]["unknown"], counts["kept"]["stated"]
    return {
        "value": unknown / stated,
        "unit": "share unknown",
        "baseline": 0,
        "n": stated,
        "details": {
            "interval": wilson(unknown, stated),
            "parts": {part: dict(sorted(found.items())) for part, found in counts.items()},
            "no_answer": {part: dict(found.most_common()) for part, found in why.items()},
            "kept_against_the_mark": [[*key, n] for key, n in against.most_common(_SHOWN)],
            "different_answers": {part: _different(part) for part in PARTS},
        },
    }


def _different(part: str) -> Figures:
    """Random pairs of gold answers of different spelling: how many are told apart."""
    found = sorted({answer for problem, answer in golds() if part_of(problem) == part})
    rng = random.Random(17)
    verdicts: Counter[bool | None] = Counter()
    for _ in range(PAIRS):
        one, other = rng.sample(found, 2)
        verdicts[grade(one, other, "expression").verdict] += 1
    told = verdicts[False]
    return {"n": PAIRS, "different": told, "equal": verdicts[True], "interval": wilson(told, PAIRS)}


def speed() -> Figures:
    """Pairs/s of the grader beside math-verify alone, at the median pair, on answers of models to MATH
    problems; in the details the same on numbers of GSM8K."""
    library = math_verify()
    rates: dict[AnswerKind, tuple[float, float]] = {}
    drawn = pairs()
    for kind, marked in drawn.items():
        ours = _rate(lambda gold, said, kind=kind: grade(gold, said, kind), list(marked))
        rates[kind] = ours, _rate(library, list(marked))
    ours, theirs = rates["number"]
    return {
        "value": rates["expression"][0],
        "unit": "pairs/s",
        "baseline": rates["expression"][1],
        "n": sum(map(len, drawn.values())),
        "details": {"numbers_per_s": ours, "math_verify_numbers_per_s": theirs, "ratio": ours / theirs},
    }


def pairs() -> dict[AnswerKind, dict[tuple[str, str], bool]]:
    """Distinct pairs of a gold answer and a model's, some of each kind, with the mark that came with them."""
    found: dict[AnswerKind, dict[tuple[str, str], bool]] = {"number": {}, "expression": {}}
    for one in sampled():
        if said := extract_answer(one.text):
            found[one.kind][one.gold, said] = one.mark
    chosen = {
        kind: random.Random(17).sample(list(all_), min(TIMED, len(all_))) for kind, all_ in found.items()
    }
    return {kind: {pair: found[kind][pair] for pair in some} for kind, some in chosen.items()}


def math_verify() -> Callable[[str, str], bool]:
    """Whether math-verify finds a gold answer and another equal; it is asked as its documents show."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def equal(gold: str, said: str) -> bool:
        # A dollar of money, `\$`, opens no formula.
        written = [t if "$" in t.replace(r"\$", "") else f"${t}$" for t in (gold, said)]
        sides = [parse(text, parsing_timeout=1) for text in written]
        return bool(verify(*sides, timeout_seconds=1))

    return equal


def _rate(work: Callable[[str, str], object], chosen: list[tuple[str, str]]) -> float:
    """Pairs/s at the median pair: some expressions keep the library busy for seconds."""
    took = []
    for pair in chosen:
        start = time.perf_counter()
        work(*pair)
        took.append(time.perf_counter() - start)
    return 1 / statistics.median(took)
