"""What a library would give in place of our worker pool, retries and decoder: speed, and promises kept.

`pip install pebble openai` for the first two; see `libraries` for the rest.
"""

import asyncio
import multiprocessing
import operator
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.libraries import Figures, weight
from verifiers.isolation.workers import Pool

_CALLS = 200
# A program that starts a pool, gives its worker a power of 95 million digits, and says so: it is then killed.
_STARTER = """
import multiprocessing, operator, os, sys, threading, time
if __name__ == "__main__":
    if sys.argv[1] == "ours":
        from verifiers.isolation.workers import Pool
        pool, ask = Pool(1), dict(timeout_s=600, memory_mb=2048)
        print(pool.run(os.getpid, (), timeout_s=20, memory_mb=512).value, flush=True)
        threading.Thread(target=pool.run, args=(operator.pow, (9, 10**8)), kwargs=ask, daemon=True).start()
    else:
        from pebble import ProcessPool
        pool = ProcessPool(1, context=multiprocessing.get_context(sys.argv[1]))
        print(pool.schedule(os.getpid).result(), flush=True)
        pool.schedule(operator.pow, (9, 10**8), timeout=600)
    time.sleep(1)
    print("busy", flush=True)
    time.sleep(600)
"""


def workers() -> Figures:
    """Seconds a warm call by `Pool` against pebble's `ProcessPool` (spawn), and what each does with a worker
    stuck in C: seconds until a limit of 0.5 s is kept, and whether it outlives a starter that is killed."""
    from pebble import ProcessPool

    ours = Pool(1)
    theirs = ProcessPool(1, context=multiprocessing.get_context("spawn"))

    def call_ours(function: Callable[..., Any], *args: Any, timeout_s: float = 20.0) -> Any:
        return ours.run(function, args, timeout_s=timeout_s, memory_mb=256).failure

    def call_theirs(function: Callable[..., Any], *args: Any, timeout_s: float = 20.0) -> Any:
        return type(theirs.schedule(function, args, timeout=timeout_s).exception()).__name__

    calls = {"ours": call_ours, "pebble": call_theirs}
    details: Figures = {
        "first_call_s": {name: _wall(lambda call=call: call(os.getpid)) for name, call in calls.items()},
        "stuck_in_c_s": {name: _wall(lambda call=call: call(operator.pow, 9, 10**9, timeout_s=0.5))
                         for name, call in calls.items()},
        "call_after_that_s": {name: _wall(lambda call=call: call(os.getpid)) for name, call in calls.items()},
        "outlives_killed_starter": {kind: _outlives(kind) for kind in ("ours", "spawn", "fork")},
    }  # fmt: skip
    warm: dict[str, list[float]] = {"ours": [], "pebble": []}
    # Taking turns: what else runs on the machine falls on both alike.
    for _ in range(_CALLS):
        for name, call in calls.items():
            warm[name].append(_wall(lambda call=call: call(operator.add, 1, 2)))
    ours.close()
    theirs.stop()
    theirs.join()
    return {
        "value": statistics.median(warm["ours"]),
        "unit": "s",
        "baseline": statistics.median(warm["pebble"]),
        "n": _CALLS,
        "details": {**details, **weight("pebble", of=("pebble",))},
    }


def _wall(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 5)


def _outlives(kind: str) -> bool:
    """Whether a worker in the middle of `9**(10**8)` is there 5 s after its starter was killed."""
    starter = subprocess.Popen([sys.executable, "-c", _STARTER, kind], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    worker = int(starter.stdout.readline())
    starter.stdout.readline()
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    # Time for either pool to notice that its starter is gone.
    time.sleep(5)
    try:
        with open(f"/proc/{worker}/stat", encoding="ascii") as stat:
            # A zombie (Z) has ended and waits for its parent to ask; it counts as gone.
            there = stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
    if there:
        os.kill(worker, signal.SIGKILL)
    return there


_ASKED = 60
_FAULTS: dict[str, Figures] = {"20 requests a second": {"faults": (), "share": 1.0, "limit_per_s": 20.0}} | {
    f"one call in three: {name}": {"faults": (name,), "share": 0.33, "limit_per_s": 0.0}
    # A refusal, a reply that never ends in time or in size, one that is broken, and one that is empty.
    for name in ("500 in HTML", "drips", "endless body", "half JSON", "no choices")
}


def retries() -> Figures:
    """Share of requests that come to what a good server says, by our server policy against the OpenAI client
    with its own retries (as many, and the same time limit); `details` has each kind of fault."""
    from benchmarks.faulty import FaultyServer

    kinds: Figures = {}
    with FaultyServer() as server:
        good = asyncio.run(_by_client(server.url))
        for name, faults in _FAULTS.items():
            kinds[name] = {}
            for who, ask in {"ours": _by_policy, "client": _by_client}.items():
                server.set(*faults["faults"], share=faults["share"], limit_per_s=faults["limit_per_s"])
                start = time.perf_counter()
                found = asyncio.run(ask(server.url))
                alike = sum(a == b for a, b in zip(found, good, strict=True))
                seconds = round(time.perf_counter() - start, 2)
                kinds[name][who] = {"alike": alike, "calls": server.calls, "seconds": seconds}
    shares = {who: statistics.mean(kind[who]["alike"] / _ASKED for kind in kinds.values())
              for who in ("ours", "client")}  # fmt: skip
    return {
        "value": shares["ours"],
        "unit": "share of requests",
        "baseline": shares["client"],
        "n": _ASKED * len(kinds),
        "details": {**kinds, **weight("openai", "tenacity", of=("openai", "tenacity"))},
    }


async def _by_policy(url: str) -> list[str | None]:
    from pipeline.policies.base import Prompt, Sampling
    from pipeline.policies.server.policy import ServerPolicy
    from schemas.errors import BackendError

    async with ServerPolicy(url, "m", timeout_s=1.0, retries=2, backoff_s=0.05, patience_s=20.0) as policy:

        async def one(place: int) -> str | None:
            try:
                (done,) = await policy.sample(
                    Prompt(f"problem {place}"), 1, Sampling(max_tokens=64, seed=place)
                )
            except BackendError:
                return None
            return done.text

        return await asyncio.gather(*map(one, range(_ASKED)))


async def _by_client(url: str) -> list[str | None]:
    from openai import AsyncOpenAI, OpenAIError

    async with AsyncOpenAI(base_url=url, api_key="none", timeout=1.0, max_retries=2) as client:

        async def one(place: int) -> str | None:
            try:
                async with asyncio.timeout(30):
                    said = await client.completions.create(
                        model="m", prompt=f"problem {place}", max_tokens=64, seed=place
                    )
                return said.choices[0].text
            except (OpenAIError, TimeoutError, ValueError, LookupError, TypeError, AttributeError):
                return None

        return await asyncio.gather(*map(one, range(_ASKED)))


def decoding() -> Figures:
    """Tokens/s of our decoder against transformers' continuous batching (`generate_batch`) on the embedded
    model, and the completions of two prompts that change when two more prompts are asked beside them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig, GenerationConfig

    from pipeline.policies.opening import EMBEDDED

    prompts, n, longest = _prompts(4), 4, 60
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    ids = [tokenizer(prompt).input_ids for prompt in prompts]
    settings = GenerationConfig(
        # A high temperature, so that a small change of a probability soon shows in the texts.
        do_sample=True, top_k=0, temperature=2.0, num_return_sequences=n, max_new_tokens=longest,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip

    def theirs(order: Sequence[int]) -> tuple[list[list[int]], float]:
        model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32).eval()
        start = time.perf_counter()
        found = model.generate_batch(
            [ids[i] for i in order], generation_config=settings,
            # By default it takes most of the machine's memory for its cache.
            continuous_batching_config=ContinuousBatchingConfig(
                seed=0, num_blocks=64, max_batch_tokens=512, use_async_batching=False
            ),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        groups = [list(output.generated_tokens) for output in found.values()]
        by_prompt = {i: groups[at * n : at * n + n] for at, i in enumerate(order)}
        return [tokens for i in order for tokens in sorted(by_prompt[i])], seconds

    order = list(range(len(prompts)))
    one, seconds = theirs(order)
    other, _ = theirs(order[:2])
    ours, our_seconds = _ours(prompts, n, longest, order)
    ours_fewer, _ = _ours(prompts, n, longest, order[:2])
    return {
        "value": sum(done.tokens for done in ours) / our_seconds,
        "unit": "tokens/s",
        "baseline": sum(map(len, one)) / seconds,
        "n": len(one),
        "details": {
            "load": round(os.getloadavg()[0], 1),
            "changed_by_company": {
                "ours": sum(a.text != b.text for a, b in zip(ours, ours_fewer, strict=False)),
                "generate_batch": sum(a != b for a, b in zip(one, other, strict=False)),
            },
        },
    }


def _prompts(n: int) -> list[str]:
    from pipeline.embedded.problems.truth import problems
    from pipeline.prompts.filling import fill
    from pipeline.prompts.templates import load_template

    template = load_template("embedded_solve")
    return [fill(template, problem=problem.text) for problem in problems(n, seed=0)]


def _ours(prompts: Sequence[str], n: int, longest: int, order: Sequence[int]) -> tuple[list[Any], float]:
    from pipeline.policies.base import Prompt, Sampling
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.transformers.policy import TransformersPolicy

    async def drawn() -> tuple[list[Any], float]:
        async with TransformersPolicy(str(EMBEDDED)) as policy:
            start = time.perf_counter()
            samplings = {i: Sampling(temperature=2.0, max_tokens=longest, seed=i) for i in order}
            asked = (policy.sample(Prompt(prompts[i]), n, samplings[i]) for i in order)
            found = dict(zip(order, await asyncio.gather(*asked), strict=True))
            return [done for i in order for done in found[i]], time.perf_counter() - start

    return asyncio.run(drawn())
