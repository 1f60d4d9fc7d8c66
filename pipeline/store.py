"""The run store: the only writer of a run's folder.

A run killed anywhere and started again ends in the same rows: a problem is done when its journal line is
whole, rows are made from the journal alone, finished files appear by rename, and the manifest comes last.
"""

import fcntl
import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from pipeline import journal, packing
from pipeline.budget import Purse, Standing, share_of, standing
from pipeline.files import append_lines, batches, lines_of, write_bytes, write_lines, write_parquet
from pipeline.journal import Entry, ShardWriter
from pipeline.problems import load_problems
from pipeline.recorded import changed, read_record, write_config, write_record
from pipeline.recorded import read_config as read_config
from pipeline.sealing import change_over, file_fault, read_manifest, sealing, settle, sha256_of, shards_of
from schemas.arrow import SCHEMA, to_table
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.manifest import Manifest, ShardEntry
from schemas.plan import Plan
from schemas.records import Finished, LabelledSolution, Problem, Quarantined

_ROWS_PER_WRITE = 512
_LINES_HELD = 4096
"""Problems held while they are spread over the shards."""


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
        recorded = path / "run.toml"
        if recorded.exists():
            before = read_config(path)
            if before.digest() != config.digest():
                raise UserError(
                    f"run {config.name!r} in {path} was started with {_differences(before, config)}: "
                    "change it back, choose another name, or delete the folder"
                )
        for folder in ("problems", "journal", "rollouts"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_config(path, config)
        return cls(path, config)

    # Problems

    def prepare(self) -> int:
        """Read the problems once, spread them over the shards by their ids, quarantine the bad ones.
        Returns how many."""
        if self._done.exists():
            return self.total()
        sizes = [0] * self.config.shards
        bad: list[Quarantined] = []
        for items in batches(load_problems(self.config.problems, seed=self.config.seed), _LINES_HELD):
            lines: dict[int, list[str]] = defaultdict(list)
            for item in items:
                if isinstance(item, Quarantined):
                    bad.append(item)
                else:
                    lines[int(item.id, 16) % self.config.shards].append(item.model_dump_json())
            for shard, new in lines.items():
                append_lines(self._parts(shard), new, anew=not sizes[shard])
                sizes[shard] += len(new)
        if not any(sizes):
            first = f"; the first of {len(bad)} bad rows: {bad[0].reason}" if bad else ""
            raise UserError(
                f"{self.config.problems.path or self.config.problems.source}: no usable problem{first}"
            )
        for shard, size in enumerate(sizes):
            # A line begins with its problem's id, a hash. In their order a run that stops early has done a
            # fair sample, whatever the order of its source.
            parts = self._parts(shard)
            write_lines(self._problems(shard), sorted(lines_of(parts)) if size else ())
            parts.unlink(missing_ok=True)
        write_lines(self.path / "quarantine.jsonl", (q.model_dump_json() for q in bad))
        counts = {"problems": sum(sizes), "quarantined": len(bad), "shards": sizes}
        write_record(self._done, {**counts, "sha256": self._checksums()})
        return sum(sizes)

    @property
    def _done(self) -> Path:
        return self.path / "problems" / "done.json"

    def _problems(self, shard: int) -> Path:
        return self.path / "problems" / f"{shard:05d}.jsonl"

    def _parts(self, shard: int) -> Path:
        return self.path / "problems" / f"{shard:05d}.part"

    def _checksums(self) -> dict[str, str]:
        """Checksums of the problems, those set aside included, by their path in the run."""
        files = (self._problems(shard) for shard in range(self.config.shards))
        return {
            str(file.relative_to(self.path)): sha256_of(file)
            for file in (self.path / "quarantine.jsonl", *files)
        }

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
        path = self._problems(shard)
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
        return self._standing(shard, journal.index(self._journal(shard)))

    def _standing(self, shard: int, found: Mapping[str, Entry]) -> Standing:
        finished = {name: entry.tokens for name, entry in found.items()}
        ids = (str(from_json(line)["id"]) for line in self._lines_of(shard))
        return standing(ids, finished, self._share(shard), self.config.budget.per_problem)

    def _share(self, shard: int) -> int | None:
        if self.config.budget.run is None:
            return None
        sizes = self._prepared().get("shards")
        if sizes is None:  # prepared by an earlier version
            sizes = [sum(1 for _ in lines_of(self._problems(i))) for i in range(self.config.shards)]
        return share_of(self.config.budget, sizes, shard)

    # Journal

    def finished(self, shard: int) -> dict[str, int]:
        """The tokens that each finished problem of a shard has cost, by its id."""
        return {name: entry.tokens for name, entry in journal.index(self._journal(shard)).items()}

    def journal(self, shard: int) -> Iterator[Finished]:
        """Finished problems of a shard within the budget, in the order of their ids; a torn last line is owed
        again."""
        found = journal.index(self._journal(shard))
        done = self._standing(shard, found).done
        return journal.read(self._journal(shard), (found[name] for name in sorted(done)))

    def damage(self) -> list[str]:
        """What cannot be read of the journals, whose problems are then owed again, and of packed rollouts."""
        shards = range(self.config.shards)
        lines = [f"{path}: {one}" for path in map(self._journal, shards) for one in journal.scan(path)[1]]
        return lines + [fault for shard in shards if (fault := packing.packed_fault(self.path, shard))]

    def survey(self, n: int) -> Survey:
        """What is owed and beyond the budget, and where the `n` done problems with the smallest ids lie."""
        owed, beyond, first = 0, 0, list[Place]()
        for shard in range(self.config.shards):
            found = journal.index(self._journal(shard))
            at = self._standing(shard, found)
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
        """Add a shard's new rollouts to its Parquet file; see `pipeline.packing`. Returns how many the file
        then holds, 0 when there was nothing to add."""
        if not (self.path / "rollouts" / f"{shard:05d}.jsonl").exists():
            return 0
        with self.locked(shard):
            return packing.pack(self.path, shard, journal.index(self._journal(shard)))

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
        files = [self.path / "quarantine.jsonl", *sorted((self.path / "problems").glob("*.failed.jsonl"))]
        return [item for file in files if file.exists() for item in self.read_failures(file)]

    def read_failures(self, file: Path) -> Iterator[Quarantined]:
        """What one file says was set aside. UserError when it cannot be read."""
        try:
            yield from map(Quarantined.model_validate_json, lines_of(file))
        except ValueError as error:  # a line that is no record, or bytes that are no text
            raise UserError(changed(file, self.path, str(error).splitlines()[0])) from None

    def set_aside(self, shard: int, failures: Iterable[Quarantined]) -> None:
        """Replace what a shard has set aside: everything it owed has just been tried.

        A file a shard, because shards may be written by several machines at once.
        """
        path = self.path / "problems" / f"{shard:05d}.failed.jsonl"
        write_lines(path, (failure.model_dump_json() for failure in failures))


def _differences(before: RunConfig, after: RunConfig) -> str:
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    ignored = ("fusion", "budget.run", "train", "evaluate", "self_train", "name", "root")
    changed = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k) and not k.startswith(ignored)]
    return ", ".join(f"{k}={old.get(k)!r}, not {new.get(k)!r}" for k in changed)


def _flat(data: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {
        k: v for key, value in data.items() for k, v in _flat(value, f"{prefix}.{key}".strip(".")).items()
    }
