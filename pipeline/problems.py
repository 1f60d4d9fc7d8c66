"""Read problems from files or datasets; every bad row comes back as a quarantined record with its reason."""

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.config import ProblemsConfig
from schemas.errors import UserError
from schemas.records import AnswerKind, Problem, Quarantined, Source
from verifiers.answer import extract_answer

_COLUMNS = {
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
_NUMBER = re.compile(r"-?\$?[\d,]*\.?\d+%?")
_WORDS = re.compile(r"[A-Za-z]{2,}( [A-Za-z]+)*")
DATA = "STEPMINT_DATA"


def load_problems(config: ProblemsConfig, *, seed: int = 0) -> Iterator[Problem | Quarantined]:
    """Problems in the order of their rows, up to `config.limit`; duplicates and bad rows as `Quarantined`.

    Raises UserError when the file or dataset itself cannot be read.
    """
    seen: dict[str, int] = {}
    good = 0
    for row, item in _rows(config, seed):
        found = item if isinstance(item, Problem) else _to_problem(item, row, config)
        if isinstance(found, Problem) and found.id in seen:
            first = seen[found.id]
            found = Quarantined(
                file=_name(config), row=row, field="text", reason=f"same as row {first}", problem_id=found.id
            )
        if isinstance(found, Problem):
            seen[found.id] = row
            good += 1
        yield found
        if good == config.limit:
            return


def _name(config: ProblemsConfig) -> str:
    return config.path or config.source


def _rows(config: ProblemsConfig, seed: int) -> Iterator[tuple[int, Any]]:
    match config.source:
        case "embedded":
            from pipeline.embedded.truth import problems

            rows: Any = problems(config.limit or 300, seed=seed, steps=config.steps, split=config.split)
        case "jsonl":
            rows = _jsonl(data_path(config.path))
        case "parquet":
            rows = _parquet(data_path(config.path))
        case "huggingface":
            rows = _huggingface(config)
    yield from enumerate(rows)


def data_path(text: str) -> Path:
    """A path with `$STEPMINT_DATA` and other variables expanded. UserError when it does not exist."""
    os.environ.setdefault(DATA, "../shared/data")
    path = Path(os.path.expandvars(text)).expanduser()
    if not path.is_file():
        raise UserError(
            f"{path}: no such file (from {text!r}); set {DATA} to the folder that holds your data"
        )
    return path


def _jsonl(path: Path) -> Iterator[Any]:
    read = gzip.open if path.suffix == ".gz" else open
    try:
        with read(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield _decoded(line)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 JSON lines: {error}") from error


def _decoded(line: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"not valid JSON: {error}"


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file: {error}") from error


def _huggingface(config: ProblemsConfig) -> Iterator[Any]:
    import datasets

    try:
        data = datasets.load_dataset(
            config.path,
            config.subset or None,
            split=config.split,
            revision=config.revision or None,
            streaming=True,
        )
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(f"dataset {config.path!r}, split {config.split!r}: {error}") from error
    yield from data


def _to_problem(row: Any, number: int, config: ProblemsConfig) -> Problem | Quarantined:
    columns = _COLUMNS.get(config.mapping) or {**_PLAIN, **config.fields}
    bad = _complaint(row, columns)
    if bad:
        return Quarantined(file=_name(config), row=number, field=bad[0], reason=bad[1])
    values = {ours: row[column] for ours, column in columns.items() if row.get(column) is not None}
    if config.mapping != "plain":
        answer = extract_answer(values["reference"])
        if answer is None:
            field = columns["reference"]
            wanted = "`#### answer`" if config.mapping == "gsm8k" else "a \\boxed{answer}"
            return Quarantined(
                file=_name(config), row=number, field=field, reason=f"no {wanted} in the solution"
            )
        values["answer"] = answer
    if "answer" in values:
        values["answer"] = str(values["answer"])
        values.setdefault("answer_kind", _kind(values["answer"]))
    source = Source(dataset=Path(_name(config)).name, split=config.split, row=number)
    try:
        return Problem.model_validate({**values, "source": source})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        return Quarantined(
            file=_name(config), row=number, field=columns.get(field, field), reason=first["msg"]
        )


def _complaint(row: Any, columns: dict[str, str]) -> tuple[str, str] | None:
    """The field at fault and why, for rows no Problem can be made of."""
    if isinstance(row, str):
        return "", row
    if not isinstance(row, dict):
        return "", f"expected an object, found {type(row).__name__}"
    needed = [columns["text"]] if "answer" in columns else [columns["text"], columns["reference"]]
    for column in needed:
        value = row.get(column)
        if value is None:
            return column, f"missing; the row has {', '.join(sorted(map(str, row)))[:200]}"
        if not isinstance(value, str) or not value.strip():
            return column, f"expected text, found {type(value).__name__} {str(value)[:40]!r}"
    return None


def _kind(answer: str) -> AnswerKind:
    if _NUMBER.fullmatch(answer.strip()):
        return "number"
    return "text" if _WORDS.fullmatch(answer.strip()) else "expression"
