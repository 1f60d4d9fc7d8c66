"""A folder on an object store that is put there once: a PRM, for machines that come later.

    files/SHA256     the contents of its files
    folder.json      which file has which; it is created last, and never changed

Somebody who is killed before that has put nothing there. Of two who put folders in one place, the first has.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.storage.checksums import sha256_of
from pipeline.storage.copies import mirrored
from schemas.errors import UserError
from schemas.places import is_url

if TYPE_CHECKING:
    from pipeline.storage.object_store import ObjectStore

LISTING = "folder.json"
_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00]{1,255}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTING_BYTES = 1 << 20


def put_folder(objects: "ObjectStore", folder: Path) -> bool:
    """Put the files of a folder on the store; False where another folder was put in this place before."""
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()}
    for name, sha256 in files.items():
        # Named by its content, so whoever has put it there has put the same.
        if not objects.exists(f"files/{sha256}"):
            objects.upload(f"files/{sha256}", folder / name)
    return objects.create(LISTING, json.dumps(files, sort_keys=True).encode())


def fetch_folder(objects: "ObjectStore", folder: Path) -> bool:
    """Make a folder what was put on the store; False, and nothing is changed, where nothing was. UserError
    where a file is missing there, or is not as it was put."""
    files = _listed(objects)
    if files is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name not in files:
            path.unlink()
    for name, sha256 in files.items():
        _fetch(objects, sha256, folder / name)
    return True


def local_folder(name: str) -> Path:
    """The folder that a setting names. Of an address it is a copy on this machine, which is as it was put
    there; a folder that is missing where nothing was put."""
    if not is_url(name):
        return Path(name)
    # The client of stores takes time to load, and most runs need none.
    from pipeline.storage.object_store import open_objects

    with mirrored(name) as folder:
        fetch_folder(open_objects(name, written=False), folder)
        return folder


def _listed(objects: "ObjectStore") -> dict[str, str] | None:
    data = objects.read(LISTING, _LISTING_BYTES)
    if data is None:
        return None
    try:
        found: Any = json.loads(data)
        if not all(_NAME.fullmatch(name) and _SHA256.fullmatch(one) for name, one in found.items()):
            raise ValueError("it names no files of ours")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{objects.url}/{LISTING}: is no folder of ours ({error})") from None
    return dict(found)


def _fetch(objects: "ObjectStore", sha256: str, path: Path) -> None:
    if path.is_file() and sha256_of(path) == sha256:
        return
    # Beside its place: a program that is killed leaves no half of a file there.
    part = path.with_name(f".{sha256}.part")
    if objects.download(f"files/{sha256}", part) != sha256:
        part.unlink(missing_ok=True)
        raise UserError(f"{objects.url}/files/{sha256}: {path.name} is missing or was changed")
    part.replace(path)
