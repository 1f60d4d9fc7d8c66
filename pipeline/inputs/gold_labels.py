"""Reads step labels and outcomes that came with a solution, in the forms that data sets write them in."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipeline.inputs.rows import Unreadable, parsed
from schemas.records import GoldLabels, Outcome, first_error_labels

Sign = Literal[0, 1] | None
_SIGNS: Mapping[Any, Sign] = {"+": 1, "-": 0, True: 1, False: 0, None: None}
_RATINGS: Mapping[Any, Sign] = {1: 1, 0: None, -1: 0, None: None}
_OUTCOMES: Mapping[str, Outcome] = {
    "correct": "correct",
    "right": "correct",
    "incorrect": "incorrect",
    "wrong": "incorrect",
    "unknown": "unknown",
    "true": "correct",
    "false": "incorrect",
}
_WHOLE = re.compile(r"(-1|\d{1,9})(?:\.0)?")
FLAGS = ("final_answer_correct", "is_correct", "correct", "outcome", "result", "score")
"""Common names of the column that says whether the final answer is right."""
# The number 1 in a column `result` may be an answer, and in `correct` a count.
_NUMBERED = ("final_answer_correct", "is_correct", "score")


def gold_of(row: Mapping[str, Any], n_steps: int) -> GoldLabels | None | Unreadable:
    """The step labels in a row of one solution: `labels` with one for each step, or the 0-based index of the
    first wrong step (-1: none is) in `label`, as ProcessBench has it, or `first_error`. None without any."""
    labels = as_list(row.get("labels"))
    if isinstance(labels, Sequence) and not isinstance(labels, str):
        return from_signs(labels, n_steps)
    for name, by in (("label", "processbench"), ("first_error", "")):
        first = row.get(name)
        # A cell of a table is a text, and a column of numbers with a gap in it holds `2.0`.
        if isinstance(first, str | float) and (whole := _WHOLE.fullmatch(str(first).strip())):
            first = int(whole[1])
        # `true` is a bool, which Python counts among the whole numbers: it would be read as step 1.
        if isinstance(first, int) and not isinstance(first, bool):
            return from_first_error(first, n_steps, by)
    return None


def as_list(value: Any) -> Any:
    """The list that a cell of a table holds as JSON, such as `["a", "b"]`; any other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        found = parsed(value)
        return found if isinstance(found, list) else value
    return value


def from_first_error(first: int, n_steps: int, by: str) -> GoldLabels | Unreadable:
    """Labels by the first wrong step: steps before it are right, and of those after it nothing is said."""
    if not -1 <= first < n_steps:
        return Unreadable(f"the first wrong step is {first}, expected -1 to {n_steps - 1} (counted from 0)")
    return GoldLabels(labels=first_error_labels(first, n_steps), first_error=first, by=by)


def from_errors(errors: Sequence[Any], n_steps: int, by: str) -> GoldLabels | Unreadable:
    """Labels by a list of all wrong steps, counted from 1."""
    bad = next((one for one in errors if type(one) is not int or not 1 <= one <= n_steps), None)
    if bad is not None:
        return Unreadable(f"the wrong steps hold {bad!r}, expected 1 to {n_steps}")
    labels = tuple(0 if step in errors else 1 for step in range(1, n_steps + 1))
    return GoldLabels(labels=labels, first_error=min(errors) - 1 if errors else -1, by=by)


def from_signs(signs: Sequence[Any], n_steps: int, by: str = "") -> GoldLabels | Unreadable:
    """Labels with a sign for each step: true and false, 1 and 0, `+` and `-`, or PRM800K's ratings 1, 0 and
    -1, of which 0 is neutral."""
    if len(signs) != n_steps:
        return Unreadable(f"{len(signs)} labels for {n_steps} steps: give the steps as a list")
    # -1 means wrong among ratings only, and there 0 is no mistake.
    rated = any(one == -1 for one in signs if isinstance(one, int | float))
    try:
        labels = tuple((_RATINGS if rated else _SIGNS)[one] for one in signs)
    except (KeyError, TypeError):
        return Unreadable(f"labels: expected true, false, 1, 0, -1, + or -; found {str(list(signs))[:60]}")
    if rated:
        return from_ratings(signs, by)
    first = next((index for index, label in enumerate(labels) if label != 1), -1)
    # A step that nobody labelled may be the first wrong one.
    known = first < 0 or labels[first] == 0
    return GoldLabels(labels=labels, first_error=first if known else None, by=by)


def from_ratings(ratings: Sequence[Any], by: str, *, is_whole: bool = True) -> GoldLabels:
    """Labels by PRM800K's ratings: 1 right, -1 wrong, 0 neutral, null unrated. A neutral step is no error, so
    the first wrong step is the first that is rated -1; without one there is none where the rated solution
    `is_whole`."""
    labels = tuple(_RATINGS.get(rating) for rating in ratings)
    first = labels.index(0) if 0 in labels else -1 if is_whole else None
    return GoldLabels.model_validate({"labels": labels, "first_error": first, "by": by})


def outcome_of_flag(name: str, flag: Any) -> Outcome:
    """Whether the final answer is right, by a flag of this name that came with a solution; `unknown` for
    anything else."""
    if isinstance(flag, str):
        return _OUTCOMES.get(flag.strip().lower(), "unknown")
    # A score of 0.7 is no verdict.
    if not isinstance(flag, bool | int | float) or (name not in _NUMBERED and not isinstance(flag, bool)):
        return "unknown"
    return "correct" if flag == 1 else "incorrect" if flag == 0 else "unknown"
