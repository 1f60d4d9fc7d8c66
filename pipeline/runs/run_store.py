"""The run store: the only writer of a run's folder.

A run killed anywhere and started again ends in the same rows: a problem is done when its journal line is
whole, rows are made from the journal alone, finished files appear by rename, and the manifest comes last.
"""

import fcntl
import heapq
import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from pipeline.prompts.templates import prompt_text, solving_text
from pipeline.runs import identity
from pipeline.runs.posing import finish, has_changed, note_place, pose
from pipeline.sampling.budget import Purse, Standing, share_of, standing
from pipeline.sampling.unfinished import Shelf
from pipeline.storage import journal, packing
from pipeline.storage.files import batches, lines_of, write_bytes, write_lines, write_parquet
from pipeline.storage.generations import (
    change_over,
    file_fault,
    read_manifest,
    sealing,
    settle,
    sha256_of,
    shards_of,
)
from pipeline.storage.journal import Entry, Row, ShardWriter
from pipeline.storage.recorded import changed, has_drawn, read_record, write_config, write_record
from pipeline.storage.recorded import read_config as read_config
from schemas.arrow import SCHEMA, to_table
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.manifest import Manifest, ShardEntry
from schemas.plan import Plan
from schemas.records import Finished, LabelledSolution, Problem, Quarantined, gold_key
from schemas.sources import EARLIER, Sources

_ROWS_PER_WRITE = 512


class Owed(NamedTuple):
    """A problem to be done, and the tokens of each finished one between it and the one owed before it."""

    problem: Problem
    before: list[int]


class Place(NamedTuple):
    """Where a finished problem stands in the journals."""

    problem: str
    shard: int
    entry: Entry


class Survey(NamedTuple):
    """Problems owed and beyond the budget, and a sample of those that are done."""

    owed: int
    beyond: int
    sample: list[Place]


class RunStore:
    """A run's folder. Open it with `RunStore.open`, which refuses a configuration that would change its
    votes."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config

    @classmethod
    def open(cls, config: RunConfig) -> "RunStore":
        """Create or reopen `root/name`. UserError names the keys in which the recorded configuration
        differs."""
        path = Path(config.root) / config.name
        config, known = identity.enter(path, config)
        for folder in ("problems", "journal", "rollouts"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        identity.record(path, known)
        store = cls(path, config)
        finish(store)
        if store.is_prepared() and has_changed(store):
            if not has_drawn(path):
                store._done.unlink()  # nothing is lost by beginning anew
            return store  # which is recorded when all of its problems are found among the other ones
        if store.is_prepared():
            note_place(store)
        store.record_config()
        return store

    @classmethod
    def reopen(cls, config: RunConfig) -> "RunStore":
        """An existing run, to be read or fused: nothing is written, and what its prompts and models are now
        does not matter. UserError when there is no such run, or another one."""
        path = Path(config.root) / config.name
        found = identity.differences(read_config(path), config, {}, {})
        if found:
            raise UserError(
                f"run {config.name!r} in {path} was started with {', '.join(found)}: leave these settings as "
                "they were"
            )
        return cls(path, config)

    def record_config(self) -> None:
        """Write down the configuration that the run goes on with."""
        write_config(self.path, self.config)

    def inputs(self) -> dict[str, str]:
        """SHA-256, or the name where there is none, of everything that the run reads, by its role."""
        known = identity.recorded(self.path) or identity.Identity()
        return {role: item.digest or item.name for role, item in sorted(known.inputs.items())}

    def declare(self, sources: Sources) -> None:
        """Record what is declared of the run's sources. UserError where it began with other declarations."""
        identity.declare(self.path, sources)

    def sources(self) -> Sources:
        """What is declared of the run's sources; of a run from before that was recorded, what was known
        then."""
        known = identity.recorded(self.path)
        if known and known.sources:
            return known.sources
        try:
            manifest = self.manifest()
        except UserError:  # a spoilt manifest must not keep the run from being sealed anew
            manifest = None
        return (manifest and manifest.declared) or EARLIER

    def templates(self) -> dict[str, str]:
        """The texts of the run's prompts by their names, as they were when it began."""
        return identity.texts(identity.recorded(self.path))

    def template(self) -> str:
        """The text that the policy is asked with."""
        name = self.config.prompt.template
        return solving_text(name, self.templates().get(name) or prompt_text(name))

    # Problems

    def prepare(self) -> int:
        """Read the problems, unless the run has them as they are now. Returns how many it has.

        UserError where there is none, or where one that the run has is gone.
        """
        finish(self)
        if not self.is_prepared() or has_changed(self):
            pose(self)
        return self.total()

    @property
    def _done(self) -> Path:
        return self.path / "problems" / "done.json"

    def problem_file(self, shard: int) -> Path:
        """Where a shard's problems lie, in the order of their ids."""
        return self.path / "problems" / f"{shard:05d}.jsonl"

    def record_problems(self, counts: dict[str, Any]) -> None:
        """Write down how many problems the run has, with the checksums of their files."""
        files = (self.path / "quarantine.jsonl", *map(self.problem_file, range(self.config.shards)))
        sums = {str(file.relative_to(self.path)): sha256_of(file) for file in files}
        write_record(self._done, {**counts, "sha256": sums})

    def unvouch(self) -> None:
        """Forget the checksums of the problems' files, which are about to be written anew."""
        if self.is_prepared():
            write_record(self._done, {k: v for k, v in self._prepared().items() if k != "sha256"})

    def _prepared(self) -> dict[str, Any]:
        return read_record(self._done, self.path)

    def problem_sums(self) -> dict[str, str]:
        """The checksums that the files of the problems were written with, by their path in the run."""
        return dict(self._prepared().get("sha256", {}))

    def problem_faults(self) -> Iterator[str]:
        """What is wrong with the files of the problems, a line each."""
        for name, sha256 in self.problem_sums().items():
            if fault := file_fault(self.path, self.path / name, sha256):
                yield fault

    def _lines_of(self, shard: int) -> Iterator[str]:
        """The lines of a shard's problems, as they were written."""
        path = self.problem_file(shard)
        sha256 = self.problem_sums().get(str(path.relative_to(self.path)))
        if sha256 and (fault := file_fault(self.path, path, sha256)):
            raise UserError(f"{fault}: see `stepmint check {self.path}`")
        return lines_of(path)

    def is_prepared(self) -> bool:
        """Whether the problems have been read."""
        return self._done.is_file()

    def total(self) -> int:
        """Number of problems in the run."""
        return int(self._prepared()["problems"])

    def posed(self, shard: int) -> Iterator[Problem]:
        """The problems of a shard in the order in which they are done."""
        return map(Problem.model_validate_json, self._lines_of(shard))

    def owed(self, shard: int) -> list[Problem]:
        """Problems of a shard that are within the budget and have no whole journal line."""
        owed = set(self.standing(shard).owed)
        return [problem for problem in self.posed(shard) if problem.id in owed]

    def owing(self, shard: int) -> Iterator[Owed]:
        """Problems of a shard without a whole journal line, one by one; whether the budget reaches them is
        for the shard's purse to say."""
        done, before = self.finished(shard), list[int]()
        for problem in self.posed(shard):
            if problem.id in done:
                before.append(done[problem.id])
            else:
                yield Owed(problem, before)
                before = []

    def purse(self, shard: int) -> Purse:
        """The shard's share of the run's budget, nothing charged to it yet."""
        return Purse(self._share(shard), self.config.budget.per_problem)

    def standing(self, shard: int) -> Standing:
        """Which problems of a shard are done, owed, and beyond the budget; each in their order."""
        return self._standing(shard)[0]

    def _standing(self, shard: int) -> tuple[Standing, dict[str, Entry]]:
        """The standing, and the entries of the problems that are graded by the gold they have now."""
        golds = self._golds(shard)
        found = {k: entry for k, entry in self.entries(shard).items() if entry.gold == golds.get(k)}
        finished = {name: entry.tokens for name, entry in found.items()}
        return standing(golds, finished, self._share(shard), self.config.budget.per_problem), found

    def _golds(self, shard: int) -> dict[str, int]:
        """What each problem of a shard is graded by, in their order."""
        problems = map(from_json, self._lines_of(shard))
        return {problem["id"]: gold_key(problem) for problem in problems}

    def stale(self, shard: int) -> list[str]:
        """Problems whose journal line was graded by a gold that has been corrected since."""
        golds, found = self._golds(shard), self.entries(shard)
        return [name for name, gold in golds.items() if name in found and found[name].gold != gold]

    def _share(self, shard: int) -> int | None:
        if self.config.budget.run is None:
            return None
        sizes = self._prepared().get("shards")
        if sizes is None:  # prepared by an earlier version
            sizes = [sum(1 for _ in lines_of(self.problem_file(i))) for i in range(self.config.shards)]
        return share_of(self.config.budget, sizes, shard)

    # Journal

    def finished(self, shard: int) -> dict[str, int]:
        """The tokens that each finished problem of a shard has cost, by its id."""
        return {name: entry.tokens for name, entry in self._standing(shard)[1].items()}

    def entries(self, shard: int) -> dict[str, Entry]:
        """The journal's whole lines by their problem's id, whatever they were graded by."""
        return journal.index(self._journal(shard))

    def journal(self, shard: int) -> Iterator[Finished]:
        """Finished problems of a shard within the budget, in the order of their ids; a torn last line is owed
        again."""
        at, found = self._standing(shard)
        return journal.read(self._journal(shard), (found[name] for name in sorted(at.done)))

    def lines(self, shard: int, entries: Iterable[Entry]) -> Iterator[Finished]:
        """The problems of some lines of a shard's journal."""
        return journal.read(self._journal(shard), entries)

    def rollouts(self, shard: int) -> Iterator[Row]:
        """A shard's rollouts as rows, packed or not, in the order of their problems' ids."""
        raw = self.path / "rollouts" / f"{shard:05d}.jsonl"
        for _, rows in journal.stored_rollouts(raw, raw.with_suffix(".parquet")):
            yield from rows

    def damage(self) -> list[str]:
        """What is not as it was written of problems, packed rollouts and journals, whose problems are then
        owed again."""
        shards = range(self.config.shards)
        lines = (f"{path}: {one}" for path in map(self._journal, shards) for one in journal.scan(path)[1])
        return [*self.problem_faults(), *lines, *packing.faults(self.path, self.config.shards)]

    def survey(self, n: int) -> Survey:
        """What is owed and beyond the budget, and where the `n` done problems with the smallest ids lie."""
        owed, beyond, first = 0, 0, list[Place]()
        for shard in range(self.config.shards):
            at, found = self._standing(shard)
            owed, beyond = owed + len(at.owed), beyond + len(at.beyond)
            places = (Place(name, shard, found[name]) for name in at.done)
            first = heapq.nsmallest(n, chain(first, places))
        return Survey(owed, beyond, first)

    def read(self, places: Iterable[Place]) -> Iterator[Finished]:
        """The problems at some places, in their order, one by one."""
        for place in places:
            yield from journal.read(self._journal(place.shard), [place.entry])

    def _journal(self, shard: int) -> Path:
        return journal.path_of(self.path, shard)

    def seconds(self) -> float:
        """How long the run's shards have been worked on, all sessions together."""
        files = sorted((self.path / "journal").glob("*.seconds"))
        return round(sum(map(journal.read_seconds, files)), 3)

    @contextmanager
    def writing(self, shard: int) -> Iterator[ShardWriter]:
        """Exclusive right to append to one shard. UserError when another process has it."""
        with self.locked(shard):
            writer = ShardWriter(self.path, shard)
            try:
                yield writer
            finally:
                writer.close()

    def shelf(self, shard: int) -> Shelf:
        """What was drawn for problems of a shard that are still owed."""
        return Shelf(self.path / "journal" / f"{shard:05d}.unfinished")

    @contextmanager
    def locked(self, shard: int) -> Iterator[None]:
        """Exclusive right to change one shard's files. UserError when another process has it."""
        with (self.path / "journal" / f"{shard:05d}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.path}: shard {shard} is being written by another process") from None
            yield

    def pack_rollouts(self, shard: int) -> int:
        """Add a shard's new rollouts to its Parquet file; see `pipeline.storage.packing`. Returns how many
        the file then holds, 0 when there was nothing to add."""
        if not (self.path / "rollouts" / f"{shard:05d}.jsonl").exists():
            return 0
        with self.locked(shard):
            return packing.pack(self.path, shard, self.entries(shard))

    # Dataset

    def sealing(self) -> AbstractContextManager[Path]:
        """A folder for a new generation of shards, which `seal` makes the dataset."""
        return sealing(self.path)

    def write_shard(self, folder: Path, shard: int, items: Iterable[LabelledSolution]) -> ShardEntry:
        """Write one Parquet shard into a new generation; equal rows give equal bytes within one pyarrow
        version."""
        name = f"{shard:05d}.parquet"
        rows, sha256 = write_parquet(folder / name, map(to_table, batches(items, _ROWS_PER_WRITE)), SCHEMA)
        return ShardEntry(file=f"shards/{name}", rows=rows, sha256=sha256)

    def seal(self, folder: Path, manifest: Manifest) -> Manifest:
        """Make the shards in `folder` the dataset, in one step; returns the manifest as it is written."""
        return change_over(self.path, folder, manifest)

    def settle(self, manifest: Manifest) -> None:
        """End what a kill while sealing left half done. UserError names a shard that is not as it was."""
        shards_of(self.path, manifest)
        with sealing(self.path):
            settle(self.path, manifest)

    def packed(self) -> dict[str, str]:
        """Checksums of the rollouts' Parquet files by their path in the run, all of them packed."""
        for shard in range(self.config.shards):
            self.pack_rollouts(shard)
        return packing.checksums(self.path, self.config.shards)

    def manifest(self) -> Manifest | None:
        """The manifest, or None while the run is open. UserError when it was changed."""
        return read_manifest(self.path)

    def plan(self) -> Plan | None:
        """What was predicted for this very configuration, if anything was."""
        path = self.path / "plan.json"
        try:
            plan = Plan.model_validate(read_record(path, self.path)) if path.exists() else None
        except ValidationError as error:
            raise UserError(changed(path, self.path, error.errors()[0]["msg"])) from None
        return plan if plan and plan.config_digest == self.config.digest() else None

    def write_plan(self, plan: Plan) -> None:
        """Keep a prediction, which the manifest will be compared with. A new run's folder may be made."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_record(self.path / "plan.json", plan.model_dump(mode="json"))

    def write_summary(self, figures: dict[str, Any]) -> None:
        """Keep the figures of a finished run beside its manifest."""
        write_bytes(
            self.path / "summary.json", (json.dumps(figures, indent=2, ensure_ascii=False) + "\n").encode()
        )

    def quarantined(self) -> list[Quarantined]:
        """Everything set aside: bad rows, then problems that failed and are still owed."""
        bad = self.path / "quarantine.jsonl"
        return [*(read_failures(bad, self.path) if bad.exists() else ()), *self.failures()]

    def failures(self) -> list[Quarantined]:
        """Why problems are still owed: of each that failed, and of each shard that stopped early."""
        files = sorted((self.path / "problems").glob("*.failed.jsonl"))
        return [item for file in files for item in read_failures(file, self.path)]

    def set_aside(self, shard: int, failures: Iterable[Quarantined]) -> None:
        """Replace what a shard has set aside: everything it owed has just been tried.

        A file a shard, because shards may be written by several machines at once.
        """
        path = self.path / "problems" / f"{shard:05d}.failed.jsonl"
        write_lines(path, (failure.model_dump_json() for failure in failures))


def read_failures(file: Path, run: Path) -> Iterator[Quarantined]:
    """What one file says was set aside. UserError when it cannot be read."""
    try:
        yield from map(Quarantined.model_validate_json, lines_of(file))
    except ValueError as error:  # a line that is no record, or bytes that are no text
        raise UserError(changed(file, run, str(error).splitlines()[0])) from None
