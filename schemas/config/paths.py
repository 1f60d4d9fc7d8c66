"""Resolves relative paths of a run file: beside the run file if they exist there, else in the working folder.

So a run file and its data can be moved together, and the command works from any folder.
"""

from glob import glob
from pathlib import Path
from typing import Any

_NAMING = ("path", "template", "prompts", "meta", "checkpoint")
"""Settings that name files."""


def beside(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A run file's data, with `folder`, its own, before those relative paths that are found there.

    Others stay as they are: they are names of prompts or datasets, or relative to the working folder.
    """
    return {name: _placed_in(section, folder) for name, section in data.items()}


def _placed_in(section: Any, folder: Path) -> Any:
    if isinstance(section, list):
        return [_placed_in(one, folder) for one in section]
    # A dataset such as `openai/gsm8k` looks like a relative path, but is a name of the Hub.
    if not isinstance(section, dict) or section.get("source") == "huggingface":
        return section
    # A checkpoint "series" is a word (`PrmConfig`), also where a folder is called so.
    return {
        key: _placed(value, folder) if key in _NAMING and (key, value) != ("checkpoint", "series") else value
        for key, value in section.items()
    }


def _placed(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_placed(one, folder) for one in value]
    if not isinstance(value, str) or not value.strip() or value.startswith(("/", "~", "$")):
        return value
    path = folder / value
    try:
        is_there = path.exists() or ("*" in value and glob(str(path), recursive=True))
    except OSError:  # such as a name too long: whoever opens it says so
        return value
    return str(path) if is_there else value
