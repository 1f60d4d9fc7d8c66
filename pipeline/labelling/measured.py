"""What a program counts of its labelling while it runs, for Prometheus (docs/operations.md).

Nothing is counted unless a program asks for it: `counting` holds the counters for all that is done inside.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from schemas.errors import redacted
from schemas.records import Finished, Vote
from schemas.text import one_line

_REASONS = 20
"""Reasons of a source that are counted apart. Some quote a reply, and Prometheus keeps each of them."""
_REASON = 80
"""Characters that are kept of a reason."""


class Meter:
    """The counters of one program. `price_per_hour` is what its machine costs."""

    def __init__(self, price_per_hour: float | None = None) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"stepmint_{name}", what, labels, registry=self.registry)

        self._problems = counter("problems", "Problems by what became of them", "outcome")
        self._tokens = counter("tokens", "Tokens generated", "purpose")
        self._votes = counter("votes", "Votes that are no abstentions", "source", "verdict")
        self._silent = counter("abstentions", "Votes without a verdict", "source", "reason")
        self._claims = counter("shard_claims", "Shards by what became of their claims", "result")
        owed, put = "Problems that lie before this program", "Time to append what is done to a shard's log"
        self._owed = Gauge("stepmint_problems_owed", owed, registry=self.registry)
        self._puts = Histogram("stepmint_segment_put_seconds", put, registry=self.registry)
        self._reasons = defaultdict[str, set[str]](set)
        if price_per_hour is not None:
            start, name = time.monotonic(), "stepmint_cost_dollars_total"
            cost = Gauge(name, "What this machine has cost since the program began", registry=self.registry)
            cost.set_function(lambda: (time.monotonic() - start) / 3600 * price_per_hour)

    def finished(self, item: Finished) -> None:
        """A problem is done."""
        self._problems.labels("skipped" if item.skipped else "labelled").inc()
        self._owed.dec()
        for purpose, n in item.tokens.items():
            self._tokens.labels(purpose).inc(n)
        for vote in (vote for one in item.candidates for vote in one.votes):
            if vote.p is None:
                self._silent.labels(vote.source, self._reason(vote)).inc()
            else:
                self._votes.labels(vote.source, "yes" if vote.p >= 0.5 else "no").inc()

    def _reason(self, vote: Vote) -> str:
        known, reason = self._reasons[vote.source], one_line(redacted(vote.why), _REASON)
        if len(known) < _REASONS:
            known.add(reason)
        return reason if reason in known else "other reasons"

    def failed(self) -> None:
        """A problem failed, and stays owed."""
        self._problems.labels("failed").inc()

    def owes(self, n: int) -> None:
        """So many problems lie before this program."""
        self._owed.set(n)

    def claimed(self, result: str) -> None:
        """A shard was claimed: `taken`, `late` (another worker came first), later `sealed`, `failed` or
        `fenced`."""
        self._claims.labels(result).inc()

    def appended(self, seconds: float) -> None:
        """What was done has been appended to a shard's log."""
        self._puts.observe(seconds)


class _Nothing:
    """Counts nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


_METER: ContextVar[Any] = ContextVar("meter", default=_Nothing())  # noqa: B039


def meter() -> Any:
    """The counters of this program; one that counts nothing where it has none."""
    return _METER.get()


@contextmanager
def counting(by: Meter) -> Iterator[Meter]:
    """Count what is done inside."""
    token = _METER.set(by)
    try:
        yield by
    finally:
        _METER.reset(token)
