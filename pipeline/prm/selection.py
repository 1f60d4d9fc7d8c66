"""Choose one of several solutions: by their step scores, by the votes of their answers, or by both."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, TypeVar

from verifiers.answers.grade import same_answer

Aggregation = Literal["min", "product", "last"]
AGGREGATIONS: dict[Aggregation, Callable[[Sequence[float]], float]] = {
    "min": min,
    "product": math.prod,
    "last": lambda scores: scores[-1],
}
"""From step scores to one of the solution: its weakest step, the product (all right), or its last step."""

Item = TypeVar("Item")


def best_of_n(
    candidates: Sequence[Item], scores: Sequence[Sequence[float]], how: Aggregation = "product"
) -> Item:
    """The candidate with the highest aggregated score; the first of equals.

    One without scores never beats one that has them. ValueError without candidates, or when lengths differ.
    """
    if not candidates:
        raise ValueError("no candidates to choose from")
    ranked = [overall(steps, how) for _, steps in zip(candidates, scores, strict=True)]
    return candidates[ranked.index(max(ranked))]


def overall(scores: Sequence[float], how: Aggregation) -> float:
    """One score for a solution; below every other when it has no steps."""
    return AGGREGATIONS[how](scores) if scores else -math.inf


def majority_vote(answers: Sequence[str | None]) -> int | None:
    """Index of the first solution that gives the most common answer; None when no solution gives one."""
    return weighted_vote(answers, [1.0] * len(answers))


def weighted_vote(answers: Sequence[str | None], weights: Sequence[float]) -> int | None:
    """Index of the first solution whose answer has the greatest summed weight; None when none has an answer.

    Answers that the grader finds equal are one: 1/2 and 0.5. A missing or empty answer is silence, not an
    answer of its own: it never wins. Ties go to the answer given first.
    """
    totals: dict[str, float] = defaultdict(float)
    first: dict[str, int] = {}
    groups = _groups([answer for answer in answers if answer])
    for index, (answer, weight) in enumerate(zip(answers, weights, strict=True)):
        if key := groups.get(normalised(answer or "")):
            totals[key] += weight
            first.setdefault(key, index)
    return first[max(totals, key=totals.__getitem__)] if totals else None


_MOST_PAIRS = 300
"""Answers compared by value in one vote; further ones are equal only where they are written alike."""


def _groups(answers: Sequence[str]) -> dict[str, str]:
    """For each answer, as compared, the first one given that equals it."""
    written: dict[str, str] = {}
    for answer in answers:
        if key := normalised(answer):
            written.setdefault(key, answer)
    heads: list[str] = []
    found: dict[str, str] = {}
    pairs = 0
    # Each answer is compared with the heads of groups only, so n samples with few answers cost few
    # comparisons.
    for key, answer in written.items():
        found[key] = key
        for head in heads:
            pairs += 1
            if pairs > _MOST_PAIRS:
                break
            if _equal(written[head], answer):
                found[key] = head
                break
        if found[key] == key:
            heads.append(key)
    return found


@lru_cache(maxsize=1 << 16)
def _equal(one: str, other: str) -> bool:
    """Whether both are surely one answer: as values, or as the same choice. A doubt keeps them apart."""
    verdict = same_answer(one, other, "expression")
    # "(B)" and "B" are no expressions, so the grader is asked again as for a choice.
    return bool(same_answer(one, other, "choice") if verdict is None else verdict)


def normalised(answer: str) -> str:
    """An answer as compared between samples: case, rows of spaces and a closing full stop do not count."""
    # Only spaces, case and a full stop are dropped: "5 ." is "5". The grader says whether "1/2" is "0.5".
    return " ".join(answer.split()).casefold().rstrip(". ")
