"""Look-ups and aggregations over a table of texts, exactly.

Numbers are read strictly: a blank is left out of an aggregation, `n/a` makes it unclear, and a column name
that occurs twice names nothing.
"""

import re
import statistics
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from schemas.records import Table

Operation = Literal["look_up", "sum", "mean", "min", "max", "median", "count"]
Relation = Literal["=", "<", ">", "≤", "≥"]
# A whole cell: -1,234.5, $12, 5%. Not `12 (est.)`, `1,23` or `n/a`.
_NUMBER = re.compile(r"([-+]?)\$?(\d{1,3}(?:,\d{3})+|\d{1,30})(\.\d{1,30})?(%?)")


class Unclear(Exception):
    """The table does not answer this; the text says why."""


@dataclass(frozen=True)
class Filter:
    """A condition on one column."""

    column: str
    relation: Relation
    value: str


@dataclass(frozen=True)
class Query:
    """An operation on a column (none for `count`) over the rows that meet every condition."""

    operation: Operation
    column: str | None
    filters: tuple[Filter, ...] = ()


def number(cell: str) -> Fraction | None:
    """The number a cell holds, its percent sign or dollar left off; None where it holds none."""
    match = _NUMBER.fullmatch(cell.strip())
    if not match:
        return None
    sign, whole, decimals, _ = match.groups()
    return Fraction(f"{sign}{whole.replace(',', '')}{decimals or ''}")


def column_index(table: Table, column: str) -> int:
    """Where a column stands. Raises Unclear where its name is missing or ambiguous."""
    if table.columns.count(column) != 1:
        raise Unclear(f"column {column!r} occurs {table.columns.count(column)} times")
    return table.columns.index(column)


def matching(table: Table, filters: tuple[Filter, ...]) -> list[int]:
    """The rows that meet every condition. Raises Unclear where a comparison has no number to go by."""
    return [i for i, row in enumerate(table.rows) if all(_meets(table, row, f) for f in filters)]


def _meets(table: Table, row: tuple[str, ...], condition: Filter) -> bool:
    cell, value = row[column_index(table, condition.column)], condition.value
    left, right = number(cell), number(value)
    # Equal as texts, or as numbers: the cell `1,200` meets the condition `= 1200`.
    if condition.relation == "=":
        return cell.strip() == value.strip() or (left is not None and left == right)
    if not cell.strip():
        return False
    if left is None or right is None:
        raise Unclear(f"{cell!r} and {value!r} cannot be compared")
    order = {"<": left < right, ">": left > right, "≤": left <= right, "≥": left >= right}
    return order[condition.relation]


def answer(table: Table, query: Query) -> str | Fraction:
    """A cell's text for a look-up, a number otherwise. Raises Unclear."""
    rows = matching(table, query.filters)
    if query.operation == "count":
        return Fraction(len(rows))
    if query.column is None:
        raise Unclear("no column is named")
    index = column_index(table, query.column)
    if query.operation == "look_up":
        if len(rows) != 1:
            raise Unclear(f"{len(rows)} rows match, not one")
        return table.rows[rows[0]][index]
    # A blank cell is left out, as spreadsheets do; 0 would change a mean or a minimum.
    cells = [table.rows[i][index] for i in rows if table.rows[i][index].strip()]
    values = [number(cell) for cell in cells]
    known = [value for value in values if value is not None]
    # One cell such as `n/a` makes a sum or mean unclear: people would differ on whether it counts as 0.
    if not known or len(known) != len(values):
        raise Unclear(
            f"column {query.column!r} has cells that are no numbers" if values else "no row matches"
        )
    match query.operation:
        case "sum":
            return sum(known, Fraction(0))
        case "mean":
            return sum(known, Fraction(0)) / len(known)
        case "median":
            return statistics.median(known)
        case "min":
            return min(known)
        case "max":
            return max(known)
