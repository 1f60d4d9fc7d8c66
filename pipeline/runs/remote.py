"""A run on an object store: what it reads, once and for all, and the logs of its shards.

    run.json                 which run this is: the checksums of its settings and of all that it reads
    inputs/SHA256            problems, prompts and the other files that a run reads
    log/SHARD/NUMBER         what is done of a shard (`pipeline.storage.shard_log`)
    log/sealed/NUMBER        the datasets that were made from the finished shards, the last one counts
    beat/SHARD               whether a worker is alive

A folder of the usual kind is made from it, in which every command works as it does on any run. The store is
the truth, and the folder can be thrown away.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import TypeAdapter

from pipeline.runs import identity
from pipeline.runs.run_store import RunStore
from pipeline.storage import compressed, journal
from pipeline.storage.atomic import write_bytes
from pipeline.storage.generations import MANIFEST, SEALED, settle
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.recorded import config_here, read_record, write_config, write_record
from pipeline.storage.shard_log import LogEntry, ShardLog
from schemas.config import RunConfig, config_of
from schemas.errors import BackendError, UserError
from schemas.manifest import Manifest
from schemas.sources import Source

RUN = "run.json"
SOURCES = "sources"
"""The part of a log that says what the votes of a run's sources are evidence of."""
_SETTINGS = ("run.toml", "identity.json", "quarantine.jsonl", "problems/done.json")
_READ = "objects.json"
"""How many entries of each shard's log are in a folder already, what they declare of the sources, and which
run they are of."""
_NONCE = "nonce"
"""What tells a run from another one that has the same name, settings and problems."""
_RUN_BYTES = 1 << 26
"""That run.json may have: it names a few files for each shard."""
_APPENDED = ("journal", "rollouts")
"""Parts whose pieces follow one another; of the others the last one counts."""
_FILES = {
    "journal": "journal/{}.jsonl",
    "rollouts": "rollouts/{}.jsonl",
    "unfinished": "journal/{}.unfinished",
    "seconds": "journal/{}.seconds",
    "usage": "journal/{}.usage",
    "failed": "problems/{}.failed.jsonl",
}
"""The files of a shard by the part that they are."""


def inputs_of(run: Path) -> list[Path]:
    """The files of a prepared run's folder that every worker needs."""
    problems = (one for one in (run / "problems").glob("*.jsonl") if not one.name.endswith(".failed.jsonl"))
    settings = (run / name for name in _SETTINGS)
    return [one for one in (*settings, *sorted(problems)) if one.is_file()]


def begin(objects: ObjectStore, store: RunStore) -> None:
    """Put a prepared run on the store, or join the one that is there.

    UserError where another run has this name: it names the settings that differ, or says that the problems
    do.
    """
    if not create(objects, store):
        _refuse_another(objects, store, _described(objects) or {}, _sums(store.path))


def create(objects: ObjectStore, store: RunStore) -> bool:
    """Put a prepared run on the store; False where one of its name is there."""
    if _described(objects) is not None:
        return False
    for file in inputs_of(store.path):
        data = file.read_bytes()
        objects.create(f"inputs/{_sha256(data)}", data)
    said = {"digest": store.config.digest(), "shards": store.config.shards, "files": _sums(store.path)}
    return objects.create(RUN, json.dumps({**said, _NONCE: uuid.uuid4().hex}).encode())


def _sums(run: Path) -> dict[str, str]:
    return {str(file.relative_to(run)): _sha256(file.read_bytes()) for file in inputs_of(run)}


def _refuse_another(
    objects: ObjectStore, store: RunStore, there: Mapping[str, Any], sums: Mapping[str, str]
) -> None:
    problems = {name: one for name, one in sums.items() if name.startswith("problems/0")}
    if there.get("digest") == store.config.digest():
        if problems.items() <= there["files"].items():
            return
        raise UserError(
            f"{objects.url}: holds a run with other problems: choose another name; a run on an object store "
            "does not grow"
        )
    raise UserError(
        f"{objects.url}: holds a run with other settings: choose another name, or join it with "
        f"`stepmint work {objects.url}`"
    )


def _described(objects: ObjectStore) -> dict[str, Any] | None:
    data = objects.read(RUN, _RUN_BYTES)
    if data is None:
        return None
    try:
        found = json.loads(data)
        if not isinstance(found["files"], dict) or not isinstance(found["shards"], int):
            raise ValueError("its fields are not ours")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{objects.url}/{RUN}: is no run of ours ({error})") from None
    return dict(found)


def fetch(objects: ObjectStore, folder: Path) -> RunConfig:
    """Put what a run reads into a folder; returns the run's configuration there. What the folder holds of
    another run, whose place this one has taken, is removed. UserError where there is no run, or where an
    object is not as it was written."""
    there = _described(objects)
    if there is None:
        raise UserError(f"{objects.url}: no run is there (it has no {RUN})")
    if not _is_copy_of(there, folder):
        shutil.rmtree(folder)
    for name, sha256 in there["files"].items():
        target = folder / name
        if not _is_ours(name):
            raise UserError(f"{objects.url}/{RUN}: names {name!r}, which is no file of a run")
        if target.is_file() and _sha256(target.read_bytes()) == sha256:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, _input(objects, name, sha256))
    for name in ("journal", "rollouts"):
        (folder / name).mkdir(exist_ok=True)
    return config_here(folder)


def _input(objects: ObjectStore, name: str, sha256: str) -> bytes:
    data = objects.read(f"inputs/{sha256}")
    if data is None or _sha256(data) != sha256:
        raise UserError(f"{objects.url}/inputs/{sha256}: {name} is missing or was changed")
    return data


def recorded(objects: ObjectStore) -> RunConfig | None:
    """The configuration that a run was begun with; None where none was."""
    there = _described(objects)
    if there is None:
        return None
    text = _input(objects, "run.toml", str(there["files"].get("run.toml")))
    return config_of(text.decode(), Path(f"{objects.url}/run.toml"))


def _is_copy_of(there: Mapping[str, Any], folder: Path) -> bool:
    """Whether a folder may be filled further: it holds this run, or nothing yet, and is not spoilt."""
    record = folder / _READ
    try:
        return not record.is_file() or read_record(record, folder).get(_NONCE) == there.get(_NONCE)
    except UserError:
        return False


def _is_ours(name: str) -> bool:
    """Whether a file may be written into a run's folder: what a store says is doubted."""
    parts = name.split("/")
    return name in _SETTINGS or (len(parts) == 2 and parts[0] == "problems" and ".." not in parts)


def replay(entries: Iterable[LogEntry], folder: Path, shard: int) -> None:
    """Add what a shard's log says to the files of that shard."""
    for entry in entries:
        for name, data in entry.parts.items():
            if name == SOURCES:
                # A worker that could not open its models has declared nothing, and has no votes either.
                if sources := _sources(data, shard):
                    identity.declare(folder, sources)
                continue
            if name not in _FILES:
                raise BackendError(f"the log of shard {shard} holds {name!r}, which is no part of a shard")
            if name in _APPENDED and not data:
                continue  # a shard that has drawn nothing has no such file, as in a local run
            path = folder / _FILES[name].format(f"{shard:05d}")
            with path.open("ab" if name in _APPENDED else "wb") as file:
                file.write(data)


def declared(folder: Path) -> bytes:
    """What is declared of the sources that voted here, as a part of a log: whoever seals needs it."""
    known = identity.recorded(folder) or identity.Identity()
    return json.dumps({name: one.model_dump(mode="json") for name, one in known.sources.items()}).encode()


def _sources(data: bytes, shard: int) -> dict[str, Source]:
    try:
        return TypeAdapter(dict[str, Source]).validate_json(data)
    except ValueError:
        raise BackendError(f"the log of shard {shard} holds sources that are none") from None


def load(objects: ObjectStore, folder: Path, shards: int) -> None:
    """Put what is done of a run, and its last dataset, into a folder that `fetch` has filled. What an earlier
    call has put there is not read again."""
    record = folder / _READ
    known = read_record(record, folder) if record.is_file() else {}
    if SOURCES not in known:
        known = {_NONCE: (_described(objects) or {}).get(_NONCE), SOURCES: {}}
    # `fetch` puts back the identity that the run began with, and what was read before is not read again.
    if known[SOURCES]:
        identity.declare(folder, TypeAdapter(dict[str, Source]).validate_python(known[SOURCES]))
    for shard in range(shards):
        name = f"{shard:05d}"
        # Marked as unread while its files are written: a program killed in between begins that shard anew.
        start = known.pop(name, 0)
        write_record(record, known)
        if not start:
            forget(folder, shard)
        log = ShardLog(objects, shard, start)
        replay(log.read(), folder, shard)
        known[name], known[SOURCES] = log.length, json.loads(declared(folder))
    write_record(record, known)
    load_dataset(objects, folder)


def load_dataset(objects: ObjectStore, folder: Path) -> None:
    """Put the last dataset of a run, if it has one, into a folder that `fetch` has filled."""
    manifest = last_manifest(objects)
    if manifest is None:
        return
    for entry in manifest.shards:
        data = objects.read(entry.file)
        if data is None or _sha256(data) != entry.sha256:
            raise UserError(
                f"{objects.url}/{entry.file}: is missing or was changed: `stepmint fuse` makes it anew"
            )
        (folder / entry.file).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / entry.file, data)
    write_record(folder / MANIFEST, manifest.model_dump(mode="json"))
    # Its labels may be made with other settings than those that the run began with.
    config = config_here(folder).model_copy(update={"fusion": manifest.fusion})
    write_config(folder, config)
    RunStore(folder, config).packed()
    settle(folder, manifest)


def last_manifest(objects: ObjectStore) -> Manifest | None:
    """The manifest of the dataset that was made last; None where none was."""
    return _manifest_in(ShardLog(objects, SEALED).catch_up(), objects)


def _manifest_in(entry: LogEntry | None, objects: ObjectStore) -> Manifest | None:
    try:
        return Manifest.model_validate_json(entry.parts["manifest"]) if entry else None
    except (ValueError, KeyError):
        raise UserError(f"{objects.url}/log/{SEALED}: holds no manifest at its end") from None


def put_dataset(objects: ObjectStore, folder: Path, manifest: Manifest) -> None:
    """Put a sealed dataset on the store, unless the same rows are its dataset already."""
    for entry in manifest.shards:
        # The folder is named by the rows, so whoever made the same ones writes the same bytes.
        objects.overwrite(entry.file, (folder / entry.file).read_bytes())
    parts = {"manifest": manifest.model_dump_json().encode()}
    log = ShardLog(objects, SEALED)
    while True:
        there = _manifest_in(log.catch_up(), objects)
        if there and _is_same(there, manifest):
            return
        if log.append(LogEntry("done", uuid.uuid4().hex, parts=parts)):
            return


def _is_same(one: Manifest, other: Manifest) -> bool:
    first, second = ((each.digest(), each.fusion_digest, each.owed) for each in (one, other))
    return first == second


def forget(folder: Path, shard: int) -> None:
    """Remove a shard's files, so that its log can be played into them."""
    for name in _FILES.values():
        (folder / name.format(f"{shard:05d}")).unlink(missing_ok=True)
    compressed.remove(journal.path_of(folder, shard))
    for packed in ("parquet", "sha256"):
        (folder / "rollouts" / f"{shard:05d}.{packed}").unlink(missing_ok=True)


class Followed:
    """A shard's files while they are written: what is new in them since it was last asked."""

    def __init__(self, folder: Path, shard: int) -> None:
        self._paths = {name: folder / file.format(f"{shard:05d}") for name, file in _FILES.items()}
        self._at = {name: _size(self._paths[name]) for name in _APPENDED}
        self._handing = Lock()

    def waiting(self) -> int:
        """Bytes that were written since; 0 where no problem was finished."""
        new = {name: _size(self._paths[name]) - self._at[name] for name in _APPENDED}
        return sum(new.values()) if new["journal"] else 0

    def hand_over(self, put: Callable[[dict[str, bytes]], None]) -> None:
        """Give `put` the whole lines that were added, and the other files as they are now. Where it raises,
        they are given to the next one, too: a line that was left out may be what later ones rest on."""
        with self._handing:  # a thread whose work was cancelled still hands over
            # The journal first: its lines are written after their rollouts, so what follows holds these.
            found = {name: self._added(name) for name in _APPENDED}
            others = {name: path for name, path in self._paths.items() if name not in _APPENDED}
            put(found | {name: path.read_bytes() for name, path in others.items() if path.is_file()})
            for name, lines in found.items():
                self._at[name] += len(lines)

    def _added(self, name: str) -> bytes:
        path = self._paths[name]
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            file.seek(self._at[name])
            data = file.read()
        return data[: data.rfind(b"\n") + 1]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
