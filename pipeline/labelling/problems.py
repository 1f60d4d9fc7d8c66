"""Where a run and the reader of its problems meet."""

from collections.abc import Set

from pipeline.inputs.source import source_of
from pipeline.runs.posing import prepare
from pipeline.runs.run_store import RunStore


def read_problems(store: RunStore, earlier: Set[str] = frozenset()) -> int:
    """Read the problems of a run from their source, unless the run has them as they are now, but for those
    that `earlier` runs of its series have elsewhere. Returns how many it has.

    UserError where there is none, or where one that the run has is gone.
    """
    return prepare(store, source_of(store.config), earlier)
