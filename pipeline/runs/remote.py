"""A run on an object store: what it reads, and the logs of its shards.

    run.json                 which run this is: the checksums of its settings and of all that it reads
    log/grown/NUMBER         what it reads since it grew (`pipeline.runs.growths`)
    inputs/SHA256            problems, prompts and the other files that a run reads
    log/SHARD/NUMBER         what is done of a shard (`pipeline.storage.shard_log`)
    log/sealed/NUMBER        the datasets that were made from the finished shards, the last one counts;
                             none is for less than the one before it has
    beat/SHARD               whether a worker is alive

A folder of the usual kind is made from it, in which every command works as it does on any run. The store is
the truth, and the folder can be thrown away.
"""

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import TypeAdapter

from pipeline.runs import growing, growths, identity, problem_files
from pipeline.runs.growths import Growth
from pipeline.runs.run_store import RunStore
from pipeline.storage import compressed, journal
from pipeline.storage.atomic import fresh_folder, write_bytes
from pipeline.storage.checksums import file_fault
from pipeline.storage.generations import MANIFEST, SEALED, settle
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.recorded import config_here, read_record, write_config, write_record
from pipeline.storage.shard_log import LogEntry, ShardLog
from schemas.config import RunConfig, config_of
from schemas.errors import BackendError, UserError
from schemas.manifest import Manifest
from schemas.sources import Source

RUN = growths.RUN
SOURCES = "sources"
"""The part of a log that says what the votes of a run's sources are evidence of."""
_CONFIG, _IDENTITY, _DONE = "run.toml", "identity.json", "problems/done.json"
_SETTINGS = (_CONFIG, _IDENTITY, "quarantine.jsonl", _DONE)
_PROBLEMS = re.compile(r"problems/[0-9]{5,20}(\.given)?\.jsonl")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ = "objects.json"
"""How many entries of each shard's log are in a folder already, what they declare of the sources, which run
they are of, and by which growth its problems are."""
_NONCE, _GROWTH = "nonce", "growth"
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
    """Put a prepared run on the store, or join the one that is there, which grows by the problems that it
    does not have.

    UserError where another run has this name: it names the settings that differ, or says that the problems
    do.
    """
    if create(objects, store):
        return
    there = growths.known(objects)
    while (grown := _grown(objects, store, there)) is not None and not growths.put(objects, grown):
        there = growths.known(objects)  # somebody else has grown it meanwhile


def create(objects: ObjectStore, store: RunStore) -> bool:
    """Put a prepared run on the store; False where one of its name is there."""
    if growths.latest(objects) is not None:
        return False
    files, nonce = _put_inputs(objects, store.path, {}), uuid.uuid4().hex
    run = Growth(0, store.config.digest(), store.config.shards, files, nonce, {})
    return objects.create(RUN, run.encoded())


def _grown(objects: ObjectStore, store: RunStore, there: Growth) -> Growth | None:
    """What becomes of a run by the problems of another folder, or by its settings of speed alone; None where
    it has all of them."""
    with fresh_folder() as part:
        folder = part / store.path.name
        others = growing.differ_in_speed(fetch(objects, folder, there), store.config)
        changed = growing.add(folder, store, objects.url)
        if not (changed or others):
            return None
        if not changed:
            shutil.rmtree(folder)  # it may hold what is not taken: a lower budget, fewer problems
            fetch(objects, folder, there)
            growing.take_speed(folder, store, objects.url)
        number = there.number + 1
        since = {**there.since, **{str(shard): number for shard in changed}}
        return there._replace(number=number, files=_put_inputs(objects, folder, there.files), since=since)


def _put_inputs(objects: ObjectStore, run: Path, there: Mapping[str, str]) -> dict[str, str]:
    """Put the files of a run's folder on the store that are not `there`; returns their checksums by name."""
    found, known = dict[str, str](), set(there.values())
    for file in inputs_of(run):
        data = file.read_bytes()
        found[str(file.relative_to(run))] = sha256 = _sha256(data)
        if sha256 not in known:
            objects.create(f"inputs/{sha256}", data)
    return found


def follow(objects: ObjectStore, store: RunStore) -> None:
    """Let a new folder read the problems as the run of its name on the store has read them: a dataset
    elsewhere at the same commit. Where there is no run, nothing is done."""
    there = growths.latest(objects)
    if there is None or _IDENTITY not in there.files:
        return
    with fresh_folder() as part:
        _get(objects, part, _IDENTITY, there.files[_IDENTITY])
        read = (identity.recorded(part) or identity.Identity()).inputs.get(identity.PROBLEMS)
    known = identity.recorded(store.path) or identity.Identity()
    if read is not None:
        identity.record(
            store.path, known.model_copy(update={"inputs": {**known.inputs, identity.PROBLEMS: read}})
        )


def fetch(objects: ObjectStore, folder: Path, growth: Growth | None = None) -> RunConfig:
    """Put what a run reads into a folder, as it is now or by some growth; returns the run's configuration
    there. What the folder holds of another run, whose place this one has taken, is removed. UserError where
    there is no run, or where an object is not as it was written."""
    there = growth or growths.known(objects)
    if not _is_copy_of(there, folder):
        shutil.rmtree(folder)
    for name in there.files:
        if not _is_ours(name):
            raise UserError(f"{objects.url}/{RUN}: names {name!r}, which is no file of a run")
    if _CONFIG not in there.files:
        raise UserError(f"{objects.url}/{RUN}: names no {_CONFIG}")
    others = {name: one for name, one in there.files.items() if not _is_there(folder / name, one)}
    if _DONE in there.files and any(name.startswith("problems/") for name in others):
        others[_DONE] = there.files[_DONE]
        with suppress(UserError):  # a spoilt one is made anew, too
            problem_files.unvouch(folder)
    # The checksums of the problems last, when all that they are of is there.
    for name in sorted(others, key=lambda name: name == _DONE):
        _get(objects, folder, name, others[name])
    for name in ("journal", "rollouts"):
        (folder / name).mkdir(exist_ok=True)
    known = _of_copy(folder)
    if known.get(_GROWTH) != there.number or known.get(_NONCE) != there.nonce:
        write_record(folder / _READ, {**known, _NONCE: there.nonce, _GROWTH: there.number})
    return config_here(folder)


def _get(objects: ObjectStore, folder: Path, name: str, sha256: str) -> None:
    data = _input(objects, name, sha256)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / name, data)


def _input(objects: ObjectStore, name: str, sha256: str) -> bytes:
    # What a store says is doubted: only such a name is asked for.
    data = objects.read(f"inputs/{sha256}") if _SHA256.fullmatch(str(sha256)) else None
    if data is None or _sha256(data) != sha256:
        raise UserError(f"{objects.url}/inputs/{sha256}: {name} is missing or was changed")
    return data


def recorded(objects: ObjectStore) -> RunConfig | None:
    """The configuration of a run; None where none was begun."""
    there = growths.latest(objects)
    if there is None:
        return None
    text = _input(objects, _CONFIG, there.files.get(_CONFIG, ""))
    return config_of(text.decode(errors="replace"), Path(f"{objects.url}/{_CONFIG}"))


def _is_there(file: Path, sha256: str) -> bool:
    return file.is_file() and _sha256(file.read_bytes()) == sha256


def _of_copy(folder: Path) -> dict[str, Any]:
    """What a folder records of the run that it is a copy of."""
    record = folder / _READ
    return read_record(record, folder) if record.is_file() else {}


def _is_copy_of(there: Growth, folder: Path) -> bool:
    """Whether a folder may be filled further: it holds this run, or nothing yet, and is not spoilt."""
    try:
        known = _of_copy(folder)
    except UserError:
        return False
    return not known or known.get(_NONCE) == there.nonce


def _is_ours(name: str) -> bool:
    """Whether a file may be written into a run's folder: what a store says is doubted."""
    return name in _SETTINGS or bool(_PROBLEMS.fullmatch(name))


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
    known = _of_copy(folder)
    if SOURCES not in known:
        known = {name: known[name] for name in (_NONCE, _GROWTH) if name in known} | {SOURCES: {}}
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
        if not file_fault(folder, folder / entry.file, entry.sha256):
            continue  # an earlier look has put it there
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
    return last_dataset(objects)[0]


def last_dataset(objects: ObjectStore) -> tuple[Manifest | None, int]:
    """The same, and the growth of the run that the dataset was made for."""
    entry = ShardLog(objects, SEALED).catch_up()
    return _manifest_in(entry, objects), entry.growth if entry else 0


def _manifest_in(entry: LogEntry | None, objects: ObjectStore) -> Manifest | None:
    try:
        return Manifest.model_validate_json(entry.parts["manifest"]) if entry else None
    except (ValueError, KeyError):
        raise UserError(f"{objects.url}/log/{SEALED}: holds no manifest at its end") from None


def put_dataset(objects: ObjectStore, folder: Path, manifest: Manifest) -> bool:
    """Put a dataset that was sealed in a copy of the run on the store, unless the same rows are its dataset
    already. False where the store has one of a later growth, which one of an earlier must not replace."""
    for entry in manifest.shards:
        # The folder is named by the rows, so whoever made the same ones writes the same bytes.
        objects.overwrite(entry.file, (folder / entry.file).read_bytes())
    parts = {"manifest": manifest.model_dump_json().encode()}
    log, growth = ShardLog(objects, SEALED), int(_of_copy(folder).get(_GROWTH, 0))
    while True:
        last = log.catch_up()
        there = _manifest_in(last, objects)
        if last and last.growth > growth:
            return False
        if last and last.growth == growth and there and _is_same(there, manifest):
            return True
        if log.append(LogEntry("done", uuid.uuid4().hex, parts=parts, growth=growth)):
            return True


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
