"""Reads solutions to verify: ProcessBench, GSM8K, PRM800K, FLD, FOLIO, and plain `problem`/`steps` rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.inputs.rows import Unreadable, rows_of
from pipeline.inputs.segment import segment
from schemas.errors import UserError
from schemas.reasoning import is_thinking

# The columns that hold the problem and the solution in the formats above, in the order they are looked for.
_PROBLEM = ("problem", "question", "instruction", "text")
_SOLUTION = ("solution", "answer", "response", "completion")


@dataclass(frozen=True)
class Written:
    """A solution in steps. The problem is blank where the row has none."""

    id: str
    problem: str
    steps: tuple[str, ...]
    first: int = 0
    """The first step to verify: in some rows of PRM800K only the last step is new, and the others repeat."""
    premises: tuple[str, ...] = ()
    """The problem in symbols, where the row has it (FOLIO's formulas, a generator's definitions)."""


def read_solutions(path: Path) -> Iterator[Written]:
    """The solutions of a file, one by one: JSON lines, a JSON list, CSV, TSV or Parquet, text also gzipped.

    UserError naming file, line and what is wrong.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    row = None
    for row in rows_of(path):
        if isinstance(row.value, Unreadable):
            raise UserError(f"{row.file}:{row.number}: {row.value.why}")
        yield written(row.value, f"{row.file}:{row.number}", str(row.number))
    if row is None:
        raise UserError(f"{path}: holds no row")


def written(value: Any, place: str, name: str) -> Written:
    """The solution in a row of any of the formats, called `name` where it has no id. UserError begins with
    the `place`."""
    if not isinstance(value, dict):
        raise UserError(f"{place}: a row is an object, not {type(value).__name__}")
    problem, (steps, first) = _problem(value), _steps(value)
    # FLD has no proof of some unknowns, and a model that ended while it was thinking wrote no step.
    if not steps and value.get("proofs") != [] and not is_thinking(_text(value)):
        raise UserError(
            f"{place}: no steps: expected `steps` (a list of texts), a text in one of "
            f"{', '.join(_SOLUTION)}, or PRM800K's fields; found {', '.join(map(str, value)) or 'nothing'}"
        )
    return Written(str(value.get("id", name)), problem or " ", tuple(steps), first, _premises(value))


def _problem(row: dict[str, Any]) -> str:
    question = row.get("question")
    if isinstance(row.get("context"), str) and isinstance(row.get("hypothesis"), str):  # FLD
        return f"{row['context']} hypothesis: {row['hypothesis']}"
    if isinstance(question, dict):  # PRM800K
        return str(question.get("problem", ""))
    return next((row[name] for name in _PROBLEM if isinstance(row.get(name), str)), "")


def _premises(row: dict[str, Any]) -> tuple[str, ...]:
    found = row.get("premises-FOL", row.get("premises"))
    return tuple(found) if isinstance(found, list) and all(isinstance(text, str) for text in found) else ()


def _steps(row: dict[str, Any]) -> tuple[list[str], int]:
    label = row.get("label")
    if isinstance(proofs := row.get("proofs"), list) and "hypothesis" in row and "steps" not in row:  # FLD
        text = "".join(text for text in proofs[:1] if isinstance(text, str))
        # FLD's gold proofs that the hypothesis is wrong end in `-> hypothesis` as well.
        goal = "-> ¬hypothesis" if row.get("answer") == "DISPROVED" else "-> hypothesis"
        return [line.strip() for line in text.replace("-> hypothesis", goal).split(";") if line.strip()], 0
    if isinstance(label, dict) and isinstance(label.get("steps"), list):
        return [text for step in label["steps"] if (text := _chosen(step))], 0
    if isinstance(row.get("next_response"), str):
        before = row.get("responses")
        said = [step for step in before if isinstance(step, str)] if isinstance(before, list) else []
        return [*said, row["next_response"]], len(said)
    steps = row.get("steps")
    if isinstance(steps, list) and all(isinstance(step, str) for step in steps):
        return steps, 0
    return [step.text for step in segment(_text(row))], 0


def _text(row: dict[str, Any]) -> str:
    return next((row[name] for name in _SOLUTION if isinstance(row.get(name), str)), "")


def _chosen(step: Any) -> str:
    """The text of a PRM800K step: of its completions the chosen one, else the annotator's own, else the
    first."""
    if not isinstance(step, dict):
        return ""
    completions, chosen = step.get("completions") or [], step.get("chosen_completion")
    if chosen is None and isinstance(step.get("human_completion"), dict):
        return str(step["human_completion"].get("text", ""))
    index = chosen if isinstance(chosen, int) and 0 <= chosen < len(completions) else 0
    return str(completions[index].get("text", "")) if completions else ""
