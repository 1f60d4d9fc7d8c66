"""Read problems from files or datasets; every bad row comes back as a quarantined record with its reason."""

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.inputs.rows import Row, Unreadable, expanded, files_of, is_saved, rows_of
from schemas.config import ProblemsConfig
from schemas.errors import UserError
from schemas.records import AnswerKind, Problem, Quarantined, Source
from schemas.text import one_line
from verifiers.answers.grade import extract_answer

log = logging.getLogger(__name__)
_MAPPINGS = {
    "gsm8k": {"text": "question", "reference": "answer"},
    "math": {"text": "problem", "reference": "solution"},
}
_PLAIN = {
    name: name
    for name in (
        "text",
        "answer",
        "answer_kind",
        "premises",
        "reference",
        "table",
        "tests",
        "domain",
        "licence",
    )
}
_COMMON = {
    "text": ("problem", "question", "prompt", "query"),
    "answer": ("final_answer", "gold", "gold_answer", "target"),
}
"""What others call our columns: taken where ours is missing and only one of them is there."""
_FORMATS = ("csv", "json", "parquet", "text", "arrow", "xml", "pandas")
"""Given one of these, `datasets` would read whatever lies in the current folder."""
_NO_ANSWER = frozenset({"", "nan", "none", "null", "n/a", "#n/a", "<na>"})
_LOOKED_AT = 100
"""Rows whose columns are looked at before the first is read."""
_LONGEST = 1_000_000
"""Characters of a problem's text or answer."""
_NUMBER = re.compile(r"-?\$?[\d,]*\.?\d+%?")
_WORDS = re.compile(r"[A-Za-z]{2,}( [A-Za-z]+)*")


def load_problems(config: ProblemsConfig, *, seed: int = 0) -> Iterator[Problem | Quarantined]:
    """Problems in the order of their rows, up to `config.limit`; duplicates and bad rows as `Quarantined`.

    Raises UserError when a file or dataset itself cannot be read, or does not have the columns that `fields`
    names.
    """
    seen: dict[str, str] = {}
    good = 0
    for found, place in _found(config, seed):
        if isinstance(found, Problem) and found.id in seen:
            reason = f"same as {seen[found.id]}"
            file, number = place
            found = Quarantined(file=file, row=number, field="text", reason=reason, problem_id=found.id)
        if isinstance(found, Problem):
            seen[found.id] = (
                f"row {place[1]}" if config.source == "embedded" else f"{place[0]} row {place[1]}"
            )
            good += 1
        yield found
        if good == config.limit:
            return


def problem_files(config: ProblemsConfig) -> list[Path]:
    """The local files (or folders of `save_to_disk`) that problems are read from; none for other sources.
    UserError when one does not exist."""
    if config.source in ("jsonl", "parquet", "csv"):
        return files_of(config.path)
    return [] if (saved := _saved(config)) is None else [saved]


def check_problems(config: ProblemsConfig) -> list[str]:
    """UserError where problem files are missing, or do not have the columns that are asked for; what is taken
    by itself is returned in words. Reads the first rows only, and nothing from a network."""
    said: list[str] = []
    if files := problem_files(config):
        rows = list(islice(_file_rows(config, files), _LOOKED_AT))
        columns = _columns(config, rows, said)
        bad = [complaint for row in rows if (complaint := _complaint(row.value, columns))]
        if len(bad) == len(rows) < _LOOKED_AT:  # all of them are looked at
            first = f"; the first of {len(bad)} bad rows: {bad[0][1]}" if bad else ""
            raise UserError(f"{name_of(config)}: no usable problem{first}")
    return said


def name_of(config: ProblemsConfig) -> str:
    """The source in a few words."""
    path = config.path if isinstance(config.path, str) else ", ".join(config.path)
    return path or config.source


def _found(config: ProblemsConfig, seed: int) -> Iterator[tuple[Problem | Quarantined, tuple[str, int]]]:
    if config.source == "embedded":
        from pipeline.embedded.problems.truth import problems

        posed = problems(config.limit or 300, seed=seed, steps=config.steps, split=config.split)
        yield from ((problem, ("embedded", number)) for number, problem in enumerate(posed))
        return
    files = problem_files(config)
    rows = _file_rows(config, files) if files else _huggingface(config)
    first = list(islice(rows, _LOOKED_AT))
    said: list[str] = []
    columns = _columns(config, first, said)
    for line in said:
        log.info("%s", line)
    plain = not files or files == [expanded(name_of(config))]
    for row in chain(first, rows):
        file = name_of(config) if plain else row.file.name
        found = _to_problem(row, columns, config, file)
        yield found, (file, row.number)


def _file_rows(config: ProblemsConfig, files: Sequence[Path]) -> Iterator[Row]:
    for file in files:
        if file.is_dir():
            yield from _dataset(config, file)
        else:
            yield from rows_of(file, config.source)


def _saved(config: ProblemsConfig) -> Path | None:
    """The local folder of a dataset that was written by `save_to_disk`."""
    path = expanded(name_of(config)) if config.source == "huggingface" else None
    return path if path is not None and path.is_dir() and is_saved(path) else None


def _dataset(config: ProblemsConfig, folder: Path) -> Iterator[Row]:
    import datasets

    try:
        data = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever is wrong with the files
        raise UserError(f"{folder}: cannot be loaded as a saved dataset: {_named(error)}") from error
    if isinstance(data, datasets.DatasetDict):
        if config.split not in data:
            raise UserError(f"{folder}: no split {config.split!r}; it has {', '.join(data)}")
        data = data[config.split]
    yield from (Row(folder, number, value) for number, value in enumerate(data, 1))


def _huggingface(config: ProblemsConfig) -> Iterator[Row]:
    name, number = name_of(config), 0
    if not config.path:
        raise UserError('problems.path is empty: source = "huggingface" needs the name of a dataset')

    if name in _FORMATS:
        raise UserError(f'dataset {name!r} is the name of a format: for files set source = "jsonl"')

    import datasets

    try:
        data = datasets.load_dataset(
            name,
            config.subset or None,
            split=config.split,
            revision=config.revision or None,
            streaming=True,
        )
        for number, value in enumerate(data, 1):
            yield Row(Path(name), number, value)
    except Exception as error:  # of many libraries: network, formats, names
        where = f", after row {number}" if number else ""
        raise UserError(f"dataset {name!r}, split {config.split!r}{where}: {_named(error)}") from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error), 300)}"


# Columns


def _columns(config: ProblemsConfig, rows: Sequence[Row], said: list[str]) -> dict[str, str]:
    """Our field names and the columns they are read from. UserError where `fields` names what is not
    there."""
    unknown = sorted(set(config.fields) - set(_PLAIN))
    if unknown:
        raise UserError(
            f"[problems] fields: unknown field {unknown[0]!r}; known: {', '.join(_PLAIN)} "
            "(our name = the dataset's column)"
        )
    columns = {**_MAPPINGS.get(config.mapping, _PLAIN), **config.fields}
    there = list(dict.fromkeys(str(key) for row in rows if isinstance(row.value, dict) for key in row.value))
    if not there:
        return columns
    for ours, column in config.fields.items():
        if column not in there:
            raise UserError(
                f"[problems] fields: {ours} = {column!r}: no such column in {name_of(config)}, which has "
                f"{', '.join(there)[:300]}"
            )
    if config.mapping == "plain":
        taken = {ours: _common(ours, columns, there, config) for ours in _COMMON}
        for ours, column in taken.items():
            if column != columns[ours]:
                said.append(f"{name_of(config)}: the column {column!r} is read as {ours}")
        columns |= taken
        _complain_of_rationales(config, rows, columns["answer"])
        if columns["answer"] not in there:
            said.append(
                f"{name_of(config)}: no column with gold answers ({', '.join(there)[:200]}): nothing will be "
                'rolled out or graded; fields = {answer = "..."} names one'
            )
    if columns["text"] not in there:
        raise UserError(
            f"{name_of(config)}: no column {columns['text']!r}; it has {', '.join(there)[:300]}: set "
            'fields = {text = "..."} to the one with the problem'
        )
    return columns


def _common(ours: str, columns: Mapping[str, str], there: Sequence[str], config: ProblemsConfig) -> str:
    if ours in config.fields or columns[ours] in there:
        return columns[ours]
    found = [name for name in _COMMON[ours] if name in there]
    if len(found) > 1:
        raise UserError(
            f"{name_of(config)}: no column {ours!r}, and {' and '.join(found)} could both be it: set "
            f'fields = {{{ours} = "{found[0]}"}} or another'
        )
    return found[0] if found else columns[ours]


def _complain_of_rationales(config: ProblemsConfig, rows: Sequence[Row], column: str) -> None:
    answers = [row.value.get(column) for row in rows if isinstance(row.value, dict)]
    if answers and all(isinstance(answer, str) and "\n####" in answer for answer in answers):
        raise UserError(
            f"{name_of(config)}: {column!r} holds whole solutions that end in `#### answer`: set "
            'mapping = "gsm8k"'
        )


# Rows


def _to_problem(
    row: Row, columns: Mapping[str, str], config: ProblemsConfig, file: str
) -> Problem | Quarantined:
    def bad(field: str, reason: str) -> Quarantined:
        return Quarantined(file=file, row=row.number, field=field, reason=reason)

    complaint = _complaint(row.value, columns)
    if complaint:
        return bad(*complaint)
    values = {ours: row.value[c] for ours, c in columns.items() if row.value.get(c) is not None}
    column = columns.get("answer", columns.get("reference", ""))
    if config.mapping != "plain" and "answer" not in config.fields:
        values["answer"] = extract_answer(values["reference"])
        if values["answer"] is None:
            wanted = "`#### answer`" if config.mapping == "gsm8k" else "a \\boxed{answer}"
            return bad(column, f"no {wanted} in the solution")
    answer = gold(values.pop("answer", None))
    if isinstance(answer, Unreadable):
        return bad(column, answer.why)
    if answer is not None:
        values["answer"] = answer
        values.setdefault("answer_kind", kind_of(answer))
    source = Source(dataset=Path(file).name, split=config.split, row=row.number - 1)
    try:
        return Problem.model_validate({**values, "source": source})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        return bad(columns.get(field, field), first["msg"])


def gold(value: Any) -> str | None | Unreadable:
    """A gold answer as text, as its source writes it; None where there is none: null, NaN, blank, or a word
    that stands for it. What is neither text nor a number is refused."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    match value:
        case None:
            return None
        case bool() | list() | tuple() | dict() | bytes():
            shown = repr(value)[:60]
            return Unreadable(
                f"expected one answer as text or a number, found {type(value).__name__} {shown}"
            )
        case float() | Decimal() if math.isinf(value):
            return Unreadable("expected a finite number, found infinity")
    text = str(value)
    if len(text) > _LONGEST:
        return Unreadable(f"an answer of {len(text):,} characters")
    return None if text.strip().lower() in _NO_ANSWER else text


def _complaint(row: Any, columns: Mapping[str, str]) -> tuple[str, str] | None:
    """The field at fault and why, for rows no Problem can be made of."""
    if isinstance(row, Unreadable):
        return "", row.why
    if not isinstance(row, dict):
        return "", f"expected an object, found {type(row).__name__}"
    needed = [columns["text"]] if "answer" in columns else [columns["text"], columns["reference"]]
    for column in needed:
        value = row.get(column)
        if value is None:
            return column, f"missing; the row has {', '.join(sorted(map(str, row)))[:200]}"
        if not isinstance(value, str) or not value.strip():
            return column, f"expected text, found {type(value).__name__} {str(value)[:40]!r}"
        if len(value) > _LONGEST:
            return column, f"a text of {len(value):,} characters"
    return None


def kind_of(answer: str) -> AnswerKind:
    """How an answer is compared: as a number or as words where it is such, else as an expression."""
    if _NUMBER.fullmatch(answer.strip()):
        return "number"
    return "text" if _WORDS.fullmatch(answer.strip()) else "expression"
