"""Fusion recovers planted reliabilities, and consensus filtering decides as the paper says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotators.judge import votes_of
from pipeline.annotators.verdicts import Reading
from pipeline.fusion import bin_of, consensus, fit, fuse, located, monte_carlo_first_error, posterior
from schemas.config import FusionConfig
from schemas.manifest import Trust
from schemas.records import PolicyIdentity, Solution, Step, Vote

RULES = FusionConfig()


def mc(rates: list[float | None], k: int = 8) -> list[Vote]:
    return [
        Vote(
            step=i,
            source="monte_carlo",
            asks="solvable",
            p=r,
            correct=round((r or 0) * k),
            n=k if r is not None else 0,
        )
        for i, r in enumerate(rates)
    ]


def solution(n_steps: int) -> Solution:
    steps = tuple(Step(text=f"s{i}", start=3 * i, end=3 * i + 2) for i in range(n_steps))
    return Solution(
        problem_id="p",
        text="\n".join(s.text for s in steps),
        steps=steps,
        policy=PolicyIdentity(kind="k", model="m"),
    )


@pytest.mark.parametrize(
    ("rates", "judge", "threshold", "kept", "reason"),
    [
        ([1, 0.75, 0.5, 0, 0.25], 3, 0, True, "agree_error"),
        ([1, 0.75, 0.5, 0, 0.25], 2, 0, False, "disagree_position"),
        ([1, 0.75, 0.5, 0, 0.25], -1, 0, False, "disagree_existence"),
        ([1, 0.75, 0.125], -1, 0, True, "agree_clean"),
        ([1, 0.75, 0.125], -1, 0.125, False, "disagree_existence"),
        ([0, 0.5], 0, 0, True, "agree_error"),
        ([1, 0.5], None, 0, False, "judge_unparsed"),
        ([1, None, 0.5], -1, 0, False, "mc_incomplete"),
    ],
)
def test_consensus(
    rates: list[float | None], judge: int | None, threshold: float, kept: bool, reason: str
) -> None:
    votes = [*mc(rates), *votes_of([Reading(judge)], len(rates), "judge:x")]
    assert consensus(len(rates), votes, threshold) == (kept, reason)


def test_without_a_judge_nothing_is_dropped() -> None:
    assert consensus(2, mc([1, 0])) == (True, "")


def test_steps_after_the_monte_carlo_error_need_no_rollouts() -> None:
    assert monte_carlo_first_error(4, mc([0.5, 0.0])) == 1
    assert monte_carlo_first_error(4, mc([0.5, 0.5])) is None


def test_consensus_precision_in_simulation() -> None:
    """Independent sources: P(kept) = .5675 and precision .9868 for a = .7, m = .8, eight steps."""
    rng = np.random.default_rng(0)
    n, steps, kept, hits = 20_000, 8, 0, 0
    others = {t: [x for x in range(-1, steps) if x != t] for t in range(-1, steps)}
    for truth in rng.integers(-1, steps, n):
        named = [int(truth) if rng.random() < a else int(rng.choice(others[int(truth)])) for a in (0.7, 0.8)]
        kept += named[0] == named[1]
        hits += named[0] == named[1] == truth
    assert kept / n == pytest.approx(0.5675, abs=0.015)
    assert hits / kept == pytest.approx(0.9868, abs=0.006)


def test_without_votes_the_posterior_is_the_prior() -> None:
    expected = [0.15, 0.1275, 0.108375, 0.092119, 0.522006]
    assert posterior(4, [], 0.15, {}) == pytest.approx(expected, abs=1e-6)


def test_the_worked_example_of_the_chain_model() -> None:
    """Judge says ok, ok, bad, bad; se .7, sp .9, and .7 bad after an error."""
    table = np.array([[0.1, 0, 0, 0.9], [0.7, 0, 0, 0.3], [0.7, 0, 0, 0.3]])
    votes = [
        Vote(step=i, source="j", asks="valid", p=p, n=1, correct=int(p)) for i, p in enumerate([1, 1, 0, 0])
    ]
    found = posterior(4, votes, 0.15, {"j": table})
    assert found == pytest.approx([0.0871, 0.2221, 0.5664, 0.0688, 0.0557], abs=1e-4)
    assert 1 - np.cumsum(found)[:-1] == pytest.approx([0.9129, 0.6908, 0.1244, 0.0557], abs=1e-4)


def simulate(n: int, seed: int) -> list[tuple[int, int, list[Vote]]]:
    """(first error, steps, votes) of solutions whose sources' tables are known."""
    rng = np.random.default_rng(seed)
    tables = {
        "judge:a": [[0.05, 0.1, 0.15, 0.7], [0.6, 0.2, 0.15, 0.05], [0.3, 0.3, 0.2, 0.2]],
        "monte_carlo": [[0.1, 0.2, 0.3, 0.4], [0.8, 0.15, 0.05, 0.0], [0.9, 0.08, 0.02, 0.0]],
        "arithmetic": [[0.0, 0, 0, 1.0], [0.5, 0, 0, 0.5], [0.2, 0, 0, 0.8]],
    }
    centre = [0.0, 0.25, 0.75, 1.0]
    made = []
    for _ in range(n):
        n_steps = int(rng.integers(3, 9))
        error = next((t for t in range(n_steps) if rng.random() < 0.12), -1)
        votes = []
        for step in range(n_steps):
            state = 0 if error == -1 or step < error else 1 if step == error else 2
            for name, table in tables.items():
                if rng.random() < 0.85:
                    p = centre[int(rng.choice(4, p=table[state]))]
                    votes.append(Vote(step=step, source=name, asks="valid", p=p, n=8, correct=round(8 * p)))
        made.append((error, n_steps, votes))
    return made


@pytest.fixture(scope="module")
def world() -> list[tuple[int, int, list[Vote]]]:
    return simulate(1500, 1)


@pytest.fixture(scope="module")
def trust(world: list[tuple[int, int, list[Vote]]]) -> Trust:
    return fit((n, votes) for _, n, votes in world)


def test_the_fit_recovers_what_was_planted(trust: Trust) -> None:
    assert trust.hazard == pytest.approx(0.12, abs=0.02)
    assert trust.tables["judge:a"][0] == pytest.approx([0.05, 0.1, 0.15, 0.7], abs=0.03)
    assert trust.tables["judge:a"][1] == pytest.approx([0.6, 0.2, 0.15, 0.05], abs=0.08)
    lost, none_as_before, _, kept = trust.tables["monte_carlo"][2]
    assert lost + none_as_before == pytest.approx(0.9, abs=0.04)
    assert none_as_before > 0.7
    assert kept == pytest.approx(0.1, abs=0.04)
    assert trust.tables["arithmetic"][0][0] < 0.01


def test_fused_labels_beat_every_source_and_are_calibrated(
    trust: Trust, world: list[tuple[int, int, list[Vote]]]
) -> None:
    exact = alone = judged = 0
    p, right = [], []
    for error, n_steps, votes in simulate(800, 2):
        labels, named = fuse(
            solution(n_steps), votes, trust, RULES.model_copy(update={"accept": 0.5, "reject": 0.5})
        )
        exact += named == error
        alone += monte_carlo_first_error(n_steps, votes) == error
        judged += next((v.step for v in votes if v.source == "judge:a" and v.p == 0), -1) == error
        p += [label.p for label in labels]
        right += [error == -1 or step < error for step in range(n_steps)]
    assert exact > 1.15 * max(alone, judged)
    bins = np.minimum((np.array(p) * 10).astype(int), 9)
    gap = sum(abs((np.array(p)[bins == b] - np.array(right)[bins == b]).sum()) for b in range(10)) / len(p)
    assert gap < 0.03


@settings(max_examples=60)
@given(st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=9))
def test_p_never_rises_and_labels_end_at_the_first_error(rates: list[float | None]) -> None:
    trust = fit([(len(rates), mc(rates))])
    labels, first = fuse(solution(len(rates)), mc(rates), trust, RULES)
    p = [label.p for label in labels]
    assert p == sorted(p, reverse=True)
    said = [label.label for label in labels]
    if first is not None and first >= 0:
        assert said == [1] * first + [0] + [None] * (len(said) - first - 1)
    elif first == -1:
        assert said == [1] * len(said)


def test_abstentions_change_nothing_and_order_does_not_matter(trust: Trust) -> None:
    votes = mc([1.0, 0.5, 0.0])
    silent = Vote(step=1, source="arithmetic", asks="valid", why="no claim")
    one = fuse(solution(3), votes, trust, RULES)[0]
    assert [x.p for x in one] == [x.p for x in fuse(solution(3), [silent, *votes[::-1]], trust, RULES)[0]]


def test_one_vote_is_no_oracle(trust: Trust) -> None:
    votes = mc([1.0, 1.0, 1.0]) + [Vote(step=1, source="arithmetic", asks="valid", p=0.0, n=1)]
    assert 0 < posterior(3, votes, trust.hazard, {k: np.array(t) for k, t in trust.tables.items()})[1] < 1


def test_bins() -> None:
    assert [bin_of(p) for p in (0, 0.1, 0.5, 0.6, 0.99, 1)] == [0, 1, 1, 2, 2, 3]


def search(p: list[float | None], *, right: bool = False) -> list[Vote]:
    """Votes of a search on all steps but the last, and the grade."""
    votes = [Vote(step=i, source="bisection", asks="solvable", p=x) for i, x in enumerate(p)]
    grade = float(right)
    return [*votes, Vote(step=len(p), source="answer", asks="solvable", p=grade, n=1, correct=int(right))]


def test_a_search_gives_back_the_likelihood_of_every_first_error() -> None:
    """P(K) = .1, .6, .2, .1; the grade, not the rollouts, tells an error in the last step from none."""
    found = np.exp(located(4, search([0.9, 0.3, 0.1])))
    assert found / found.max() == pytest.approx([1 / 6, 1, 1 / 3, 1 / 6, 1 / 6])
    assert located(4, search([1.0, 1.0, 0.0])).min() == pytest.approx(-6)
    for silent in ([None, None, None], [0.75, 0.5, 0.25]):
        assert located(4, search(silent)) == pytest.approx(np.zeros(5))
    assert located(1, search([])) == pytest.approx(np.zeros(2))


def test_a_search_and_a_refutation_are_fused() -> None:
    """The search leaves step 1 or 2; the verifier refutes 2 and passes 1."""
    votes = search([0.98, 0.7, 0.02])
    checked = [
        Vote(step=step, source="arithmetic", asks="valid", p=float(step != 2), n=1) for step in range(4)
    ]
    trust = fit([(4, [*votes, *checked])] * 3)
    assert set(trust.tables) == {"answer", "arithmetic"}
    assert fuse(solution(4), votes, trust, RULES)[1] is None
    labels, first = fuse(solution(4), [*votes, *checked], trust, RULES)
    assert first == 2
    assert [label.label for label in labels] == [1, 1, 0, None]


@pytest.mark.parametrize(
    ("p", "right", "first"),
    [([0.9, 0.4, 0.1], False, 1), ([0.9, 0.8, 0.7], False, 3), ([None, None, None], False, None),
     ([None, None, None], True, -1), ([0.2, 0.1, 0.1], False, 0)],
)  # fmt: skip
def test_the_first_error_of_a_search(p: list[float | None], right: bool, first: int | None) -> None:
    assert monte_carlo_first_error(4, search(p, right=right)) == first
