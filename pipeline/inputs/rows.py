"""Reads rows of files: JSON lines, a JSON list, CSV, TSV and Parquet; text also gzipped.

A row that cannot be read comes as `Unreadable` with its reason, so that one bad line costs one row. The
length of a row is limited before it is decoded, so that a broken file cannot fill the memory.
"""

import csv
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from schemas.errors import UserError

DATA = "STEPMINT_DATA"
LONGEST_ROW = 10_000_000
"""Bytes; a longer line is no problem, but a file without line ends."""
LARGEST_LIST = 1 << 29
"""Bytes of a JSON list, which has to be in memory as a whole."""
# Digits of an integer that is read. Python itself refuses more than 4300, with an error for the whole file
# where that is one JSON list; no gold answer needs a hundred.
_DIGITS = 100
_KINDS = ("jsonl", "json", "csv", "tsv", "parquet")
_NO_ROWS = {
    b"PK\x03\x04": "a spreadsheet or another ZIP archive: save the sheet as .csv (UTF-8), or unpack it",
    b"\xd0\xcf\x11\xe0": "a spreadsheet: save it as .csv (UTF-8)",
}
"""Files that hold no rows as they are, by their magic numbers (.xlsx and .ods are ZIP archives), and what to
do with them."""
_WRAPPERS = ("data", "rows", "examples", "items", "instances", "problems", "questions")
"""Keys under which files that are one JSON object hold their rows, as SQuAD's `data`."""
# `$STEPMINT_DATA` or `${STEPMINT_DATA}`.
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class Unreadable(NamedTuple):
    """A row or value that cannot be used, and why."""

    why: str


class Row(NamedTuple):
    """A row, with its file and its number in it."""

    file: Path
    number: int
    """The line in a file of text, where a row begins; the row in others. From 1."""
    value: Any


def expanded(text: str) -> Path:
    """A path with `~` and `$STEPMINT_DATA` expanded. UserError for any other variable: its value, which may
    be a secret, would stand in records and messages."""
    # A file whose name really holds a `$` is taken as it is.
    if not Path(text).exists():
        for match in _VARIABLE.finditer(text):
            if (name := match[1] or match[2]) != DATA:
                raise UserError(
                    f"path {text!r}: only ${DATA} and ~ are expanded in a path, not ${name}: write it out"
                )
        data = os.environ.get(DATA) or "../shared/data"
        text = _VARIABLE.sub(lambda _: data, text)
    return Path(text).expanduser()


def files_of(paths: str | Sequence[str]) -> list[Path]:
    """The files that paths, globs and folders stand for, in the order given and sorted within one of them.

    A folder written by `datasets.save_to_disk` stands for itself. UserError where there is nothing.
    """
    found = [path for text in ([paths] if isinstance(paths, str) else paths) for path in _files(text)]
    if not found:
        raise UserError("problems.path is empty: name a file, a folder, or a list of them")
    return list(dict.fromkeys(found))


def is_saved(path: Path) -> bool:
    """Whether a folder was written by `datasets.save_to_disk`."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _files(text: str) -> list[Path]:
    if not text.strip():
        return []
    path = expanded(text)
    if path.is_file() or (path.is_dir() and is_saved(path)):
        return [path]
    if path.is_dir():
        if inside := sorted(file for file in path.iterdir() if _kind(file) and file.is_file()):
            return inside
        kinds = ", ".join(f".{kind}" for kind in _KINDS)
        raise UserError(
            f"{path}: a folder without any {kinds} file in it; for files deeper inside write "
            f'"{text.rstrip("/")}/**/*.jsonl"'
        )
    if path.exists():
        raise UserError(f"{path}: neither a file nor a folder")
    if re.search(r"[*?\[]", path.name) or "*" in text:
        root = Path(path.anchor) if path.is_absolute() else Path()
        matching = sorted(file for file in root.glob(str(path.relative_to(root))) if file.is_file())
        if matching:
            return matching
        raise UserError(f"{path}: matches no file{_hint(text)}")
    raise UserError(f"{path}: no such file{_hint(text)}")


def _hint(text: str) -> str:
    if DATA in text:
        return f" (from {text!r}); set {DATA} to the folder that holds your data"
    if Path(text).is_absolute():
        return ""
    return f"; a relative path is looked for beside the run file, then in {Path.cwd()}"


def _kind(path: Path) -> str:
    """The format that a file's name ends in, as in `x.csv` or `x.jsonl.gz`; empty where it is none of
    ours."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    kind = {".ndjson": "jsonl"}.get(suffix.lower(), suffix.lower().removeprefix("."))
    return kind if kind in _KINDS else ""


def rows_of(path: Path, kind: str = "") -> Iterator[Row]:
    """The rows of one file, read as its name says or, where it says nothing, as `kind`.

    UserError when the file as a whole cannot be read.
    """
    with path.open("rb") as file:
        # The magic number of Parquet, whatever the name says: as text, every line of it would be an error.
        magic = file.read(4)
    if what := _NO_ROWS.get(magic):
        raise UserError(f"{path}: {what}")
    match "parquet" if magic == b"PAR1" else _kind(path) or kind:
        case "parquet":
            yield from _parquet(path)
        case "csv" | "tsv" as table:
            yield from _table(path, "\t" if table == "tsv" else "")
        case _:
            yield from _json(path)


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"  # the magic number of gzip, whatever the name says
    if zipped:
        return io.BufferedReader(gzip.GzipFile(path))
    return path.open("rb")


def lines_of(path: Path) -> Iterator[tuple[int, str | Unreadable]]:
    """The lines of a text file with their numbers from 1, a byte-order mark left out.

    UserError when the file is not text at all, or ends in the middle of its compression.
    """
    number = 0
    try:
        with _opened(path) as file:
            while line := file.readline(LONGEST_ROW + 1):
                number += 1
                if len(line) > LONGEST_ROW and not line.endswith(b"\n"):
                    # The rest of the long line is skipped in pieces: it may be all of a large file.
                    while (more := file.readline(LONGEST_ROW)) and not more.endswith(b"\n"):
                        pass
                    yield number, Unreadable(f"longer than {LONGEST_ROW:,} bytes")
                else:
                    yield number, _decoded(path, line, number)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as text after line {number}: {error}") from None


def _decoded(path: Path, line: bytes, number: int) -> str | Unreadable:
    try:
        return (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).decode("utf-8")
    except UnicodeDecodeError as error:
        if number == 1:
            raise UserError(
                f"{path}: cannot be read as text: its first line is not UTF-8 ({error.reason}): save it as "
                "UTF-8 text, or name a Parquet file .parquet"
            ) from None
        return Unreadable(f"not UTF-8: {error.reason} at byte {error.start}")


# JSON


def parsed(text: str) -> Any:
    """One JSON value, or `Unreadable`."""
    try:
        # Without its line end: what is missing at the end would be told as column 1 of the next line.
        return json.loads(text.rstrip(), parse_int=_integer)
    except json.JSONDecodeError as error:
        return Unreadable(f"not valid JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return Unreadable(f"not valid JSON: {error}")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _json(path: Path) -> Iterator[Row]:
    """One row on each line, or the items of a list that is the whole file, whatever the name says."""
    lines = ((n, line) for n, line in lines_of(path) if isinstance(line, Unreadable) or line.strip())
    first = next(lines, None)
    if first and isinstance(first[1], str) and first[1].lstrip().startswith("["):
        items = _list(path, first[1])
        if items is not None:
            yield from (Row(path, number, item) for number, item in enumerate(items, 1))
            return
    second = next(lines, None)
    if first and isinstance(first[1], str):
        _refuse_object(path, first[1], only=second is None)
    for number, line in chain(filter(None, (first, second)), lines):
        yield Row(path, number, parsed(line) if isinstance(line, str) else line)


def _refuse_object(path: Path, first: str, *, only: bool) -> None:
    """UserError for a file that is one JSON object, in one line or several: its rows are inside of it."""
    found = parsed(first)
    # One row a line: the usual case. An object alone in its file is a row, too, if it does not look like a
    # wrapper.
    if not first.lstrip().startswith("{") or only == isinstance(found, Unreadable):
        return
    if not only:
        try:
            found = json.loads(_whole(path), parse_int=_lenient)
        except (ValueError, RecursionError, UserError):
            return  # lines of their own, of which the first is broken: each is refused for itself
    inside = [
        k for k, v in found.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)
    ]
    # `{"candidates": [...]}` alone in a .jsonl file is a row with its solutions.
    is_whole = not only or (len(found) == 1 and ".jsonl" not in path.suffixes)
    key = next((k for k in inside if is_whole or k in _WRAPPERS), None)
    if key is not None:
        n = len(found[key])
        raise UserError(
            f"{path}: one JSON object, whose {key!r} holds {n:,} objects: save that list alone, "
            f"e.g. jq '.[{json.dumps(key)}]' {path.name} > rows.json"
        )
    if not only:
        raise UserError(f"{path}: one JSON object over several lines: write each object in a line of its own")


def _list(path: Path, first: str) -> list[Any] | None:
    """The items of a file that is one JSON list. None when the whole file is no list, but its first line is:
    then each line is a row, and will be refused as one."""
    try:
        found = json.loads(_whole(path), parse_int=_lenient)
    except (ValueError, RecursionError) as error:
        if isinstance(parsed(first), Unreadable):
            raise UserError(f"{path}: neither JSON lines nor a JSON list: {error}") from None
        return None
    return [Unreadable(_too_long(item)) if _too_long(item) else item for item in found]


class _Absurd(str):
    """The digits of an integer that is too long to be read. Kept as text, so that one item is refused and
    not the list."""


def _lenient(digits: str) -> "int | _Absurd":
    return int(digits) if len(digits) <= _DIGITS else _Absurd(digits)


def _whole(path: Path) -> str:
    """The text of a file that is one JSON value. UserError where it is too long; ValueError where it is not
    UTF-8."""
    try:
        with _opened(path) as file:
            whole = file.read(LARGEST_LIST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if len(whole) > LARGEST_LIST:
        raise UserError(
            f"{path}: one JSON value of more than {LARGEST_LIST:,} bytes: write one object a line"
        )
    return whole.decode("utf-8-sig")


def _too_long(item: Any) -> str:
    """Why an item of a list is refused: one of its values is an integer that is too long. Else empty."""
    values = item.values() if isinstance(item, dict) else [item]
    absurd = next((value for value in values if isinstance(value, _Absurd)), None)
    return "" if absurd is None else f"an integer of {len(absurd):,} digits"


# Tables


class _Lines:
    """Gives the lines of a table to the `csv` module, which joins the lines of one row (a quoted cell may
    hold line ends), and keeps what was wrong with them."""

    def __init__(self, path: Path) -> None:
        self._lines = lines_of(path)
        self.number = 0
        """The number of the line that was read last."""
        self._bad: Unreadable | None = None

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if isinstance(line, Unreadable):
            self._bad = line
            return ""
        return line

    def trouble(self) -> Unreadable | None:
        """What was wrong with a line since the last call of this method; None if nothing was."""
        bad, self._bad = self._bad, None
        return bad


def _table(path: Path, delimiter: str) -> Iterator[Row]:
    """CSV or TSV with column names in the first line. An empty cell means that there is no value. UserError
    where two columns have one name, because nobody can tell which is meant."""
    lines = _Lines(path)
    head = next(lines, "")
    if head.lstrip()[:1] in ("{", "[") and not isinstance(parsed(head), Unreadable):
        raise UserError(f"{path}: its first line is JSON, not column names: name the file .jsonl")
    # Spreadsheets of languages with a decimal comma write `;` between the cells of a .csv.
    separator = delimiter or (";" if ";" in head and "," not in head else ",")
    reader = csv.reader(chain([head], lines), delimiter=separator)
    columns = [name.strip() for name in next(reader, [])]
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise UserError(f"{path}: the column {twice[0]!r} stands twice in its first line: rename one of them")
    while True:
        number = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(path, number, Unreadable(f"not a row of a table: {error}"))
            continue
        if cells is None:
            return
        if bad := lines.trouble():
            yield Row(path, number, bad)
        elif len(cells) > len(columns):
            yield Row(path, number, Unreadable(f"{len(cells)} cells for {len(columns)} columns"))
        elif cells:
            yield Row(path, number, {c: v for c, v in zip(columns, cells, strict=False) if v != ""})


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(path, number, value)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file, after row {number}: {error}") from error
