"""Read a run's problems and spread them over its shards: the first time, and again when they have changed.

A run only grows. Rows may be added, and the gold answer of a row may be corrected: its problem keeps its id
and is graded again. A row that is gone would leave rollouts without a problem: refused.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from pipeline.inputs.problems import load_problems, name_of, no_problem, problem_files
from pipeline.runs import identity
from pipeline.runs.identity import PROBLEMS, Identity, Input
from pipeline.storage.files import append_lines, batches, lines_of, write_lines
from pipeline.storage.recorded import read_record, write_record
from schemas.config import EmbeddedProblems, HubProblems, ProblemsConfig
from schemas.errors import UserError
from schemas.records import GOLD, Problem, Quarantined, gold_key, text_id

if TYPE_CHECKING:
    from pipeline.runs.run_store import RunStore

_NEXT = "problems/next.json"
"""There from when a shard's problems are all written until they are in place."""
_LINES_HELD = 4096
"""Problems held while they are spread over the shards."""


def has_changed(store: "RunStore") -> bool:
    """Whether the problems of a prepared run are to be read again: other settings, or another content."""
    known = identity.recorded(store.path)
    if known is None:
        return False
    if known.read is None:  # a kill came before they were recorded
        return True
    config = store.config.problems
    if _is_far(config):
        return config != known.read
    if _but_for_place(config) != _but_for_place(known.read):
        return True
    before, now = known.inputs.get(PROBLEMS), _as_they_are(store, known)
    if now is None or (before is None and config == known.read):
        return False  # the file is gone, and the run has read it; or an earlier version did not look
    return before is None or not before.is_same(now)


def note_place(store: "RunStore") -> None:
    """Record where problems that have not changed are now."""
    known = identity.recorded(store.path) or Identity()
    now = None if _is_far(store.config.problems) else _as_they_are(store, known)
    inputs = {**known.inputs, PROBLEMS: now} if now else known.inputs
    identity.record(store.path, known.model_copy(update={"inputs": inputs, "read": store.config.problems}))


def _but_for_place(config: ProblemsConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"path"})


def _is_far(config: ProblemsConfig) -> bool:
    """Whether the problems are a dataset of the Hub, which is told by its commit."""
    return isinstance(config, HubProblems) and not problem_files(config)


def _as_they_are(store: "RunStore", known: Identity) -> Input | None:
    """The problems as an input; None where a file that the run has read is gone, UserError for another."""
    try:
        return identity.problems_input(store.config.problems, store.path)
    except UserError:
        if known.read is None or name_of(store.config.problems) != name_of(known.read):
            raise
        return None


def pose(store: "RunStore") -> None:
    """Read the problems, spread them over the shards by their ids, and quarantine the bad ones.

    UserError when there are none, or when a problem that the run has is not among them.
    """
    known = identity.recorded(store.path) or Identity()
    asked, about = _pinned(store.config.problems, known.inputs.get(PROBLEMS), store.path)
    posed = Posed(store)
    try:
        for items in batches(load_problems(asked, seed=store.config.seed), _LINES_HELD):
            posed.sort(items)
        posed.match_rest()
        if posed.left():
            raise UserError(_refusal(store, known, about, posed))
        if not posed.ids:
            raise UserError(f"{about.name}: {no_problem(posed.bad)}")
        sizes = [posed.write(shard) for shard in range(store.config.shards)]
    finally:
        posed.sweep()
    write_lines(_next(store.path / "quarantine.jsonl"), (q.model_dump_json() for q in posed.bad))
    counts = {"problems": sum(sizes), "quarantined": len(posed.bad), "shards": sizes}
    write_record(store.path / _NEXT, counts)  # from here on it is done, whatever is killed
    finish(store)
    inputs = {**known.inputs, PROBLEMS: about}
    identity.record(store.path, known.model_copy(update={"inputs": inputs, "read": store.config.problems}))
    store.record_config()


def finish(store: "RunStore") -> None:
    """Let the problems that were written take the place of those before them, all or none."""
    decided = store.path / _NEXT
    if decided.is_file():
        store.unvouch()
        shards = map(store.problem_file, range(store.config.shards))
        for file in (store.path / "quarantine.jsonl", *shards):
            if (written := _next(file)).is_file():
                os.replace(written, file)
        store.record_problems(read_record(decided, store.path))
        decided.unlink()


def _next(file: Path) -> Path:
    """A file as it will be."""
    return file.with_suffix(".next")


class Posed:
    """The problems of a run while they are compared with what is read: same, new, corrected, or left over."""

    def __init__(self, store: "RunStore") -> None:
        self._store, self._parts = store, set[Path]()
        self._rest = store.path / "problems" / "rest.part"
        self.ids = set[str]()
        self.bad: list[Quarantined] = []
        self._left: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for shard in range(store.config.shards) if store.is_prepared() else ():
            for problem in store.posed(shard):
                self.ids.add(problem.id)
                self._left[text_id(problem)].append((problem.id, _gold(problem)))
        limit = store.config.problems.limit
        if limit is not None and limit < len(self.ids):
            raise UserError(
                f"problems.limit={limit} is less than the {len(self.ids)} problems of run "
                f"{store.config.name!r} in {store.path}: a run only grows; set {len(self.ids)} or more, or "
                "choose another name"
            )

    def sort(self, items: Iterable[Problem | Quarantined]) -> None:
        """Put what was read where it belongs; a known text with another gold waits until all are read."""
        lines: dict[Path, list[str]] = defaultdict(list)
        for item in items:
            if isinstance(item, Quarantined):
                self.bad.append(item)
            elif not (known := self._left.get(text_id(item), [])):
                self._add(item, lines)
            elif same := next((pair for pair in known if pair[1] == _gold(item)), None):
                known.remove(same)
            else:
                lines[self._rest].append(item.model_dump_json())
        self._append(lines)

    def match_rest(self) -> None:
        """Of a known text with another gold, the gold was corrected; where no such text is left, it is a new
        problem."""
        rest = map(Problem.model_validate_json, lines_of(self._rest) if self._rest in self._parts else ())
        for problems in batches(rest, _LINES_HELD):
            lines: dict[Path, list[str]] = defaultdict(list)
            for problem in problems:
                if known := self._left[text_id(problem)]:
                    corrected = problem.model_copy(update={"id": known.pop(0)[0]})
                    lines[self._part(corrected)].append(corrected.model_dump_json())
                else:
                    self._add(problem, lines)
            self._append(lines)

    def left(self) -> set[str]:
        """Ids of the problems that were not found again."""
        return {name for pairs in self._left.values() for name, _ in pairs}

    def write(self, shard: int) -> int:
        """Write a shard's problems anew where there are others; returns how many it has."""
        file, part = self._store.problem_file(shard), self._store.problem_file(shard).with_suffix(".part")
        # In the order of their ids, which are hashes, a run that stops early has done a fair sample, whatever
        # the order of its source.
        lines = dict(_by_id(file)) if self._store.is_prepared() else {}
        if part in self._parts:
            lines.update(_by_id(part))
        written = _next(file)
        written.unlink(missing_ok=True)  # of an attempt that was killed
        if part in self._parts or not file.is_file() or not self._store.is_prepared():
            write_lines(written, (lines[name] for name in sorted(lines)))
        return len(lines)

    def sweep(self) -> None:
        """Remove what was put aside on the way."""
        for part in self._parts:
            part.unlink(missing_ok=True)

    def _add(self, problem: Problem, lines: dict[Path, list[str]]) -> None:
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
        lines[self._part(problem)].append(problem.model_dump_json())

    def _part(self, problem: Problem) -> Path:
        shard = int(problem.id, 16) % self._store.config.shards
        return self._store.problem_file(shard).with_suffix(".part")

    def _append(self, lines: dict[Path, list[str]]) -> None:
        for path, new in lines.items():
            append_lines(path, new, anew=path not in self._parts)
            self._parts.add(path)


def _by_id(file: Path) -> Iterator[tuple[str, str]]:
    return ((from_json(line)["id"], line) for line in lines_of(file))


def _gold(problem: Problem) -> int:
    return gold_key(problem.model_dump(mode="json", include=set(GOLD)))


def _pinned(config: ProblemsConfig, before: Input | None, path: Path) -> tuple[ProblemsConfig, Input]:
    """The section to read by, and what is read: of a Hub dataset the commit that the run began with."""
    if not isinstance(config, HubProblems) or not _is_far(config):
        return config, identity.problems_input(config, path)
    name = name_of(config)
    began = before.digest if before and before.name == name else ""
    commit = config.revision or began or identity.hub_commit(name)
    return config.model_copy(update={"revision": commit}), Input(name=name, digest=commit)


def _refusal(store: "RunStore", known: Identity, about: Input, posed: Posed) -> str:
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
    what, left = ", ".join(changed) or "other problems", posed.left()
    first = next(p for shard in range(store.config.shards) for p in store.posed(shard) if p.id in left)
    began = f"run {store.config.name!r} in {store.path} was started with {what}"
    gone = f"{len(left)} of its {store.total()} problems are gone, such as {first.text[:60]!r}"
    return (
        f"{began}: {gone}: rows may be added and answers corrected, but else change it back, choose another "
        "name, or delete the folder"
    )
