"""Run files before validation: finds annotators by name, and converts the sections of earlier versions."""

from collections.abc import Mapping
from typing import Any

SECTIONS = ("bisection", "monte_carlo", "scan", "prover", "judge", "verify")
"""Annotators that had a section each (`[monte_carlo]`) before they were elements of `[[annotate]]`."""


def name_of(element: Any) -> object:
    """The name of an element of `[[annotate]]`, by default its kind; None for what is no element."""
    if isinstance(element, Mapping):
        return element.get("name", element.get("kind"))
    return getattr(element, "name", None)


def listed(data: dict[str, Any]) -> dict[str, Any]:
    """The same run file with earlier sections as elements of `[[annotate]]`.

    A section with the name of an element stays where it is: validation then refuses the file, which has both.
    """
    elements = data.get("annotate", [])
    if not isinstance(elements, list | tuple):
        return data
    names = {name_of(element) for element in elements}
    # `[judge]` beside `[[annotate]] kind = "judge"` could mean one judge or two, so it is not converted.
    old = [name for name in SECTIONS if name in data and name not in names]
    kept = {key: value for key, value in data.items() if key not in old}
    found = [_element(name, data[name]) for name in old if data[name] is not None]
    return {**kept, "annotate": [*elements, *found]} if old else data


def _element(kind: str, section: Any) -> Any:
    """A section as an element. Anything but a table stays as it is, for validation to refuse by its name."""
    return {"kind": kind, **section} if isinstance(section, Mapping) else section


def addressed(elements: list[Any], name: str) -> dict[str, Any] | None:
    """The element of a list that a key such as `annotate.judge.votes` speaks of: the one of that name, or the
    only one of that kind. One of a kind that had a section is added where there is none."""
    tables = [element for element in elements if isinstance(element, dict)]
    of_kind = [table for table in tables if table.get("kind") == name]
    for found in ([table for table in tables if name_of(table) == name], of_kind):
        if len(found) == 1:
            return found[0]
    if name not in SECTIONS or of_kind:
        return None
    elements.append({"kind": name})
    new: dict[str, Any] = elements[-1]
    return new
