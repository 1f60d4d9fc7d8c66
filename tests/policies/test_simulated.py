"""The chain's known answers, and that its samples follow them."""

import asyncio
import math

import pytest

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import FaultyPolicy, SimulatedPolicy, read_states, solution_text

SAMPLING = Sampling(seed=7)
ASK = Prompt("a problem")


def prefix(states: list[bool]) -> str:
    return solution_text(states).split("####")[0]


def ask(policy: SimulatedPolicy | FaultyPolicy, prompt: Prompt, n: int) -> list[Completion]:
    return asyncio.run(policy.sample(prompt, n, SAMPLING))


@pytest.mark.parametrize(
    ("slip", "recover", "states", "value"),
    [
        (0.15, 0.0, [True] * 4, 0.5220),
        (0.15, 0.0, [], 0.2725),
        (0.4, 0.0, [True] * 4, 0.1296),
        (0.15, 0.1, [True] * 4, 0.5898),
        (0.15, 0.1, [True] * 3 + [False], 0.2734),
        (0.15, 0.0, [False], 0.0),
        (0.0, 0.0, [True], 1.0),
        (0.0, 0.0, [False], 0.0),
        (0.15, 0.1, [False] * 7 + [True], 1.0),
    ],
)
def test_value_is_the_closed_form(slip: float, recover: float, states: list[bool], value: float) -> None:
    assert SimulatedPolicy(slip=slip, recover=recover).value(states) == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("states", [[], [True] * 4, [True, False], [True] * 7 + [False]])
def test_samples_follow_the_value(states: list[bool]) -> None:
    policy = SimulatedPolicy(slip=0.15, recover=0.1)
    found = ask(policy, Prompt("a problem", prefix(states)), 4000)
    share = sum(c.text.endswith("#### right") for c in found) / 4000
    p = policy.value(states)
    assert abs(share - p) <= 4 * math.sqrt(p * (1 - p) / 4000) + 1e-9
    assert all(len(read_states(prefix(states) + c.text)) == 8 for c in found)


def test_a_completion_is_fixed_by_what_is_asked() -> None:
    policy = SimulatedPolicy()
    many, again = ask(policy, ASK, 6), ask(policy, ASK, 3)
    assert many[:3] == again
    later = asyncio.run(policy.sample(ASK, 1, Sampling(seed=SAMPLING.seed + 4)))
    assert later == [many[4]]


@pytest.mark.parametrize("bad_step", [0, 3, 7])
def test_a_planted_mistake_decides_everything(bad_step: int) -> None:
    policy = SimulatedPolicy(bad_step=bad_step)
    lines = policy.planted().splitlines(keepends=True)[:-1]
    for known in range(9):
        found = ask(policy, Prompt("a problem", "".join(lines[:known])), 3)
        assert {c.text.endswith("#### right") for c in found} == {known <= bad_step}
        assert policy.value(read_states("".join(lines[:known]))) == float(known <= bad_step)


def test_limits_cut_a_completion() -> None:
    policy = SimulatedPolicy(slip=0)
    cut = asyncio.run(policy.sample(ASK, 1, Sampling(max_tokens=5)))[0]
    assert (cut.text, cut.stopped, cut.tokens) == ("step 0: good\nstep 1:", "length", 5)
    stopped = asyncio.run(policy.sample(ASK, 1, Sampling(stop=("\nstep 2",))))[0]
    assert (stopped.text, stopped.stopped) == ("step 0: good\nstep 1: good", "stop")


def test_a_finished_solution_is_not_continued() -> None:
    assert ask(SimulatedPolicy(), Prompt("a problem", solution_text([True] * 8)), 1) == [
        Completion("", "stop")
    ]


def test_a_prefix_without_its_newline_is_continued_on_the_next_line() -> None:
    found = ask(SimulatedPolicy(slip=0, n_steps=2), Prompt("a problem", "step 0: good"), 1)
    assert found[0].text == "\nstep 1: good\n#### right"


def test_faults_hit_their_share_and_the_same_calls_again() -> None:
    faulty, clean = FaultyPolicy(SimulatedPolicy(), share=0.4, seed=1), ask(SimulatedPolicy(), ASK, 1000)
    found = ask(faulty, ASK, 1000)
    assert found == ask(faulty, ASK, 1000)
    hit = [(bad, good) for bad, good in zip(found, clean, strict=True) if bad != good]
    assert 330 <= len(hit) <= 470
    assert {bad.stopped for bad, _ in hit} == {"stop", "error", "length"}
    assert max(len(bad.text) for bad, _ in hit) == 1_000_000
    assert all(good.text.startswith(bad.text) for bad, good in hit if bad.stopped == "length")
