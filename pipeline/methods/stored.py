"""A sealed run as the methods read it: problem by problem, with candidates, votes and rollouts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from pipeline.inputs.segment import prefix_of
from pipeline.methods.counts import Count, count, grade_of
from pipeline.methods.tree import Tree, build, is_own
from pipeline.prompts.templates import SolvingPrompt
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import sealed_manifest, shards_of
from pipeline.storage.packing import faults, lost
from schemas.arrow_records import rollouts_of
from schemas.config import PromptConfig, RunConfig
from schemas.errors import UserError
from schemas.records import Finished, Rollout, Solution
from schemas.sources import POLICY, Sources


@dataclass(frozen=True)
class Stored:
    """All that a run found out about one problem."""

    finished: Finished
    rollouts: tuple[Rollout, ...]
    prompt: PromptConfig = PromptConfig()
    """How the policy was asked, and its solutions cut into steps."""

    @cached_property
    def tree(self) -> Tree:
        """The prefix tree of the policy's rollouts."""
        return build(self.rollouts, self.prompt.cuts)

    @cached_property
    def _drawn(self) -> dict[tuple[str, str], Count]:
        found: dict[tuple[str, str], list[Rollout]] = {}
        for rollout in self.rollouts:
            whose = POLICY if is_own(rollout.purpose) else rollout.purpose
            prefix = rollout.prefix.rstrip(" \t")  # earlier versions asked with the next step's spaces
            found.setdefault((prefix, whose), []).append(rollout)
        return {key: count(drawn) for key, drawn in found.items()}

    def along(self, solution: Solution, by: str = POLICY) -> list[Count]:
        """Counts before the first step and after each one: len(steps) + 1 of them.

        `by` is `policy`, or what another model's rollouts are stored as (`prover`). Only rollouts asked
        for from exactly that prefix count; the last count is the grade of the solution itself.
        """
        n_steps, how = len(solution.steps), self.prompt.reasoning
        prefixes = ["", *(prefix_of(solution.text, solution.steps, i, how) for i in range(1, n_steps))]
        drawn = [self._drawn.get((prefix, by), Count()) for prefix in prefixes]
        return [*drawn, grade_of(solution.outcome)]


class Run:
    """A sealed run to be read as often as a method needs; every pass holds one problem at a time."""

    def __init__(self, store: RunStore) -> None:
        manifest = sealed_manifest(store.path)
        self._store, self.manifest = store, manifest
        shards_of(store.path, manifest)
        for fault in faults(store.path, store.config.shards):
            raise UserError(f"{fault}: see `stepmint check {store.path}`")

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self._store.config

    @property
    def sources(self) -> Sources:
        """What the votes of each source are evidence of."""
        return self._store.sources()

    @property
    def derived(self) -> Path:
        """The folder of what is derived from the run."""
        return self._store.path / "derived"

    @property
    def solving(self) -> SolvingPrompt:
        """How the policy was asked."""
        return self._store.solving()

    @property
    def template(self) -> str:
        """The text that the policy was asked with."""
        return self._store.template()

    def __iter__(self) -> Iterator[Stored]:
        n = 0
        for shard in range(self.config.shards):
            drawn = groupby(self._rollouts(shard), key=lambda rollout: rollout.problem_id)
            problem, group = next(drawn, ("", iter(())))
            for finished in self._store.journal(shard):
                taken: tuple[Rollout, ...] = ()
                while problem and problem < finished.problem.id:  # of a problem that is no longer there
                    problem, group = next(drawn, ("", iter(())))
                if problem == finished.problem.id:
                    taken = tuple(group)
                    problem, group = next(drawn, ("", iter(())))
                # Counts without their rollouts would be silently 0 of 0; a missing file must not look like no
                # evidence.
                if finished.n_rollouts and not taken:
                    raw = self._store.path / "rollouts" / f"{shard:05d}.jsonl"
                    raise UserError(lost(self._store.path, raw, finished.problem.id))
                n += 1
                yield Stored(finished, taken, self.config.prompt)
        if n != self.manifest.problems:
            raise UserError(
                f"{self._store.path / 'journal'}: holds {n} finished problems, the dataset those of "
                f"{self.manifest.problems}: seal it again with `stepmint synthesize`, or see `stepmint check`"
            )

    def _rollouts(self, shard: int) -> Iterator[Rollout]:
        """A shard's rollouts, in the order of their problems' ids."""
        import pyarrow.parquet as pq

        path = self._store.path / "rollouts" / f"{shard:05d}.parquet"
        if not path.is_file():
            if not any(finished.n_rollouts for finished in self._store.journal(shard)):
                return  # a shard that no problem fell into, or none with a rollout
            raise UserError(f"{path}: the run's rollouts are missing; derived values need them")
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from rollouts_of(batch)
