"""Replaces a checkpoint's folder as a whole: a reader finds the old one or the new one, never a mixture.

A folder that holds files which we did not write is refused, so that `--out` cannot delete somebody's work.
"""

import fnmatch
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.storage.atomic import complaining, fresh_folder, swap
from schemas.errors import UserError

LISTED = ".stepmint-files"
"""The file in a folder that lists the files we put there, one name on each line."""
LATER = ("metrics.json", "training.json", "evaluation.json", "selftrain.json")
"""Files that commands add to a checkpoint after it is written."""
_CHECKPOINT = (
    "*.json", "*.safetensors", "*.jinja", "*.model", "*.spm", "merges.txt", "vocab.txt",
)  # fmt: skip
"""Files that a checkpoint of an earlier version may hold; earlier versions wrote no list."""
_MARKS = ("prm.json", "training.json", "selftrain.json")
"""A folder without a list is ours only if it holds one of these: any model has a config.json."""


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` once the block ends without an error.

    A link is followed. UserError when `path` is a file or a folder with files that we did not put there, and
    when the disk does not take it; then what was there is unchanged. In the parent folder nothing else is
    touched, except the unfinished folders of our dead processes.
    """
    with complaining(path):
        target = Path(os.path.realpath(path))
        check_ours(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with fresh_folder(target.parent) as part:
            yield part
            (part / LISTED).write_text("".join(f"{name}\n" for name in sorted(os.listdir(part))))
            if target.exists():
                os.chmod(part, target.stat().st_mode & 0o7777)
            swap(part, target)


def check_ours(path: Path) -> None:
    """UserError unless a folder could be replaced: it is missing, empty, or holds only what we put there."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path}: is not a folder: choose another place")
    found = sorted(os.listdir(path))
    with suppress(FileNotFoundError):
        ours = {LISTED, *LATER, *(path / LISTED).read_text().splitlines()}
        found = [name for name in found if name not in ours]
    if not (path / LISTED).is_file():
        is_checkpoint = any((path / name).is_file() for name in _MARKS)
        found = [
            name
            for name in found
            if not (is_checkpoint and any(fnmatch.fnmatchcase(name, kind) for kind in _CHECKPOINT))
        ]
    if found:
        raise UserError(
            f"{path}: holds something other than a PRM or policy of ours, {found[0]!r}: move it, or choose "
            "another folder"
        )
