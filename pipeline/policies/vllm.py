"""A policy on a vLLM engine inside this program, without a server; on CUDA and on vLLM's CPU build."""

import asyncio
import gc
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pipeline.policies.admission import Gate
from pipeline.policies.base import Completion, Prompt, Sampling, TokenLogprobs
from pipeline.policies.tokens import folder_revision, prompt_ids, text_start
from schemas.errors import BackendError, UserError
from schemas.records import StopReason

_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
# Any other reason (`abort`, or none) means that the engine gave the request up: no completion.
_STOPS: dict[str | None, StopReason] = {"stop": "stop", "length": "length"}


class VllmPolicy:
    """vLLM's asynchronous engine: every call is one request, batched with all others under way.

    `dtype` `auto` means float32 on a CPU, the checkpoint's own type on a GPU. `cache_gb` is the cache's
    memory on a CPU; a GPU uses vLLM's share of its memory. `chat` asks through the model's chat template.
    """

    kind = "vllm"

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        max_model_len: int | None = None,
        max_batch: int = 256,
        cache_gb: float = 1.0,
        chat: bool = False,
    ) -> None:
        self.model, self.revision = model, folder_revision(model)
        self._dtype, self._max_len, self._max_batch = dtype, max_model_len, max_batch
        self._cache_bytes, self._chat = int(cache_gb * 2**30), chat
        self._engine: Any = None
        self._tokenizer: Any = None
        self._names = itertools.count()
        self._gate = Gate(max_batch)

    async def __aenter__(self) -> Self:
        # The engine binds to the running event loop, so it starts here and not in a thread.
        self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            if (reader := getattr(engine, "output_handler", None)) is not None:
                reader.cancel()  # else it may report the engine's end as a crash
                await asyncio.wait([reader])
            await asyncio.to_thread(engine.shutdown)
            del engine, reader
            gc.collect()  # it sits in reference cycles; collected at exit it would print a traceback

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions; cut off before they begin when the prompt leaves no room to answer."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        self._check()
        ids = prompt_ids(self._tokenizer, prompt, chat=self._chat)
        limit = min(sampling.max_tokens, self._max_len - len(ids) if self._max_len else sampling.max_tokens)
        if not ids or limit < 1 or n < 1:
            return [Completion("", "length") for _ in range(n)]
        draws = n if sampling.temperature > 0 else 1  # vLLM refuses n > 1 at temperature 0
        params = SamplingParams(
            n=draws,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=limit,
            stop=list(sampling.stop) or None,
            seed=sampling.seed,
            structured_outputs=StructuredOutputsParams(json=sampling.json_schema)
            if sampling.json_schema
            else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        async with self._gate.hold(len(ids), draws, limit) as request:
            final = await self._ask(ids, params)
            found = sorted(final.outputs, key=lambda out: out.index) if final is not None else []
            request.wrote = [len(out.token_ids) for out in found]
        if len(found) != draws or any(out.finish_reason not in _STOPS for out in found):
            raise BackendError(f"{self.model}: the engine gave up a request")
        done = [Completion(o.text, _STOPS[o.finish_reason], len(o.token_ids)) for o in found]
        return done if draws == n else done * n

    async def logprob(self, prompt: Prompt, texts: Sequence[str]) -> list[TokenLogprobs | None]:
        """Log-probabilities of every text's tokens, see `Scorer`."""
        self._check()
        return list(await asyncio.gather(*(self._score(prompt, text) for text in texts)))

    async def _score(self, prompt: Prompt, text: str) -> TokenLogprobs | None:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        entry = text_start(self._tokenizer, prompt, text, chat=self._chat)
        # The engine always samples at least one token after what it scores, and that one needs room too.
        if not entry or not entry[1] or (self._max_len and len(entry[0]) >= self._max_len):
            return None
        ids, start = entry
        if len(ids) == start:
            return ()
        params = SamplingParams(
            max_tokens=1, temperature=0, prompt_logprobs=0, output_kind=RequestOutputKind.FINAL_ONLY
        )
        async with self._gate.hold(len(ids), 1, 1):
            final = await self._ask(ids, params)
        found = final.prompt_logprobs if final is not None else None
        if not found or len(found) != len(ids):
            return None
        return tuple(float(found[at][ids[at]].logprob) for at in range(start, len(ids)))

    async def _ask(self, ids: list[int], params: Any) -> Any:
        """The engine's final output for a request; None when it gave none."""
        from vllm.v1.engine.exceptions import EngineDeadError

        self._check()  # the policy may have closed while this request waited at the gate
        final: Any = None
        try:
            # Leaving this loop, by cancellation too, makes the engine abort the request.
            async for reply in self._engine.generate(
                {"prompt_token_ids": ids}, params, f"{next(self._names)}"
            ):
                final = reply
        except EngineDeadError as error:
            raise BackendError(f"{self.model}: the engine died: {error}") from error
        return final

    def _check(self) -> None:
        if self._engine is None:
            raise BackendError(f"{self.model}: the engine is not running")

    def _start(self) -> None:
        # vLLM reads these while it is imported, so they are set before; what the user has set stays.
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import torch
        from transformers import AutoTokenizer

        on_cpu = not torch.cuda.is_available()
        if on_cpu:  # by default one core is kept for the scheduler: 2.7 times slower on two cores
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise UserError(f"vLLM cannot be imported ({error}): run `make setup-vllm`") from None
        settings: dict[str, Any] = {"dtype": self._dtype}
        if on_cpu:
            # Prefix caching works in whole blocks: 128 tokens by default, and 32 is the least allowed here.
            settings |= {"block_size": 32, "enforce_eager": True, "kv_cache_memory_bytes": self._cache_bytes}
            settings["dtype"] = "float32" if self._dtype == "auto" else self._dtype
            # A seeded request whose prompt is split over two steps kills the engine: vLLM rewinds its
            # generator, and a CPU generator cannot be rewound.
            settings["enable_chunked_prefill"] = False
        local = Path(self.model).is_dir()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(self.model, local_files_only=local)
            arguments = AsyncEngineArgs(
                model=self.model,
                max_model_len=self._max_len,
                max_num_seqs=self._max_batch,
                enable_log_requests=False,
                disable_log_stats=True,
                **settings,
            )
            # No local name for it: errors that vLLM caught while importing keep this frame alive for good.
            self._engine = AsyncLLM.from_engine_args(arguments)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.model}: not a model that vLLM can load here: {error}") from None
        self._max_len = self._engine.model_config.max_model_len
        cache = self._engine.vllm_config.cache_config
        # Known only now. Requests beyond the cache make the engine evict others and compute them again.
        self._gate.tokens = cache.num_gpu_blocks * cache.block_size
