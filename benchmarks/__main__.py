"""`make bench`, or `python -m benchmarks NAME ...`: one JSON object a line, also added to runs/bench.jsonl.

Its fields: bench, part, value, interval (95%), k, n, unit, baseline, ratio, details. A name also stands for
the benches below it. `--part kept` gives figures of the problems that no code was written on alone.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import (
    answers,
    bases,
    cluster_overhead,
    cluster_scale,
    determinism,
    embedded,
    engine,
    faults_kill,
    faults_ray,
    faults_server,
    faults_tamper,
    first_errors,
    house,
    humans,
    injected,
    judges,
    labels,
    labels_filter,
    libraries,
    libraries_running,
    logic,
    methods,
    mutations,
    natural,
    peers_distilabel,
    peers_fover,
    peers_math_verify,
    peers_search,
    prm,
    programs,
    rules,
    sandboxed,
    scale,
    scale_votes,
    search,
    segmenting,
    soak,
    start,
    tabular,
    verifier_speed,
    workers,
)
from benchmarks.corpora import only
from benchmarks.metering import Took, memory_gb, metered

Figures = dict[str, Any]
RECORD = Path("runs/bench.jsonl")


def policy_transformers() -> Figures:
    """Tokens/s of our batched sampling against `generate` of transformers on the same model and prompts. The
    memory is the whole process's at most, with its libraries, and apart from them what the decoder added."""
    from pipeline.embedded.problems.truth import problems
    from pipeline.policies.base import Prompt, Sampling
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.transformers.policy import TransformersPolicy
    from pipeline.prompts.filling import fill
    from pipeline.prompts.templates import load_template

    template, n, longest = load_template("embedded_solve"), 8, 120
    prompts = [fill(template, problem=problem.text) for problem in problems(32, seed=0)]

    took = Took()

    async def ours() -> tuple[int, float]:
        async with TransformersPolicy(str(EMBEDDED)) as policy:
            before = memory_gb()
            with metered(took):
                drawn = await asyncio.gather(
                    *(
                        policy.sample(Prompt(p), n, Sampling(max_tokens=longest, seed=i))
                        for i, p in enumerate(prompts)
                    )
                )
            return sum(c.tokens for group in drawn for c in group), before

    tokens, before = asyncio.run(ours())
    return {
        "value": tokens / took.wall_s,
        "unit": "tokens/s",
        "baseline": _generated_per_s(str(EMBEDDED), prompts, n, longest),
        "n": len(prompts) * n,
        "details": {
            **took.figures(),
            "added_gb": round(took.peak_gb - before, 3),
            "tokens_per_cpu_s": round(tokens / took.cpu_s),
        },
    }


def _generated_per_s(checkpoint: str, prompts: list[str], n: int, longest: int) -> float:
    """Tokens/s of the library's usual way: one padded batch, from the left, so that all texts go on at one
    place."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    start = time.perf_counter()
    out = model.generate(
        batch.input_ids,
        attention_mask=batch.attention_mask,
        do_sample=True,
        top_k=0,
        num_return_sequences=n,
        max_new_tokens=longest,
    )
    seconds = time.perf_counter() - start
    written = out[:, batch.input_ids.shape[1] :]
    ends = written == tokenizer.eos_token_id
    # Tokens up to and including the end; `generate` pads shorter texts of the batch, which is no work of use.
    return int((ends.cumsum(1) - ends.long() == 0).sum()) / seconds


BENCHES: dict[str, Callable[[], Figures]] = {
    "cluster.overhead": cluster_overhead.overhead,
    "cluster.soak": soak.cluster,
    "embedded.solves": embedded.solves,
    "engine.in_process": engine.in_process,
    "engine.prefixes": engine.prefixes,
    "engine.server": engine.server,
    "faults.tamper": faults_tamper.tamper,
    "determinism.rounding": determinism.rounding,
    "faults.kill": faults_kill.kill,
    "faults.ray": faults_ray.frozen,
    "faults.server": faults_server.server,
    "house.mutations": mutations.mutations,
    "house.table": house.table,
    "policy.transformers": policy_transformers,
    "quality.correlation": methods.quality_correlation,
    "cluster.scale": cluster_scale.scale,
    "scale.memory": scale.memory,
    "scale.problems": scale.problems,
    "scale.votes": scale_votes.votes,
    "signals.auroc": methods.signals_auroc,
    "libraries.auroc": libraries.auroc,
    "libraries.bootstrap": libraries.intervals,
    "libraries.expressions": libraries.expressions,
    "libraries.workers": libraries_running.workers,
    "libraries.retries": libraries_running.retries,
    "libraries.decoding": libraries_running.decoding,
    "judges.scripted": judges.scripted,
    "judges.consensus": judges.consensus,
    "judges.injected": injected.injected,
    "labels.filter": labels_filter.stops,
    "labels.humans": humans.humans,
    "labels.memory": labels.memory,
    "labels.vs_monte_carlo": labels.vs_monte_carlo,
    "labels.vs_omegaprm": labels.vs_omegaprm,
    "peers.distilabel": peers_distilabel.distilabel,
    "peers.fover": peers_fover.fover,
    "peers.math_verify": peers_math_verify.math_verify,
    "peers.openr": peers_search.openr,
    "prm.bases": bases.bases,
    "prm.exact_labels": prm.exact_labels,
    "segment.authors": segmenting.authors,
    "sequential.error_rate": search.error_rate,
    "search.first_error": search.first_error,
    "start.commands": start.commands,
    "start.overhead": start.overhead,
    "verifiers.answers": answers.answers,
    "verifiers.answers.speed": answers.speed,
    "verifiers.gsm8k_gold": natural.gsm8k_gold,
    "verifiers.humans": natural.humans,
    "verifiers.coverage": natural.coverage,
    "verifiers.first_errors": first_errors.first_errors,
    "verifiers.planted": natural.planted,
    "verifiers.provenance": natural.provenance,
    "verifiers.logic": logic.agreement,
    "verifiers.constraints": logic.constraints,
    "verifiers.rules": rules.rules,
    "verifiers.long": verifier_speed.long,
    "verifiers.reading": verifier_speed.reading,
    "verifiers.speed": verifier_speed.speed,
    "verifiers.speed.logic": logic.speed,
    "verifiers.speed.workers": workers.workers,
    "verifiers.code": programs.programs,
    "verifiers.tables": tabular.tables,
    "verifiers.hostile": verifier_speed.hostile,
    "verifiers.hostile.sandbox": sandboxed.sandbox,
}

ONLY_BY_NAME = frozenset({"cluster.soak"})
"""Left out where no bench is named: it takes as long as it is told."""
PARTED = frozenset(
    f"verifiers.{name}"
    for name in "gsm8k_gold humans coverage first_errors planted provenance logic rules".split()
)
"""Benches whose figures are given apart for the problems that the code was and was not written on."""


def figures_of(bench: Callable[[], Figures]) -> Figures:
    """What a bench found, rounded; a null value where its data are absent."""
    what = {"what": " ".join((bench.__doc__ or "").split())}
    try:
        found = bench()
    # Data and optional libraries are not everywhere; a bench without them must not end all the others.
    except FileNotFoundError as missing:
        return {"value": None, "details": {**what, "needs": f"STEPMINT_DATA: {missing}"}}
    except ModuleNotFoundError as missing:
        return {"value": None, "details": {**what, "needs": f"the library {missing.name}"}}
    ratio = round(found["value"] / found["baseline"], 3) if found["baseline"] else None
    rounded = {key: float(f"{found[key]:.5g}") for key in ("value", "baseline")}
    return {**found, **rounded, "ratio": ratio, "details": {**what, **found.get("details", {})}}


def _lines(name: str, part: str) -> Iterator[Figures]:
    """A bench's figures; of a bench on people's data those of the kept part first, then of the other."""
    if name not in PARTED:
        yield {"bench": name, **figures_of(BENCHES[name])}
        return
    for one in ("kept", "work") if part == "both" else (part,):
        with only(one):
            yield {"bench": name, "part": one, **figures_of(BENCHES[name])}


def main(arguments: list[str]) -> None:
    """Run those named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--part",
        choices=("both", "kept", "work", "all"),
        default="both",
        help="the part of the problems: one that the code was not written on, the other, or all as one",
    )
    asked = parser.parse_args(arguments)
    chosen = asked.names
    # `verifiers` stands for all benches whose name begins with `verifiers.`.
    names = [n for n in BENCHES if any(n == c or n.startswith(f"{c}.") for c in chosen)]
    names = names if chosen else [n for n in BENCHES if n not in ONLY_BY_NAME]
    if not names:
        raise SystemExit(f"no bench is called {' '.join(chosen)}; there are: {' '.join(BENCHES)}")
    RECORD.parent.mkdir(exist_ok=True)
    violated = False
    for name in names:
        for figures in _lines(name, asked.part):
            violated |= bool(figures["details"].get("violations"))
            line = json.dumps(figures, ensure_ascii=False)
            print(line, flush=True)
            with RECORD.open("a", encoding="utf-8") as record:
                record.write(line + "\n")
    if violated:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
