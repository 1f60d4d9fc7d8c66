"""Counts problems, solutions, steps and votes while their rows are sealed, by the columns of both."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.labelling.rows import candidates_of, ungraded
from schemas.arrow_values import numbers, numpy_of, scalar
from schemas.manifest import SourceCount

_REASONS, _SAMPLE = 1000, 200
"""Different reasons that are counted, and characters kept of a reply that could not be read."""
_NAMED = 5
"""Reasons of a source that the manifest names. Some hold parts of a reply, and are as many as the votes."""


@dataclass
class Tally:
    """Counts of one shard, or of several added up in their order."""

    totals: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    votes: Counter[str] = field(default_factory=Counter)
    abstained: Counter[str] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    """Why sources abstained, by source."""
    samples: dict[str, str] = field(default_factory=dict)
    """The first reply of each source that shows what could not be read."""

    def problems(self, finished: pa.Table) -> None:
        """Count finished problems (`schemas.arrow_finished`)."""
        self.totals["problems"] += finished.num_rows
        self.totals["rollouts"] += _sum(finished.column("n_rollouts"))
        self.totals["calls"] += _sum(finished.column("n_calls"))
        self.totals["cut"] += _sum(finished.column("over_budget"))
        self.totals["ungraded"] += ungraded(finished)
        # `drawn` counts equal texts; all but one of them were merged away.
        drawn = pc.struct_field(candidates_of(finished), "drawn")
        self.totals["merged"] += _sum(drawn) - len(drawn)
        self.skipped.update({why: n for why, n in _counted(finished.column("skipped")) if why})

    def rows(self, rows: pa.Table) -> None:
        """Count rows of the dataset (`schemas.arrow`)."""
        labels = rows.column("labels").combine_chunks().flatten()
        self.totals["solutions"] += rows.num_rows
        self.totals["steps"] += len(labels)
        self.totals["labelled"] += len(labels) - labels.null_count
        self.totals["kept"] += _sum(rows.column("kept"))
        self.dropped.update(dict(_counted(rows.column("consensus").filter(pc.invert(rows.column("kept"))))))
        self._votes(rows.column("votes").combine_chunks().flatten())

    def _votes(self, votes: pa.StructArray) -> None:
        source = pc.struct_field(votes, "source").dictionary_encode()
        names, at = source.dictionary.to_pylist(), numpy_of(source.indices)
        p = numpy_of(pc.struct_field(votes, "p"))
        failed = numpy_of(pc.struct_field(votes, "n_failed"))
        for counter, weights in (
            (self.votes, np.ones(len(p))),
            (self.failed, failed),
            (self.denied, p < 0.5),
            (self.abstained, np.isnan(p)),
        ):
            counts = np.bincount(at, weights, len(names))
            counter.update({name: int(n) for name, n in zip(names, counts, strict=True)})
        for place in np.unique(at[np.isnan(p)]).tolist():
            silent = votes.filter(numbers(np.isnan(p) & (at == place)))
            evidence = pc.struct_field(silent, "evidence")
            shown = evidence.filter(pc.not_equal(evidence, scalar(""))).slice(0, 1).to_pylist()
            reasons = Counter(dict(_counted(pc.struct_field(silent, "why"))))
            self._reasons(names[place], reasons, shown[0][:_SAMPLE] if shown else "")

    def _reasons(self, name: str, found: Counter[str], sample: str) -> None:
        reasons = self.reasons.setdefault(name, Counter())
        for why, n in found.items():
            # Reasons may hold parts of replies, so there may be as many as votes; memory must not grow with
            # the run.
            if len(reasons) < _REASONS or why in reasons:
                reasons[why] += n
        if sample:
            # The first one only: it shows a person what a reply looks like.
            self.samples.setdefault(name, sample)

    def add(self, other: "Tally") -> None:
        """Add the counts of a later shard."""
        for name in ("totals", "skipped", "dropped", "votes", "abstained", "denied", "failed", "tokens"):
            getattr(self, name).update(getattr(other, name))
        for name, reasons in other.reasons.items():
            self._reasons(name, reasons, other.samples.get(name, ""))

    def source(self, name: str) -> SourceCount:
        """What one source contributed."""
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


def _sum(column: pa.ChunkedArray | pa.Array) -> int:
    return int(pc.sum(column).as_py() or 0)


def _counted(column: pa.ChunkedArray | pa.Array) -> list[tuple[str, int]]:
    """How often each text stands in a column, in the order of their first places."""
    return [(one["values"], one["counts"]) for one in pc.value_counts(column).to_pylist()]
