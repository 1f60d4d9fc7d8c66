"""Adds the problems of a run file to a copy of the run that it names, as far as the run does not have them.

A run on an object store grows as one in a folder does: problems are compared one by one
(`pipeline.runs.posing`). Unlike there, a run file that has only some of the problems joins the run. Of two
that grow a run at once the one that comes late would else be refused, and so would be a command that is given
again after the run grew.
"""

from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from pipeline.runs import given_files, identity, problem_files, records
from pipeline.runs.given_files import GivenFile
from pipeline.runs.identity import Identity
from pipeline.runs.posing import LINES_HELD, Item, Posed, replace
from pipeline.runs.run_store import RunStore
from pipeline.storage.checksums import sha256_of
from pipeline.storage.files import batches, lines_of
from pipeline.storage.recorded import read_config
from schemas.config import RunConfig
from schemas.config.effects import by_speed
from schemas.errors import UserError
from schemas.records import Candidate


def add(folder: Path, store: RunStore, url: str) -> Collection[int]:
    """Add the problems of a prepared run to a copy of the run at an address, and raise its budget. Returns
    the shards that are changed by it; where there are none, the copy is to be thrown away.

    UserError where the settings differ, or where problems of the run are gone while others are new.
    """
    begun = read_config(folder)
    config, known = _admitted(folder, begun, store, url)
    copy = RunStore(folder, config)
    before, posed = _state(copy), Posed(copy, partly=True)
    try:
        for items in batches(_items(store), LINES_HELD):
            posed.sort(items)
        posed.match_rest()
        if left := posed.left():
            if posed.has_others():
                raise UserError(_refusal(copy, left, url))
            return ()
        replace(copy, posed)
    finally:
        posed.sweep()
    changed = [shard for shard, state in enumerate(_state(copy)) if state != before[shard]]
    copy.record_config()
    identity.record(folder, known.model_copy(update={"read": config.problems}))
    # A budget of the run is shared anew among all shards: where problems have come, and where it is higher.
    # With a lower one alone a run file joins, else two such files would change it to and fro.
    before_now = begun.budget.run, config.budget.run
    has_budget = any(one is not None for one in before_now)
    return range(config.shards) if (changed and has_budget) or _is_raised(*before_now) else changed


def differ_in_speed(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs of the same votes ask their models at other speeds, or at other places."""
    first, second = (
        {section: by_speed(policy)[0] for section, policy in config.policies().items()}
        for config in (one, other)
    )
    return first != second


def take_speed(folder: Path, store: RunStore, url: str) -> None:
    """Give a copy of the run at an address the settings of a prepared run for asking models, which change no
    vote, and nothing else of it."""
    begun = read_config(folder)
    config, _ = _admitted(folder, begun, store, url)
    asked = {name: getattr(config, name) for name in ("policy", "propose", "annotate")}
    RunStore(folder, begun.model_copy(update=asked)).record_config()


def _is_raised(before: int | None, now: int | None) -> bool:
    return before is not None and (now is None or now > before)


def _admitted(folder: Path, begun: RunConfig, store: RunStore, url: str) -> tuple[RunConfig, Identity]:
    """The configuration that the run goes on with, and its identity with the problems that are read now."""
    known = identity.recorded(folder) or Identity()
    now = (identity.recorded(store.path) or Identity()).inputs
    # A program that outsiders bring may be mended until there is a vote of it. Workers look at their own.
    programs = {one: known.inputs[one] for one in identity.factories(store.config) if one in known.inputs}
    now = {**now, **programs}
    if found := identity.differences(begun, store.config, known.inputs, now):
        raise UserError(
            f"{url}: holds a run with other settings: it was started with {', '.join(found)}: choose another "
            f"name, or join it with `stepmint work {url}`"
        )
    return identity.going_on(store.config, known, known.inputs, now)


def _items(store: RunStore) -> Iterator[Item]:
    """What a run has read from its source."""
    shards = range(store.config.shards)
    yield from chain.from_iterable(map(store.posed, shards))
    for shard in shards:
        if (file := given_files.file_of(store.path, shard)).is_file():
            yield from map(Candidate.model_validate_json, lines_of(file))
    yield from records.read_failures(store.path / problem_files.QUARANTINE, store.path)


def _state(store: RunStore) -> list[tuple[str, int]]:
    """What tells the problems of each shard, and their given solutions, from others. Solutions that only
    changed places are the same ones."""
    return [
        (
            sha256_of(problem_files.file_of(store.path, shard)),
            GivenFile(given_files.file_of(store.path, shard)).total,
        )
        for shard in range(store.config.shards)
    ]


def _refusal(store: RunStore, left: Collection[str], url: str) -> str:
    posed = chain.from_iterable(map(store.posed, range(store.config.shards)))
    first = next(problem for problem in posed if problem.id in left)
    return (
        f"{url}: holds a run with other problems: {len(left)} of its {problem_files.total(store.path)} are "
        f"gone, such as {first.text[:60]!r}, and others are new: rows may be added and answers "
        "corrected, but else change it back, or choose another name"
    )
