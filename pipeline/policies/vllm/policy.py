"""A policy on a vLLM engine inside this program, without a server; on CUDA and on vLLM's CPU build."""

import asyncio
import gc
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pipeline.policies.admission import Gate
from pipeline.policies.base import Completion, Prompt, Sampling, TokenLogprobs, Usage
from pipeline.policies.chat import opening, with_options
from pipeline.policies.tokens import folder_revision, prompt_ids, text_start
from pipeline.policies.vllm.settings import engine_settings, import_vllm
from schemas.errors import BackendError, UserError
from schemas.records import StopReason

# Any other reason (`abort`, or none) means that the engine gave the request up: no completion.
_STOPS: dict[str | None, StopReason] = {"stop": "stop", "length": "length"}


class VllmPolicy:
    """vLLM's asynchronous engine: every call is one request, batched with all others under way.

    `dtype` `auto` means float32 on a CPU, the checkpoint's own type on a GPU. `cache_gb` is the cache's
    memory on a CPU; a GPU uses vLLM's share of its memory. `chat` asks through the model's chat template,
    which is given `chat_template_kwargs`. `revision` is a branch, tag or commit of a Hub name, `lora` the
    folder of an adapter, and `engine` holds further arguments of vLLM's engine.
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
        chat_template_kwargs: Mapping[str, Any] | None = None,
        revision: str | None = None,
        lora: str = "",
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.revision = model, folder_revision(model) or revision or ""
        self._asked_revision, self._lora_folder, self._settings = revision, lora, dict(engine or {})
        self._lora: Any = None
        self._opening, self.usage = "", Usage()
        self._template_options = dict(chat_template_kwargs or {})
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
            stop_token_ids=list(sampling.stop_token_ids) or None,
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
        begun = "" if prompt.prefix else self._opening
        done = [Completion(begun + o.text, _STOPS[o.finish_reason], len(o.token_ids)) for o in found]
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
                {"prompt_token_ids": ids}, params, f"{next(self._names)}", lora_request=self._lora
            ):
                final = reply
            self.usage.count(len(ids), getattr(final, "num_cached_tokens", None) or 0)
        except EngineDeadError as error:
            raise BackendError(f"{self.model}: the engine died: {error}") from error
        return final

    def _check(self) -> None:
        if self._engine is None:
            raise BackendError(f"{self.model}: the engine is not running")

    def _start(self) -> None:
        on_cpu = import_vllm()
        from transformers import AutoTokenizer
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        own: dict[str, Any] = {"model": self.model, "revision": self._asked_revision, "dtype": self._dtype}
        own |= {"max_model_len": self._max_len, "max_num_seqs": self._max_batch}
        settings = engine_settings(
            own, self._settings, on_cpu=on_cpu, cache_bytes=self._cache_bytes, lora=self._lora_folder
        )
        try:
            self._tokenizer = _tokenizer(AutoTokenizer, settings)
            # No local name for it: errors that vLLM caught while importing keep this frame alive for good.
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.model}: not a model that vLLM can load here: {error}") from None
        if self._chat:
            self._opening = opening(with_options(self._tokenizer, self._template_options))
        if self._lora_folder:
            self._lora = LoRARequest("lora", 1, self._lora_folder)
        self._max_len = self._engine.model_config.max_model_len
        cache = self._engine.vllm_config.cache_config
        # Known only now. Requests beyond the cache make the engine evict others and compute them again.
        self._gate.tokens = cache.num_gpu_blocks * cache.block_size


def _tokenizer(library: Any, settings: Mapping[str, Any]) -> Any:
    """The tokenizer that the engine itself uses."""
    name = settings.get("tokenizer") or settings["model"]
    return library.from_pretrained(
        name,
        local_files_only=Path(name).is_dir(),
        revision=settings.get("tokenizer_revision") or settings["revision"] or "main",
        trust_remote_code=settings.get("trust_remote_code", False),
    )
