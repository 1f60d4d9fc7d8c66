"""What is wrong with a run file, in words for whoever wrote it."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

_NAME = r"^[A-Za-z0-9]"


def complaint(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One of pydantic's errors on a configuration, with what would help where we know it."""
    at = [str(part) for part in error["loc"]]
    numbered = at[0:1] == ["annotate"] and len(at) > 2  # its place in the list says less than its kind
    place, given = ".".join([at[0], *at[2:]] if numbered else at) or "run file", error.get("input")
    match error["type"]:
        case "extra_forbidden":
            what = "section" if isinstance(given, dict) else "setting"
            near = get_close_matches(at[-1], _names(model, at[:-1]), n=1)
            return f"{place}: no such {what}" + (f"; did you mean {near[0]}?" if near else "")
        case "tuple_type":
            return f"{place}: expected a list" + (f': ["{given[:100]}"]' if isinstance(given, str) else "")
        case "union_tag_not_found":
            return f"{place}: needs a `kind`, such as kind = {_kinds(model, at)}"
        case "string_pattern_mismatch" if error["ctx"]["pattern"].startswith(_NAME):
            return f"{place}: {str(given)[:100]!r}: letters, digits and . _ - only, a letter or digit first"
        case _:
            return f"{place}: {error['msg']}"


def _names(model: type[BaseModel], at: list[str]) -> list[str]:
    """The settings of a section; none where it cannot be told which class it is of."""
    found: list[type[BaseModel]] = [model]
    for name in at:
        inner = [_classes(one.model_fields[name].annotation) for one in found if name in one.model_fields]
        found = [one for several in inner for one in several] or found  # a tag of a union is no field
    return [name for one in found for name in one.model_fields]


def _classes(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field may hold."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [one for part in get_args(annotation) for one in _classes(part)]


def _kinds(model: type[BaseModel], at: list[str]) -> str:
    """The values of `kind` that a section may have."""
    sections = _classes(model.model_fields[at[0]].annotation) if at[0] in model.model_fields else []
    kinds = [kind for one in sections for kind in get_args(one.model_fields["kind"].annotation)]
    return " or ".join(f'"{kind}"' for kind in kinds)
