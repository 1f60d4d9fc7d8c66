"""The policy protocol: a backend gives n continuations of a prompt and says why each of them stopped.

Everything above this module (annotators, proposers, methods) knows only these types, and so runs on any
backend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self, runtime_checkable

from schemas.errors import BackendError, UserError
from schemas.records import PolicyIdentity, StopReason, content_id


@dataclass(frozen=True)
class Prompt:
    """What the model reads: an instruction, and the beginning of its own answer.

    Backends continue `prefix` verbatim; a model that restarts instead would make every rollout estimate
    worthless.
    """

    text: str
    prefix: str = ""
    system: str = ""
    """The system's message. A model that is asked without a chat template reads it before `text`."""

    @property
    def instruction(self) -> str:
        """System's message and text as one, for whatever has no place of its own for a system's message."""
        return f"{self.system.rstrip()}\n\n{self.text}" if self.system.strip() else self.text

    @property
    def plain(self) -> str:
        """Everything that a model reads which is asked without a chat template."""
        return self.instruction + self.prefix


@dataclass(frozen=True)
class Sampling:
    """How completions are sampled. `seed` follows from the request's content (`schemas.records.seed_of`)."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    """Texts that end a completion; they are not part of it."""
    seed: int = 0
    json_schema: str = ""
    """A JSON schema, as text: the engine lets the model write nothing but JSON of this form. Backends that
    cannot do that raise UserError."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end a completion, beside the model's own end token; they are not part of it."""


@dataclass(frozen=True)
class Completion:
    """One continuation. `stopped` is `stop` when the model ended it, `length` when it was cut off or its
    prompt left no room to answer, `withheld` when a filter kept it back; only a `stop` may be graded."""

    text: str
    stopped: StopReason
    tokens: int = 0


@dataclass
class Usage:
    """Prompt tokens that a policy was asked with since it was opened, as far as its backend counts them, and
    how many of them the engine had in its cache."""

    prompt: int = 0
    cached: int = 0

    def count(self, prompt: int, cached: int = 0) -> None:
        """Add those of one request."""
        self.prompt, self.cached = self.prompt + prompt, self.cached + min(cached, prompt)


class Unfinished(BackendError):
    """The backend gave only some completions of a request. `drawn` holds these, by their place in it."""

    def __init__(self, why: str, drawn: dict[int, Completion]) -> None:
        super().__init__(why)
        self.drawn = drawn


class Sampler(Protocol):
    """Anything that can be asked for completions: a policy, or a wrapper around one."""

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, the i-th of them fixed by `sampling.seed + i`.

        Raises BackendError, often an `Unfinished`, when the backend failed to give one: a failure is never a
        completion and never a vote. BackendGone means that the backend should not be asked again.
        """
        ...


class Policy(Sampler, Protocol):
    """A language model behind any backend. Use as an async context manager: leaving it frees the backend."""

    kind: str
    model: str
    revision: str

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...


TokenLogprobs = tuple[float, ...]
"""log P of every token of a text given what stands before it: natural logarithms, at temperature 1."""


@runtime_checkable
class Scorer(Protocol):
    """A policy that can also give the log-probability of a text that it did not write."""

    async def logprob(self, prompt: Prompt, texts: Sequence[str]) -> list[TokenLogprobs | None]:
        """One result a text, read right after the prompt and its prefix; an empty text has no tokens.

        None where prompt and text do not fit the model, or where the text's first token would begin inside
        the prompt. BackendError means that the backend is gone.
        """
        ...


def scorer(policy: Policy) -> Scorer:
    """The same policy, typed as a `Scorer`. UserError when its backend gives no log-probabilities."""
    if not isinstance(policy, Scorer):
        raise UserError(f'a {policy.kind} policy gives no log-probabilities: use "transformers" or "vllm"')
    return policy


# Cached: it is part of every solution's record, and a run has few prompts.
@lru_cache(maxsize=64)
def _digest(template: str) -> str:
    return content_id(template)


def identity(policy: Policy, prompt_template: str, sampling: Sampling) -> PolicyIdentity:
    """The policy and settings that wrote a text, as they stand in its record."""
    return PolicyIdentity(
        kind=policy.kind,
        model=policy.model,
        revision=policy.revision,
        prompt_digest=_digest(prompt_template),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
    )
