"""Reads solutions that exist already, from the rows of all formats that docs/given.md lists.

`stepmint verify`, runs with given solutions and the Python door all read through `read_row`. A row holds one
solution or many; each is a text, or a list of steps, which then stay as they are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.inputs.columns import TEXTS
from pipeline.inputs.formats import FORMATS, Found, Parsed
from pipeline.inputs.gold_labels import FLAGS, as_list, gold_of, outcome_of_flag
from pipeline.inputs.paragraphs import is_blank
from pipeline.inputs.rows import Unreadable, rows_of
from pipeline.inputs.segment import Cuts, segment
from schemas.errors import UserError
from schemas.reasoning import UNCLOSED, is_thinking
from schemas.records import GoldLabels, Outcome, PolicyIdentity, Solution, Step
from verifiers.answers.grade import extract_answer

COLUMNS = (
    *("steps", "candidates", "solutions", "responses", "completions", "samples", "generations", "outputs"),
    *("response", "completion", "generation", "output", "prediction", "model_output", "solution"),
)
"""Common names of the column with the solution or solutions, the surest first: `solution` may hold the
reference solution where another of them is there."""
_LISTS = COLUMNS[: COLUMNS.index("response")]
_TEXTS = (*COLUMNS, "raw_text", "text", "content")
"""The same inside an element of a list of solutions."""
_WRITERS = ("generator", "model_name", "model", "sampled_model")
_CHATS, _ASKERS = ("messages", "conversations"), ("user", "human")
_REFERENCE = "answer"
"""GSM8K's column with the reference solution: `stepmint verify` checks it, and a run takes it as the gold
answer."""


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
    row: int = field(default=0, compare=False)
    """The row or item that it stands in, from 1."""


Skip = Callable[[str], None]
"""Is told of each row, or solution of a row, that cannot be read: its place and the reason."""


def read_solutions(path: Path, skip: Skip | None = None) -> Iterator[Written]:
    """The solutions of a file, one by one: JSON lines, a JSON list, CSV, TSV or Parquet, text also gzipped.

    UserError naming file, line and what is wrong. With `skip` what cannot be read is left out, and it is an
    error only that nothing at all can be.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    yield from readable(
        (
            replace(one, row=row.number) if isinstance(one, Written) else one
            for row in rows_of(path)
            for one in written(row.value, f"{row.file}:{row.number}", str(row.number))
        ),
        f"{path}: holds no row",
        skip,
    )


def readable(found: Iterable[Written | Unreadable], nothing: str, skip: Skip | None) -> Iterator[Written]:
    """What could be read. UserError for the first that could not, or with `skip` where nothing could."""
    first, is_read = nothing, False
    for one in found:
        if isinstance(one, Written):
            is_read = True
            yield one
        elif skip is None:
            raise UserError(one.why)
        else:
            first = one.why if first == nothing else first
            skip(one.why)
    if not is_read:
        raise UserError(first)


def written(value: Any, place: str, name: str) -> Iterator[Written | Unreadable]:
    """The solutions in a row of any of the formats, called `name` where it has no id. What is wrong with one
    begins with the `place`."""
    try:
        for one in _written(value, name):
            why = one.why if isinstance(one, Unreadable) else _no_text(one)
            yield Unreadable(f"{place}: {why}") if why else one
    except _Unusable as error:
        yield Unreadable(f"{place}: {error}")


class _Unusable(Exception):
    """A row that gives no solution at all."""


def _no_text(found: Written) -> str:
    """What in a solution is no text that can be written to a file; empty where all is."""
    for name, texts in (("problem", [found.problem]), ("premise", found.premises), ("step", found.steps)):
        for number, text in enumerate(texts):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:  # half of a pair, as in a text that was cut inside an emoji
                where = name if name == "problem" else f"{name} {number} (from 0)"
                return f"{where} holds a lone surrogate, which is no character"
            if name == "step" and not text.strip():
                return f"step {number} (from 0) is empty"
    return ""


def _written(value: Any, name: str) -> Iterator[Written | Unreadable]:
    if isinstance(value, Unreadable):
        raise _Unusable(value.why)
    if not isinstance(value, dict):
        raise _Unusable(f"a row is an object, not {type(value).__name__}")
    proofs = value.get("proofs", value.get("proof"))
    if isinstance(proofs, list | str) and "hypothesis" in value and "steps" not in value:
        yield _of_proof(value, [proofs] if isinstance(proofs, str) else proofs, str(value.get("id", name)))
        return
    parsed = read_row(value)
    found = parsed.solutions
    if isinstance(found, tuple) and not found and isinstance(value.get(_REFERENCE), str):
        found = (Found(value[_REFERENCE]),)
    if isinstance(found, Unreadable) or not found:
        why = found.why if isinstance(found, Unreadable) else none_found(value)
        raise _Unusable(why)
    problem, name = _text_of(parsed.problem) or " ", str(value.get("id", name))
    for number, one in enumerate(found):
        if isinstance(one, Unreadable):
            yield one
            continue
        texts = one.text if isinstance(one.text, tuple) else tuple(step.text for step in segment(one.text))
        # A model that ended while it was thinking wrote no step, which is no fault of the row.
        if not texts and not (isinstance(one.text, str) and is_thinking(one.text)):
            yield Unreadable("no steps: the solution is blank")
            continue
        own = name if len(found) == 1 else f"{name}-{number}"
        yield Written(own, problem, texts, one.first, _premises(value))


def read_row(row: Mapping[str, Any], column: str = "", reserved: Iterable[str] = ()) -> Parsed:
    """A row taken apart: the row of its problem, without the solutions, and these. `column` holds them where
    it is given; the columns that are `reserved` hold something else."""
    if not column:
        for read in FORMATS:
            if (parsed := read(row)) is not None:
                return parsed
    kept = {*reserved}
    named = [column] if column else [name for name in COLUMNS if name in row and name not in kept]
    held = [name for name in named if row.get(name) not in (None, "", [])]
    if column and not held:
        return Parsed(row, Unreadable(f"no solution in column {column!r}"))
    for name in held if column else () if held else _CHATS:
        if turns := _turns(row.get(name)):
            return _read_chat(row, name, turns)
    if not held:
        return Parsed(row, ())
    found = _several(row, held[0])
    rest = {name: value for name, value in row.items() if name != held[0]}
    if not _text_of(rest) and isinstance(row[held[0]], list):
        rest = {**_inner_problem(row[held[0]]), **rest}
    return Parsed(rest, found)


def none_found(row: Mapping[str, Any]) -> str:
    """Why a row gives no solution."""
    columns = ", ".join(map(str, row))[:200] or "nothing"
    return (
        f"no steps: expected `steps` (a list of texts), a text or a list in one of {', '.join(COLUMNS[1:])}, "
        f"or a format that docs/given.md lists; found {columns}"
    )


def solution_of(found: Found, problem_id: str, cuts: Cuts = "\n") -> Solution | Unreadable:
    """A solution as a record. A text is cut into steps as `cuts` says. Steps of a list are joined by the
    separator, or by a blank line where texts are cut by rules, and stay whole where they contain it."""
    separator = cuts if isinstance(cuts, str) else "\n\n"
    if isinstance(found.text, str):
        text, steps = found.text, segment(found.text, cuts)
        if not steps and is_thinking(text):
            return Unreadable(f"{UNCLOSED}: it has no step")
    elif found.spans:
        text, steps = found.whole, found.spans
    else:
        text, steps = separator.join(found.text), tuple(_placed(found.text, separator))
    blank = next((number for number, step in enumerate(steps) if is_blank(step.text)), None)
    if blank is not None or not steps:
        return Unreadable("it has no step" if blank is None else f"step {blank} (from 0) is empty")
    who = PolicyIdentity(kind="given", model=found.generator)
    return Solution(
        problem_id=problem_id,
        text=text,
        steps=steps,
        answer=extract_answer(text),
        outcome=found.outcome,
        policy=who,
    )


def gold_labels(found: Found, n_steps: int) -> GoldLabels | None | Unreadable:
    """The labels that came with a solution of so many steps."""
    return found.gold if found.gold is not None else gold_of(found.marks, n_steps)


def _turns(value: Any) -> list[tuple[Any, Any]]:
    """Who said what in a chat with a question: `role` and `content` of messages, or ShareGPT's `from` and
    `value`. Empty for anything else, also for a chat that only answers."""
    value = as_list(value)
    if not isinstance(value, list) or not all(isinstance(turn, Mapping) for turn in value):
        return []
    said = [(turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))) for turn in value]
    return said if any(role in _ASKERS for role, _ in said) else []


def _read_chat(row: Mapping[str, Any], name: str, turns: Sequence[tuple[Any, Any]]) -> Parsed:
    """A chat of one question and one answer: a problem and its solution. Of a longer one nobody could say
    where its solution begins."""
    asked = [text for role, text in turns if role in _ASKERS]
    rest = {key: value for key, value in row.items() if key != name}
    problem = rest if _text_of(rest) else {"problem": asked[0], **rest}
    role, text = turns[-1]
    if len(asked) != 1 or role in _ASKERS or not isinstance(text, str) or not text.strip():
        why = f"{name}: expected a chat of one question and one answer, found {len(turns)} messages"
        return Parsed(problem, Unreadable(f"{why}, {len(asked)} of them the user's"))
    found = Found(text, marks=_marks(row), outcome=_outcome(row), generator=_writer(row))
    return Parsed(problem, (found,))


def _several(row: Mapping[str, Any], name: str) -> tuple[Found | Unreadable, ...] | Unreadable:
    """The solutions in a column. One bad element of a list costs one solution."""
    is_steps = "step" in name.lower() or "process" in name.lower()
    # A table holds a list as JSON; a single solution may be a text that only begins like one.
    value = as_list(row[name]) if is_steps or name in _LISTS else row[name]
    marks = _marks(row)
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str) and name != "steps":
        return (Found(value, marks=marks, outcome=_outcome(row), generator=_writer(row)),)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return Unreadable(f"{name}: expected a text or a list of texts, found {type(value).__name__}")
    if is_steps and all(isinstance(step, str) or _step_text(step) for step in value):
        texts = tuple(step if isinstance(step, str) else _step_text(step) for step in value)
        return (Found(texts, marks=marks, outcome=_outcome(row), generator=_writer(row)),)
    labels = row.get("labels")
    if isinstance(labels, list) and len(labels) not in (0, len(value)):
        return Unreadable(f"{name}: {len(value)} texts and {len(labels)} labels: expected as many")
    if is_steps and any(isinstance(step, str) for step in value) and None in value:
        return Unreadable(f"{name}: step {value.index(None)} (from 0) is null")
    found: list[Found | Unreadable] = []
    for number, one in enumerate(value):
        own = one if isinstance(one, Mapping) else {}
        inner = next((key for key in _TEXTS if own.get(key)), "")
        text = _body(own[inner], inner) if inner else _body(one, name)
        if text is None:
            why = f"element {number} (from 0) is no solution: expected a text or a list of steps"
            found.append(Unreadable(f"{name}: {why}"))
            continue
        # A flag, a label or a writer of the whole row is the solution's own only where it is a list as long.
        beside = {**_nth(row, number, len(value)), **own}
        found.append(Found(text, marks=_marks(own), outcome=_outcome(beside), generator=_writer(beside)))
    return tuple(found)


def _body(value: Any, name: str) -> str | tuple[str, ...] | None:
    """A solution as a text or as steps; None for anything else."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, list) and value and name:
        texts = [step if isinstance(step, str) else _step_text(step) for step in value]
        return tuple(texts) if all(texts) else None
    return None


def _step_text(step: Any) -> str:
    return str(step["text"]) if isinstance(step, Mapping) and isinstance(step.get("text"), str) else ""


def _nth(row: Mapping[str, Any], number: int, n: int) -> dict[str, Any]:
    """Of lists that run beside a list of `n` solutions, the elements of one of them. `labels` are then flags
    of whole solutions. A writer that the row names once wrote all of them."""
    several = {
        name: value[number]
        for name in (*FLAGS, *_WRITERS)
        if isinstance(value := row.get(name), list) and len(value) == n
    }
    labels = row.get("labels")
    if isinstance(labels, list) and len(labels) == n and not several.keys() & {*FLAGS}:
        several["is_correct"] = labels[number]
    return {name: row[name] for name in _WRITERS if isinstance(row.get(name), str)} | several


def _marks(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of the steps of its one solution."""
    return {name: row[name] for name in ("label", "labels", "first_error") if row.get(name) is not None}


def _outcome(row: Mapping[str, Any]) -> Outcome:
    flags = (outcome_of_flag(name, row[name]) for name in FLAGS if row.get(name) is not None)
    return next(flags, "unknown")


def _writer(row: Mapping[str, Any]) -> str:
    return next((row[name] for name in _WRITERS if isinstance(row.get(name), str)), "")


def _inner_problem(value: Sequence[Any]) -> dict[str, Any]:
    """The problem where only the solutions hold it: a text, or an object with its text and gold answer."""
    first = value[0] if value and isinstance(value[0], Mapping) else {}
    stated = first.get("problem", first.get("question"))
    if isinstance(stated, Mapping):
        return {**stated, "dataset": stated.get("dataset", "")}
    return {"problem": stated} if isinstance(stated, str) else {}


def _text_of(row: Mapping[str, Any]) -> str:
    names = ("problem", "question", "instruction", *TEXTS)
    return next((row[name] for name in names if isinstance(row.get(name), str)), "")


def _premises(row: Mapping[str, Any]) -> tuple[str, ...]:
    found = row.get("premises-FOL", row.get("premises"))
    return tuple(found) if isinstance(found, list) and all(isinstance(text, str) for text in found) else ()


def _placed(texts: Sequence[str], separator: str) -> Iterator[Step]:
    """Steps with their places in the text that joins them."""
    start = 0
    for text in texts:
        yield Step(text=text, start=start, end=start + len(text))
        start += len(text) + len(separator)


def _of_proof(row: Mapping[str, Any], proofs: Sequence[Any], name: str) -> Written:
    """The first proof of a row of FLD, which has none of some unknowns, or the one of EntailmentBank."""
    text = "".join(text for text in proofs[:1] if isinstance(text, str))
    # FLD's gold proofs that the hypothesis is wrong end in `-> hypothesis` as well.
    goal = "-> ¬hypothesis" if row.get("answer") == "DISPROVED" else "-> hypothesis"
    lines = [line.strip() for line in text.replace("-> hypothesis", goal).split(";") if line.strip()]
    problem = f"{row.get('context')} hypothesis: {row['hypothesis']}"
    return Written(name, problem, tuple(lines), 0, _premises(row))
