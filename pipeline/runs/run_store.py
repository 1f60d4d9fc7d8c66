"""A run's folder as work: which problems it has, which of them are done, and what they are done with.

A run killed anywhere and started again ends in the same rows: a problem is done when its journal line is
whole, rows are made from the journal alone, finished files appear by rename, and the manifest comes last.
The problems' files are in `problem_files`, what the run says about itself in `records`, and its sealed
dataset in `pipeline.storage.generations`.
"""

import heapq
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pydantic_core import from_json

from pipeline.prompts.templates import prompt_text, solving_text
from pipeline.runs import identity, problem_files
from pipeline.sampling.budget import Purse, Standing, share_of, standing
from pipeline.sampling.unfinished import Shelf
from pipeline.storage import journal, packing
from pipeline.storage.generations import read_manifest
from pipeline.storage.journal import Entry, Row, ShardWriter
from pipeline.storage.locks import locked
from pipeline.storage.recorded import read_config, write_config
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.records import Finished, Problem, gold_key
from schemas.sources import EARLIER, Sources


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
        problem_files.finish(path, config.shards)
        if not problem_files.is_prepared(path):
            write_config(path, config)
        elif known.read is not None:
            # Other problems are recorded when all that the run has are found among them (`posing.prepare`).
            write_config(path, config.model_copy(update={"problems": known.read}))
        return cls(path, config)

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
            manifest = read_manifest(self.path)
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

    def posed(self, shard: int) -> Iterator[Problem]:
        """The problems of a shard in the order in which they are done."""
        return map(Problem.model_validate_json, problem_files.lines(self.path, shard))

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
        problems = map(from_json, problem_files.lines(self.path, shard))
        return {problem["id"]: gold_key(problem) for problem in problems}

    def stale(self, shard: int) -> list[str]:
        """Problems whose journal line was graded by a gold that has been corrected since."""
        golds, found = self._golds(shard), self.entries(shard)
        return [name for name, gold in golds.items() if name in found and found[name].gold != gold]

    def _share(self, shard: int) -> int | None:
        if self.config.budget.run is None:
            return None
        return share_of(self.config.budget, problem_files.sizes(self.path, self.config.shards), shard)

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
        return [*problem_files.faults(self.path), *lines, *packing.faults(self.path, self.config.shards)]

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

    def locked(self, shard: int) -> AbstractContextManager[None]:
        """Exclusive right to change one shard's files. UserError when another process has it."""
        taken = f"{self.path}: shard {shard} is being written by another process"
        return locked(self.path / "journal" / f"{shard:05d}.lock", taken)

    def pack_rollouts(self, shard: int) -> int:
        """Add a shard's new rollouts to its Parquet file; see `pipeline.storage.packing`. Returns how many
        the file then holds, 0 when there was nothing to add."""
        if not (self.path / "rollouts" / f"{shard:05d}.jsonl").exists():
            return 0
        with self.locked(shard):
            return packing.pack(self.path, shard, self.entries(shard))

    def packed(self) -> dict[str, str]:
        """Checksums of the rollouts' Parquet files by their path in the run, all of them packed."""
        for shard in range(self.config.shards):
            self.pack_rollouts(shard)
        return packing.checksums(self.path, self.config.shards)
