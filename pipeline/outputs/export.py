"""From rows to the formats other tools read, one JSON object a line.

A format is a function that takes a `LabelledSolution` and returns a dict that JSON can hold, or None for a
row that the format cannot express. Ours stand in `FORMATS`. Yours is named `package.module:function`, in a
package that is installed or in the folder that you work in:

    # mine.py; `stepmint export runs/mine --format mine:first_errors --out rows.jsonl`
    def first_errors(row):
        if row.first_error is None:
            return None
        return {"question": row.problem.text, "steps": row.solution.step_texts(), "wrong": row.first_error}

A solution without steps is given to no format. Indices are 0-based everywhere else; formats that count
otherwise are converted here and nowhere else. A format that has no sign for "not decided" returns None for a
row with an undecided step, so that the step is not exported as a wrong one.
"""

import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from pipeline.inputs.formats import STEP_TAG
from schemas.errors import UserError
from schemas.factories import blame, code_file, load_factory
from schemas.records import LabelledSolution

Exported = dict[str, Any] | None
Format = Callable[[LabelledSolution], Exported]


def to_trl(row: LabelledSolution) -> Exported:
    """TRL's stepwise supervision. Every step there needs a label, so a row ends where its labels do."""
    steps, labels = _labelled_part(row)
    if not steps:
        return None
    return {"prompt": row.problem.text, "completions": steps, "labels": [label == 1 for label in labels]}


def to_prm800k(row: LabelledSolution) -> Exported:
    """PRM800K's phases: ratings 1 and -1, null where nobody decided; ends with the first error."""
    end = len(row.labels) if row.first_error is None or row.first_error < 0 else row.first_error + 1
    steps = []
    # PRM800K's raters stopped at the first error, so its readers expect nothing after it.
    for step, label in list(zip(row.solution.steps, row.labels, strict=True))[:end]:
        rating = None if label.label is None else 2 * label.label - 1
        completion = {"text": step.text, "rating": rating, "flagged": False}
        steps.append({"completions": [completion], "human_completion": None, "chosen_completion": 0})
    finish = "give_up" if row.first_error is None else "solution" if row.first_error < 0 else "found_error"
    return {
        "labeler": "stepmint",
        "timestamp": "",  # equal runs give equal files
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": row.problem.text, "ground_truth_answer": row.problem.answer},
        "label": {"steps": steps, "total_time": 0, "finish_reason": finish},
    }


def to_math_shepherd(row: LabelledSolution) -> Exported:
    """Math-Shepherd's two texts: `input` with the tag after every step, `label` with + or - in its place.

    A line there is a step and its number, so a step's own line ends become spaces and a number that it brings
    is left out. From the first error on every step is bad, as in the paper's hard estimate. Rows that hold
    the tag themselves cannot be taken apart again and are left out.
    """
    problem = _flat(row.problem.text)
    steps = [_NUMBERED.sub("", _flat(text)) for text in row.solution.step_texts()]
    # Its format has no sign for "not decided": a row that is open would have to call steps right or wrong.
    if row.first_error is None or any(STEP_TAG in text for text in (problem, *steps)):
        return None
    right = row.first_error if row.first_error >= 0 else len(row.labels)
    numbered = [f"Step {number}: {text}" for number, text in enumerate(steps, start=1)]
    signs = ["+" if index < right else "-" for index in range(len(steps))]
    labelled = [f"{text} {sign}" for text, sign in zip(numbered, signs, strict=True)]
    return {
        "input": f"{problem} " + "\n".join(f"{text} {STEP_TAG}" for text in numbered),
        "label": f"{problem} " + "\n".join(labelled),
        "task": row.problem.source.dataset or row.problem.domain,
    }


_NUMBERED = re.compile(r"^(?:[\s#*_]*step[ \t]*\d+[ \t]*[*_]*[:.)][*_]*[ \t]*)+", re.IGNORECASE)
"""The number of a step that its text begins with: `Step 1:`, `**Step 1.**`, `### Step 1)`."""


def _flat(text: str) -> str:
    """On one line, however line ends are written."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def to_processbench(row: LabelledSolution) -> Exported:
    """ProcessBench: the 0-based first wrong step, -1 for none. Only rows where that is established."""
    if row.first_error is None:
        return None
    outcome = row.solution.outcome
    return {
        "id": row.solution.id,
        "generator": row.solution.policy.model,
        "problem": row.problem.text,
        "steps": row.solution.step_texts(),
        "final_answer_correct": None if outcome == "unknown" else outcome == "correct",
        "label": row.first_error,
    }


FORMATS: dict[str, Format] = {
    "trl": to_trl,
    "prm800k": to_prm800k,
    "math_shepherd": to_math_shepherd,
    "processbench": to_processbench,
}


def format_named(name: str) -> Format:
    """One of `FORMATS`, or the function that `package.module:function` names. UserError where there is none,
    and from the function where it raises or returns what no line of JSON can hold."""
    if name in FORMATS:
        return FORMATS[name]
    if ":" not in name:
        raise UserError(f"format {name!r}: neither one of {', '.join(FORMATS)} nor package.module:function")
    function = load_factory(name)
    if inspect.iscoroutinefunction(function):
        raise UserError(f"format {name!r}: must be written `def`, not `async def`")
    file = code_file(function)

    def convert(row: LabelledSolution) -> Exported:
        where = f"format {name!r}: solution {row.solution.id} of problem {row.problem.id}"
        try:
            found = function(row)
        except Exception as error:  # an outsider's function may raise anything
            raise UserError(f"{where}: {blame(error, file)}") from error
        if found is None:
            return None
        if not isinstance(found, dict):
            raise UserError(f"{where}: returned {type(found).__name__}, expected a dict or None")
        try:
            json.dumps(found, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            hint = "; write None for NaN and infinity" if isinstance(error, ValueError) else ""
            raise UserError(f"{where}: returned what is not JSON: {error}{hint}") from None
        return found

    return convert


def export(rows: Iterable[LabelledSolution], convert: Format, out: TextIO) -> dict[str, int]:
    """Write rows in a format; returns how many were written, and how many it cannot express."""
    counts = Counter(written=0, left_out=0)
    for row in rows:
        converted = convert(row) if row.solution.steps else None
        counts["left_out" if converted is None else "written"] += 1
        if converted is not None:
            out.write(_line(converted))
    return dict(counts)


def _line(item: dict[str, Any]) -> str:
    """One line of JSON for every reader: some take more characters than the line feed for an end."""
    # A lone half of a surrogate pair, as a model may write it, is no UTF-8: it becomes `\ud800` in the text.
    line = json.dumps(item, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return _OTHER_ENDS.sub(lambda match: f"\\u{ord(match[0]):04x}", line) + "\n"


# Python's `splitlines` and some JSON readers end a line at U+2028, U+2029 or U+0085; JSON itself allows them.
_OTHER_ENDS = re.compile(r"[\x7f-\x9f\u2028\u2029]")


def _labelled_part(row: LabelledSolution) -> tuple[list[str], list[int]]:
    """The steps before the first one without a label, and their labels."""
    steps: list[str] = []
    labels: list[int] = []
    for step, label in zip(row.solution.steps, row.labels, strict=True):
        if label.label is None:
            break
        steps.append(step.text)
        labels.append(label.label)
    return steps, labels
