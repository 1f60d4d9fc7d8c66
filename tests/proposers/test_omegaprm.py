"""OmegaPRM against the paper's formulas, its binary search, and the faults of its public implementations."""

import asyncio
from collections import Counter

import pytest

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import FaultyPolicy, SimulatedPolicy
from pipeline.proposers import omegaprm
from pipeline.proposers.omegaprm import State, Tree, exploration, propose, rollout_value
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller
from schemas.config import OmegaConfig, PromptConfig
from schemas.records import Candidate, Problem, Rollout, Solution, Vote

PAPER = OmegaConfig()
PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")
UNREADABLE = Problem(text="a problem", answer="7", answer_kind="choice")


def roller(policy: object, seed: int = 0) -> Roller:
    prompt = PromptConfig(template="embedded_solve", max_tokens=1000)
    return Roller(policy, prompt, PROBLEM, seed=seed)  # type: ignore[arg-type]


def search(policy: object, config: OmegaConfig = PAPER, seed: int = 0) -> tuple[list[Candidate], Roller]:
    used = roller(policy, seed)
    return asyncio.run(propose(used, config)), used


@pytest.mark.parametrize(
    ("value", "tokens", "q"),
    [(0.75, 250, 0.79774), (0.5, 500, 0.63640), (0.875, 1000, 0.74277), (0.25, 250, 0.56409)],
)
def test_rollout_value(value: float, tokens: int, q: float) -> None:
    assert rollout_value(value, tokens, PAPER) == pytest.approx(q, abs=1e-5)


@pytest.mark.parametrize(("total", "visits", "u"), [(9, 1, 0.1875), (9, 0, 0.375), (0, 0, 0)])
def test_exploration(total: int, visits: int, u: float) -> None:
    assert exploration(visits, total, PAPER) == u


def test_exploration_flips_the_ranking() -> None:
    assert 0.65 + exploration(0, 9, PAPER) > 0.79 + exploration(1, 9, PAPER)
    assert 0.65 + exploration(0, 1, PAPER) < 0.79 + exploration(1, 1, PAPER)


def probes_of(bad_step: int, n_steps: int, refuted: int | None = None) -> list[int]:
    """Prefix lengths that a search of the planted solution rolls out, in order."""
    policy = SimulatedPolicy(n_steps=n_steps, bad_step=bad_step)
    used, text = roller(policy), policy.planted()
    wrong = Rollout(
        problem_id=PROBLEM.id,
        purpose="x",
        prefix="",
        text=text,
        outcome="incorrect",
        stopped="stop",
        tokens=9,
    )
    root = State("", [wrong])
    tree = Tree(states={"": root})
    asyncio.run(omegaprm._search(tree, root, to_solution(used, wrong), used, PAPER, refuted=refuted))
    return [prefix.count("\n") for prefix in tree.states if prefix]


@pytest.mark.parametrize(
    ("error", "probes"), [(7, [4, 6, 7]), (8, [4, 6, 7]), (5, [4, 6, 5]), (1, [4, 2, 1])]
)
def test_binary_search_probes(error: int, probes: list[int]) -> None:
    assert probes_of(error - 1, 8) == probes


@pytest.mark.parametrize("error", range(8))
def test_eight_steps_always_take_three_probes(error: int) -> None:
    assert len(probes_of(error, 8)) == 3


def test_ten_steps_take_at_most_four_and_one_step_none() -> None:
    assert max(len(probes_of(error, 10)) for error in range(10)) == 4
    assert probes_of(0, 1) == []


@pytest.mark.parametrize(
    ("error", "refuted", "probes"),
    [(5, 5, [2, 3, 4]), (1, 1, []), (3, 6, [3, 1, 2]), (8, 8, [4, 6, 7]), (2, 5, [2, 1])],
)
def test_a_refuted_step_bounds_the_search_without_rollouts(
    error: int, refuted: int, probes: list[int]
) -> None:
    """Here the first error is `error` and the step refuted `refuted`, both counted from 1."""
    assert sorted(probes_of(error - 1, 8, refuted=refuted - 1)) == sorted(probes)


@pytest.fixture(scope="module")
def searched() -> tuple[list[Candidate], Roller]:
    return search(SimulatedPolicy(slip=0.15, n_steps=8), OmegaConfig(searches=20))


def test_the_votes_locate_the_first_error(searched: tuple[list[Candidate], Roller]) -> None:
    """Without recovery a prefix with a success is sound, and one after an error never succeeds."""
    for candidate in searched[0]:
        good = [text.split("\n")[0].endswith("good") for text in candidate.solution.step_texts()]
        for vote in candidate.votes:
            if vote.p:
                assert all(good[: vote.step + 1])
            if vote.source == "answer":
                assert vote.p == float(all(good))


def test_no_rollout_is_searched_twice_and_prefixes_are_rolled_out_once(
    searched: tuple[list[Candidate], Roller],
) -> None:
    candidates, used = searched
    assert len({c.solution.id for c in candidates}) == len(candidates)
    assert set(Counter(r.prefix for r in used.taken).values()) == {PAPER.rollouts}
    assert all("####" not in r.prefix for r in used.taken), "a finished solution was rolled out"


def test_the_budget_is_never_exceeded() -> None:
    for budget in (8, 21, 50):
        _, used = search(SimulatedPolicy(slip=0.2), OmegaConfig(budget=budget))
        assert len(used.taken) <= budget


def test_equal_seeds_give_equal_trees_and_others_differ() -> None:
    policy, config = SimulatedPolicy(slip=0.15), OmegaConfig(searches=10)
    assert search(policy, config, 1)[0] == search(policy, config, 1)[0] != search(policy, config, 2)[0]


def test_hopeless_and_trivial_problems_are_not_searched() -> None:
    for slip in (0.0, 1.0):
        _, used = search(SimulatedPolicy(slip=slip))
        assert len(used.taken) == PAPER.rollouts


def test_solutions_of_a_problem_that_is_never_solved_are_candidates_without_search_votes() -> None:
    """Nothing can be located without a success, but verifiers and judges can label what is there."""
    candidates, used = search(SimulatedPolicy(slip=0.5, n_steps=14))
    assert len(used.taken) == PAPER.rollouts, "a search began although no rollout had succeeded"
    assert {c.solution.text for c in candidates} == {rollout.text for rollout in used.taken}
    assert {vote.source for c in candidates for vote in c.votes} == {"answer"}
    few, _ = search(SimulatedPolicy(slip=0.5, n_steps=14), OmegaConfig(searches=1))
    assert len(few) == 1


def test_solutions_that_nothing_can_grade_are_candidates_too() -> None:
    used = Roller(SimulatedPolicy(), PromptConfig(max_tokens=1000), UNREADABLE, seed=0)
    candidates = asyncio.run(propose(used, OmegaConfig(rollouts=2)))
    assert {c.solution.outcome for c in candidates} == {"unknown"}


class _Repeats(SimulatedPolicy):
    """Of the bare problem it writes two wrong texts, each three times, and two right ones."""

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        if prompt.prefix:
            return await super().sample(prompt, n, sampling)
        texts = [SimulatedPolicy(n_steps=8, bad_step=bad).planted() for bad in (3, 3, 3, 6, 6, 6, 8, 8)]
        return [Completion(text, "stop", 9) for text in texts[:n]]


def test_equal_texts_use_one_search() -> None:
    for searches in (2, 100):
        tree = Tree()
        used = roller(_Repeats(slip=0.0, n_steps=8))
        asyncio.run(omegaprm._state(tree, "", used, OmegaConfig(searches=searches)))
        texts = [wrong.prefix + wrong.text for _, wrong in tree.pool]
        assert len(texts) == len(set(texts)) == 2
    candidates, _ = search(_Repeats(slip=0.0, n_steps=8), OmegaConfig(searches=2))
    wrong = [c for c in candidates if c.solution.outcome == "incorrect"]
    assert len(wrong) == 2, "two searches of equal texts left the other text without one"


def test_filter_rollouts_serve_as_root() -> None:
    policy = SimulatedPolicy(slip=0.15)
    used = roller(policy)

    async def both() -> None:
        root = await used.roll("", 8, "filter")
        await propose(used, OmegaConfig(searches=1), root)

    asyncio.run(both())
    assert sum(r.prefix == "" for r in used.taken) == 8


def test_faults_are_in_neither_count_and_never_searched() -> None:
    candidates, used = search(FaultyPolicy(SimulatedPolicy(slip=0.15), 0.4), OmegaConfig(searches=15))
    assert any(r.outcome == "unknown" for r in used.taken)
    for candidate in candidates:
        assert candidate.solution.text.count("\n") == 8
        for vote in candidate.votes:
            assert vote.n + vote.n_failed in (1, PAPER.rollouts)


class _Mute:
    """Answers the bare problem and nothing else."""

    kind, model, revision = "mute", "mute", ""

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        if prompt.prefix:
            return [Completion("", "error")] * n
        wrong = SimulatedPolicy(n_steps=8, bad_step=4).planted()
        right = SimulatedPolicy(n_steps=8).planted()
        return [Completion(right if i else wrong, "stop", 9) for i in range(n)]


def test_unreadable_probes_end_a_search_without_a_verdict() -> None:
    candidates, _ = search(_Mute(), OmegaConfig(searches=3))
    votes = [v for c in candidates for v in c.votes if v.source == "omegaprm"]
    assert votes
    assert all(v.p is None and v.n == 0 for v in votes)


def exact_location_rate(
    slip: float, error: int, recover: float = 0.0, n: int = 150, config: OmegaConfig = PAPER
) -> float:
    """How often a search of a solution with its first error at `error` (1-based) ends exactly there."""
    policy, hits = SimulatedPolicy(slip=slip, recover=recover), 0
    from pipeline.policies.simulated import solution_text

    text = solution_text([step < error - 1 for step in range(8)])
    for seed in range(n):
        used = roller(policy, seed)
        wrong = Rollout(
            problem_id=PROBLEM.id, purpose="x", prefix="", text=text, outcome="incorrect", stopped="stop"
        )
        root = State("", [wrong])
        tree = Tree(states={"": root})
        asyncio.run(omegaprm._search(tree, root, to_solution(used, wrong), used, config))
        sound = max((p.count("\n") for p, s in tree.states.items() if p and s.value), default=0)
        hits += sound == error - 1
    return hits / n


@pytest.mark.parametrize(("slip", "error", "rate"), [(0.15, 3, 0.977), (0.15, 7, 0.997), (0.4, 5, 0.671)])
def test_location_is_as_exact_as_the_chain_allows(slip: float, error: int, rate: float) -> None:
    spread = 4 * (rate * (1 - rate) / 150) ** 0.5
    assert exact_location_rate(slip, error) == pytest.approx(rate, abs=spread)


def test_a_second_sample_rights_early_misses() -> None:
    """All misses are early (chance .329 at slip .4), and each takes a false zero; 24 more rollouts find most
    of these out."""
    plain = exact_location_rate(0.4, 5)
    rechecked = exact_location_rate(0.4, 5, config=PAPER.model_copy(update={"recheck": 24}))
    assert rechecked > plain + 0.15


def test_rechecks_are_paid_from_the_budget_and_done_once_a_state() -> None:
    config = OmegaConfig(budget=100, recheck=5)
    _, used = search(SimulatedPolicy(slip=0.15), config)
    assert len(used.taken) <= 100
    drawn = Counter(r.prefix for r in used.taken)
    assert max(drawn.values()) == 13
    by_prefix = {prefix: [r for r in used.taken if r.prefix == prefix] for prefix in drawn}
    assert all(len({r.seed for r in rollouts}) == len(rollouts) for rollouts in by_prefix.values())


def test_verifiers_are_asked_only_with_refute() -> None:
    asked = 0

    async def check(solution: Solution) -> list[Vote]:
        nonlocal asked
        asked += 1
        good = [not text.split("\n")[0].endswith("bad") for text in solution.step_texts()]
        return [Vote(step=i, source="says", asks="valid", p=float(p)) for i, p in enumerate(good)]

    found = {}
    for refute in (False, True):
        used = roller(SimulatedPolicy(slip=0.25))
        candidates = asyncio.run(propose(used, OmegaConfig(searches=12, refute=refute), None, check))
        found[refute] = len(used.taken) / len(candidates)
        assert bool(asked) is refute
    assert found[True] < found[False]


def test_recovery_defeats_the_method() -> None:
    """The limit of any rollout signal: a policy that repairs errors hides them, and more rollouts hide them
    better."""
    assert exact_location_rate(0.15, 3, recover=0.1) < 0.05
