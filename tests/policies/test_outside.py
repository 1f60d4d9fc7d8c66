"""A policy from outside is asked for several completions at once, and what it does wrong is said."""

import asyncio
from typing import Any

import pytest

from pipeline.policies.admission import run_in_order
from pipeline.policies.base import Completion, Policy, Prompt, Sampling, Scorer, scorer
from pipeline.policies.outside import IN_FLIGHT, checked_policy
from pipeline.policies.server.policy import ServerPolicy
from pipeline.policies.simulated import SimulatedPolicy
from schemas.errors import BackendError, BackendGone, UserError


class Slow:
    """Takes a moment for each request, and counts how many it has at once."""

    kind, model, revision = "slow", "slow", ""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __aenter__(self) -> "Slow":
        self.revision = "found out when it was opened"
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        self.now += n
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.002)
        self.now -= n
        return [Completion("text", "stop", 1) for _ in range(n)]


async def _asked(policy: Policy, n: int, problems: int = 100) -> list[int]:
    done: list[int] = []

    async def job(number: int) -> None:
        await policy.sample(Prompt(f"problem {number}"), n, Sampling())
        done.append(number)

    await run_in_order(range(problems), job)
    return done


@pytest.mark.parametrize(("in_flight", "n"), [(None, 1), (None, 4), (3, 1), (40, 2), (1, 8)])
def test_problems_do_not_wait_for_one_another(in_flight: int | None, n: int) -> None:
    """As many completions at once as it says, 16 where it says nothing, and a quarter more; a request that
    is larger is alone."""
    slow = Slow()
    if in_flight is not None:
        slow.in_flight = in_flight  # type: ignore[attr-defined]
    done = asyncio.run(_asked(checked_policy(slow, "policy"), n))
    assert sorted(done) == list(range(100))
    room = int(1.25 * (in_flight or IN_FLIGHT))
    assert slow.most == max(n, room - room % n)


def test_without_a_gate_they_would() -> None:
    slow = Slow()
    asyncio.run(_asked(slow, 1))  # type: ignore[arg-type]
    assert slow.most == 1


def test_what_it_finds_out_when_it_is_opened_is_recorded() -> None:
    async def opened() -> str:
        async with checked_policy(Slow(), "policy") as policy:
            return policy.revision

    assert asyncio.run(opened()) == "found out when it was opened"


def test_ours_are_not_put_behind_two_gates_and_scores_go_through() -> None:
    server = ServerPolicy("http://127.0.0.1:9/v1", "m")
    assert checked_policy(server, "policy") is server
    once = checked_policy(Slow(), "policy")
    assert checked_policy(once, "policy") is once
    with pytest.raises(UserError, match="a slow policy gives no log-probabilities"):
        scorer(once)
    scoring = checked_policy(SimulatedPolicy(slip=0.5, n_steps=1), "policy")
    assert isinstance(scoring, Scorer)
    [(chance,)] = asyncio.run(scoring.logprob(Prompt("p"), ["#### right"]))
    assert chance == pytest.approx(-0.693, abs=1e-3)


@pytest.mark.parametrize("in_flight", [0, -1, "many", 2.5])
def test_in_flight_is_a_count(in_flight: Any) -> None:
    slow = Slow()
    slow.in_flight = in_flight  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="policy: in_flight is .*, not a whole number from 1 on"):
        checked_policy(slow, "policy")


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (KeyError("x"), BackendError, r"^policy: KeyError: 'x' \(.*test_outside.py, line \d+\)$"),
        (SystemExit(0), BackendError, r"^policy: SystemExit: 0 \(.*test_outside.py, line \d+\)$"),
        (BackendGone("it is off"), BackendGone, "^it is off$"),
        (UserError("set the key"), UserError, "^set the key$"),
    ],
)
def test_what_it_raises_makes_problems_owed(
    raised: BaseException, expected: type[Exception], said: str
) -> None:
    class Raises(Slow):
        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            raise raised

    with pytest.raises(expected, match=said):
        asyncio.run(checked_policy(Raises(), "policy").sample(Prompt("p"), 1, Sampling()))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "sample returned NoneType, not a list of 1 Completion"),
        ([], "sample returned 0 completions, not the 1 that were asked for"),
        ([Completion(None, "stop")], "a Completion whose text is NoneType"),  # type: ignore[arg-type]
        ([Completion("", "budget")], "stopped='budget', not one of stop, length, withheld, error"),
        ([Completion("", "stop", -1)], "tokens=-1, not a count"),
        ([Completion("", "stop", None)], "tokens=None, not a count"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_completion_is_refused(returned: Any, said: str) -> None:
    class Returns(Slow):
        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            return returned  # type: ignore[no-any-return]

    with pytest.raises(UserError, match=said):
        asyncio.run(checked_policy(Returns(), "policy").sample(Prompt("p"), 1, Sampling()))
