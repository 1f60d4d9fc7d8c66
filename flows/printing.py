"""Prints tables, figures and lines in a terminal. Control characters are replaced in every text."""

import os
import sys
from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.text import shown

Result = dict[str, Any]


def flat(found: Result, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as names and values, in their order."""
    for key, figure in found.items():
        name, value = f"{prefix}{key}", figure
        # A note ("never says wrong at 0.5") explains an F1 of 0 better than the 0: it is printed in its
        # place.
        if "note" in found and key in ("note", "f1"):
            if key == "note":
                continue
            value = found["note"]
        if isinstance(value, dict) and "value" not in value:
            if key != "by_n":  # a curve over n: it is in the JSON, and too long for a table
                yield from flat(value, f"{name} / ")
        else:
            yield name, value


def value_of(value: Any) -> str:
    """A figure as people read it."""
    match value:
        case {"value": None}:
            return "none"
        case {"value": middle, "low": low, "high": high}:
            return f"{value_of(middle)} [{value_of(low)}, {value_of(high)}]"
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}"
        case int():
            return f"{value:,}"
    return shown(str(value))


def new_table(*columns: str, right: int = 0) -> Table:
    """A table whose last `right` columns are numbers. Rows are added by `add_row`."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        number = index >= len(columns) - right
        table.add_column(
            Text(shown(name)), justify="right" if number else "left", overflow="fold", no_wrap=number
        )
    return table


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a row. Texts are wrapped in `Text`, because rich reads a str such as "[red]" as markup."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(shown(cell)) for cell in cells))


def figures(title: str, found: Result) -> None:
    """Print nested figures as a table of names and values, with an interval after its value."""
    table = new_table(title, "", right=1)
    for name, value in flat({key: value for key, value in found.items() if value not in ({}, None)}):
        add_row(table, name.replace("_", " "), value_of(value))
    show_item(table)


def show_item(item: Table | Text) -> None:
    """Print a table or a coloured text."""
    # A file has no width. In rich's 80 characters the names of sources would be broken.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    Console(width=width).print(item)


def say(text: str) -> None:
    """Print plain text without wrapping or colours, so that it can be copied and piped."""
    print(shown(text))
