"""A run's folder: which problems it has, which of them are done, and what each shard still owes.

A run that is killed and started again ends in the same rows: a problem is done when its journal line is
whole, rows are made from the journal alone, finished files appear by a rename, and the manifest is written
last. `problem_files` has the files of the problems, `records` the plan and the quarantine, and
`pipeline.storage.generations` the sealed dataset.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pydantic_core import from_json

from pipeline.prompts.templates import SolvingPrompt, prompt_text, solving_prompt
from pipeline.runs import identity, problem_files
from pipeline.runs.given_files import GivenFile
from pipeline.sampling.budget import ShardBudget, ShardState, shard_state, share_of
from pipeline.sampling.unfinished import UnfinishedFile
from pipeline.storage import finished, journal, journal_index, journal_packing, packing
from pipeline.storage.generations import read_manifest
from pipeline.storage.journal import Entry, ShardWriter
from pipeline.storage.locks import locked
from pipeline.storage.packing import Row
from pipeline.storage.recorded import read_config, write_config
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.records import Finished, Problem, gold_key
from schemas.sources import EARLIER, Sources


class Owed(NamedTuple):
    """A problem that is still to be done. `before` are the tokens of each finished problem between it and the
    last one that was owed, for the budget."""

    problem: Problem
    before: list[int]


class Place(NamedTuple):
    """Where a finished problem's line is: its shard, and its entry in that shard's journal."""

    problem: str
    shard: int
    entry: Entry


class Survey(NamedTuple):
    """Problems owed and beyond the budget, a sample of those that are done, and about how many bytes their
    lines have before they are compressed."""

    owed: int
    beyond: int
    sample: list[Place]
    size: int


class Glance(NamedTuple):
    """How far a shard is: its problems by state, and of those that are done the lines in the order of their
    ids, the tokens by purpose and how many a budget cut short; and the damage of its journal, a line each."""

    state: ShardState
    done: list[Entry]
    tokens: Counter[str]
    cut: int
    damage: list[str]


class RunStore:
    """A run's folder. `RunStore.open` opens it to go on with, and refuses a configuration that would change
    its votes."""

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
        """An existing run, to read or fuse it. Nothing is written, and its prompts and models are not looked
        at. UserError when there is no such run, or when its settings differ from `config`."""
        path = Path(config.root) / config.name
        found = identity.differences(read_config(path), config, {}, {})
        if found:
            raise UserError(
                f"run {config.name!r} in {path} was started with {', '.join(found)}: leave these settings as "
                "they were"
            )
        return cls(path, config)

    def record_config(self) -> None:
        """Write the configuration that the run goes on with into its folder."""
        write_config(self.path, self.config)

    def inputs(self) -> dict[str, str]:
        """Everything that the run reads, by its role: its SHA-256, or its name where there is none."""
        known = identity.recorded(self.path) or identity.Identity()
        return {role: item.digest or item.name for role, item in sorted(known.inputs.items())}

    def declare(self, sources: Sources) -> None:
        """Record what is declared of the run's sources. UserError where it began with other declarations."""
        identity.declare(self.path, sources)

    def sources(self) -> Sources:
        """The declarations of the run's sources. For a run from before they were recorded, those of that
        time."""
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
        """The text of the prompt that the policy solves problems with."""
        return self.solving().whole

    def solving(self) -> SolvingPrompt:
        """The prompt that the policy solves problems with."""
        name = self.config.prompt.template
        return solving_prompt(name, self.templates().get(name) or prompt_text(name))

    def posed(self, shard: int) -> Iterator[Problem]:
        """A shard's problems, in the order in which they are done."""
        return map(Problem.model_validate_json, problem_files.lines(self.path, shard))

    def given(self, shard: int) -> GivenFile:
        """A shard's given solutions, by the ids of their problems."""
        return problem_files.given(self.path, shard)

    def owed(self, shard: int) -> Iterator[Owed]:
        """Problems of a shard without a whole journal line, one by one; whether the budget reaches them is
        for its `ShardBudget` to say."""
        done, before = self.finished(shard), list[int]()
        for problem in self.posed(shard):
            if problem.id in done:
                before.append(done[problem.id])
            else:
                yield Owed(problem, before)
                before = []

    def shard_budget(self, shard: int) -> ShardBudget:
        """The shard's share of the run's budget, nothing charged to it yet."""
        return ShardBudget(self._share(shard), self.config.budget.per_problem)

    def shard_state(self, shard: int) -> ShardState:
        """Which problems of a shard are done, owed, and beyond the budget; each in their order."""
        return self._shard_state(shard)[0]

    def glance(self, shard: int) -> Glance:
        """How far a shard is, for a look at the run: its journal's index is believed (`journal_index`)."""
        path = self._journal(shard)
        entries, damage = journal_index.glance(path)
        at, found = self._state_of(shard, entries)
        done = [found[name] for name in sorted(at.done)]
        tokens = Counter[str]()
        for entry in done:
            for purpose, n in entry.spent.items():
                tokens[purpose] += n
        return Glance(
            at, done, tokens, sum(entry.cut for entry in done), [f"{path}: {one}" for one in damage]
        )

    def _shard_state(self, shard: int) -> tuple[ShardState, dict[str, Entry]]:
        """The shard's problems by state, and the journal entries of those graded by their present gold
        answer, with their present given solutions."""
        return self._state_of(shard, self.entries(shard))

    def _state_of(self, shard: int, entries: Mapping[str, Entry]) -> tuple[ShardState, dict[str, Entry]]:
        golds = self._golds(shard)
        # A problem whose gold answer was corrected since is not done: it is graded again.
        stale = {*self._stale(shard, golds, entries)}
        found = {name: entry for name, entry in entries.items() if name in golds and name not in stale}
        finished = {name: entry.tokens for name, entry in found.items()}
        return shard_state(golds, finished, self._share(shard), self.config.budget.per_problem), found

    def _golds(self, shard: int) -> dict[str, int]:
        """The key of each problem's gold answer, in the order of the problems."""
        problems = map(from_json, problem_files.lines(self.path, shard))
        return {problem["id"]: gold_key(problem) for problem in problems}

    def stale(self, shard: int) -> list[str]:
        """Problems that were graded by a gold answer which has been corrected since, or labelled with other
        given solutions."""
        return list(self._stale(shard, self._golds(shard), self.entries(shard)))

    def _stale(self, shard: int, golds: dict[str, int], found: Mapping[str, Entry]) -> Iterator[str]:
        given = self.given(shard)
        for name, gold in golds.items():
            if name in found and (found[name].gold, found[name].given) != (gold, given.key(name)):
                yield name

    def _share(self, shard: int) -> int | None:
        if self.config.budget.run is None:
            return None
        return share_of(self.config.budget, problem_files.sizes(self.path, self.config.shards), shard)

    def finished(self, shard: int) -> dict[str, int]:
        """The tokens that each finished problem of a shard has cost, by its id."""
        return {name: entry.tokens for name, entry in self._shard_state(shard)[1].items()}

    def entries(self, shard: int) -> dict[str, Entry]:
        """The journal's whole lines by the id of their problem, whichever gold answer they were graded by."""
        return journal.index(self._journal(shard))

    def done(self, shard: int) -> list[Entry]:
        """The lines of a shard's problems within the budget, in the order of their ids; a torn last line is
        owed again."""
        at, found = self._shard_state(shard)
        return [found[name] for name in sorted(at.done)]

    def journal(self, shard: int) -> Iterator[Finished]:
        """Finished problems of a shard within the budget, in the order of their ids, as records."""
        return journal.read(self._journal(shard), self.done(shard))

    def tables_of(self, shard: int, entries: Iterable[Entry]) -> Iterator[pa.Table]:
        """The problems of some lines of a shard's journal, as columns (`schemas.arrow_finished`)."""
        return finished.tables(self._journal(shard), entries)

    def lines(self, shard: int, entries: Iterable[Entry]) -> Iterator[Finished]:
        """The problems of some lines of a shard's journal."""
        return journal.read(self._journal(shard), entries)

    def rollouts(self, shard: int) -> Iterator[Row]:
        """A shard's rollouts as rows, packed or not, in the order of their problems' ids."""
        raw = self.path / "rollouts" / f"{shard:05d}.jsonl"
        for _, rows in packing.stored_rollouts(raw, raw.with_suffix(".parquet")):
            yield from rows

    def damage(self) -> list[str]:
        """What has changed on disk since it was written: problems, packed rollouts, and lines of journals,
        whose problems are owed again."""
        shards = range(self.config.shards)
        lines = (f"{path}: {one}" for path in map(self._journal, shards) for one in journal.scan(path)[1])
        return [*lines, *self.damaged_files()]

    def damaged_files(self) -> list[str]:
        """The same but for lines of journals that are not compressed."""
        shards = self.config.shards
        return [
            *problem_files.faults(self.path),
            *journal_packing.faults(self.path, shards),
            *packing.faults(self.path, shards),
        ]

    def survey(self, n: int) -> Survey:
        """How many problems are owed and beyond the budget, and the places of the `n` finished problems with
        the smallest ids."""
        owed, beyond, size, first = 0, 0, 0, list[Place]()
        for shard in range(self.config.shards):
            at, found = self._state_of(shard, journal_index.scanned(self._journal(shard)))
            owed, beyond = owed + len(at.owed), beyond + len(at.beyond)
            size += max((entry.offset for entry in found.values()), default=0)
            places = (Place(name, shard, found[name]) for name in at.done)
            first = heapq.nsmallest(n, chain(first, places))
        return Survey(owed, beyond, first, size)

    def tables(self, places: Iterable[Place]) -> Iterator[pa.Table]:
        """The problems at some places, in their order, as columns (`schemas.arrow_finished`)."""
        return finished.lines_at((self._journal(place.shard), place.entry) for place in places)

    def _journal(self, shard: int) -> Path:
        return journal.path_of(self.path, shard)

    def seconds(self) -> float:
        """How long the run's shards have been worked on, all sessions together."""
        files = sorted((self.path / "journal").glob("*.seconds"))
        return round(sum(map(journal.read_seconds, files)), 3)

    def usage(self) -> tuple[int, int]:
        """Prompt tokens of all sessions, as far as they were counted, and those that lay in a cache."""
        found = [journal.read_usage(file) for file in (self.path / "journal").glob("*.usage")]
        return sum(prompt for prompt, _ in found), sum(cached for _, cached in found)

    @contextmanager
    def writing(self, shard: int) -> Iterator[ShardWriter]:
        """Exclusive right to append to one shard. UserError when another process has it."""
        with self.locked(shard):
            writer = ShardWriter(self.path, shard)
            try:
                yield writer
            finally:
                writer.close()

    def unfinished(self, shard: int) -> UnfinishedFile:
        """What was drawn for problems of a shard that are still owed."""
        return UnfinishedFile(self.path / "journal" / f"{shard:05d}.unfinished")

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
            return packing.pack(self.path, shard, journal_index.scanned(self._journal(shard)))

    def pack_journal(self, shard: int) -> None:
        """Compress a shard's finished lines; see `pipeline.storage.journal_packing`."""
        if self._journal(shard).exists():
            with self.locked(shard):
                journal_packing.pack(self._journal(shard))

    def packed(self) -> dict[str, str]:
        """Checksums of the rollouts' Parquet files by their path in the run, all of them packed."""
        for shard in range(self.config.shards):
            self.pack_rollouts(shard)
        return packing.checksums(self.path, self.config.shards)
