"""A policy on plain transformers, for machines without an inference server.

One thread runs the model; callers put their requests into its queue and wait for the results.
"""

import asyncio
import io
import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from pipeline.policies.admission import Gate
from pipeline.policies.base import Completion, Prompt, Sampling, TokenLogprobs, Usage
from pipeline.policies.chat import opening, with_options
from pipeline.policies.tokens import folder_revision, prompt_ids, text_start
from pipeline.policies.transformers.decoding import Decoder
from pipeline.policies.transformers.library import quiet
from pipeline.policies.transformers.rows import Job
from pipeline.policies.transformers.scoring import Score, score
from schemas.errors import BackendError, UserError

log = logging.getLogger(__name__)


class TransformersPolicy:
    """A causal language model of the transformers library.

    `model` is a folder or a Hub name; `device` `auto` takes a GPU where there is one. `max_batch` sequences
    run at once, and their cache is what memory goes to. `revision` is a branch, tag or commit of a Hub name.
    `chat` asks through the model's chat template, which is given `chat_template_kwargs`.
    """

    kind = "transformers"

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "float32",
        max_batch: int = 256,
        max_model_len: int | None = None,
        threads: int | None = None,
        revision: str | None = None,
        chat: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.revision = model, folder_revision(model)
        self._asked_revision, self._opening = revision, ""
        self._template_options = dict(chat_template_kwargs or {})
        self.usage = Usage()
        self._device, self._dtype, self._threads = device, dtype, threads
        self._max_batch, self._max_len, self._chat = max_batch, max_model_len, chat
        self._waiting: queue.SimpleQueue[Job | Score | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._tokenizer: Any = None
        self._broken: BaseException | None = None
        # Free rows are filled an eighth of the batch at a time (`_decode_once`), so a second batch must stand
        # ready.
        self._gate = Gate(2 * max_batch)

    async def __aenter__(self) -> Self:
        decoder = await asyncio.to_thread(self._load)
        self._worker = threading.Thread(target=self._serve, args=(decoder,), name="decode", daemon=True)
        self._worker.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        worker, self._worker = self._worker, None  # from here on `_check` refuses new requests
        self._waiting.put(None)  # tells the thread to end
        if worker is not None:
            await asyncio.to_thread(worker.join)

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions; cut off before they begin when the prompt leaves no room to answer."""
        self._check()
        if sampling.json_schema:
            raise UserError(f"{self.model}: a transformers policy cannot be held to a JSON schema")
        ids = prompt_ids(self._tokenizer, prompt, chat=self._chat)
        limit = min(sampling.max_tokens, (self._max_len or 1 << 30) - len(ids))
        if not ids or limit < 1 or n < 1:
            return [Completion("", "length") for _ in range(n)]
        begun = "" if prompt.prefix else self._opening
        async with self._gate.hold(len(ids), n, limit) as request:
            self._check()  # it may have closed while this waited
            found: list[Completion] = await self._ask(
                lambda settle: Job(ids, sampling, limit, [None] * n, settle)
            )
            request.wrote = [done.tokens for done in found]
            self.usage.count(len(ids))
        return [replace(done, text=begun + done.text) for done in found] if begun else found

    async def logprob(self, prompt: Prompt, texts: Sequence[str]) -> list[TokenLogprobs | None]:
        """Log-probabilities of every text's tokens, see `Scorer`."""
        self._check()
        found = [text_start(self._tokenizer, prompt, text, chat=self._chat) for text in texts]
        most = self._max_len or 1 << 30
        entries = [entry if entry and entry[1] and len(entry[0]) <= most else None for entry in found]
        scored: list[TokenLogprobs | None] = await self._ask(lambda settle: Score(entries, settle))
        return scored

    def _check(self) -> None:
        if self._worker is None or self._broken is not None:
            raise BackendError(f"{self.model}: the decoder is not running: {self._broken or 'not entered'}")

    async def _ask(self, job_of: Callable[[Callable[[Any, BaseException | None], None]], Job | Score]) -> Any:
        """Hand a job to the decode thread and wait for what it settles."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        # The decode thread calls this; a future may only be touched by its own event loop.
        def settle(done: Any, error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_settle, future, done, error)

        job = job_of(settle)
        self._waiting.put(job)
        try:
            self._check()  # a thread that had ended before does not see the job, and one that ends now does
            return await future
        finally:
            job.over = True

    def _load(self) -> Decoder:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        device = self._device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        local = Path(self.model).is_dir()
        try:
            which: dict[str, Any] = {"local_files_only": local, "revision": self._asked_revision or "main"}
            self._tokenizer = AutoTokenizer.from_pretrained(self.model, **which)
            with quiet():
                model = AutoModelForCausalLM.from_pretrained(self.model, dtype=self._dtype, **which)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.model}: not a model that transformers can load: {error}") from None
        if self._chat:
            self._opening = opening(with_options(self._tokenizer, self._template_options))
        model.to(device).eval()
        # Beyond its trained positions a model writes nonsense, whatever the configuration allows.
        most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._max_len = min(self._max_len or most or 1 << 30, most or 1 << 30)
        self.revision = self.revision or str(getattr(model.config, "_commit_hash", None) or "")
        return Decoder(model, self._tokenizer, self._max_batch)

    def _serve(self, decoder: Decoder) -> None:
        """What the decode thread runs until the policy closes: take requests, decode, deliver."""
        pending: deque[tuple[Job, int]] = deque()
        scores: list[Score] = []
        try:
            with torch.inference_mode():
                while self._take(pending, scores, idle=not pending and not decoder.rows.count):
                    score(decoder.model, scores)
                    scores.clear()
                    self._decode_once(decoder, pending)
            error: BaseException = BackendError(f"{self.model}: closed while completions were owed")
        except BaseException as fault:  # the thread must not die with callers waiting: they raise it instead
            log.exception("the decode thread of %s failed", self.model)
            self._broken = error = fault
        # Requests that came too late, or never got a row, have callers too: none may wait forever.
        while not self._waiting.empty():
            match self._waiting.get():
                case Job() as late:
                    pending.append((late, 0))
                case Score() as texts:
                    scores.append(texts)
        for owed in scores:
            owed.settle(None, error)
        for job in {owner for owner, _ in (*pending, *decoder.rows.owners)}:
            job.settle(None, error)

    def _take(self, pending: deque[tuple[Job, int]], scores: list[Score], *, idle: bool) -> bool:
        """Move new calls to `pending` and `scores`; False when the policy closes."""
        while idle or not self._waiting.empty():
            job = self._waiting.get()
            if job is None:
                return False
            idle = False
            if isinstance(job, Score):
                scores.append(job)
            else:
                pending.extend((job, index) for index in range(len(job.results)))
        return True

    def _decode_once(self, decoder: Decoder, pending: deque[tuple[Job, int]]) -> None:
        rows = decoder.rows
        decoder.drop([row for row, (job, _) in enumerate(rows.owners) if job.over])
        starts = decoder.fitting(pending)
        # A few rows at a time would prefill one prompt at a time; so wait until they are an eighth of the
        # batch.
        if starts and len(starts) >= min(len(pending), -(-(rows.count + len(starts)) // 8)):
            decoder.admit([(job, index) for job, index in starts if not job.over])
            for _ in starts:  # only now: where that failed, they are still owed an error
                pending.popleft()
        if rows.count:
            decoder.step()


def convert_gguf(source: Path, target: Path, *, begins: bool) -> None:
    """Unpack a GGUF file to a bfloat16 checkpoint with its tokenizer in the new folder `target`.

    `begins` says whether a text begins with the BOS token.
    """
    quantised = GgufConfig(dequantize=True)  # a packed model can be run but not saved
    options: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    # The GGUF reader draws its progress bar without asking whether stderr is a terminal.
    shown = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
    with quiet(), shown:
        model = AutoModelForCausalLM.from_pretrained(
            source.parent, dtype=torch.bfloat16, quantization_config=quantised, **options
        )
        model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
    # The GGUF reader loses this setting. Our own backends add a BOS token where there is one (`prompt_ids`),
    # but a server that loads this folder relies on the tokenizer's files. SmolLM2 has `<|im_start|>` for BOS,
    # yet begins no text with it: its chat template writes it.
    if not begins:
        tokenizer.bos_token = None
    tokenizer.add_bos_token = begins
    tokenizer.save_pretrained(target)


def _settle(future: "asyncio.Future[Any]", done: Any, error: BaseException | None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if done is not None:
        future.set_result(done)
    elif error is not None:
        future.set_exception(error)
