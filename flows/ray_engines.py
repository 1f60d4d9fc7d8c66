"""Engines on a Ray cluster that all shards of a run share (`[ray] engines`, docs/ray.md).

An engine is a Ray actor with GPUs of its own. It loads the models of the run once, and shards on any machine
ask it. So verifiers need no GPU, the batches of a few engines are filled by many shards, and the last shards
share all engines. Seeds fix every completion, so a call may be repeated anywhere: Ray starts an engine anew
whose machine died, and sends it the calls that were under way.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

from flows import progress
from pipeline.labelling.tools import Opener
from pipeline.policies import open_policy, scorer
from pipeline.policies.admission import Gate
from pipeline.policies.base import Completion, Policy, Prompt, Sampling, TokenLogprobs, Unfinished, Usage
from pipeline.policies.outside import IN_FLIGHT, OutsidePolicy
from schemas.config import PolicyConfig, RayConfig, TransformersConfig, VllmConfig
from schemas.config.effects import by_speed
from schemas.errors import BackendError, BackendGone, UserError

NAMESPACE = "stepmint"
_LIVES = 5
"""How often an engine is started anew whose process or machine died."""
_STRIKES = 3
"""Problems in a row whose calls fail until an engine ends itself, to be started anew: its model may be
broken. Several calls of one problem say nothing: there may be a prompt that a policy cannot answer."""
_CALLS = 10_000
"""Calls that an engine holds at once; a shard's gate sends few more than its batch has room for."""

_A_SERVERS = (
    "factory {!r}: makes a server's policy, which each shard has to try out and to ask itself: use "
    '`kind = "server"`, or leave `engines` out of [ray]'
)
_NONE_LEFT = "no engine of the cluster is left; the same command starts them anew"
_NO_ROOM = (
    "the Ray cluster had no room for an engine within ray.room_s = {:g} s: free GPUs or add nodes, or lower "
    "ray.num_gpus; the same command goes on"
)
_HERE = "here"
"""The group of calls which a model that loads in the event loop of the others does not keep waiting."""
_SAID_S = 15.0
"""When it is first said that engines wait for room; from then on every few minutes."""


@dataclass(frozen=True)
class Opened:
    """What an engine tells of a policy that it has opened."""

    kind: str
    model: str
    revision: str
    in_flight: int
    """Completions that it can be asked for at once."""


@dataclass(frozen=True)
class Failure:
    """An error of ours on its way from an engine: Ray would wrap it in one of its own."""

    kind: type[UserError] | type[BackendError]
    said: str
    drawn: dict[int, Completion] = field(default_factory=dict)

    @classmethod
    def of(cls, error: UserError | BackendError) -> "Failure":
        """What is left of an error when it is sent."""
        kind: type[UserError] | type[BackendError] = UserError
        if isinstance(error, BackendError):
            kind = BackendGone if isinstance(error, BackendGone) else BackendError
        return cls(kind, str(error), error.drawn if isinstance(error, Unfinished) else {})

    def error(self) -> UserError | BackendError:
        """The error that it was."""
        return Unfinished(self.said, self.drawn) if self.drawn else self.kind(self.said)


def _model_of(config: PolicyConfig) -> str:
    """Tells the policies of an engine apart. Settings of speed, which a run may get while engines are at it,
    make no other one: a model would be loaded again beside itself."""
    _, others = by_speed(config)
    return json.dumps(others)


Result = tuple[Any, int, int] | Failure
"""What a call gave, and the prompt tokens and those in the cache that were counted since the last reply."""


class Engine:
    """What runs in the actor: policies by their configuration, each opened when it is first asked for."""

    def __init__(self) -> None:
        self._stack, self._opening = AsyncExitStack(), asyncio.Lock()
        self._policies: dict[str, Policy] = {}
        self._told: dict[str, tuple[int, int]] = {}
        self._failed = set[str]()
        """Problems of which calls have failed since one was answered."""

    async def here(self) -> None:
        """Answered as soon as the cluster has room for the engine, also while it loads or generates: Ray
        gives it an event loop of its own (`started`)."""

    async def open(self, config: PolicyConfig) -> Opened | Failure:
        """Open a policy, unless it is open."""
        try:
            policy = await self._policy(config)
        except (UserError, BackendError) as error:
            return Failure.of(error)
        many = IN_FLIGHT
        if isinstance(policy, OutsidePolicy):
            many = policy.in_flight
        elif config.kind == "python":  # what remains of `checked_policy`: a server's policy
            return Failure.of(UserError(_A_SERVERS.format(config.factory)))
        elif isinstance(config, TransformersConfig | VllmConfig):
            many = config.in_flight
        return Opened(policy.kind, policy.model, policy.revision, many)

    async def sample(self, config: PolicyConfig, prompt: Prompt, n: int, sampling: Sampling) -> Result:
        """`Policy.sample` of one of the policies."""
        return await self._answered(config, prompt, lambda policy: policy.sample(prompt, n, sampling))

    async def logprob(self, config: PolicyConfig, prompt: Prompt, texts: Sequence[str]) -> Result:
        """`Scorer.logprob` of one of the policies."""
        return await self._answered(config, prompt, lambda policy: scorer(policy).logprob(prompt, texts))

    async def _answered(
        self, config: PolicyConfig, prompt: Prompt, ask: Callable[[Policy], Awaitable[Any]]
    ) -> Result:
        try:
            policy = await self._policy(config)
            found = await ask(policy)
        except (UserError, BackendError) as error:
            return self._failure(error, prompt)
        self._failed.clear()
        return found, *self._used(config, policy)

    async def _policy(self, config: PolicyConfig) -> Policy:
        name = _model_of(config)
        async with self._opening:
            if name not in self._policies:
                self._policies[name] = await self._stack.enter_async_context(open_policy(config))
        return self._policies[name]

    def _used(self, config: PolicyConfig, policy: Policy) -> tuple[int, int]:
        """What was used since somebody was told: every token is told once, to one of the shards."""
        usage = getattr(policy, "usage", None)
        now = (usage.prompt, usage.cached) if isinstance(usage, Usage) else (0, 0)
        name = _model_of(config)
        before, self._told[name] = self._told.get(name, (0, 0)), now
        return now[0] - before[0], now[1] - before[1]

    def _failure(self, error: UserError | BackendError, prompt: Prompt) -> Failure:
        if isinstance(error, BackendError) and not isinstance(error, Unfinished):
            self._failed.add(prompt.text)
        if len(self._failed) >= _STRIKES:
            os._exit(1)  # Ray starts it anew, and repeats what was under way
        return Failure.of(error)


class Shared:
    """A policy whose completions are made by engines of the cluster: a call goes to one that has least to
    do."""

    def __init__(self, config: PolicyConfig, engines: Sequence[Any], room_s: float = 600.0) -> None:
        self._config, self._engines, self._room_s = config, list(engines), room_s
        self.kind: str = config.kind
        self.model = self.revision = ""
        self.usage = Usage()
        self._under_way: dict[Any, int] = {}
        """Completions that were asked of each engine which is open."""
        self._opening: dict[Any, asyncio.Task[None]] = {}
        self._placed = set[Any]()
        """Engines for which the cluster had room."""
        self._gate = Gate(IN_FLIGHT)

    async def __aenter__(self) -> Self:
        """Open it on all engines, and wait for the first. The others join when they have loaded, or when
        the cluster has room for them."""
        self._opening = {engine: asyncio.create_task(self._open(engine)) for engine in self._engines}
        try:
            await self._until_open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        for one in self._opening.values():
            one.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, as the configured policy would give them. BackendGone where no engine is
        left."""
        async with self._gate.hold(len(prompt.plain), n, sampling.max_tokens) as request:
            found: list[Completion] = await self._call(n, "sample", prompt, n, sampling)
            request.wrote = [one.tokens for one in found]
        return found

    async def logprob(self, prompt: Prompt, texts: Sequence[str]) -> list[TokenLogprobs | None]:
        """Log-probabilities of every text's tokens, see `Scorer`."""
        found: list[TokenLogprobs | None] = await self._call(len(texts), "logprob", prompt, texts)
        return found

    async def _until_open(self) -> None:
        """Wait until an engine is open. Where none comes, what one of them failed with is raised."""
        while not self._under_way:
            failed = [error for one in self._opening.values() if one.done() and (error := one.exception())]
            waiting = {engine: one for engine, one in self._opening.items() if not one.done()}
            # The user's mistake is told at once: it would be the same on all engines.
            for error in failed:
                if isinstance(error, UserError):
                    raise error
            if not waiting:
                raise _gone(failed)
            # How long one loads does not count. Where none has room, none may ever find any.
            limit = None if self._placed & waiting.keys() else self._room_s
            ended, _ = await asyncio.wait(
                waiting.values(), timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended and not self._placed & waiting.keys():
                raise _gone(failed)

    async def _open(self, engine: Any) -> None:
        from ray.exceptions import RayActorError

        try:
            await engine.here.remote()
            self._placed.add(engine)
            opened = await self._answer(engine, engine.open.remote(self._config))
        except RayActorError as error:
            raise BackendGone(f"an engine of the cluster has died: {error}") from None
        except _NoRoom:
            raise BackendGone(_NONE_LEFT) from None
        if isinstance(opened, Failure):
            raise opened.error()
        self.kind, self.model, self.revision = opened.kind, opened.model, opened.revision
        self._gate.sequences = opened.in_flight
        self._under_way[engine] = 0
        self._gate.engines = len(self._under_way)
        self._gate.admit()

    async def _call(self, n: int, method: str, *arguments: Any) -> Any:
        from ray.exceptions import RayActorError

        while True:
            await self._until_open()  # the last one may have died while another loads
            # Each shard knows of its own calls alone: with few of them, all would ask the same engine first.
            engine = min(self._under_way, key=lambda one: (self._under_way[one], random.random()))
            self._under_way[engine] += n
            try:
                call = _awaited(getattr(engine, method).remote(self._config, *arguments))
                result: Result = await self._answer(engine, call)
            except (RayActorError, _NoRoom):
                # It died more often than it is started anew, or its machine did. Others may be there.
                self._under_way.pop(engine, None)
                self._gate.engines = max(1, len(self._under_way))
                continue
            finally:
                if engine in self._under_way:
                    self._under_way[engine] -= n
            if isinstance(result, Failure):
                raise result.error()
            found, asked, cached = result
            self.usage.count(asked, cached)
            return found

    async def _answer(self, engine: Any, call: Awaitable[Any]) -> Any:
        """What an engine answers. It may take long over it, but not without being there: where its machine
        has died, Ray waits for room for it without an end. _NoRoom when there was none for too long."""
        answer = asyncio.ensure_future(call)
        try:
            while not (await asyncio.wait({answer}, timeout=self._room_s))[0]:
                if not await self._is_here(engine) and not answer.done():
                    raise _NoRoom
            return await answer
        finally:
            answer.cancel()

    async def _is_here(self, engine: Any) -> bool:
        from ray.exceptions import RayActorError

        try:
            async with asyncio.timeout(self._room_s):
                await engine.here.remote()
        except TimeoutError:
            return False
        except RayActorError:  # it has died for good, which its answer says, too
            pass
        return True


class _NoRoom(Exception):  # noqa: N818 - what has happened to an engine, not a fault
    """An engine died, and the cluster has no room to start it anew."""


def _gone(failed: Sequence[BaseException]) -> BaseException:
    """Why no engine is there, as an error that ends the work: every call would fail."""
    match failed:
        case [BackendError() as error, *_]:
            return BackendGone(str(error))
        case [error, *_]:
            return error
    return BackendGone(_NONE_LEFT)


async def _awaited(reference: Any) -> Any:
    """The result of a call; where nobody waits for it any more, the call ends, too."""
    import ray

    try:
        return await reference
    except asyncio.CancelledError:
        ray.cancel(reference)
        raise


@contextmanager
def started(owner: str, asked: RayConfig) -> Iterator[None]:
    """Engines of a command, found by the name of its claims, as long as the context is open."""
    import ray

    # Ray counts no processors for them: they would take those that shards wait for.
    options: dict[str, Any] = {"num_cpus": 0, "num_gpus": asked.num_gpus, "max_concurrency": _CALLS}
    options |= {"max_restarts": _LIVES, "max_task_retries": -1, "scheduling_strategy": "SPREAD"}
    ray.method(concurrency_group=_HERE)(Engine.here)
    actor = ray.remote(concurrency_groups={_HERE: _CALLS})(Engine)
    engines = [
        actor.options(name=_name(owner, number), namespace=NAMESPACE, **options).remote()
        for number in range(asked.engines)
    ]
    try:
        if engines:
            _await_room(engines, asked)
        yield
    finally:
        for engine in engines:
            ray.kill(engine)


def _await_room(engines: Sequence[Any], asked: RayConfig) -> None:
    """Wait until the cluster has room for one of the engines, and say so meanwhile. BackendError where it has
    none for too long."""
    import ray

    here, begun, pause = [engine.here.remote() for engine in engines], time.monotonic(), _SAID_S
    while True:
        left = begun + asked.room_s - time.monotonic()
        if ray.wait(here, timeout=max(0.0, min(left, pause)))[0]:
            return
        if left <= pause:
            raise BackendError(_NO_ROOM.format(asked.room_s))
        free, there = (found.get("GPU", 0) for found in (ray.available_resources(), ray.cluster_resources()))
        progress.note(
            f"no engine has room on the Ray cluster yet: each needs {asked.num_gpus:g} GPUs, and of the "
            f"cluster's {there:g} are {free:g} free; waiting"
        )
        pause = 12 * _SAID_S


def opener(owner: str, engines: int, room_s: float) -> Opener:
    """What makes the policies of a shard: those that need a machine's memory are asked of the engines.
    Without engines all are opened here."""

    def make(config: PolicyConfig) -> Policy:
        import ray

        if not engines or config.kind in ("server", "simulated"):
            return open_policy(config)
        found = []
        for number in range(engines):
            with suppress(ValueError):  # it has died for good
                found.append(ray.get_actor(_name(owner, number), NAMESPACE))
        return Shared(config, found, room_s)

    return make


def _name(owner: str, number: int) -> str:
    return f"{owner}-engine-{number}"
