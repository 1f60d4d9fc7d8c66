"""How much the methods' values say about the truth, which the embedded problems know."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Row = dict[str, Any]
PROBLEMS = 100
_SIGNALS = (
    "gain",
    "log_gain",
    "p",
    "log_prob",
    "contrast",
    "potential",
    "step_mean_log_prob",
    "step_min_log_prob",
)
# The last two look at the step's own tokens, so another problem's answer changes nothing in them.
_NEEDS_THE_ANSWER = _SIGNALS[:6]


def _seal(folder: Path, sections: dict[str, Any]) -> Any:
    """A sealed run of one shard."""
    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.sealing import seal
    from pipeline.labelling.shard import run_shard
    from pipeline.runs.run_store import RunStore
    from schemas.config import RunConfig

    store = RunStore.open(RunConfig.model_validate({**sections, "root": str(folder)}))
    read_problems(store)
    asyncio.run(run_shard(store, 0))
    seal(store)
    return store


def _aurocs(store: Any, rows: Iterable[Row]) -> dict[str, float]:
    """Chance that a true step outscores the first untrue one, by signal; later steps are left out."""
    from pipeline.embedded.problems.truth import first_error
    from pipeline.prm.evaluate import step_auroc

    wrong = {}
    for finished in store.journal(0):
        for candidate in finished.candidates:
            found = first_error(finished.problem, candidate.solution.step_texts())
            if found is not None:
                wrong[candidate.solution.id] = found
    scores: dict[str, list[float]] = defaultdict(list)
    truths: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        at = wrong.get(row["solution_id"])
        # What follows an error has no agreed truth.
        if at is None or (0 <= at < row["step"]):
            continue
        for name in _SIGNALS:
            if row[name] is not None:
                scores[name].append(row[name])
                truths[name].append(row["step"] != at)
    return {name: round(step_auroc(scores[name], truths[name]), 3) for name in scores}


def signals_auroc() -> Row:
    """Best AUROC of a log-probability signal for "this step is true", on the embedded model's own solutions;
    baseline: the best of those that need the reference answer, with the answers of other problems."""
    from pipeline.methods import probing
    from pipeline.methods.stored import Run, Stored
    from schemas.derive import SignalSettings

    class Shuffled(Run):
        """Every problem with the answer of the next one."""

        def __iter__(self) -> Any:
            all_of_them = [*super().__iter__()]
            # Turned by one place: every answer is used once, and hardly ever with its own problem.
            for stored, other in zip(all_of_them, all_of_them[1:] + all_of_them[:1], strict=True):
                answer = other.finished.problem.answer
                problem = stored.finished.problem.model_copy(update={"answer": answer})
                finished = stored.finished.model_copy(update={"problem": problem})
                yield Stored(finished, stored.rollouts, stored.prompt)

    with TemporaryDirectory() as folder:
        problems = {"source": "embedded", "limit": PROBLEMS}
        propose = {"kind": "sample", "n": 4}
        store = _seal(Path(folder), {"name": "signals", "problems": problems, "propose": propose})
        settings = SignalSettings(probes=5)
        rows = list(probing.rows(Run(store), settings))
        true = _aurocs(store, rows)
        shuffled = _aurocs(store, probing.rows(Shuffled(store), settings))
    best = max(true, key=lambda name: true[name])
    return {
        "value": true[best],
        "unit": f"AUROC of {best}",
        "baseline": max(shuffled[name] for name in _NEEDS_THE_ANSWER),
        "n": len(rows),
        "details": {
            "what": "on the embedded model's own solutions; baseline: with other problems' answers",
            "auroc": true,
            "with_other_answers": {name: shuffled[name] for name in _NEEDS_THE_ANSWER},
        },
    }


def quality_correlation() -> Row:
    """Correlation of ReST-MCTS* values with the true success rate, over the steps of trees on the simulated
    policy at five rates of slips; baseline: that of the share of right leaves."""
    from statistics import correlation

    from pipeline.methods import quality
    from pipeline.methods.stored import Run
    from pipeline.policies.simulated import SimulatedPolicy, read_states
    from schemas.derive import QualitySettings

    values, shares, truths = [], [], []
    with TemporaryDirectory() as folder:
        # From easy to hard problems: with one rate, the spread of true values would be too narrow to
        # correlate with.
        for slip in (0.05, 0.1, 0.15, 0.25, 0.4):
            policy = SimulatedPolicy(slip=slip, n_steps=8)
            for row in quality.rows(Run(_simulated(Path(folder), slip)), QualitySettings()):
                values.append(row["value"])
                shares.append(row["correct"] / row["n"])
                truths.append(policy.value(read_states(row["prefix"] + row["text"])))
    return {
        "value": correlation(values, truths),
        "unit": "Pearson's r",
        "baseline": correlation(shares, truths),
        "n": len(values),
    }


def _simulated(folder: Path, slip: float) -> Any:
    config = {
        "name": f"quality-{slip}",
        "policy": {"kind": "simulated", "slip": slip, "n_steps": 8},
        "propose": {"kind": "sample", "n": 4},
        "annotate": [{"kind": "monte_carlo", "rollouts": 8}],
    }
    lines = [json.dumps({"text": f"Problem {i}", "answer": "right"}) for i in range(40)]
    (folder / "problems.jsonl").write_text("\n".join(lines) + "\n")
    config["problems"] = {"source": "jsonl", "path": str(folder / "problems.jsonl")}
    return _seal(folder, config)
