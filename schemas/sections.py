"""Looks into the classes of a configuration: which sections a field may hold, and which key tells them apart.

Messages, documents and the run's identity are derived from the classes with these functions.
"""

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo


def classes_of(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field may hold, also in a union or list: `SampleConfig | OmegaConfig` gives two."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    # `A | tuple[A, ...]` speaks of A twice: of one section, or of several.
    return list(dict.fromkeys(one for part in get_args(annotation) for one in classes_of(part)))


def is_list(field: FieldInfo) -> bool:
    """Whether a field is a list of sections: `[[annotate]]` in a run file."""
    return get_origin(field.annotation) in (tuple, list) and bool(classes_of(field.annotation))


def tag_of(section: type[BaseModel]) -> tuple[str, str]:
    """The field that tells the classes of a union apart, and its value in this class: `kind` and `sample`.

    It is the first field that can hold one text only; empty texts where there is none.
    """
    for name, field in section.model_fields.items():
        if get_origin(field.annotation) is Literal and len(values := get_args(field.annotation)) == 1:
            return name, values[0]
    return "", ""


def default_tag(name: str, value: str) -> BeforeValidator:
    """Reads a section without the field `name` as if it said `name = value`."""

    def completed(data: Any) -> Any:
        return {name: value, **data} if isinstance(data, dict) else data

    return BeforeValidator(completed)
