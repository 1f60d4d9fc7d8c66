"""Compresses a shard's journal when the shard is sealed, and unpacks one that is damaged.

The compressed lines are written first, those of all problems in the order of their ids; the plain lines are
removed last. Packing them twice gives the same file. So a kill loses nothing, and the next sealing finishes
the packing. A line that is appended later counts for more than the compressed one of its problem.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from pipeline.storage import compressed, journal, journal_index
from pipeline.storage.atomic import replacing, sync_folder
from pipeline.storage.compressed import compressed_of
from pipeline.storage.journal import Entry, Reader, body_of
from schemas.errors import UserError


def pack(path: Path) -> None:
    """Compress the lines of a journal, beside which nobody else may write. Nothing is done while a line
    cannot be read: it is for `stepmint check --repair` to drop it."""
    if not path.exists():
        return
    found, damage = journal.scan(path)
    if damage:
        return
    if any(not entry.packed for entry in found.values()):
        offsets = dict[str, int]()
        with closing(Reader(path)) as reader:
            compressed.write(path, _lines(reader, found, offsets))
        written = compressed_of(path).stat().st_mtime_ns
        found = {name: found[name]._replace(offset=at, packed=written) for name, at in offsets.items()}
    path.unlink()
    sync_folder(path.parent)
    journal_index.keep(path, journal_index.stamp_of(path), found)


def _lines(reader: Reader, found: Mapping[str, Entry], offsets: dict[str, int]) -> Iterator[bytes]:
    """The lines of a journal by the ids of their problems. Where each of them will begin is put down."""
    at = 0
    for name in sorted(found):
        line = reader.line(found[name])
        try:
            body_of(line.data)
        # What was read a moment ago is another line now, and its plain form is about to be removed.
        except ValueError as error:
            raise UserError(f"{line.path}: the line at byte {line.offset}: {error}") from None
        data = line.data.removesuffix(b"\n") + b"\n"  # a kill may have torn the end of the last line
        offsets[name] = at
        at += len(data)
        yield data


def unpack(path: Path) -> None:
    """Make a journal's compressed lines plain ones again, as far as they can be read."""
    with replacing(path) as sink:
        for line in compressed.rescued(path):
            sink.write(line)
        if path.exists():
            with path.open("rb") as plain:
                shutil.copyfileobj(plain, sink)
    compressed.remove(path)


def is_sound(path: Path) -> bool:
    """Whether a journal has no compressed lines but such as are as they were written, and are finished
    problems."""
    try:
        packed = (entry for entry in journal.scan(path)[0].values() if entry.packed)
        for _ in journal.read(path, packed):
            pass
    except UserError:
        return False
    return True


def faults(run: Path, shards: int) -> Iterator[str]:
    """What is wrong with the compressed lines of a run's journals, one line for each file."""
    paths = (journal.path_of(run, shard) for shard in range(shards))
    yield from (fault for path in paths if (fault := compressed.fault_of(path, run)))
