"""Reads the run.toml of runs that earlier versions began: it drops settings that mean nothing any more,
and adds what those versions did where today's default is another."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.config.effects import before, is_added
from schemas.sections import classes_of, tag_of

RESOLVED = "# The resolved configuration of this run"
"""The beginning of the first line of a run.toml that a run has written into its own folder."""


def as_it_was(data: Any, sections: Sequence[type[BaseModel]]) -> Any:
    """The data of a section, without fields of its other kinds that hold those kinds' defaults, and with the
    settings that its version did not have.

    Once a section had the fields of all kinds, and run.toml held them all: `slip = 0.15`, of a simulated
    policy, stands in the files of runs on a server. A field that holds anything else was set by somebody, so
    it stays and is refused.
    """
    if isinstance(data, list):
        return [as_it_was(one, sections) for one in data]
    own = _chosen(data, sections) if isinstance(data, dict) else None
    if own is None:
        return data
    kept = {}
    for name, value in data.items():
        if field := own.model_fields.get(name):
            kept[name] = as_it_was(value, classes_of(field.annotation))
        elif not any(_is_default(value, one.model_fields.get(name)) for one in sections):
            kept[name] = value
    later = {name: before(field) for name, field in own.model_fields.items() if is_added(field)}
    changed = {name: was for name, was in later.items() if was != own.model_fields[name].default}
    return {**changed, **kept}


def _chosen(data: dict[str, Any], sections: Sequence[type[BaseModel]]) -> type[BaseModel] | None:
    """The class that a section is of; None where it does not say."""
    if len(sections) == 1:
        return sections[0]
    for section in sections:
        name, value = tag_of(section)
        if data.get(name) == value:
            return section
    return None


def _is_default(value: Any, field: FieldInfo | None) -> bool:
    if field is None or field.is_required():
        return False
    default = field.get_default(call_default_factory=False)
    return bool(value == (list(default) if isinstance(default, tuple) else default))
