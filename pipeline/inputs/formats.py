"""Formats of published step labels whose rows say by their columns what they are.

Each reader takes a row and gives it taken apart, or None where the row is of another format. What is read
after these is a plain row (`pipeline.inputs.solutions`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.inputs.gold_labels import from_errors, from_ratings, from_signs
from pipeline.inputs.rows import Unreadable
from schemas.records import GoldLabels, Outcome, Step

STEP_TAG = "\u043a\u0438"
"""Math-Shepherd's mark at the end of a step, in Cyrillic letters."""
# Where Math-Shepherd's problem ends; the problem itself may speak of steps, but not in a first one with a
# colon.
_FIRST_STEP = re.compile(r"\bStep 1:")


class Found(NamedTuple):
    """A solution as its row has it."""

    text: str | tuple[str, ...]
    """A text, or the texts of its steps."""
    first: int = 0
    """The first step that is new; those before it repeat other rows."""
    gold: GoldLabels | Unreadable | None = None
    """The labels that came with it; why they cannot be read."""
    marks: Mapping[str, Any] = {}
    """What a plain row says of the steps; it is read when their number is known."""
    outcome: Outcome = "unknown"
    generator: str = ""
    whole: str = ""
    spans: tuple[Step, ...] = ()
    """Where the steps stand in the `whole` text, in rows that say so."""


class Parsed(NamedTuple):
    """A row taken apart."""

    problem: Mapping[str, Any]
    """What is left of the row for its problem."""
    solutions: tuple[Found | Unreadable, ...] | Unreadable
    """Its solutions; why they cannot be read."""


Row = Mapping[str, Any]


def _prm800k(row: Row) -> Parsed | None:
    """PRM800K's files of whole solutions: each step with its rated completions, of which one was chosen."""
    question, label = row.get("question"), row.get("label")
    if not isinstance(label, Mapping) or not isinstance(label.get("steps"), list):
        return None
    said = question if isinstance(question, Mapping) else {"problem": question}
    problem = {"problem": said.get("problem"), "answer": said.get("ground_truth_answer")}
    steps = [found for step in label["steps"] if (found := _chosen(step))[0].strip()]
    if not steps:
        return Parsed(problem, ())
    texts, ratings = tuple(text for text, _ in steps), [rating for _, rating in steps]
    gold = from_ratings(ratings, "prm800k", is_whole=label.get("finish_reason") == "solution")
    return Parsed(problem, (Found(texts, gold=gold),))


def _chosen(step: Any) -> tuple[str, Any]:
    """The text and rating of a PRM800K step: of its completions the chosen one, else the annotator's own,
    else the first."""
    if not isinstance(step, Mapping):
        return "", None
    completions, chosen = step.get("completions") or [], step.get("chosen_completion")
    if chosen is None and isinstance(step.get("human_completion"), Mapping):
        return str(step["human_completion"].get("text", "")), None
    index = chosen if isinstance(chosen, int) and 0 <= chosen < len(completions) else 0
    taken = completions[index] if completions and isinstance(completions[index], Mapping) else {}
    return str(taken.get("text", "")), taken.get("rating")


def _prm800k_stepwise(row: Row) -> Parsed | None:
    """PRM800K as one row a step: the steps so far, and the next one with its rating. Of the steps before it
    the row says nothing."""
    if not isinstance(row.get("next_response"), str):
        return None
    before = row.get("responses")
    said = [step for step in before if isinstance(step, str)] if isinstance(before, list) else []
    steps = tuple(step for step in said if step.strip())
    gold = from_ratings([None] * len(steps) + [row.get("rating")], "prm800k", is_whole=False)
    # Whether an earlier step is wrong is not said either, so neither is which is the first.
    gold = gold.model_copy(update={"first_error": gold.first_error if not steps else None})
    found = Found((*steps, row["next_response"]), len(steps), gold)
    return Parsed({"problem": row.get("instruction")}, (found,))


def _math_shepherd(row: Row) -> Parsed | None:
    """Math-Shepherd: `input` with a tag after every step, and `label` with + or - in its place."""
    asked, labelled = row.get("input"), row.get("label")
    if not (isinstance(asked, str) and isinstance(labelled, str) and STEP_TAG in asked):
        return None
    start = found.start() if (found := _FIRST_STEP.search(asked)) else 0
    problem = {"problem": asked[:start].strip()}
    signs: list[str | None] = []
    at = 0
    *pieces, rest = asked.split(STEP_TAG)
    for piece in pieces:
        at += len(piece)
        if labelled[at - len(piece) : at] != piece or labelled[at : at + 1] not in ("+", "-"):
            why = f"label: does not repeat input with + or - in place of the tag of step {len(signs) + 1}"
            return Parsed(problem, Unreadable(why))
        signs.append(labelled[at])
        at += 1
    texts = [pieces[0][start:], *pieces[1:]]
    if rest.strip():  # a last step without a tag has no label
        texts, signs = [*texts, rest], [*signs, None]
    gold = from_signs(signs, len(texts), "math_shepherd")
    steps = tuple(text.strip() for text in texts)
    return Parsed(problem, (Found(steps, gold=gold),))


def _prmbench(row: Row) -> Parsed | None:
    """PRMBench: a solution into which errors were planted, and the numbers of all wrong steps, from 1."""
    steps, errors = row.get("modified_process"), row.get("error_steps")
    if not (isinstance(steps, list) and isinstance(errors, list)):
        return None
    problem = {"problem": row.get("modified_question"), "answer": row.get("ground_truth")}
    if not all(isinstance(step, str) for step in steps):
        return Parsed(problem, Unreadable("modified_process: expected a list of texts"))
    gold = from_errors(errors, len(steps), "prmbench")
    if isinstance(gold, Unreadable):
        gold = Unreadable(f"error_steps: {gold.why}")
    return Parsed(problem, (Found(tuple(steps), gold=gold),))


def _trl(row: Row) -> Parsed | None:
    """TRL's stepwise supervision: the completions are the steps of one solution, with a label each."""
    steps, labels = row.get("completions"), row.get("labels")
    is_stepwise = isinstance(steps, list) and isinstance(labels, list) and len(steps) == len(labels)
    if "prompt" not in row or not is_stepwise or not all(isinstance(step, str) for step in steps or ()):
        return None
    problem = {name: value for name, value in row.items() if name not in ("completions", "labels")}
    gold = from_signs(labels or (), len(labels or ()))
    return Parsed(problem, (Found(tuple(steps or ()), gold=gold),))


def _own(row: Row) -> Parsed | None:
    """A row of our own datasets. Its labels are gold where it has no gold labels of its own."""
    if not {"solution_id", "step_start", "step_end", "votes"} <= row.keys():
        return None
    from schemas.arrow import from_row  # it imports pyarrow, which a file of JSON does not need

    try:
        item = from_row(dict(row))
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Parsed(row, Unreadable(f"a row of a dataset of ours that cannot be read: {error}"[:300]))
    known = item.problem.model_dump(exclude={"id", "text", "answer", "alternatives", "source"})
    golds: Sequence[str] = item.problem.golds
    problem = {**known, "problem": item.problem.text, "answer": list(golds) or None}
    solution = item.solution
    labels = tuple(label.label for label in item.labels)
    gold = item.gold or GoldLabels(labels=labels, first_error=item.first_error, by="stepmint")
    found = Found(
        tuple(solution.step_texts()),
        gold=gold,
        outcome=solution.outcome,
        generator=solution.policy.model,
        whole=solution.text,
        spans=solution.steps,
    )
    return Parsed(problem, (found,))


FORMATS = (_prm800k, _prm800k_stepwise, _math_shepherd, _prmbench, _trl, _own)
"""In the order in which they are tried; their columns exclude one another."""
