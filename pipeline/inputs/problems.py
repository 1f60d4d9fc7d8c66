"""Reads problems from files, datasets or functions.

A bad row comes back as a quarantined record with its reason, so that it costs one problem and not the run.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.inputs.columns import FIELDS, Columns, find_columns, text_at, value_at
from pipeline.inputs.converters import converted
from pipeline.inputs.golds import LONGEST, golds_of, kind_of, lettered
from pipeline.inputs.rows import Row, Unreadable, expanded, files_of, is_saved, rows_of
from schemas.complaints import no_problem
from schemas.config import (
    EmbeddedProblems,
    FileProblems,
    HubProblems,
    ProblemsConfig,
    PythonProblems,
    RowsConfig,
)
from schemas.errors import UserError
from schemas.factories import blame, code_file, load_factory, make, refuse_no_object
from schemas.records import Problem, Quarantined, Source
from schemas.text import one_line
from verifiers.answers.grade import NO_ANSWER, extract_answer

log = logging.getLogger(__name__)
_FORMATS = ("csv", "json", "parquet", "text", "arrow", "xml", "pandas")
"""Given one of these, `datasets` would read whatever lies in the current folder."""
LOOKED_AT = 100
"""Rows whose columns are looked at before the first becomes a problem. One row may lack a column or hold an
odd answer; a hundred show what a data set has, and are read in a moment."""


def load_problems(config: ProblemsConfig, *, seed: int = 0) -> Iterator[Problem | Quarantined]:
    """Problems in the order of their rows, up to `config.limit`; duplicates and bad rows as `Quarantined`.

    Raises UserError when a file or dataset itself cannot be read, or when the columns of its problems are
    not those that `fields` names, cannot be found, or could be several.
    """
    seen: dict[str, str] = {}
    good = 0
    for found, (file, number) in _found(config, seed):
        if isinstance(found, Problem) and found.id in seen:
            reason = f"same as {seen[found.id]}"
            found = Quarantined(file=file, row=number, field="text", reason=reason, problem_id=found.id)
        if isinstance(found, Problem):
            seen[found.id] = f"{file} row {number}"
            good += 1
        yield found
        if good == config.limit:
            return


def problem_files(config: ProblemsConfig) -> list[Path]:
    """The local files (or folders of `save_to_disk`) that problems are read from; none for other sources.
    UserError when one does not exist."""
    if isinstance(config, FileProblems):
        return files_of(config.path)
    return [saved] if isinstance(config, HubProblems) and (saved := _saved(config)) else []


def check_problems(config: ProblemsConfig) -> list[str]:
    """UserError where problem files are missing, hold no usable problem, or do not have the columns that are
    asked for; else what was taken, in a line. Reads the first rows only, and nothing from a network."""
    if isinstance(config, EmbeddedProblems):
        return []
    if isinstance(config, HubProblems) and not _saved(config):
        _check_name(config.path)
        return []
    rows = first_rows(config)
    columns = find_columns(config, rows, name_of(config))
    tried = [to_problem(row, columns, config, row.file.name) for row in rows]
    refuse_if_all_bad(config, tried)
    has_tests = any(isinstance(item, Problem) and item.tests for item in tried)
    if has_tests:
        from verifiers.isolation.sandbox import unavailable

        if closed := unavailable():
            return [columns.said, f"unit tests cannot be run here ({closed}): every outcome will be unknown"]
    return [columns.said]


def refuse_if_all_bad(config: ProblemsConfig, tried: Sequence[Problem | Quarantined]) -> None:
    """UserError where none of the first rows can be used and there are no others."""
    bad = [item for item in tried if isinstance(item, Quarantined)]
    if len(bad) == len(tried) < LOOKED_AT:
        raise UserError(f"{name_of(config)}: {no_problem(bad)}")


def first_rows(config: RowsConfig) -> list[Row]:
    """The rows whose columns are looked at before the first becomes a problem."""
    return list(islice(rows_in(config), LOOKED_AT))


def name_of(config: ProblemsConfig) -> str:
    """The name of a source: its path, its dataset, or its function."""
    match config:
        case FileProblems() | HubProblems():
            path = config.path if isinstance(config.path, str) else ", ".join(config.path)
            return path or config.source
        case PythonProblems():
            return config.factory
        case _:
            return config.source


def _found(config: ProblemsConfig, seed: int) -> Iterator[tuple[Problem | Quarantined, tuple[str, int]]]:
    if isinstance(config, EmbeddedProblems):
        from pipeline.embedded.problems.truth import problems

        posed = problems(config.limit or 300, seed=seed, steps=config.steps, split=config.split)
        yield from ((problem, ("embedded", number)) for number, problem in enumerate(posed))
        return
    rows, named = rows_in(config), file_names(config)
    first = list(islice(rows, LOOKED_AT))
    columns = find_columns(config, first, name_of(config))
    log.info("%s: %s", name_of(config), columns.said)
    for row in chain(first, rows):
        yield to_problem(row, columns, config, named(row)), (named(row), row.number)


def file_names(config: ProblemsConfig) -> Callable[[Row], str]:
    """What a row's file is called in records: one file as the run file has it, several each by name."""
    files, name = problem_files(config), name_of(config)
    is_one = not files or files == [expanded(name)]
    return lambda row: name if is_one else row.file.name


def rows_in(config: RowsConfig) -> Iterator[Row]:
    """The rows of a source, those of a mapping that converts them converted. UserError when the source itself
    cannot be read."""
    for row in _raw_rows(config):
        yield row._replace(value=converted(config.mapping, row.value))


def _raw_rows(config: RowsConfig) -> Iterator[Row]:
    match config:
        case PythonProblems():
            yield from _made(config)
        case HubProblems():
            saved = _saved(config)
            yield from _dataset(saved, config.split) if saved else _huggingface(config)
        case FileProblems():
            for file in files_of(config.path):
                yield from _dataset(file, config.split) if file.is_dir() else rows_of(file, config.format)


def _saved(config: HubProblems) -> Path | None:
    """The local folder of a dataset that was written by `save_to_disk`."""
    path = expanded(config.path) if config.path else None
    return path if path is not None and path.is_dir() and is_saved(path) else None


def _dataset(folder: Path, split: str) -> Iterator[Row]:
    import datasets

    try:
        data = datasets.load_from_disk(str(folder))
    except Exception as error:  # `datasets` raises errors of many libraries for broken files
        raise UserError(f"{folder}: cannot be loaded as a saved dataset: {_named(error)}") from error
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise UserError(f"{folder}: no split {split!r}; it has {', '.join(data)}: set problems.split")
        data = data[split]
    yield from (Row(folder, number, value) for number, value in enumerate(data, 1))


def _huggingface(config: HubProblems) -> Iterator[Row]:
    import datasets

    name, number = config.path, 0
    _check_name(name)

    try:
        data = datasets.load_dataset(
            name,
            config.subset or None,
            split=config.split,
            revision=config.revision or None,
            streaming=True,  # a run of 100 problems should not download millions of rows
        )
        for number, value in enumerate(data, 1):
            yield Row(Path(name), number, value)
    except Exception as error:  # errors of many libraries: the network, the formats, the dataset's name
        where = f", after row {number}" if number else ""
        raise UserError(f"dataset {name!r}, split {config.split!r}{where}: {_named(error)}") from error


def _check_name(name: str) -> None:
    if not name:
        raise UserError('problems.path is empty: source = "huggingface" needs the name of a dataset')
    if name in _FORMATS:
        raise UserError(
            f'dataset {name!r} is the name of a format: for files set source = "file", and path to the files'
        )


def _made(config: PythonProblems) -> Iterator[Row]:
    """What an outsider's function returns, row by row."""
    function = load_factory(config.factory)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise UserError(f"factory {config.factory!r}: must be written `def`, not `async def`")
    made, number = make(config.factory, config.options), 0
    refuse_no_object(f"factory {config.factory!r}", made)
    if isinstance(made, str | dict) or not isinstance(made, Iterable):
        found = type(made).__name__
        raise UserError(f"factory {config.factory!r}: returned a {found}, not a list or iterator of rows")
    try:
        for number, value in enumerate(made, 1):
            yield Row(Path(config.factory), number, value)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # an outsider's function may raise anything
        where = f"factory {config.factory!r}, after row {number}"
        raise UserError(f"{where}: {blame(error, code_file(function))}") from error


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(str(error), 300)}"


def to_problem(row: Row, columns: Columns, config: RowsConfig, file: str) -> Problem | Quarantined:
    """The problem in a row."""

    def bad(field: str, reason: str) -> Quarantined:
        return Quarantined(file=file, row=row.number, field=field, reason=reason)

    split = getattr(config, "split", "")
    source = Source(dataset=Path(file).name, split=split, row=row.number - 1)
    value: Any = row.value
    if isinstance(value, Problem):  # an outsider's function may make problems itself
        own = value.source if value.source.dataset else source
        return _validated({**value.model_dump(), "source": own}, columns, bad)
    if isinstance(value, Unreadable):
        return bad("", value.why)
    if not isinstance(value, dict):
        return bad("", f"expected an object, found {type(value).__name__}")
    places = columns.places
    text = text_at(value, places["text"])
    if isinstance(text, Unreadable):
        return bad(places["text"], text.why)
    if len(text) > LONGEST:
        return bad(places["text"], f"a text of {len(text):,} characters")
    held = {ours: value_at(value, places[ours]) for ours in FIELDS if ours in places}
    answer = held.pop("answer", None)
    if columns.mark:
        answer = extract_answer(answer) if isinstance(answer, str) else None
        if answer is None:
            wanted = "`#### answer`" if columns.mark == "####" else "a \\boxed{answer}"
            return bad(places["answer"], f"{NO_ANSWER.reason}: expected a solution that ends in {wanted}")
    golds = golds_of(answer)
    if isinstance(golds, Unreadable):
        return bad(places["answer"], golds.why)
    if "options" in places:
        listed = lettered(held.pop("options", None), golds)
        if isinstance(listed, Unreadable):
            return bad(places["options"], listed.why)
        text, held = f"{text}\n{listed}", {"answer_kind": "choice"} | held
    values = {ours: one for ours, one in held.items() if one is not None} | {"text": text, "source": source}
    if golds:
        values |= {"answer": golds[0], "alternatives": golds[1:]}
        # A column `answer_kind` of the data set wins: it knows, and this guesses from the answers' form.
        values.setdefault("answer_kind", kind_of(golds))
    return _validated(values, columns, bad)


def _validated(
    values: dict[str, Any], columns: Columns, bad: Callable[[str, str], Quarantined]
) -> Problem | Quarantined:
    try:
        return Problem.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        return bad(columns.places.get(field, field), first["msg"])
