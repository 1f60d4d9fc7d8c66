"""Noisy bisection against planted errors, closed-form policies, and the counts it leaves behind."""

import asyncio
import re
from itertools import islice

import pytest
from pydantic import ValidationError

from pipeline.annotators.base import Context
from pipeline.annotators.bisection import Bisection, _rounds
from pipeline.fusion.labels import fuse
from pipeline.fusion.trust import fit, model_of
from pipeline.labelling.shard import label_problem
from pipeline.labelling.tools import annotators_of
from pipeline.policies.base import Completion, Policy, Prompt, Sampling
from pipeline.policies.simulated import FaultyPolicy, SimulatedPolicy, read_states, solution_text
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller
from schemas.config import BisectionConfig, PromptConfig, RunConfig
from schemas.records import Finished, Outcome, Problem, Rollout, Vote

PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")
DEFAULT = BisectionConfig()


class Worded(SimulatedPolicy):
    """Words every step differently, so that no two rollouts meet by chance as they do among two words."""

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """The simulated completions, each step marked with its draw."""
        drawn = await super().sample(prompt, n, sampling)
        marks = [sampling.seed + index for index in range(n)]
        return [
            Completion(re.sub(r"^step", f"{mark} step", c.text, flags=re.MULTILINE), c.stopped, c.tokens)
            for mark, c in zip(marks, drawn, strict=True)
        ]


def roller_of(policy: Policy, seed: int = 0, *, root: int = 0) -> Roller:
    """A roller that has drawn `root` rollouts of the bare problem."""
    roller = Roller(policy, PromptConfig(max_tokens=1000), PROBLEM, seed=seed)
    if root:
        asyncio.run(roller.roll("", root, "filter"))
    return roller


def search(
    roller: Roller,
    text: str,
    config: BisectionConfig = DEFAULT,
    checked: tuple[Vote, ...] = (),
    outcome: Outcome = "incorrect",
) -> list[Vote]:
    drawn = Rollout(problem_id=PROBLEM.id, purpose="x", prefix="", text=text, outcome=outcome, stopped="stop")
    solution = to_solution(roller, drawn)
    return asyncio.run(Bisection(config).annotate(Context(roller, checked=checked), solution))


def first_error(votes: list[Vote]) -> int:
    """The likeliest first error by the votes alone."""
    sound = [1.0, *(vote.p or 0.0 for vote in votes), 0.0]
    chances = [a - b for a, b in zip(sound, sound[1:], strict=False)]
    return chances.index(max(chances))


def planted(bad_step: int, n_steps: int = 8) -> str:
    return solution_text([step < bad_step for step in range(n_steps)])


def spent(roller: Roller) -> int:
    return sum(rollout.purpose == "bisection" for rollout in roller.taken)


@pytest.mark.parametrize("bad_step", range(8))
def test_it_finds_every_planted_error_of_a_policy_without_chance(bad_step: int) -> None:
    policy = SimulatedPolicy(bad_step=bad_step)
    roller = roller_of(policy)
    votes = search(roller, planted(bad_step))
    assert first_error(votes) == bad_step
    assert [vote.step for vote in votes] == list(range(7))
    assert {(vote.source, vote.asks) for vote in votes} == {("bisection", "solvable")}
    assert [vote.p for vote in votes] == sorted((vote.p or 0 for vote in votes), reverse=True)
    assert all("####" not in rollout.prefix for rollout in roller.taken), "a finished solution"


def located(slip: float, bad_step: int, config: BisectionConfig, *, n: int = 60) -> tuple[float, float]:
    """Share of exact locations and mean rollouts, with 32 rollouts of the bare problem known."""
    hits = rollouts = 0
    for seed in range(n):
        roller = roller_of(Worded(slip=slip), seed, root=32)
        hits += first_error(search(roller, planted(bad_step), config)) == bad_step
        rollouts += spent(roller)
    return hits / n, rollouts / n


@pytest.mark.parametrize(("bad_step", "share", "most"), [(2, 0.95, 21), (4, 0.95, 15), (6, 0.95, 8)])
def test_it_is_as_exact_as_plain_bisection_with_fewer_rollouts(
    bad_step: int, share: float, most: float
) -> None:
    """Plain bisection with k = 8 takes 24 at slip .15; `search.first_error` measures this at length."""
    config = BisectionConfig(confidence=0.998, worth=0.03, batch=1, recover=0.0001)
    exact, rollouts = located(0.15, bad_step, config)
    assert exact >= share
    assert rollouts <= most


def test_a_refuted_step_spares_rollouts_and_stays_out_of_p() -> None:
    proof = Vote(step=3, source="arithmetic", asks="valid", p=0.0, n=1)
    plain, told = roller_of(Worded(), 1, root=32), roller_of(Worded(), 1, root=32)
    search(plain, planted(3))
    votes = search(told, planted(3), checked=(proof,))
    assert spent(told) < spent(plain)
    assert first_error(votes) >= 3


def test_rollouts_of_the_filter_that_pass_a_prefix_count_for_it() -> None:
    """A right sibling shares all steps before the error: nothing more need be drawn from there."""
    roller = roller_of(SimulatedPolicy(slip=0.15), root=32)
    votes = search(roller, planted(5))
    assert first_error(votes) == 5
    through = [r for r in roller.taken if r.text.startswith(planted(5).split("step 5")[0])]
    assert votes[4].n >= len(through) - 1 > 0
    costs = {SimulatedPolicy: 0, Worded: 0}
    for policy in costs:
        for seed in range(10):
            asked = roller_of(policy(slip=0.15), seed, root=32)
            search(asked, planted(5))
            costs[policy] += spent(asked)
    assert costs[SimulatedPolicy] < 0.8 * costs[Worded]


def test_the_draw_that_became_the_solution_is_no_evidence() -> None:
    roller = roller_of(SimulatedPolicy(slip=1.0), root=1)
    votes = search(roller, roller.taken[0].text, BisectionConfig(worth=10.0))
    assert all(vote.p is None and vote.n == 0 and vote.why for vote in votes)


@pytest.mark.parametrize("outcome", ["correct", "unknown"])
def test_only_wrong_solutions_are_searched(outcome: Outcome) -> None:
    roller = roller_of(SimulatedPolicy())
    votes = search(roller, planted(8), outcome=outcome)
    assert spent(roller) == 0
    assert len(votes) == 7
    assert all(vote.p is None and vote.why for vote in votes)


def test_one_step_needs_nothing() -> None:
    roller = roller_of(SimulatedPolicy(n_steps=1))
    assert search(roller, planted(0, 1)) == []
    assert spent(roller) == 0


def test_equal_prefixes_are_paid_for_once() -> None:
    roller = roller_of(Worded(slip=0.3))
    search(roller, planted(5))
    once = spent(roller)
    search(roller, planted(5))
    assert spent(roller) == once
    by_prefix = {r.prefix: [s.seed for s in roller.taken if s.prefix == r.prefix] for r in roller.taken}
    assert all(len(set(seeds)) == len(seeds) for seeds in by_prefix.values())


class Noting(Worded):
    """It counts the rounds of a search: requests that are under way together are one."""

    def __init__(self, **settings: float) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.under_way, self.rounds, self.together = 0, 0, 0

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """The same completions, after everybody else has asked."""
        self.rounds += self.under_way == 0
        self.under_way += 1
        self.together = max(self.together, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return await super().sample(prompt, n, sampling)


def test_several_prefixes_at_once_take_fewer_rounds_and_find_the_same() -> None:
    """An engine that waits for two rollouts at a time is nearly empty."""
    rounds, exact, rollouts = {}, {}, {}
    for prefixes in (1, 2, 3):
        config = BisectionConfig(prefixes=prefixes)
        policies = [Noting(slip=0.2) for _ in range(40)]
        rollers = [roller_of(policy, seed, root=8) for seed, policy in enumerate(policies)]
        drawn = sum(policy.rounds for policy in policies)
        hits = [first_error(search(roller, planted(3), config)) == 3 for roller in rollers]
        rounds[prefixes] = sum(policy.rounds for policy in policies) - drawn
        exact[prefixes], rollouts[prefixes] = sum(hits), sum(map(spent, rollers))
        assert max(policy.together for policy in policies) == prefixes
    assert rounds[3] < rounds[2] < 0.65 * rounds[1]
    assert exact[2] >= exact[1] - 2
    assert rollouts[2] < 1.25 * rollouts[1]


WIDE = BisectionConfig(first=2, prefixes=2, grow=2, batch=1)


def test_a_wide_search_takes_few_rounds_and_finds_the_same() -> None:
    """A first round asks about every prefix, and the rounds that follow grow."""
    rounds, exact, rollouts = {}, {}, {}
    for name, config in {"narrow": BisectionConfig(), "wide": WIDE}.items():
        policies = [Noting(slip=0.2) for _ in range(40)]
        rollers = [roller_of(policy, seed, root=8) for seed, policy in enumerate(policies)]
        drawn = sum(policy.rounds for policy in policies)
        hits = [first_error(search(roller, planted(3), config)) == 3 for roller in rollers]
        rounds[name] = sum(policy.rounds for policy in policies) - drawn
        exact[name], rollouts[name] = sum(hits), sum(map(spent, rollers))
        if name == "wide":
            assert max(policy.together for policy in policies) >= 2 * 7, "two of each prefix at once"
    assert rounds["wide"] < 0.5 * rounds["narrow"]
    assert exact["wide"] >= exact["narrow"] - 3
    assert rollouts["wide"] < 1.5 * rollouts["narrow"]


def test_rounds_grow_and_the_first_is_wide() -> None:
    assert list(islice(_rounds(WIDE, 8), 5)) == [(8, 2), (2, 1), (2, 2), (2, 4), (2, 8)]
    assert list(islice(_rounds(BisectionConfig(grow=1.5), 8), 5)) == [(1, 1), (1, 2), (1, 2), (1, 3), (1, 5)]
    assert list(islice(_rounds(DEFAULT, 8), 3)) == [(1, 1)] * 3


def test_solutions_that_share_a_prefix_never_draw_the_same_rollout_twice() -> None:
    """Their rounds differ, and so what each asks of the prefix at once; the requests are the same ones."""
    roller = roller_of(Worded(slip=0.3), 4)
    for bad_step in (5, 2, 6):
        search(roller, planted(bad_step), WIDE)
    drawn = [(r.prefix, r.seed) for r in roller.taken if r.purpose == "bisection"]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    "settings",
    [
        {"prefixes": 2},
        {"prefixes": 3},
        {"prefixes": 100},
        {"first": 1},
        {"first": 2, "grow": 2},
        {"grow": 1.5, "prefixes": 2, "batch": 1},
    ],
)
def test_what_is_drawn_at_once_depends_on_settings_alone(settings: dict[str, float]) -> None:
    """The same votes and rollouts whether the engine answers at once or in another order each time."""

    class Late(Worded):
        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            for _ in range(len(prompt.prefix) * sampling.seed % 7):
                await asyncio.sleep(0)
            return await super().sample(prompt, n, sampling)

    config = BisectionConfig.model_validate({**settings, "budget": 14})
    found = []
    for policy in (Worded(slip=0.3), Late(slip=0.3)):
        roller = roller_of(policy, 5, root=4)
        votes = search(roller, planted(3), config)
        assert spent(roller) <= 14
        found.append((votes, sorted((r.prefix, r.seed, r.text) for r in roller.taken)))
    assert found[0] == found[1]


@pytest.mark.parametrize("budget", [2, 7, 12])
def test_the_budget_holds(budget: int) -> None:
    roller = roller_of(Worded(slip=0.4))
    search(roller, planted(3), BisectionConfig(budget=budget, confidence=1.0, worth=0.0))
    assert spent(roller) == budget - budget % 2
    for wide in ({"first": 3}, {"grow": 3.0}, {"first": 1, "grow": 8.0, "prefixes": 5}):
        roller = roller_of(Worded(slip=0.4))
        held = {"budget": budget, "confidence": 1.0, "worth": 0.0, **wide}
        search(roller, planted(3), BisectionConfig.model_validate(held))
        assert budget // 2 <= spent(roller) <= budget


def test_nothing_readable_ends_it_without_a_verdict() -> None:
    roller = roller_of(FaultyPolicy(Worded(), 1.0))
    votes = search(roller, planted(3))
    assert 0 < spent(roller) <= DEFAULT.budget
    assert len({r.prefix for r in roller.taken}) > 1, "when one prefix gives nothing, others are tried"
    assert all(vote.p is None and vote.n == 0 for vote in votes)
    assert sum(vote.n_failed for vote in votes) >= spent(roller)


def test_failures_count_for_neither_side() -> None:
    """Half the draws spoilt: p must come from the readable ones, and the error be found as before."""
    hits = 0
    for seed in range(20):
        roller = roller_of(FaultyPolicy(Worded(slip=0.1), 0.5, seed), seed, root=16)
        hits += first_error(search(roller, planted(4))) == 4
    assert hits >= 17


def test_equal_seeds_give_equal_votes() -> None:
    runs = [search(roller_of(Worded(slip=0.2), seed, root=8), planted(4)) for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_recovery_moves_errors_late() -> None:
    """The limit: a policy that repairs one bad step in ten succeeds from unsound prefixes, and a search that
    does not expect it takes them for sound. Told how often, it does better."""
    late = {}
    for recover in (0.003, 0.15):
        config = BisectionConfig(recover=recover, budget=48)
        found = []
        for seed in range(30):
            roller = roller_of(Worded(slip=0.15, recover=0.1), seed, root=8)
            found.append(first_error(search(roller, planted(2), config)))
        late[recover] = sum(k > 2 for k in found) / 30
    assert late[0.003] > 0.8
    assert late[0.15] < late[0.003] - 0.2


@pytest.mark.parametrize("wrong", [{"batch": 9, "budget": 8}, {"prior": (3, 2)}, {"prior": (-1, 2)}])
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BisectionConfig.model_validate(wrong)


def test_a_run_with_it_is_the_same_in_any_order_and_locates_errors() -> None:
    """Problems one after another or all at once; siblings share prefixes, filter and proposals are reused."""
    sections = {
        "name": "r",
        "policy": {"kind": "simulated", "slip": 0.15},
        "prompt": {"max_tokens": 1000},
        "filter": {"rollouts": 8},
        "propose": {"kind": "sample", "n": 4},
        "annotate": [{"kind": "bisection"}],
    }
    config = RunConfig.model_validate(sections)
    policy = SimulatedPolicy(slip=0.15)
    tools = annotators_of(config, policy)
    posed = [Problem(text=f"problem {i}", answer="right", answer_kind="text") for i in range(40)]

    async def run_in_order() -> list[Finished]:
        return [(await label_problem(problem, tools))[0] for problem in posed]

    async def at_once() -> list[Finished]:
        return [item for item, _ in await asyncio.gather(*(label_problem(p, tools) for p in posed))]

    finished = asyncio.run(run_in_order())
    assert finished == asyncio.run(at_once())
    candidates = [candidate for item in finished for candidate in item.candidates]
    model = model_of(
        fit([(len(c.solution.steps), c.votes) for c in candidates], tools.sources), tools.sources
    )
    hits = []
    for candidate, (_, said) in zip(candidates, fuse(candidates, model, config.fusion), strict=True):
        states = read_states(candidate.solution.text)
        if False in states:
            hits.append(said == states.index(False))
        else:
            assert said in (-1, None)
    assert sum(hits) / len(hits) > 0.9
