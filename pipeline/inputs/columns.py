"""Finds the columns of a data set that hold the problem and its gold answer, by `fields` or by common names.

A wrong guess would label a whole data set by wrong gold answers. So where two columns could be meant and
differ, it refuses to guess and says what to write.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.inputs.golds import golds_of, kind_of
from pipeline.inputs.rows import Row, Unreadable
from schemas.config import RowsConfig
from schemas.errors import UserError
from verifiers.answers.grade import extract_answer, same_answer

TEXTS = ("problem", "question", "prompt", "text", "query")
ANSWERS = ("answer", "final_answer", "gold", "gold_answer", "target", "ground_truth", "solution")
"""Common names of the column with the problem, and of the one with the gold answer; upper case is no
difference. `solution` counts only where its texts end in a box or in `#### answer`."""
# What stands before the answer at the end of a solution: GSM8K writes `#### 42`, MATH `\boxed{42}`.
_HASHES, _BOX = "####", "\\boxed"
MAPPINGS = {
    "gsm8k": ("question", "answer", _HASHES),
    "math": ("problem", "solution", _BOX),
}
"""The columns of the problem and of its solution, and what stands before the answer in the solution."""
_OTHERS = ("answer_kind", "premises", "reference", "table", "tests", "domain", "licence")
FIELDS = ("text", "answer", "options", *_OTHERS)
"""Our fields, for each of which the run file may name a column. `options` become part of the text."""


@dataclass(frozen=True)
class Columns:
    """The columns that a problem is read from, and a sentence for the user that says so."""

    places: Mapping[str, str]
    """Our field = the column it is read from."""
    mark: str = ""
    """What stands before the answer in the answer's column, where that holds whole solutions."""
    said: str = ""


def value_at(row: Mapping[Any, Any], column: str) -> Any:
    """The value of a column, or of a nested one: `reward_model.ground_truth`. None where there is none."""
    if column in row:
        return row[column]
    value: Any = row
    for name in column.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text_at(row: Mapping[Any, Any], column: str) -> str | Unreadable:
    """The problem's text: the cell's own, or the one user message of a chat."""
    value = value_at(row, column)
    if isinstance(value, list) and value and all(isinstance(item, dict) and "role" in item for item in value):
        asked = [item.get("content") for item in value if item["role"] == "user"]
        if len(asked) != 1 or not isinstance(asked[0], str):
            return Unreadable(f"found a chat with {len(asked)} user messages, expected one, with a text")
        value = asked[0]
    if value is None:
        return Unreadable(f"no value, expected the problem's text; the row has {_listed(row)}")
    if not isinstance(value, str) or not value.strip():
        return Unreadable(f"expected the problem's text, found {type(value).__name__} {str(value)[:40]!r}")
    return value


def find_columns(config: RowsConfig, rows: Sequence[Row], name: str) -> Columns:
    """The columns of rows like these, which come from `name`. UserError, with what to write into the run
    file, where a named column is not there, none can be found, or several differ."""
    unknown = sorted(set(config.fields) - set(FIELDS))
    if unknown:
        raise UserError(
            f"[problems] fields: unknown field {unknown[0]!r}; known: {', '.join(FIELDS)} "
            "(our field = the dataset's column)"
        )
    values = [row.value for row in rows if isinstance(row.value, dict)]
    there = list(dict.fromkeys(str(key) for value in values for key in value))
    for ours, column in config.fields.items() if there else ():
        if column not in there and not any(value_at(value, column) is not None for value in values):
            raise UserError(
                f"{name}: no column {column!r}, which [problems] fields names for {ours}; it has "
                f"{', '.join(there)[:300]}"
            )
    seen = _Seen(config, values, there, name)
    text = seen.text() if there else config.fields.get("text", "text")
    answer, mark = seen.answer()
    places = {other: other for other in _OTHERS if other in there} | {"text": text}
    if mark or config.mapping in MAPPINGS:  # whole solutions
        places.setdefault("reference", MAPPINGS[config.mapping][1] if config.mapping in MAPPINGS else answer)
    places |= config.fields
    if answer:
        places["answer"] = answer
    return Columns(places, mark, seen.said(places, mark))


class _Seen:
    """The first rows of a data set, asked for their columns."""

    def __init__(
        self, config: RowsConfig, values: Sequence[dict[Any, Any]], there: Sequence[str], name: str
    ) -> None:
        self._config, self._values, self._there, self._name = config, values, there, name
        self._fixed = MAPPINGS.get(config.mapping)

    def text(self) -> str:
        """The column with the problem's text."""
        if named := self._config.fields.get("text"):
            return named
        if self._fixed:
            return self._required(self._fixed[0])
        found = self._common(TEXTS)
        readable = [column for column in found if any(isinstance(t, str) for t in self._texts(column))]
        if not found:
            free = [c for c in self._there if c.lower() not in ANSWERS] or self._there
            first = next((c for c in free if isinstance(self._values[0].get(c), str)), free[0])
            raise UserError(
                f"{self._name}: no column with the problem's text: expected one of {', '.join(TEXTS)}; "
                f'it has {", ".join(self._there)[:300]}: write fields = {{text = "{first}"}} under '
                f"[problems], with the column that holds it (`stepmint init` and `label`: --text {first})"
            )
        first, *others = readable or found[:1]
        for other in others:
            for a, b in zip(self._texts(first), self._texts(other), strict=True):
                if a != b:
                    self._refuse_to_guess("text", "the problem", (first, a), (other, b))
        return first

    def answer(self) -> tuple[str, str]:
        """The column with the gold answer, empty where there is none, and the mark before it there."""
        if named := self._config.fields.get("answer"):
            return named, "" if self._fixed else self._mark(named)
        if self._fixed:
            column = self._config.fields.get("reference") or self._fixed[1]
            return (self._required(column) if self._there else column), self._fixed[2]
        marks = {column: self._mark(column) for column in self._common(ANSWERS)}
        # A `solution` without a mark is a whole text: its answer could not be found in it.
        found = [c for c in marks if marks[c] or c.lower() != "solution"]
        if not found:
            return "", ""
        first, *others = found
        for other in others:
            for value in self._values:
                a, b = (_read(value_at(value, column), marks[column]) for column in (first, other))
                if not _agree(a, b):
                    self._refuse_to_guess("answer", "the gold answer", (first, a), (other, b))
        return first, marks[first]

    def said(self, places: Mapping[str, str], mark: str) -> str:
        """What was taken, in one line."""
        if not self._there:
            return f"problems: as {self._name} gives them"
        chat = any(isinstance(value_at(value, places["text"]), list) for value in self._values)
        text = f"text from `{places['text']}`" + (" (the user's message)" if chat else "")
        how = {_HASHES: " after `####`", _BOX: " in its box", "": ""}[mark]
        if "answer" in places:
            return f"problems: {text}, answer from `{places['answer']}`{how}"
        if "tests" in places:
            return f"problems: {text}, graded by the unit tests in `{places['tests']}`"
        names = f'fields = {{answer = "{self._nested() or "..."}"}} under [problems] names one'
        return (
            f"problems: {text}, no column with gold answers ({', '.join(self._there)[:200]}): nothing "
            f"will be rolled out or graded; {names}"
        )

    def _nested(self) -> str:
        """A nested column with a common name of gold answers; `reward_model.ground_truth` is one."""
        inner = (
            f"{column}.{name}"
            for value in self._values
            for column, cell in value.items()
            if isinstance(cell, dict)
            for name in cell
            if str(name).lower() in ANSWERS
        )
        return next(inner, "")

    def _required(self, column: str) -> str:
        if column not in self._there:
            raise UserError(
                f'{self._name}: no column {column!r}, which mapping = "{self._config.mapping}" reads; it has '
                f"{', '.join(self._there)[:300]}: leave `mapping` out, or name the columns with `fields`"
            )
        return column

    def _common(self, names: Sequence[str]) -> list[str]:
        """The columns of these names that hold something, in the order of the names."""
        found = [column for name in names for column in self._there if column.lower() == name]
        # A column that is empty in all first rows holds nothing: `answer` may be empty beside `solution`.
        held = [c for c in found if any(v.get(c) not in (None, "", []) for v in self._values)]
        return held or found

    def _texts(self, column: str) -> Iterator[str | Unreadable]:
        return (text_at(value, column) for value in self._values)

    def _mark(self, column: str) -> str:
        """What stands before the answer in at least half of a column's texts; empty where nothing does.

        Half, because some solutions of a data set may lack their answer line. A column that holds only boxes,
        such as `\\boxed{42}`, has the mark of a box too.
        """
        held = [value for row in self._values if (value := value_at(row, column)) is not None]
        for mark in (_HASHES, _BOX):
            if held and 2 * sum(isinstance(value, str) and mark in value for value in held) >= len(held):
                return mark
        return ""

    def _refuse_to_guess(self, ours: str, what: str, one: tuple[str, Any], other: tuple[str, Any]) -> None:
        (a, x), (b, y) = one, other
        raise UserError(
            f"{self._name}: both {a!r} and {b!r} could hold {what}, and they differ ({_shown(x)} and "
            f'{_shown(y)}): write fields = {{{ours} = "{a}"}} or fields = {{{ours} = "{b}"}} under '
            f"[problems] (`stepmint label`: --{ours} {a})"
        )


def _read(value: Any, mark: str) -> tuple[str, ...] | Unreadable:
    """The accepted answers in a cell."""
    if mark and isinstance(value, str):
        value = extract_answer(value)
    return golds_of(value)


def _agree(a: tuple[str, ...] | Unreadable, b: tuple[str, ...] | Unreadable) -> bool:
    """Whether two columns give the same gold answer, as `0.5` and `1/2` do."""
    if a == b or isinstance(a, Unreadable) or isinstance(b, Unreadable):
        return a == b
    if len(a) != 1 or len(b) != 1:
        return False
    kind = kind_of((*a, *b))
    # Expressions are compared as numbers only: this looks at a hundred rows, and algebra may take seconds
    # each.
    return same_answer(a[0], b[0], "number" if kind == "expression" else kind) is not False


def _shown(value: Any) -> str:
    # First, because it is a tuple, too. What is missing, without what the row has in its place: `no value`.
    if isinstance(value, Unreadable):
        return value.why.partition(",")[0][:60]
    if isinstance(value, tuple):  # accepted answers
        return " or ".join(map(repr, value))[:60]
    return repr(value)[:60]


def _listed(row: Mapping[Any, Any]) -> str:
    return ", ".join(sorted(map(str, row)))[:200]
