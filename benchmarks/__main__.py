"""`make bench`: one JSON object a line: bench, value, unit, baseline, ratio, n, details."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

Figures = dict[str, Any]


def policy_transformers() -> Figures:
    """Tokens/s of our batched sampling against `generate` of transformers on the same model and prompts."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipeline.embedded.truth import problems
    from pipeline.policies.base import Prompt, Sampling
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.transformers import TransformersPolicy
    from pipeline.rollouts import fill, load_template

    template, n, longest = load_template("embedded_solve"), 8, 120
    prompts = [fill(template, problem=problem.text) for problem in problems(32, seed=0)]

    async def ours() -> tuple[int, float]:
        async with TransformersPolicy(str(EMBEDDED)) as policy:
            start = time.perf_counter()
            drawn = await asyncio.gather(
                *(
                    policy.sample(Prompt(p), n, Sampling(max_tokens=longest, seed=i))
                    for i, p in enumerate(prompts)
                )
            )
            return sum(c.tokens for group in drawn for c in group), time.perf_counter() - start

    tokens, seconds = asyncio.run(ours())
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32).eval()
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
    baseline_seconds = time.perf_counter() - start
    written = out[:, batch.input_ids.shape[1] :]
    ends = written == tokenizer.eos_token_id
    useful = int((ends.cumsum(1) - ends.long() == 0).sum())
    value, baseline = tokens / seconds, useful / baseline_seconds
    return {"value": value, "unit": "tokens/s", "baseline": baseline, "n": len(prompts) * n}


def verifiers_speed() -> Figures:
    """Steps/s of the arithmetic verifier on reference solutions, beside math-verify with a pair a step."""
    from math_verify import parse, verify

    from pipeline.embedded.truth import problems
    from pipeline.segment import segment
    from verifiers.arithmetic import Arithmetic
    from verifiers.context import StepContext

    verifier, contexts = Arithmetic(), []
    for problem in problems(300, seed=0):
        steps = tuple(step.text for step in segment(problem.reference or ""))
        contexts += [StepContext(problem, steps[: i + 1]) for i in range(len(steps))]
    start = time.perf_counter()
    for context in contexts:
        verifier.check(context)
    seconds = time.perf_counter() - start
    pairs = 100
    start = time.perf_counter()
    for i in range(pairs):
        verify(
            parse(f"${i} + 7$", parsing_timeout=None),
            parse(f"${i + 7}$", parsing_timeout=None),
            timeout_seconds=None,
        )
    baseline = pairs / (time.perf_counter() - start)
    return {"value": len(contexts) / seconds, "unit": "steps/s", "baseline": baseline, "n": len(contexts)}


def verifiers_hostile() -> Figures:
    """Attack programs that the sandbox stopped; the baseline is all of them."""
    from benchmarks.hostile import sandbox

    return sandbox()


BENCHES: dict[str, Callable[[], Figures]] = {
    "policy.transformers": policy_transformers,
    "verifiers.arithmetic": verifiers_speed,
    "verifiers.hostile": verifiers_hostile,
}


def main() -> None:
    """Run them all."""
    for name, bench in BENCHES.items():
        figures = bench()
        figures["ratio"] = round(figures["value"] / figures["baseline"], 3)
        figures |= {key: round(figures[key], 1) for key in ("value", "baseline")}
        print(json.dumps({"bench": name, "details": (bench.__doc__ or "").strip(), **figures}), flush=True)


if __name__ == "__main__":
    main()
