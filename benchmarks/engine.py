"""How full the engine is kept: a whole OmegaPRM run against the same requests asked all at once.

A run records what it asked of the engine. The same prompts with the same seeds, which write the same tokens,
are then asked again with nothing between them and the engine. Run, repeat, repeat, run: a machine that is
busy with something else for a while slows both sides.
"""

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Row = dict[str, Any]
PROBLEMS = 400
_SETTINGS = (
    "--dtype=float32 --enforce-eager --block-size=32 --max-num-seqs=256 --max-model-len=1024"
    " --kv-cache-memory-bytes=1073741824 --no-enable-chunked-prefill --enable-prompt-tokens-details"
).split()
"""Those of the policy in process; a seeded request whose prompt is split over two steps kills the engine."""
# Sequences that the engine works on at once; with fewer under way it is not full.
_BATCH = 256
# Each side first once and last once: a machine that becomes slower or faster favours neither.
_ORDER = ("run", "raw", "raw", "run")


@dataclass
class Asked:
    """A request of a run: what was asked, when, and what came of it."""

    what: Any
    start: float
    end: float = 0.0
    prompt: int = 0
    cached: int = 0
    wrote: list[int] = field(default_factory=list)


@dataclass
class Clock:
    """Wall and CPU seconds of a stretch: of this program, of its event loop, and of the engine."""

    wall: float = 0.0
    here: float = 0.0
    loop: float = 0.0
    engine: float = 0.0

    @classmethod
    def now(cls, engine: Sequence[Any]) -> "Clock":
        spent = sum(sum(process.cpu_times()[:2]) for process in engine)
        return cls(time.perf_counter(), time.process_time(), time.thread_time(), spent)

    def since(self, start: "Clock") -> "Clock":
        return Clock(*(getattr(self, f) - getattr(start, f) for f in ("wall", "here", "loop", "engine")))


def in_process() -> Row:
    """Generated tokens/s of an OmegaPRM run on vLLM; baseline: the same requests queued in it at once."""
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.vllm.policy import VllmPolicy

    class Recorded(VllmPolicy):
        """Keeps what it asks of the engine."""

        asked: list[Asked] = []

        async def _ask(self, ids: list[int], params: Any) -> Any:
            found = Asked((ids, params), time.perf_counter(), prompt=len(ids))
            final = await super()._ask(ids, params)
            found.end, found.cached = time.perf_counter(), final.num_cached_tokens or 0
            found.wrote = [len(out.token_ids) for out in final.outputs]
            self.asked.append(found)
            return final

        async def forget(self) -> None:
            await self._engine.reset_prefix_cache()

    async def measure() -> Row:
        async with Recorded(str(EMBEDDED)) as policy:

            async def again(asked: Sequence[Asked]) -> int:
                finals = await asyncio.gather(*(VllmPolicy._ask(policy, *request.what) for request in asked))
                return sum(len(out.token_ids) for final in finals for out in final.outputs)

            return await _compare(policy, policy.asked, again, clean=policy.forget)

    return asyncio.run(measure())


async def _compare(
    policy: Any,
    asked: list[Asked],
    again: Callable[[Sequence[Asked]], Awaitable[int]],
    *,
    clean: Callable[[], Awaitable[object]],
) -> Row:
    """Run and repeat in turn, each from an empty prefix cache."""
    from pipeline.policies.base import Prompt, Sampling

    engine = _processes()
    # A call before the clock starts: the first one compiles and allocates.
    await policy.sample(Prompt("Problem:"), 8, Sampling(max_tokens=16))
    clocks: dict[str, list[Clock]] = {"run": [], "raw": []}
    tokens: dict[str, int] = {"run": 0, "raw": 0}
    with TemporaryDirectory() as folder:
        for turn, kind in enumerate(_ORDER):
            # An empty prefix cache for both: the second to ask would find the first one's prompts in it.
            await clean()
            if kind == "run":
                asked.clear()
            start = Clock.now(engine)
            if kind == "run":
                store = await _run(policy, Path(folder) / str(turn))
                tokens[kind] += sum(sum(request.wrote) for request in asked)
            else:
                tokens[kind] += await again(sorted(asked, key=lambda request: request.start))
            clocks[kind].append(Clock.now(engine).since(start))
        grading_s = _grading_s(store)
    value, baseline = (tokens[k] / sum(clock.wall for clock in clocks[k]) for k in ("run", "raw"))
    return {
        "value": value,
        "unit": "generated tokens/s",
        "baseline": baseline,
        "n": PROBLEMS,
        "details": {**_details(asked, clocks, tokens), "grading_s": round(grading_s, 3)},
    }


async def _run(policy: Any, folder: Path) -> Any:
    """A whole shard, from its problems to its journal, on an engine that is open already; its store."""
    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.shard import label_all
    from pipeline.labelling.tools import annotators_of
    from pipeline.runs.run_store import RunStore
    from schemas.config import RunConfig

    config = {
        "name": "engine",
        "root": str(folder),
        "problems": {"source": "embedded", "limit": PROBLEMS},
        "prompt": {"max_tokens": 400},
        "propose": {"kind": "omegaprm", "rollouts": 8, "searches": 6, "budget": 64},
    }
    store = RunStore.open(RunConfig.model_validate(config))
    read_problems(store)
    with store.writing(0) as writer:
        tools = annotators_of(store.config, policy)
        failures = (await label_all(store.owed(0), tools, writer, store.shard_budget(0))).failures
    if failures:
        raise RuntimeError(f"{len(failures)} problems failed; the first: {failures[0].reason}")
    return store


def _grading_s(store: Any) -> float:
    """Seconds to grade the completions of a run again; the event loop does it while the engine works."""
    from pipeline.sampling.roller import outcome_of

    problems = {item.problem.id: item.problem for item in store.journal(0)}
    lines = (store.path / "rollouts" / "00000.jsonl").read_text().splitlines()
    blocks = [json.loads(line) for line in lines]
    start = time.perf_counter()
    for block in blocks:
        for rollout in block["rollouts"]:
            outcome_of(problems[block["problem"]], rollout["prefix"] + rollout["text"])
    return time.perf_counter() - start


def _details(asked: Sequence[Asked], clocks: dict[str, list[Clock]], tokens: dict[str, int]) -> Row:
    """Where the time goes. Sequences under way are counted by request, so until its longest one ends."""
    begin, end = min(r.start for r in asked), max(r.end for r in asked)
    # A request starts as many sequences as it has completions; at each change the share of time before it is
    # known.
    changes = sorted([(r.start, len(r.wrote)) for r in asked] + [(r.end, -len(r.wrote)) for r in asked])
    hungry = idle = 0.0
    under_way, before, full = 0, begin, begin
    for at, change in changes:
        hungry += (at - before) * (under_way < _BATCH)
        idle += (at - before) * (under_way == 0)
        full = at if under_way >= _BATCH else full
        under_way, before = under_way + change, at
    seconds = {kind: [round(clock.wall, 2) for clock in found] for kind, found in clocks.items()}
    return {
        "requests": len(asked),
        "tokens": tokens,
        "seconds": seconds,
        "engine_cpu_s": {kind: round(sum(c.engine for c in found), 2) for kind, found in clocks.items()},
        "here_cpu_s": {kind: round(sum(c.here for c in found), 2) for kind, found in clocks.items()},
        "event_loop_cpu_s": {kind: round(sum(c.loop for c in found), 2) for kind, found in clocks.items()},
        "batch_not_full_share": round(hungry / (end - begin), 3),
        "nothing_asked_share": round(idle / (end - begin), 4),
        "draining_share": round((end - full) / (end - begin), 3),
        "prompt_tokens_cached_share": round(sum(r.cached for r in asked) / sum(r.prompt for r in asked), 3),
        "tokens_per_request": round(sum(sum(r.wrote) for r in asked) / len(asked), 1),
    }


def prefixes() -> Row:
    """Share of prompt tokens found in the cache when the prefixes of solutions are asked shortest first, as
    annotators do; baseline: longest first."""
    from pipeline.embedded.problems.truth import problems
    from pipeline.inputs.segment import prefix_of, segment
    from pipeline.policies.base import Prompt
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.tokens import prompt_ids
    from pipeline.policies.vllm.policy import VllmPolicy
    from pipeline.prompts.filling import fill
    from pipeline.prompts.templates import load_template

    async def measure(policy: Any, groups: list[list[list[int]]]) -> float:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        await policy._engine.reset_prefix_cache()
        # One token: only the prompts are of interest, and they are read whole all the same.
        one = SamplingParams(max_tokens=1, seed=1, output_kind=RequestOutputKind.FINAL_ONLY)
        finals = await asyncio.gather(*(policy._ask(ids, one) for group in groups for ids in group))
        asked = sum(len(ids) for group in groups for ids in group)
        return sum(final.num_cached_tokens or 0 for final in finals) / asked

    async def both() -> tuple[float, float, int]:
        groups = []
        async with VllmPolicy(str(EMBEDDED)) as policy:
            for problem in problems(40, seed=5):
                text = fill(load_template("embedded_solve"), problem=problem.text)
                steps = segment(problem.reference)
                begun = [Prompt(text, prefix_of(problem.reference, steps, i)) for i in range(len(steps))]
                groups.append([prompt_ids(policy._tokenizer, prompt, chat=False) for prompt in begun])
            shortest = await measure(policy, groups)
            longest = await measure(policy, [group[::-1] for group in groups])
        return shortest, longest, sum(map(len, groups))

    value, baseline, n = asyncio.run(both())
    return {"value": value, "unit": "share of prompt tokens", "baseline": baseline, "n": n}


@contextmanager
def serving(model: str = "embedded", *options: str) -> Iterator[str]:
    """The base_url of vLLM's OpenAI server with a model that we prepare. (The CPU build's command
    `vllm serve` is broken; the module behind it works in both builds.)"""
    import httpx

    from pipeline.policies.opening import model_path

    with socket.socket() as probe:
        # Port 0: the system chooses a free one.
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model_path(model)]
    command += ["--served-model-name", model, "--host", "127.0.0.1", "--port", str(port), *_SETTINGS]
    command += options
    # The developers' mode has a call that empties the prefix cache between two measurements.
    env = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    env |= {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while server.poll() is None:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def server() -> Row:
    """Generated tokens/s of an OmegaPRM run through vLLM's OpenAI server; baseline: the same requests as a
    plain HTTP load of equal concurrency."""
    import httpx

    from pipeline.policies.server.policy import ServerPolicy

    async def measure(url: str) -> Row:
        asked: list[Asked] = []
        async with ServerPolicy(url, "embedded") as policy:
            call = policy.endpoints.call

            async def recorded(
                path: str, body: bytes, *, read: Callable[[bytes], Any], **options: Any
            ) -> Any:
                found = Asked((url + path, body), time.perf_counter())

                def noted(reply: bytes) -> Any:
                    _read_usage(found, reply)
                    return read(reply)

                reply = await call(path, body, read=noted, **options)
                found.end = time.perf_counter()
                asked.append(found)
                return reply

            async def forget() -> None:
                async with httpx.AsyncClient(timeout=600, trust_env=False) as plain:
                    (await plain.post(url.removesuffix("/v1") + "/reset_prefix_cache")).raise_for_status()

            policy.endpoints.call = recorded  # type: ignore[method-assign]
            found = await _compare(policy, asked, _plain_load, clean=forget)
            return {**found, "details": {**found["details"], "concurrency": _most_under_way(asked)}}

    with serving() as url:
        return asyncio.run(measure(url))


async def _plain_load(requests: Sequence[Asked]) -> int:
    """Send the requests again, as many at once as the run had: more would be another load. Returns tokens.

    Each of them in turn has a client of its own, since httpx searches all connections of a client at a call.
    """
    import httpx

    waiting = iter(requests)

    async def one_after_the_other() -> int:
        tokens = 0
        async with httpx.AsyncClient(timeout=600, trust_env=False) as plain:
            for request in waiting:
                address, body = request.what
                reply = await plain.post(address, content=body, headers={"content-type": "application/json"})
                tokens += int(reply.json()["usage"]["completion_tokens"])
        return tokens

    return sum(await asyncio.gather(*(one_after_the_other() for _ in range(_most_under_way(requests)))))


def _read_usage(asked: Asked, reply: bytes) -> None:
    said = json.loads(reply)
    usage = said["usage"]
    asked.prompt = usage["prompt_tokens"]
    asked.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    # The server tells the sum over a request's choices only; their shares matter for no figure.
    asked.wrote = [usage["completion_tokens"] // len(said["choices"])] * len(said["choices"])
    asked.wrote[0] += usage["completion_tokens"] % len(said["choices"])


def _most_under_way(asked: Sequence[Asked]) -> int:
    changes = sorted([(r.start, 1) for r in asked] + [(r.end, -1) for r in asked])
    return max(itertools.accumulate(change for _, change in changes))


def _processes() -> list[Any]:
    """The engine's processes, children of this one."""
    import psutil

    return list(psutil.Process().children(recursive=True))
