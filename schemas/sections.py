"""The base of a configuration's classes, and what can be seen in them: which sections a field may hold, and
which key tells them apart.

Messages, documents and the run's identity are derived from the classes with these functions.
"""

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, model_validator
from pydantic.fields import FieldInfo

from schemas.records import Record


class Section(Record):
    """Base of all sections. Its numbers are written as numbers, and its switches as true or false."""

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, data: Any) -> Any:
        # Pydantic reads `true` as 1, `1` as true and "0.1" as .1: `rollouts = true` would be a run with one
        # rollout a step. Its strict mode would refuse TOML's lists, too, where a tuple is kept.
        if not isinstance(data, dict):
            return data
        types = {name: {*_plain_types(field.annotation)} for name, field in cls.model_fields.items()}
        return {name: _as_one_of(types.get(name, set()), value) for name, value in data.items()}


class _Written:
    """A value that stands where one of another type is expected. Pydantic refuses it in its own words, at its
    own place and with everything else that is wrong; messages show it as it was written."""

    def __init__(self, value: bool | float | str) -> None:
        self._value = value

    def __str__(self) -> str:
        return json.dumps(self._value)


def _as_one_of(types: set[Any], value: Any) -> Any:
    """The value, or `_Written` where it is a switch, number or text and the types are others."""
    numbers = types & {int, float}
    if isinstance(value, list | tuple):
        return [_as_one_of(types, one) for one in value]
    if numbers and isinstance(value, bool | str) and not types & {bool, str}:
        return _Written(value)
    if bool in types and isinstance(value, int | float | str) and not isinstance(value, bool):
        return value if numbers or type(value) in types else _Written(value)
    return value


def _plain_types(annotation: Any) -> Iterator[Any]:
    """The types of a field's values, or of their elements: `tuple[int, int] | None` gives int and None's."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from map(type, inside)
    elif origin is Annotated:
        yield from _plain_types(inside[0])
    elif origin in (Union, UnionType, tuple, list):
        for one in inside:
            yield from _plain_types(one)
    else:
        yield annotation


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
