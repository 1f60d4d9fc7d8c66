"""Applies `--set SECTION.KEY=VALUE` of the command line to a run file."""

import tomllib
from typing import Any

from schemas.errors import UserError
from schemas.notation import SECTIONS, addressed, name_of


def set_key(data: dict[str, Any], override: str) -> None:
    """Put `section.key=value` into nested dictionaries; `annotate.NAME.key` speaks of the annotator of that
    name or kind, and so does `NAME.key` where the kind had a section of its own earlier. Where there are
    several sections `[[propose]]`, `propose.KIND.key` speaks of one of them.

    UserError when that is not what it says.
    """
    key, found, value = override.partition("=")
    if not found or not all(part.strip() for part in key.split(".")):
        raise UserError(f"--set {override}: expected section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a text without quotes, as a shell leaves it: `prompt.template=mine`
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, or 1,000 brackets
        raise UserError(f"--set {override[:100]}: {error}") from None
    *sections, last = key.strip().split(".")
    if sections[:1] == ["annotate"] and len(sections) > 1:
        data, sections = _annotator(data, sections[1], override), sections[2:]
    elif sections[:1] == ["propose"] and isinstance(data.get("propose"), list):
        data, sections = _proposer(data["propose"], sections[1:], override), sections[2:]
    elif sections and sections[0] in SECTIONS and sections[0] not in data:
        data, sections = _annotator(data, sections[0], override), sections[1:]
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise UserError(f"--set {override}: {section} is not a section")
    data[last] = parsed


def _annotator(data: dict[str, Any], name: str, override: str) -> dict[str, Any]:
    elements = data.setdefault("annotate", [])
    found = addressed(elements, name) if isinstance(elements, list) else None
    if found is None:
        names = ", ".join(str(name_of(element)) for element in elements) or "none"
        several = sum(isinstance(element, dict) and element.get("kind") == name for element in elements)
        if several > 1:
            raise UserError(
                f"--set {override}: {several} annotators are of kind {name!r}: name one of {names}"
            )
        raise UserError(f"--set {override}: not one annotator is called {name!r}; the run has {names}")
    return found


def _proposer(elements: list[Any], kinds: list[str], override: str) -> dict[str, Any]:
    found = addressed(elements, kinds[0]) if kinds else None
    if found is None:
        names = ", ".join(str(name_of(element)) for element in elements)
        raise UserError(
            f"--set {override}: the run has several proposers: write propose.KIND.key for one of {names}"
        )
    return found
