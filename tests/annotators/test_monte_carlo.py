"""Monte Carlo votes: the card's known answers, and sequential stopping against closed-form success rates."""

import asyncio

import pytest
from pydantic import ValidationError

from pipeline.annotators.base import Context
from pipeline.annotators.monte_carlo import MonteCarlo, answer_vote, next_batch, vote_of
from pipeline.annotators.stopping import confidence_sequence, ratio_test
from pipeline.policies.base import Policy
from pipeline.policies.simulated import FaultyPolicy, SimulatedPolicy, solution_text
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller
from schemas.config import MonteCarloConfig, PromptConfig
from schemas.records import Outcome, PolicyIdentity, Problem, Rollout, Solution, Step, Vote

PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")
HARD = MonteCarloConfig(rollouts=64, stop="hard", low=0.0, high=0.2)
BOTH_SIDES = MonteCarloConfig(rollouts=64, stop="hard", low=0.1, high=0.5)
SOFT = MonteCarloConfig(rollouts=400, stop="soft", width=0.3)


def drawn(outcomes: str) -> list[Rollout]:
    """Rollouts by a letter each: right, wrong or unreadable."""
    names: dict[str, Outcome] = {"r": "correct", "w": "incorrect", "u": "unknown"}
    return [
        Rollout(
            problem_id="p",
            purpose="monte_carlo",
            prefix="",
            text=str(i),
            outcome=names[letter],
            stopped="stop",
        )
        for i, letter in enumerate(outcomes)
    ]


def annotate(
    policy: Policy, states: list[bool], config: MonteCarloConfig, seed: int = 0
) -> tuple[list[Vote], Roller]:
    roller = Roller(policy, PromptConfig(max_tokens=1000), PROBLEM, seed=seed)
    rollout = drawn("w")[0].model_copy(update={"text": solution_text(states)})
    return asyncio.run(MonteCarlo(config).annotate(Context(roller), to_solution(roller, rollout))), roller


@pytest.mark.parametrize(
    ("outcomes", "correct", "n", "failed", "p"),
    [
        ("wwrwwwww", 1, 8, 0, 0.125),
        ("wwwwwwww", 0, 8, 0, 0.0),
        ("rwur", 2, 3, 1, 2 / 3),
        ("uu", 0, 0, 2, None),
    ],
)
def test_counts(outcomes: str, correct: int, n: int, failed: int, p: float | None) -> None:
    vote = vote_of(0, drawn(outcomes), "monte_carlo")
    assert (vote.correct, vote.n, vote.n_failed) == (correct, n, failed)
    assert vote.p == pytest.approx(p)


def test_by_brute_force_every_step_but_the_last_gets_k() -> None:
    votes, roller = annotate(SimulatedPolicy(), [True] * 4 + [False] * 4, MonteCarloConfig())
    assert [vote.n for vote in votes] == [8] * 7 + [1]
    assert len(roller.taken) == 56
    assert all("####" not in rollout.prefix for rollout in roller.taken), "a finished solution"


@pytest.mark.parametrize(
    ("outcomes", "config", "more"),
    [
        ("", HARD, 1),
        ("r", HARD, 0),
        ("w", HARD, 1),
        ("wwww", HARD, 2),
        ("w" * 13, HARD, 6),
        ("w" * 14, HARD, 0),  # .8 ** 14 <= .05
        ("", BOTH_SIDES, 2),
        ("rr", BOTH_SIDES, 0),
        ("w" * 6, BOTH_SIDES, 0),
        ("uuuu", HARD, 2),
        ("w" * 4, HARD.model_copy(update={"rollouts": 5}), 1),
        ("w" * 5, HARD.model_copy(update={"rollouts": 5}), 0),
        ("w" * 7, SOFT.model_copy(update={"width": 0.44}), 3),
        ("w" * 8, SOFT.model_copy(update={"width": 0.44}), 0),  # 0/8 gives [0, .4389]
    ],
)
def test_the_next_batch(outcomes: str, config: MonteCarloConfig, more: int) -> None:
    assert next_batch(drawn(outcomes), config) == more


def test_a_soft_test_starts_with_as_many_as_it_must_have() -> None:
    first = next_batch([], SOFT)
    assert confidence_sequence(0, first, SOFT.error)[1] <= SOFT.width
    assert confidence_sequence(0, first - 1, SOFT.error)[1] > SOFT.width


@pytest.mark.parametrize("config", [HARD, BOTH_SIDES, SOFT])
def test_stopped_tests_are_decided_and_few_requests_are_made(config: MonteCarloConfig) -> None:
    policy = SimulatedPolicy(slip=0.15)
    votes, roller = annotate(policy, [True] * 4 + [False] * 4, config)
    for vote in votes[:-1]:
        if config.stop == "hard":
            test = {"low": config.low, "high": config.high, "error": config.error}
            assert vote.n == config.rollouts or ratio_test(vote.correct, vote.n, **test) != "open"
        else:
            low, high = confidence_sequence(vote.correct, vote.n, config.error)
            assert high - low <= config.width
    assert policy.calls <= 7 * 9
    assert len(roller.taken) < 7 * config.rollouts
    seeds = [(rollout.prefix, rollout.seed) for rollout in roller.taken]
    assert len(set(seeds)) == len(seeds), "a draw was taken twice"


def test_a_test_left_open_by_the_cap_stays_as_counts() -> None:
    votes, _ = annotate(SimulatedPolicy(slip=1.0), [True] * 8, HARD.model_copy(update={"rollouts": 5}))
    assert all((vote.correct, vote.n) == (0, 5) for vote in votes[:-1])


def test_the_same_draws_come_first_whatever_the_stop() -> None:
    """Stopping early leaves a beginning of what the fixed k would have drawn."""
    states = [True] * 4
    fixed = annotate(SimulatedPolicy(n_steps=4), states, MonteCarloConfig(rollouts=64))[1].taken
    stopped = annotate(SimulatedPolicy(n_steps=4), states, HARD)[1].taken
    texts = {prefix: [r.text for r in fixed if r.prefix == prefix] for prefix in {r.prefix for r in fixed}}
    for prefix, expected in texts.items():
        mine = [r.text for r in stopped if r.prefix == prefix]
        assert mine == expected[: len(mine)] != []


def test_unreadable_rollouts_end_at_the_cap_as_abstentions() -> None:
    votes, _ = annotate(FaultyPolicy(SimulatedPolicy(n_steps=3), 1.0), [True] * 3, HARD)
    assert all(vote.p is None and vote.n_failed == 64 for vote in votes[:-1])


@pytest.mark.parametrize("zone", [{"low": 0.5, "high": 0.5}, {"low": 0.6, "high": 0.3}])
def test_an_empty_zone_is_refused(zone: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="must be below"):
        MonteCarloConfig.model_validate(zone)


def test_a_given_solution_without_an_answer_failed_nobody() -> None:
    """A row of one step states no answer; a policy that was asked for one and gave none did fail."""
    for kind, failed in (("given", 0), ("server", 1)):
        who = PolicyIdentity(kind=kind, model="m")
        steps = (Step(text="a", start=0, end=1),)
        vote = answer_vote(Solution(problem_id="p", text="a", steps=steps, policy=who))
        assert (vote.p, vote.n_failed) == (None, failed)
        assert ("graded: it states no answer: " in vote.why) == (kind == "given")
