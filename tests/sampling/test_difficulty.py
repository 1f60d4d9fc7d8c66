"""The difficulty filter: the same verdicts with fewer rollouts."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import FaultyPolicy, SimulatedPolicy
from pipeline.sampling.counted import counts
from pipeline.sampling.difficulty import draw, verdict
from pipeline.sampling.roller import Roller
from schemas.config import FilterConfig, PromptConfig
from schemas.records import Problem, Rollout

PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")


@pytest.mark.parametrize(
    ("correct", "n", "left", "least", "most", "said"),
    [
        (0, 0, 8, 0.0, 1.0, "open"),
        (1, 4, 4, 0.0, 1.0, "kept"),
        (4, 4, 4, 0.0, 1.0, "open"),  # four right ones: a wrong one may still come
        (0, 4, 4, 0.0, 1.0, "open"),
        (0, 8, 0, 0.0, 1.0, "hard"),
        (8, 8, 0, 0.0, 1.0, "easy"),
        (0, 0, 0, 0.0, 1.0, "open"),
        (0, 6, 2, 0.25, 1.0, "hard"),  # 2 of 8 at best, which is not above a quarter
        (0, 5, 3, 0.25, 1.0, "open"),
        (6, 6, 2, 0.0, 0.75, "easy"),  # 6 of 8 at least
        (5, 5, 3, 0.0, 0.75, "open"),
        (3, 6, 2, 0.25, 0.75, "kept"),  # between 3 and 5 of 8
        (2, 6, 2, 0.25, 0.75, "open"),
    ],
)
def test_a_verdict_is_given_when_nothing_can_change_it(
    correct: int, n: int, left: int, least: float, most: float, said: str
) -> None:
    assert verdict(correct, n, left, FilterConfig(least=least, most=most)) == said


OUTCOMES = st.lists(st.sampled_from(["correct", "incorrect", "unknown"]), min_size=1, max_size=16)


@given(OUTCOMES, st.sampled_from([(0.0, 1.0), (0.25, 0.75), (0.5, 1.0), (0.0, 0.3)]))
def test_a_verdict_that_was_given_early_stays(outcomes: list[str], ends: tuple[float, float]) -> None:
    config = FilterConfig(least=ends[0], most=ends[1])

    def after(n: int) -> str:
        seen = outcomes[:n]
        right, wrong = seen.count("correct"), seen.count("incorrect")
        return verdict(right, right + wrong, len(outcomes) - n, config)

    said = [after(n) for n in range(len(outcomes) + 1)]
    early = [one for one in said if one != "open"]
    assert len(set(early)) <= 1
    # With all of them there is nothing left to wait for, unless none could be read.
    readable = len(outcomes) - outcomes.count("unknown")
    assert (said[-1] == "open") == (readable == 0)


def drawn_of(policy: SimulatedPolicy, seed: int, least: int = 0, **settings: object) -> list[Rollout]:
    roller = Roller(policy, PromptConfig(max_tokens=1000), PROBLEM, seed=seed)
    return asyncio.run(draw(roller, FilterConfig.model_validate({"rollouts": 32, **settings}), least=least))


@pytest.mark.parametrize("slip", [0.0, 0.02, 0.15, 0.4, 1.0])
def test_the_same_problems_pass_and_what_is_drawn_is_the_beginning_of_all(slip: float) -> None:
    spent = 0
    for seed in range(30):
        policy = SimulatedPolicy(slip=slip)
        fewer, every = drawn_of(policy, seed), drawn_of(policy, seed, stop="never")
        assert [(r.seed, r.text) for r in fewer] == [(r.seed, r.text) for r in every][: len(fewer)]
        correct, n, _ = counts(every)
        now_correct, now_n, _ = counts(fewer)
        assert (0 < correct < n) == (0 < now_correct < now_n)
        spent += len(fewer)
    # Always right or always wrong: only all of them show it.
    assert (spent == 30 * 32) == (slip in (0.0, 1.0))
    if slip == 0.15:
        assert spent < 30 * 16


@pytest.mark.parametrize("least", [8, 12])
def test_a_search_gets_as_many_readable_rollouts_as_it_begins_with(least: int) -> None:
    for seed in range(20):
        kept = counts(drawn_of(SimulatedPolicy(slip=0.15), seed, least))
        assert kept[1] >= least
        spoilt = counts(drawn_of(FaultyPolicy(SimulatedPolicy(slip=0.15), 0.5, seed), seed, least))
        assert spoilt[1] >= least or spoilt[1] + spoilt[2] == 32


def test_what_cannot_be_read_decides_nothing() -> None:
    drawn = drawn_of(FaultyPolicy(SimulatedPolicy(), 1.0), 0)
    assert len(drawn) == 32
    assert counts(drawn)[1] == 0


def test_requests_are_few() -> None:
    """A hard problem waits for batches that double, not for one rollout after another."""

    class Counting(SimulatedPolicy):
        asked: list[int] = []

        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            self.asked.append(n)
            return await super().sample(prompt, n, sampling)

    policy = Counting(slip=1.0)
    policy.asked = []
    drawn_of(policy, 0)
    assert policy.asked == [4, 4, 8, 16]
