"""Tables, figures and lines for a terminal. Texts are shown as they are, without control characters."""

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
        if "note" in found and key in ("note", "f1"):  # it says why the figure is what it is
            if key == "note":
                continue
            value = found["note"]
        if isinstance(value, dict) and "value" not in value:
            if key != "by_n":  # a curve: in the JSON, too long for a table
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
    """A row of texts as they are: a name with brackets is no markup."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(shown(cell)) for cell in cells))


def show_item(item: Table | Text) -> None:
    """A table or a coloured text."""
    Console().print(item)


def say(text: str) -> None:
    """Plain text as it is: neither wrapped nor coloured, so that it can be copied and piped."""
    print(shown(text))
