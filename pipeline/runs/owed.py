"""Which problems a run still owes, and why: the reasons are the errors that the servers gave."""

from collections import Counter
from typing import Any

from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from schemas.manifest import Manifest

_TOLD = 3  # reasons in the one line of an error; the others are in the summary
# Reasons for which a run leaves problems out on purpose: a run that left out all of them is no failure.
_CHOSEN = ("filter: too hard", "filter: too easy")


def owed_figures(store: RunStore) -> dict[str, Any]:
    """How many problems are owed, and how often each reason was met when they were last tried."""
    owed = sum(len(store.shard_state(shard).owed) for shard in range(store.config.shards))
    reasons = Counter(failure.reason for failure in records.failures(store.path))
    return {"owed": owed, "reasons": dict(reasons.most_common())}


def told(reasons: dict[str, int]) -> str:
    """The commonest reasons in one line."""
    lines = [f"{n} times: {reason}" for reason, n in list(reasons.items())[:_TOLD]]
    more = len(reasons) - len(lines)
    return "; ".join([*lines, *([f"and {more} other reasons"] if more > 0 else [])])


def nothing_readable(manifest: Manifest) -> str:
    """Why a sealed run has no solution at all; empty when it has one, or when its filter left all out."""
    if manifest.solutions or not manifest.problems or set(manifest.skipped) <= {*_CHOSEN}:
        return ""
    reasons = "; ".join(f"{n} problems: {why}" for why, n in manifest.skipped.items())
    return (
        f"not one solution among {manifest.rollouts} completions could be used ({reasons}): look at the "
        "completions in its folder `rollouts`, and at prompt.template, prompt.stop and prompt.max_tokens"
    )
