"""Engines that shards share: where calls go, and what becomes of a failure. `test_on_ray` has real ones."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from flows import ray_engines
from flows.ray_engines import Engine, Failure, Opened, Shared
from pipeline.policies.base import Completion, Prompt, Sampling, Unfinished
from pipeline.policies.simulated import SimulatedPolicy
from schemas.config import PythonPolicyConfig, SimulatedConfig, TransformersConfig
from schemas.errors import BackendError, BackendGone, UserError

pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
CONFIG, PROMPT, SAMPLING = SimulatedConfig(), Prompt("What is 2 + 3?"), Sampling(seed=5)


class Handle:
    """An engine in this process in place of an actor. `strike` may raise what Ray would."""

    def __init__(self, strike: Callable[[str], object] = lambda _: None) -> None:
        self.inner, self.strike, self.asked, self.most = Engine(), strike, 0, 0

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=lambda *arguments: asyncio.ensure_future(self._call(method, arguments)))

    async def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self.asked += 1
        self.most = max(self.most, self.asked)
        try:
            await asyncio.sleep(0)
            self.strike(method)
            return await getattr(self.inner, method)(*arguments)
        finally:
            self.asked -= 1


class Late(Handle):
    """An engine that answers one of its methods late."""

    def __init__(self, seconds: float, late: str) -> None:
        super().__init__()
        self.seconds, self.late = seconds, late

    async def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        await asyncio.sleep(self.seconds if method == self.late else 0)
        return await super()._call(method, arguments)


def dead(_: str) -> None:
    from ray.exceptions import RayActorError

    raise RayActorError


def sampled(*engines: Handle, calls: int = 1) -> list[list[Completion]]:
    async def run() -> list[list[Completion]]:
        async with Shared(CONFIG, engines) as policy:
            await asyncio.sleep(0.05)  # until all have joined
            asked = (policy.sample(PROMPT, 2, Sampling(seed=seed)) for seed in range(calls))
            return list(await asyncio.gather(*asked))

    return asyncio.run(run())


def test_it_is_the_policy_that_it_stands_for() -> None:
    async def run() -> None:
        async with Shared(CONFIG, [Handle()]) as shared, ray_engines.open_policy(CONFIG) as own:
            assert (shared.kind, shared.model, shared.revision) == (own.kind, own.model, own.revision)
            assert await shared.sample(PROMPT, 3, SAMPLING) == await own.sample(PROMPT, 3, SAMPLING)

    asyncio.run(run())


def test_calls_go_to_the_engine_with_least_to_do() -> None:
    one, other = Handle(), Handle()
    sampled(one, other, calls=8)
    assert one.most == other.most == 4


def test_shards_with_few_calls_share_the_engines() -> None:
    """A shard knows of its own calls alone."""
    one, other = Handle(), Handle()

    async def run() -> None:
        async with AsyncExitStack() as stack:
            shards = [await stack.enter_async_context(Shared(CONFIG, [one, other])) for _ in range(40)]
            await asyncio.sleep(0.05)  # until both have joined all
            one.most = other.most = 0
            await asyncio.gather(*(shard.sample(PROMPT, 1, SAMPLING) for shard in shards))

    asyncio.run(run())
    assert one.most + other.most == 40
    assert min(one.most, other.most) > 4


def test_an_engine_that_died_for_good_is_left_out() -> None:
    dies = Handle(lambda method: dead(method) if method == "sample" else None)
    assert sampled(dies, Handle(), calls=4) == sampled(Handle(), calls=4)
    assert sampled(Handle(dead), Handle()) == sampled(Handle())
    for struck in (dies, Handle(dead)):
        with pytest.raises(BackendGone, match="engine"):
            sampled(struck)
    with pytest.raises(BackendGone, match="no engine of the cluster is left"):
        sampled()


@pytest.mark.parametrize(
    "error",
    [UserError("no such model"), BackendGone("over"), Unfinished("half", {1: Completion("a", "stop", 2)})],
)
def test_an_error_arrives_as_it_was(error: UserError | BackendError) -> None:
    arrived = Failure.of(error).error()
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert getattr(arrived, "drawn", None) == getattr(error, "drawn", None)


def test_a_model_that_cannot_be_opened_is_the_users_error() -> None:
    async def run() -> None:
        async with Shared(TransformersConfig(model="/nowhere/at/all"), [Handle(), Handle()]):
            raise AssertionError

    with pytest.raises(UserError, match="/nowhere/at/all"):
        asyncio.run(run())


def test_the_users_error_is_told_although_an_engine_finds_no_room() -> None:
    async def run() -> None:
        engines = [Late(600, "here"), Handle()]
        async with asyncio.timeout(60), Shared(TransformersConfig(model="/nowhere/at/all"), engines):
            raise AssertionError

    with pytest.raises(UserError, match="/nowhere/at/all"):
        asyncio.run(run())


def test_an_engine_that_fails_is_told_although_others_find_no_room() -> None:
    policy = PythonPolicyConfig(factory="tests.flows.test_ray_engines:unopened")

    async def run() -> None:
        async with asyncio.timeout(60), Shared(policy, [Late(600, "here"), Handle()], room_s=0.2):
            raise AssertionError

    with pytest.raises(BackendGone, match="no memory"):
        asyncio.run(run())


@pytest.mark.parametrize("late", ["here", "open"])
def test_only_an_engine_that_has_room_is_waited_for(late: str) -> None:
    """How long it loads does not count."""

    async def run() -> list[Completion]:
        async with asyncio.timeout(60), Shared(CONFIG, [Late(1, late)], room_s=0.2) as policy:
            return await policy.sample(PROMPT, 2, Sampling(seed=0))

    if late == "open":
        assert [asyncio.run(run())] == sampled(Handle())
    else:
        with pytest.raises(BackendGone, match="no engine of the cluster is left"):
            asyncio.run(run())


class Lost(Handle):
    """An engine whose machine dies at a call, for which Ray then finds no room: nothing is answered. Or it
    generates for long, and is there."""

    def __init__(self, at: str, *, there: bool = False) -> None:
        super().__init__()
        self.at, self.there, self.lost = at, there, False

    async def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self.lost = self.lost or method == self.at
        if self.lost and not (self.there and method == "here"):
            await asyncio.sleep(1 if self.there else 600)
        return await super()._call(method, arguments)


@pytest.mark.parametrize("at", ["open", "sample"])
def test_calls_do_not_wait_for_ever_for_an_engine_that_finds_no_room_again(at: str) -> None:
    async def run(*others: Handle, there: bool = False) -> list[Completion]:
        engines = [Lost(at, there=there), *others]
        async with asyncio.timeout(60), Shared(CONFIG, engines, room_s=0.2) as policy:
            asked = (policy.sample(PROMPT, 2, Sampling(seed=0)) for _ in range(2))
            return (await asyncio.gather(*asked))[0]

    with pytest.raises(BackendGone, match="no engine of the cluster is left"):
        asyncio.run(run())
    assert [asyncio.run(run(Handle()))] == [asyncio.run(run(there=True))] == sampled(Handle())


def test_other_settings_of_speed_load_no_model_beside_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may get them while engines are at it, and a second model has no room on a GPU."""
    asked = list[str]()

    def opens(config: TransformersConfig) -> SimulatedPolicy:
        asked.append(config.model)
        return SimulatedPolicy()

    async def run() -> None:
        engine = Engine()
        for model, n in (("a", 1), ("a", 2), ("b", 2)):
            assert isinstance(await engine.open(TransformersConfig(model=model, in_flight=n)), Opened)

    monkeypatch.setattr(ray_engines, "open_policy", opens)
    asyncio.run(run())
    assert asked == ["a", "b"]


def unopened() -> Any:
    class Unopened(SimulatedPolicy):
        """Its weights do not fit."""

        async def __aenter__(self) -> "Unopened":
            raise BackendError("no memory")

    return Unopened()


def test_an_engine_that_loads_is_waited_for_also_when_the_last_other_one_dies() -> None:
    dies = Handle(lambda method: dead(method) if method == "sample" else None)

    async def run() -> list[Completion]:
        async with Shared(CONFIG, [dies, Late(1, "open")], room_s=0.2) as policy:
            return await policy.sample(PROMPT, 2, Sampling(seed=0))

    assert [asyncio.run(run())] == sampled(Handle())


def test_a_servers_policy_is_not_asked_without_being_tried_out() -> None:
    """Each shard examines a server before its first problem: one that begins answers anew spoils a run."""
    policy = PythonPolicyConfig(factory="tests.flows.test_ray_engines:servers")

    async def run() -> None:
        async with Shared(policy, [Handle()]):
            raise AssertionError

    with pytest.raises(UserError, match="test_ray_engines:servers.*leave `engines` out"):
        asyncio.run(run())


def servers() -> Any:
    from pipeline.policies.server.policy import ServerPolicy

    return ServerPolicy("http://127.0.0.1:9/v1", "m")


def test_an_engine_whose_model_is_broken_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)

    class Broken:
        """The second of three answers is right, so that the engine ends after the fifth failure."""

        kind = model = revision = "broken"
        answers = iter([BackendError("a"), BackendError("b"), [], *[BackendError("c")] * 3])

        async def __aenter__(self) -> "Broken":
            return self

        async def sample(self, *_: object) -> list[Completion]:
            match next(self.answers):
                case BackendError() as error:
                    raise error
                case found:
                    return found

    monkeypatch.setattr(ray_engines, "open_policy", lambda _: Broken())
    monkeypatch.setattr(Broken, "__aexit__", lambda *_: asyncio.sleep(0), raising=False)

    async def run() -> list[int]:
        engine = Engine()
        prompts = map(Prompt, "abcdef")
        return [(await engine.sample(CONFIG, one, 1, SAMPLING), len(ended))[1] for one in prompts]

    assert asyncio.run(run()) == [0, 0, 0, 0, 0, 1]


def test_a_problem_that_a_policy_cannot_answer_does_not_end_an_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    policy = PythonPolicyConfig(factory="tests.flows.test_ray_engines:choosy")

    async def run() -> None:
        engine = Engine()
        for step in range(8):
            asked = Prompt("What is odd?", "step\n" * step)
            assert isinstance(await engine.sample(policy, asked, 1, SAMPLING), Failure)
        assert not isinstance(await engine.sample(policy, PROMPT, 1, SAMPLING), Failure)

    asyncio.run(run())
    assert ended == []


def choosy() -> Any:
    class Choosy(SimulatedPolicy):
        """It cannot answer one problem."""

        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            if "odd" in prompt.text:
                raise ValueError("odd")
            return await super().sample(prompt, n, sampling)

    return Choosy()


def test_prompt_tokens_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.policies.base import Usage

    engine, policy = Engine(), SimpleNamespace(usage=Usage(10, 4))
    assert engine._used(CONFIG, policy) == (10, 4)  # type: ignore[arg-type]
    policy.usage.count(5, 5)
    assert engine._used(CONFIG, policy) == (5, 5)  # type: ignore[arg-type]
    assert engine._used(CONFIG, policy) == (0, 0)  # type: ignore[arg-type]


def test_without_engines_and_for_servers_a_shard_opens_its_own() -> None:
    assert ray_engines.opener("me", 0, 1.0)(CONFIG).kind == "simulated"
    assert not isinstance(ray_engines.opener("me", 2, 1.0)(CONFIG), Shared)


def test_what_an_engine_says_holds_what_a_gate_needs() -> None:
    opened = asyncio.run(Engine().open(CONFIG))
    assert isinstance(opened, Opened)
    assert opened.in_flight >= 1
    assert opened.kind == "simulated"
