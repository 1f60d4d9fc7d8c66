"""Self-denoising labels: soft near the first error, hard before it (SCAN, arXiv 2509.16548, section 4).

A ratio within `tolerance` steps of the first zero is divided by the policy's own success rate on the problem,
its self-confidence, so that a step as good as the start of the problem gets 1. The
method takes a right solution to be right in every step, although some hold a wrong step with a right answer,
and it cannot see an error that rollouts repair.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.annotators.scan import ROOT
from pipeline.methods.counts import Count, count
from pipeline.methods.stored import Run, Stored
from schemas.derive import ScanSettings
from schemas.records import Candidate, content_id


def confident(confidence: Count, least: float) -> bool:
    """Whether the policy solves the problem often enough for its zeros to mean something.

    Solutions without a readable answer are in neither count; nothing readable is no confidence.
    """
    return confidence.value is not None and confidence.value >= least


def predicted_error(counts: Sequence[Count]) -> int | None:
    """First step without a success, `counts` being those after each step.

    None without one, and where the step before it was not seen to succeed: then it could be the error.
    Steps further back need no counts: a success later on goes through them.
    """
    for step, found in enumerate(counts):
        if found.n and not found.correct:
            # Without a success right before it, the error may lie further back, at a step that was not rolled
            # out.
            return step if step == 0 or counts[step - 1].correct else None
    return None


def denoised(counts: Sequence[Count], confidence: Count, tolerance: int = 2) -> list[float | None] | None:
    """Targets of a wrong solution up to and including its predicted error; None discards it.

    Exactly one 0, in the last place. Within `tolerance` steps before it min(ratio / confidence, 1), or None
    where that step was not rolled out; earlier steps 1. Discarded: no zero, or no confidence to divide by.
    """
    error = predicted_error(counts)
    if error is None or not confidence.correct:
        return None
    targets: list[float | None] = []
    for step, found in enumerate(counts[: error + 1]):
        if step == error:
            targets.append(0.0)
        elif error - step > tolerance:
            targets.append(1.0)
        elif not found.n:
            targets.append(None)
        else:
            # (c/n) / (C/N) in one division of integers; above 1 it is cut to 1, since a target is a
            # probability.
            scaled = found.correct * confidence.n / (found.n * confidence.correct)
            targets.append(min(1.0, scaled))
    return targets


def balanced(right: Sequence[str], wrong: Sequence[str], seed: int) -> set[str]:
    """As many right as wrong solutions by their ids: all of the rarer kind, and of the other those that the
    seed ranks first, in whichever order they come."""
    # The paper trains on as many right as wrong solutions: otherwise a PRM learns the policy's base rate.
    size = min(len(right), len(wrong))

    def chosen(ids: Sequence[str]) -> list[str]:
        # A hash and not a shuffle: the choice does not depend on the order of shards or rows.
        return sorted(ids, key=lambda one: content_id("scan", seed, one))[:size]

    return {*chosen(right), *chosen(wrong)}


COLUMNS = {
    "solution_id": "string",
    "step": "int32",
    "text": "string",
    "correct": "int32",
    "n": "int32",
    "n_failed": "int32",
    "confidence_correct": "int32",
    "confidence_n": "int32",
    "target": "float64",
    "right": "bool",
    "selected": "bool",
}


def rows(run: Run, settings: ScanSettings) -> Iterator[dict[str, Any]]:
    """One row a labelled step of every solution of a problem the policy is confident on.

    `selected` marks the balanced half; choosing it takes a pass over the run of its own.
    """
    ids: tuple[list[str], list[str]] = ([], [])
    for stored in run:
        for candidate, _, _ in _labelled(stored, settings):
            ids[candidate.solution.outcome == "correct"].append(candidate.solution.id)
    selected = balanced(ids[1], ids[0], settings.seed)
    for stored in run:
        confidence = confidence_of(stored)
        for candidate, targets, counts in _labelled(stored, settings):
            solution = candidate.solution
            for step, (target, found) in enumerate(zip(targets, counts, strict=False)):
                yield {
                    "problem_id": solution.problem_id,
                    "solution_id": solution.id,
                    "step": step,
                    "text": solution.steps[step].text,
                    "correct": found.correct,
                    "n": found.n,
                    "n_failed": found.n_failed,
                    "confidence_correct": confidence.correct,
                    "confidence_n": confidence.n,
                    "target": target,
                    "right": solution.outcome == "correct",
                    "selected": solution.id in selected,
                }


def confidence_of(stored: Stored) -> Count:
    """The policy's success on the bare problem, by the rollouts that the annotator looks at too."""
    return count(r for r in stored.rollouts if not r.prefix and r.purpose in ROOT)


def _labelled(
    stored: Stored, settings: ScanSettings
) -> Iterator[tuple[Candidate, list[float | None], list[Count]]]:
    confidence = confidence_of(stored)
    if not confident(confidence, settings.confidence):
        return
    for candidate in stored.finished.candidates:
        solution = candidate.solution
        counts = stored.along(solution)[1:]
        if solution.outcome == "correct":
            yield candidate, [1.0] * len(counts), counts
        elif solution.outcome == "incorrect":
            targets = denoised(counts, confidence, settings.tolerance)
            if targets is not None:
                yield candidate, targets, counts
