"""How far a run is: what its folder says, without changing anything."""

from collections import Counter
from typing import Any

from pipeline.labelling.remarks import remarks
from pipeline.runs import problem_files, records
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import faults_of, read_manifest


def status_of(store: RunStore) -> dict[str, Any]:
    """Per shard: problems done, owed, and how many of those failed; and of the whole run its tokens, its
    damage, and what was set aside and why."""
    if not problem_files.is_prepared(store.path):
        nothing: dict[str, Any] = {"problems": 0, "owed": 1, "reasons": {}, "shards": [], "tokens": {}}
        nothing["prompt_tokens"] = {"total": 0, "cached": 0}
        return {"run": str(store.path), "sealed": False, **nothing}
    set_aside = records.quarantined(store.path)
    failed = {item.problem_id for item in set_aside}
    tokens, cut = Counter[str](), 0
    shards, damaged = list[dict[str, int]](), list[str]()
    for shard in range(store.config.shards):
        found = store.glance(shard)
        state = found.state
        tokens.update(found.tokens)
        cut += found.cut
        damaged += found.damage
        failing = len(failed.intersection(state.owed))
        counts = {"done": len(state.done), "owed": len(state.owed), "failed": failing}
        shards.append({"shard": shard, **counts, "beyond": len(state.beyond)})
    manifest = read_manifest(store.path)
    damaged += [*store.damaged_files(), *faults_of(store.path, manifest)]
    fresh = manifest is not None and manifest.fusion_digest == store.config.fusion_digest()
    return {
        "run": str(store.path),
        "sealed": fresh,
        "remarks": remarks(manifest) if manifest and fresh else [],
        "problems": problem_files.total(store.path),
        "owed": sum(item["owed"] for item in shards),
        "reasons": dict(Counter(item.reason for item in records.failures(store.path)).most_common()),
        "shards": shards,
        "quarantined": [item.model_dump() for item in set_aside],
        "damaged": damaged,
        "tokens": tokens,
        "prompt_tokens": dict(zip(("total", "cached"), store.usage(), strict=True)),
        "budget": {
            **store.config.budget.model_dump(),
            "cut": cut,
            "beyond": sum(item["beyond"] for item in shards),
        },
    }
