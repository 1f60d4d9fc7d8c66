"""Single settings on the command line."""

import tomllib
from typing import Any

from schemas.errors import UserError


def set_key(data: dict[str, Any], override: str) -> None:
    """Put `section.key=value` into nested dictionaries. UserError when that is not what it says."""
    key, found, value = override.partition("=")
    if not found or not all(part.strip() for part in key.split(".")):
        raise UserError(f"--set {override}: expected section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *sections, last = key.strip().split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise UserError(f"--set {override}: {section} is not a section")
    data[last] = parsed
