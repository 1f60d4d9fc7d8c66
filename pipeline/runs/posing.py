"""Reads a run's problems and spreads them over its shards, when the run begins and when they have changed.

A run only grows. Rows may be added. The gold answer of a row may be corrected: its problem keeps its id, and
its rollouts are graded again. Rows may not be removed: their rollouts would be left without a problem.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import from_json

from pipeline.runs import given_files, identity, problem_files
from pipeline.runs.identity import PROBLEMS, Identity, Input
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import done_earlier, is_night
from pipeline.storage.atomic import write_lines
from pipeline.storage.files import append_lines, batches, lines_of
from pipeline.storage.generations import read_manifest
from pipeline.storage.recorded import has_drawn
from schemas.complaints import no_problem
from schemas.config import EmbeddedProblems, ProblemsConfig
from schemas.errors import NothingNew, UserError
from schemas.records import GOLD, Candidate, Problem, Quarantined, Solution, gold_key, text_id

Item = Problem | Candidate | Quarantined
LINES_HELD = 4096  # problems in memory at once: a source may have millions of rows


class Source(Protocol):
    """What a run's problems are read from (`pipeline.inputs.source` makes one of a run file's section)."""

    @property
    def name(self) -> str:
        """The source in a few words."""
        ...

    def is_remote(self) -> bool:
        """Whether it is a dataset elsewhere, which is told by its commit, and not by the content of files."""
        ...

    def files(self) -> list[Path]:
        """The local files that problems are read from, if any. UserError when one does not exist."""
        ...

    def commit(self, began: str) -> str:
        """The commit to read a remote dataset at, for a run that `began` with one or with none."""
        ...

    def read(self, commit: str) -> Iterator[Item]:
        """The problems in the order of their rows, each before the solutions that its rows give, and the rows
        that cannot be used."""
        ...


def prepare(store: RunStore, source: Source, earlier: Set[str] = frozenset()) -> int:
    """Bring the run's problems up to date with their source. Returns how many there are. Those that `earlier`
    runs of its series have finished are left out, and those of its neighbours in its folder are known.

    UserError where there is none, or where one that the run already has is gone; NothingNew where earlier
    runs of its series have labelled all of them.
    """
    problem_files.finish(store.path, store.config.shards)
    if not _is_closed(store):
        _read_again(store, source, earlier)
    store.record_config()
    return problem_files.total(store.path)


def _read_again(store: RunStore, source: Source, earlier: Set[str]) -> None:
    is_prepared = problem_files.is_prepared(store.path)
    if is_prepared and not has_changed(store, source):
        _note_place(store, source)
        return
    if is_prepared and not has_drawn(store.path):
        problem_files.done_file(store.path).unlink()  # nothing is lost by beginning anew
    _pose(store, source, earlier)


def _is_closed(store: RunStore) -> bool:
    """Whether a run takes no more problems: a sealed night that is published, and never changes. What is new
    is left to the next night."""
    series = store.config.series
    return (
        series is not None
        and series.dataset is not None
        and is_night(store.config)
        and read_manifest(store.path) is not None
    )


def has_changed(store: RunStore, source: Source) -> bool:
    """Whether the problems must be read again, because their settings or their content have changed."""
    known = identity.recorded(store.path)
    if known is None:  # an earlier version recorded nothing to compare with
        return False
    if known.read is None:  # a kill came before they were recorded
        return True
    config = store.config.problems
    if source.is_remote():  # the run keeps reading the commit that it began with, so only settings can differ
        return config != known.read
    if _but_for_place(config) != _but_for_place(known.read):
        return True
    before, now = known.inputs.get(PROBLEMS), _as_they_are(store, source, known)
    if now is None or (before is None and config == known.read):
        return False  # the file is gone but the run has read it, or an earlier version recorded no content
    return before is None or not before.is_same(now)


def _note_place(store: RunStore, source: Source) -> None:
    """Record where unchanged problems are now: their file may have been moved."""
    known = identity.recorded(store.path)
    if known is None:  # of an earlier version: whoever opens the run records all of its inputs first
        return
    now = None if source.is_remote() else _as_they_are(store, source, known)
    inputs = {**known.inputs, PROBLEMS: now} if now else known.inputs
    identity.record(store.path, known.model_copy(update={"inputs": inputs, "read": store.config.problems}))


def _place(config: ProblemsConfig) -> object:
    return getattr(config, "path", None)


def _but_for_place(config: ProblemsConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"path"})


def _as_they_are(store: RunStore, source: Source, known: Identity) -> Input | None:
    """The problems as an input; None where a file that the run has read is gone, UserError for another."""
    try:
        return identity.files_input(source.name, source.files(), store.path)
    except UserError:
        if known.read is None or _place(store.config.problems) != _place(known.read):
            raise
        return None


def _pose(store: RunStore, source: Source, earlier: Set[str]) -> None:
    """Read the problems, spread them over the shards by their ids, and quarantine the bad ones.

    UserError when there are none, or when a problem that the run has is not among them.
    """
    known = identity.recorded(store.path) or Identity()
    about = _about(source, known.inputs.get(PROBLEMS), store.path)
    posed = Posed(store, earlier)
    try:
        for items in batches(source.read(about.digest), LINES_HELD):
            posed.sort(items)
        posed.match_rest()
        if posed.left():
            raise UserError(_refusal(store, known, about, posed))
        if not posed.ids and posed.elsewhere:
            raise NothingNew(
                "nothing new: earlier runs of the series have labelled every problem of its source, "
                f"{len(posed.elsewhere):,}"
            )
        if not posed.ids:
            raise UserError(f"{about.name}: {no_problem(posed.bad)}")
        replace(store, posed)
    finally:
        posed.sweep()
    inputs = {**known.inputs, PROBLEMS: about}
    identity.record(store.path, known.model_copy(update={"inputs": inputs, "read": store.config.problems}))


def replace(store: RunStore, posed: "Posed") -> None:
    """Put what was found in the place of the problems that the run had: all of it, or nothing."""
    sizes = [posed.write(shard) for shard in range(store.config.shards)]
    posed.write_given()
    bad = problem_files.next_of(store.path / problem_files.QUARANTINE)
    write_lines(bad, (q.model_dump_json() for q in posed.bad))
    counts = {"problems": sum(sizes), "quarantined": len(posed.bad), "shards": sizes}
    problem_files.decide(store.path, counts)
    problem_files.finish(store.path, store.config.shards)


def _about(source: Source, before: Input | None, path: Path) -> Input:
    """What is read: of a remote dataset the commit that the run began with."""
    if not source.is_remote():
        return identity.files_input(source.name, source.files(), path)
    began = before.digest if before and before.name == source.name else ""
    return Input(name=source.name, digest=source.commit(began))


class Posed:
    """Compares the run's problems with those that are read: each is the same, new, corrected, or missing."""

    def __init__(self, store: RunStore, earlier: Set[str] = frozenset(), *, partly: bool = False) -> None:
        """`earlier` are ids that are left to earlier runs of the series. Of problems that are read `partly`,
        less than the run has may be read."""
        self._store, self._parts = store, set[Path]()
        self._rest = store.path / "problems" / "rest.part"
        self._given = store.path / "problems" / "given.part"
        self.ids = set[str]()
        self._named: dict[str, str] = {}
        """The ids that corrected problems keep, by those that they would have now."""
        self.bad: list[Quarantined] = []
        self.elsewhere = set[str]()
        """Ids of the problems that were read and left to the earlier runs of the series."""
        self._earlier = done_earlier(store) | earlier
        self._left: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for shard in range(store.config.shards) if problem_files.is_prepared(store.path) else ():
            for problem in store.posed(shard):
                self.ids.add(problem.id)
                self._left[text_id(problem)].append((problem.id, _gold(problem)))
        limit = store.config.problems.limit
        if not partly and limit is not None and limit < len(self.ids):
            raise UserError(
                f"problems.limit={limit} is less than the {len(self.ids)} problems of run "
                f"{store.config.name!r} in {store.path}: a run only grows; set {len(self.ids)} or more, or "
                "choose another name"
            )

    def sort(self, items: Iterable[Item]) -> None:
        """Sort the problems that were read. A known text with another gold answer waits until all are read: a
        later row may hold the same text with the old answer, and then this one is a new problem."""
        lines: dict[Path, list[str]] = defaultdict(list)
        for item in items:
            if isinstance(item, Quarantined):
                self.bad.append(item)
            elif isinstance(item, Candidate):
                lines[self._given].append(item.model_dump_json())
            elif not (known := self._left.get(text_id(item), [])):
                self._add(item, lines)
            elif same := next((pair for pair in known if pair[1] == _gold(item)), None):
                known.remove(same)
                if same[0] != item.id:
                    self._named[item.id] = same[0]
            else:
                lines[self._rest].append(item.model_dump_json())
        self._append(lines)

    def match_rest(self) -> None:
        """Sort the problems that waited: the gold answer of a problem that is still missing was corrected;
        where none with this text is missing, it is a new problem."""
        rest = map(Problem.model_validate_json, lines_of(self._rest) if self._rest in self._parts else ())
        for problems in batches(rest, LINES_HELD):
            lines: dict[Path, list[str]] = defaultdict(list)
            for problem in problems:
                if known := self._left[text_id(problem)]:
                    corrected = problem.model_copy(update={"id": known.pop(0)[0]})
                    self._named[problem.id] = corrected.id
                    lines[self._part_of(corrected)].append(corrected.model_dump_json())
                else:
                    self._add(problem, lines)
            self._append(lines)

    def left(self) -> set[str]:
        """Ids of the problems that were not found again."""
        return {name for pairs in self._left.values() for name, _ in pairs}

    def has_others(self) -> bool:
        """Whether problems were found that are new, or corrected."""
        return any(self._part(shard) in self._parts for shard in range(self._store.config.shards))

    def write(self, shard: int) -> int:
        """Write a shard's problems anew where there are others; returns how many it has."""
        file, part = problem_files.file_of(self._store.path, shard), self._part(shard)
        is_prepared = problem_files.is_prepared(self._store.path)
        # Problems are done in the order of their ids, which are hashes. So a run that stops early has done a
        # random sample, even if its source is sorted from easy to hard.
        # A corrected problem has the id of the old one, and so replaces it here.
        lines = dict(_by_id(file)) if is_prepared else {}
        if part in self._parts:
            lines.update(_by_id(part))
        written = problem_files.next_of(file)
        written.unlink(missing_ok=True)  # of an attempt that was killed
        # A shard without new problems keeps its file, and with it its checksum.
        if part in self._parts or not file.is_file() or not is_prepared:
            write_lines(written, (lines[name] for name in sorted(lines)))
        return len(lines)

    def write_given(self) -> None:
        """Write the given solutions of all shards anew, each under the id that its problem has in the run."""
        run, shards = self._store.path, range(self._store.config.shards)
        files = [problem_files.next_of(given_files.file_of(run, shard)) for shard in shards]
        is_part = self._given in self._parts
        for shard, file in enumerate(files):
            file.unlink(missing_ok=True)  # of an attempt that was killed
            # A run without given solutions has no such file; where a run had some, an empty one replaces it.
            if is_part or given_files.file_of(run, shard).is_file():
                write_lines(file, ())
        found = map(Candidate.model_validate_json, lines_of(self._given) if is_part else ())
        for batch in batches(found, LINES_HELD):
            lines: dict[Path, list[str]] = defaultdict(list)
            for one in batch:
                problem = self._named.get(one.solution.problem_id, one.solution.problem_id)
                if problem in self.ids:  # else the problem itself was set aside
                    lines[files[self._shard_of(problem)]].append(_under(one, problem).model_dump_json())
            for file, new in lines.items():
                append_lines(file, new, anew=False)

    def sweep(self) -> None:
        """Remove the temporary files of this comparison."""
        for part in self._parts:
            part.unlink(missing_ok=True)

    def _add(self, problem: Problem, lines: dict[Path, list[str]]) -> None:
        # Only here, where a problem is new to the run: what the run has it keeps, even if another run with
        # that problem has been sealed since.
        if problem.id in self._earlier:
            self.elsewhere.add(problem.id)
            return
        if problem.id in self.ids:  # an answer that its text had before it was corrected
            reason = f"the text of problem {problem.id}, with the answer it had before it was corrected"
            source = problem.source
            self.bad.append(
                Quarantined(
                    file=source.dataset, row=source.row, field="text", reason=reason, problem_id=problem.id
                )
            )
            return
        self.ids.add(problem.id)
        lines[self._part_of(problem)].append(problem.model_dump_json())

    def _part_of(self, problem: Problem) -> Path:
        # By the id and not by the row: when rows are added, every old problem stays in its shard.
        return self._part(self._shard_of(problem.id))

    def _shard_of(self, name: str) -> int:
        return int(name, 16) % self._store.config.shards

    def _part(self, shard: int) -> Path:
        return problem_files.file_of(self._store.path, shard).with_suffix(".part")

    def _append(self, lines: dict[Path, list[str]]) -> None:
        for path, new in lines.items():
            append_lines(path, new, anew=path not in self._parts)
            self._parts.add(path)


def _under(given: Candidate, problem: str) -> Candidate:
    """A given solution as one of the problem of this id."""
    if given.solution.problem_id == problem:
        return given
    fields = given.solution.model_dump(exclude={"id"}) | {"problem_id": problem}
    return given.model_copy(update={"solution": Solution.model_validate(fields)})


def _by_id(file: Path) -> Iterator[tuple[str, str]]:
    return ((from_json(line)["id"], line) for line in lines_of(file))


def _gold(problem: Problem) -> int:
    return gold_key(problem.model_dump(mode="json", include=set(GOLD)))


def _refusal(store: RunStore, known: Identity, about: Input, posed: Posed) -> str:
    before, now = (dict(config) for config in (known.read or EmbeddedProblems(), store.config.problems))
    changed = [
        f"problems.{key}={before.get(key)!r}, not {now.get(key)!r}"
        for key in before | now
        if before.get(key) != now.get(key) and key != "limit"
    ]
    old = known.inputs.get(PROBLEMS)
    if not changed and old is not None:
        digests = f"digest {old.digest[:12]} then, {about.digest[:12]} now"
        changed = [f"problem file {old.name}: its rows changed ({digests})"]
    what, left, total = ", ".join(changed) or "other problems", posed.left(), problem_files.total(store.path)
    first = next(p for shard in range(store.config.shards) for p in store.posed(shard) if p.id in left)
    began = f"run {store.config.name!r} in {store.path} was started with {what}"
    gone = f"{len(left)} of its {total} problems are gone, such as {first.text[:60]!r}"
    return (
        f"{began}: {gone}: rows may be added and answers corrected, but else change it back, choose another "
        "name, or delete the folder"
    )
