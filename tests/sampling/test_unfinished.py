"""What was drawn for problems that are not done is paid for once."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.policies.base import Completion, Prompt, Sampling, Unfinished
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.sampling.draws import Draws
from pipeline.sampling.unfinished import UnfinishedFile
from schemas.errors import BackendError

PROMPT, SAMPLING = Prompt("p", "step 0: good\n"), Sampling(seed=40)


class Stumbling(SimulatedPolicy):
    """Fails to draw the completions with some seeds."""

    def __init__(self, *seeds: int) -> None:
        super().__init__()
        self.seeds = seeds

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        found = dict(enumerate(await super().sample(prompt, n, sampling)))
        lost = [place for place in found if sampling.seed + place in self.seeds]
        if lost:
            raise Unfinished("500", {k: v for k, v in found.items() if k not in lost})
        return list(found.values())


def draw(draws: Draws, policy: SimulatedPolicy, n: int = 8) -> list[Completion]:
    return asyncio.run(draws.of(policy).sample(PROMPT, n, SAMPLING))


def test_only_what_is_missing_is_drawn_and_all_is_as_it_would_have_been(tmp_path: Path) -> None:
    whole = draw(Draws(), SimulatedPolicy())
    unfinished, failing = UnfinishedFile(tmp_path / "s"), Stumbling(42, 45, 46)
    draws = unfinished.draws("x")
    with pytest.raises(Unfinished):
        draw(draws, failing)
    unfinished.keep("x", draws)

    again, policy = UnfinishedFile(tmp_path / "s"), SimulatedPolicy()
    assert draw(again.draws("x"), policy) == whole
    assert (policy.calls, policy.completions) == (2, 3)
    other = SimulatedPolicy()
    assert draw(again.draws("y"), other) == whole
    assert other.completions == 8


@pytest.mark.parametrize(
    ("prompt", "sampling"),
    [
        (replace(PROMPT, system="Be brief."), SAMPLING),
        (PROMPT, replace(SAMPLING, stop=("x",))),
        (PROMPT, replace(SAMPLING, stop_token_ids=(7,))),
    ],
)
def test_what_was_drawn_for_another_request_is_not_used(prompt: Prompt, sampling: Sampling) -> None:
    draws = Draws()
    draw(draws, SimulatedPolicy())
    policy = SimulatedPolicy()
    asyncio.run(Draws(draws.made()).of(policy).sample(prompt, 8, sampling))
    assert policy.completions == 8


def test_draws_of_several_sessions_add_up(tmp_path: Path) -> None:
    for failing in (Stumbling(*range(41, 48)), Stumbling(*range(42, 48))):
        unfinished = UnfinishedFile(tmp_path / "s")
        draws = unfinished.draws("x")
        with pytest.raises(Unfinished):
            draw(draws, failing)
        unfinished.keep("x", draws)
    last = SimulatedPolicy()
    draw(UnfinishedFile(tmp_path / "s").draws("x"), last)
    assert last.completions == 6


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "garbage"])
def test_a_damaged_line_counts_for_nothing(tmp_path: Path, harm: str) -> None:
    unfinished, path = UnfinishedFile(tmp_path / "s"), tmp_path / "s"
    for name in ("x", "y"):
        draws = unfinished.draws(name)
        draw(draws, SimulatedPolicy())
        unfinished.keep(name, draws)
    data = path.read_bytes()
    match harm:
        case "cut":
            path.write_bytes(data[:-20])
        case "flip":
            path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.write_bytes(b"\x00\xff\n\n" + data[: len(data) // 2 - 40])
    again, policy = UnfinishedFile(path), SimulatedPolicy()
    assert draw(again.draws("y"), policy) == draw(Draws(), SimulatedPolicy())
    assert policy.completions == 8
    draws = again.draws("y")
    draw(draws, policy)
    again.keep("y", draws)
    last = SimulatedPolicy()
    draw(UnfinishedFile(path).draws("y"), last)
    assert last.completions == 0


def test_a_closed_problem_draws_nothing_more_and_waits_for_what_is_under_way() -> None:
    class Slow(SimulatedPolicy):
        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            await asyncio.sleep(0.01)
            return await super().sample(prompt, n, sampling)

    async def run() -> None:
        draws, policy = Draws(), Slow()
        under_way = asyncio.create_task(draws.of(policy).sample(PROMPT, 2, SAMPLING))
        await asyncio.sleep(0)
        await draws.close()
        assert len(draws.made()) == 2
        assert under_way.done() or await under_way
        with pytest.raises(BackendError, match="another call"):
            await draws.of(policy).sample(PROMPT, 2, SAMPLING)

    asyncio.run(run())
