"""The fit finds planted reliabilities; the posterior is exact, and reads counts as counts."""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from pipeline.fusion.ballots import Floats, ballots_of
from pipeline.fusion.trust import Batch, Model, fit, model_of, posteriors
from schemas.manifest import Trust
from schemas.records import Vote
from schemas.sources import EARLIER

UNFITTED = Model(0.1, 0.1, {}, EARLIER)
RATES = [0.25, 0.5, 0.75, 0.9]


def posterior(n_steps: int, votes: list[Vote], model: Model) -> Floats:
    return posteriors([(n_steps, votes)], model)[0]


def vote(step: int, source: str, correct: int, n: int) -> Vote:
    p = correct / n if n else None
    return Vote(step=step, source=source, asks=EARLIER[source].asks, p=p, correct=correct, n=n)


def simulate(n: int, seed: int) -> list[tuple[int, int, list[Vote]]]:
    """(first error, steps, votes) of solutions whose sources' habits are known: eight rollouts whose rate a
    right step keeps and a wrong one loses in nine cases of ten, four replies of a judge, and a verifier."""
    rng = np.random.default_rng(seed)
    judge, refutes = {0: [0.05, 0.95], 1: [0.7, 0.3], 2: [0.4, 0.6]}, {0: 0.0, 1: 0.5, 2: 0.2}
    made = []
    for _ in range(n):
        n_steps, rate = int(rng.integers(3, 9)), float(rng.choice(RATES))
        error = next((t for t in range(n_steps) if rng.random() < 0.12), -1)
        votes = []
        for step in range(n_steps):
            state = 0 if error == -1 or step < error else 1 if step == error else 2
            if state == 1 and rng.random() < 0.9:
                rate = 0.0
            if step < n_steps - 1:
                votes.append(vote(step, "monte_carlo", int(rng.binomial(8, rate)), 8))
            mood = float(rng.choice([0.1, 0.95], p=judge[state]))
            votes.append(vote(step, "judge:a", int(rng.binomial(4, mood)), 4))
            votes.append(vote(step, "arithmetic", int(rng.random() >= refutes[state]), 1))
        right = error == -1 or rng.random() < rate
        made.append((error, n_steps, [*votes, vote(n_steps - 1, "answer", int(right), 1)]))
    return made


@pytest.fixture(scope="module")
def world() -> list[tuple[int, int, list[Vote]]]:
    return simulate(1200, 1)


@pytest.fixture(scope="module")
def trust(world: list[tuple[int, int, list[Vote]]]) -> Trust:
    return fit(((n, votes) for _, n, votes in world), EARLIER)


def test_without_votes_the_posterior_is_the_prior() -> None:
    expected = [0.15, 0.1275, 0.108375, 0.092119, 0.522006]
    assert posterior(4, [], Model(0.15, 0.15, {}, EARLIER)) == pytest.approx(expected, abs=1e-6)


def test_the_worked_example_of_the_chain_model() -> None:
    """A source says ok, ok, bad, bad; se .7, sp .9, and .7 bad after an error."""
    table = np.array([[0.1, 0.9], [0.7, 0.3], [0.7, 0.3]])
    votes = [vote(i, "logic", p, 1) for i, p in enumerate([1, 1, 0, 0])]
    found = posterior(4, votes, Model(0.15, 0.15, {"logic": (table,)}, EARLIER))
    assert found == pytest.approx([0.0871, 0.2221, 0.5664, 0.0688, 0.0557], abs=5e-3)
    assert 1 - np.cumsum(found)[:-1] == pytest.approx([0.9129, 0.6908, 0.1244, 0.0557], abs=5e-3)


def test_the_fit_recovers_what_was_planted(trust: Trust) -> None:
    assert trust.hazard == pytest.approx(0.12, abs=0.025)
    judge = np.array(trust.tables["judge:a"])
    low = judge[:, :4].sum(1)
    assert low[0] == pytest.approx(0.05, abs=0.03)
    assert low[1] == pytest.approx(0.7, abs=0.1)
    assert low[2] == pytest.approx(0.4, abs=0.08)
    assert trust.tables["arithmetic"][0][0] < 0.01
    assert trust.tables["arithmetic"][1][0] == pytest.approx(0.5, abs=0.1)
    start, right, wrong, lost = trust.rollouts["policy"]
    assert sum(start[3:]) > 0.9
    assert right[0] < 0.01
    assert right[3] > 0.75
    assert wrong[0] == pytest.approx(0.9, abs=0.08)
    assert lost[0] > 0.95


def test_posteriors_beat_every_source_and_are_calibrated(trust: Trust) -> None:
    model, exact, alone, judged = model_of(trust, EARLIER), 0, 0, 0
    p, right = [], []
    for error, n_steps, votes in simulate(500, 2):
        chances = posterior(n_steps, votes, model)
        exact += (int(chances.argmax()) if chances.argmax() < n_steps else -1) == error
        zero = [v.step for v in votes if v.source in ("monte_carlo", "answer") and v.p == 0]
        alone += (zero[0] if zero else -1) == error
        no = [v.step for v in votes if v.source == "judge:a" and (v.p or 0) < 0.5]
        judged += (no[0] if no else -1) == error
        p += list(1 - np.cumsum(chances)[:-1])
        right += [error == -1 or step < error for step in range(n_steps)]
    assert exact > alone > judged
    bins = np.minimum((np.array(p) * 10).astype(int), 9)
    gap = sum(abs((np.array(p)[bins == b] - np.array(right)[bins == b]).sum()) for b in range(10)) / len(p)
    assert gap < 0.03


def test_few_rollouts_say_less_than_many() -> None:
    """After eight of eight, 0 of n: the more there were, the surer is the error."""
    sure = [
        posterior(3, [vote(0, "monte_carlo", 8, 8), vote(1, "monte_carlo", 0, n)], UNFITTED)[1]
        for n in (1, 2, 4, 8, 16)
    ]
    assert sure == sorted(sure)
    assert sure[0] < 0.65 < 0.85 < sure[3]
    judged = [posterior(3, [vote(1, "judge:a", 0, n)], UNFITTED)[1] for n in (1, 4)]
    assert judged[0] < judged[1]


def test_a_rate_that_was_low_from_the_start_is_no_early_error() -> None:
    hard = [vote(i, "monte_carlo", c, 8) for i, c in enumerate([0, 1, 0, 1])]
    easy = [vote(i, "monte_carlo", c, 8) for i, c in enumerate([8, 7, 0, 0])]
    assert posterior(5, hard, UNFITTED)[:2].sum() < 0.35
    assert posterior(5, easy, UNFITTED)[2] > 0.8


def test_rollouts_of_one_policy_are_pooled() -> None:
    one = [vote(0, "monte_carlo", 8, 8), vote(1, "monte_carlo", 1, 12)]
    parts = [
        vote(0, "monte_carlo", 8, 8),
        vote(1, "monte_carlo", 0, 4),
        vote(1, "scan", 1, 4),
        vote(1, "omegaprm", 0, 4),
    ]
    assert posterior(3, parts, UNFITTED) == pytest.approx(posterior(3, one, UNFITTED))
    seen = Batch(ballots_of([(3, [*parts, vote(1, "prover", 3, 8)])], EARLIER)).seen
    assert set(seen) == {"rollouts:policy", "rollouts:prover"}


def test_solutions_of_all_lengths_side_by_side_are_as_each_alone(
    trust: Trust, world: list[tuple[int, int, list[Vote]]]
) -> None:
    model, some = model_of(trust, EARLIER), [(n, votes) for _, n, votes in world[:40]]
    for (n_steps, votes), found in zip(some, posteriors(some, model), strict=True):
        assert found == pytest.approx(posterior(n_steps, votes, model))
        assert found.sum() == pytest.approx(1)
    padded = model.chances(Batch(ballots_of(some, EARLIER)))
    assert all(row[n_steps:-1] == pytest.approx(0) for (n_steps, _), row in zip(some, padded, strict=True))


def test_order_changes_nothing_and_abstentions_neither(world: list[tuple[int, int, list[Vote]]]) -> None:
    some = [(n, votes) for _, n, votes in world[:60]]
    silent = Vote(step=0, source="algebra", asks="valid", why="no claim")
    other = [(n, [silent, *votes[::-1]]) for n, votes in some[::-1]]
    one, two = fit(some, EARLIER), fit(other, EARLIER)
    assert one.tables.keys() == two.tables.keys()
    assert one.hazard == pytest.approx(two.hazard, abs=2e-5)
    for name, rows in one.rollouts.items():
        for row, again in zip(rows, two.rollouts[name], strict=True):
            assert row == pytest.approx(again, abs=1e-4)


def test_a_source_that_the_fit_never_met_is_heard_all_the_same() -> None:
    model = model_of(fit([(3, [vote(0, "judge:a", 4, 4)])], EARLIER), EARLIER)
    refuted = posterior(3, [vote(1, "logic", 0, 1)], model)
    assert refuted[1] > posterior(3, [], model)[1]


def test_a_trust_survives_its_manifest_and_old_ones_can_be_read(trust: Trust) -> None:
    again = Trust.model_validate_json(trust.model_dump_json())
    assert again == trust
    votes = [vote(0, "monte_carlo", 3, 8), vote(1, "arithmetic", 0, 1)]
    assert posterior(4, votes, model_of(again, EARLIER)) == pytest.approx(
        posterior(4, votes, model_of(trust, EARLIER))
    )
    old = {"hazard": 0.1, "tables": {"monte_carlo": [[0.1, 0.2, 0.3, 0.4]] * 3}, "n_solutions": 3}
    assert Trust.model_validate_json(json.dumps(old)).rollouts == {}


def test_one_vote_is_no_oracle(trust: Trust) -> None:
    votes = [vote(i, "monte_carlo", 8, 8) for i in range(2)] + [vote(1, "arithmetic", 0, 1)]
    assert 0 < posterior(3, votes, model_of(trust, EARLIER))[1] < 1


def searched(p: list[float | None]) -> list[Vote]:
    votes = [Vote(step=i, source="bisection", asks="solvable", p=x) for i, x in enumerate(p)]
    return [*votes, vote(len(p), "answer", 0, 1)]


def located(n_steps: int, votes: list[Vote]) -> Floats:
    """The log-likelihoods of every first error by the searches."""
    return Batch(ballots_of([(n_steps, votes)], EARLIER)).searched[0]


def test_a_search_gives_back_the_likelihood_of_every_first_error() -> None:
    """P(K) = .1, .6, .2, .1; the grade, not the rollouts, tells an error in the last step from none."""
    found = np.exp(located(4, searched([0.9, 0.3, 0.1])))
    assert found / found.max() == pytest.approx([1 / 6, 1, 1 / 3, 1 / 6, 1 / 6])
    assert located(4, searched([1.0, 1.0, 0.0])).min() == pytest.approx(-6)
    for silent in ([None, None, None], [0.75, 0.5, 0.25]):
        assert located(4, searched(silent)) == pytest.approx(np.zeros(5))
    assert located(1, searched([])) == pytest.approx(np.zeros(2))


def test_rollouts_that_a_search_has_counted_are_not_fused_twice() -> None:
    search = searched([0.9, 0.3, 0.1])
    beside = [*search, vote(1, "omegaprm", 0, 8)]
    assert posterior(4, beside, UNFITTED) == pytest.approx(posterior(4, search, UNFITTED))


def opinions(first: int, n_steps: int, name: str) -> list[Vote]:
    """The votes of one reply that names a first error, -1 for none."""
    last = first if first >= 0 else n_steps - 1
    return [vote(step, name, int(step != first), 1) for step in range(last + 1)]


def asked(n: int, seed: int) -> Iterator[tuple[int, int, Callable[[float], int]]]:
    """First error and steps of solutions, and a judge that names it with a chance, else any other step."""
    rng = random.Random(seed)
    for _ in range(n):
        n_steps = rng.randint(3, 9)
        first = rng.randrange(n_steps) if rng.random() < 0.5 else -1
        others = [step for step in range(-1, n_steps) if step != first]
        yield first, n_steps, partial(_named, rng, first, others)


def _named(rng: random.Random, first: int, others: list[int], hit: float) -> int:
    return first if rng.random() < hit else rng.choice(others)


@pytest.mark.parametrize("hit", [0.5, 0.65, 0.8, 0.95])
@pytest.mark.parametrize("silent", [False, True])
def test_a_lone_judge_keeps_the_habits_of_a_good_judge(hit: float, silent: bool) -> None:
    """Nothing but itself tells what it is worth: its verdicts are p, also beside verifiers that refute
    nothing."""
    named, items = [], []
    for _, n_steps, judge in asked(400, 3):
        named.append(judge(hit))
        holds = [vote(0, "arithmetic", 1, 1)] if silent else []
        items.append((n_steps, [*opinions(named[-1], n_steps, "judge:a"), *holds]))
    trust = fit(items, EARLIER)
    if not silent:
        assert trust.tables["judge:a"] == fit([], {"judge:a": EARLIER["judge:a"]}).tables["judge:a"]
    found = posteriors(items, model_of(trust, EARLIER))
    followed = [
        chances[:first].sum() <= 0.2 <= 0.8 <= chances[: first + 1].sum()
        if first >= 0
        else chances[-1] >= 0.8
        for first, chances in zip(named, found, strict=True)
    ]
    assert np.mean(followed) > 0.97


def test_rollouts_show_that_a_judge_says_no_at_random() -> None:
    rng, items = random.Random(4), []
    for _, n_steps, votes in simulate(400, 4):
        no = next((step for step in range(n_steps) if rng.random() < 0.3), -1)
        others = [one for one in votes if one.source in ("monte_carlo", "answer")]
        items.append((n_steps, [*opinions(no, n_steps, "judge:a"), *others]))
    trust = fit(items, EARLIER)
    table = np.array(trust.tables["judge:a"])
    assert table[0, :4].sum() > 0.2
    accused = posterior(3, opinions(1, 3, "judge:a"), model_of(trust, EARLIER))
    assert accused[:2].sum() < 0.5


def test_a_few_graded_solutions_do_not_decide_for_many_without_an_answer() -> None:
    items, named = [], []
    for i, (first, n_steps, judge) in enumerate(asked(400, 6)):
        named.append(judge(0.8))
        grade = [vote(n_steps - 1, "answer", int(first == -1), 1)] if i < 30 else []
        items.append((n_steps, [*opinions(named[-1], n_steps, "judge:a"), *grade]))
    table = np.array(fit(items, EARLIER).tables["judge:a"])
    assert table[0, :4].sum() < 0.01


def test_a_second_judge_and_grades_free_the_table() -> None:
    items = []
    for first, n_steps, judge in asked(600, 5):
        grade = vote(n_steps - 1, "answer", int(first == -1), 1)
        votes = [v for name in ("judge:a", "judge:b") for v in opinions(judge(0.6), n_steps, name)]
        items.append((n_steps, [*votes, grade]))
    table = np.array(fit(items, EARLIER).tables["judge:a"])
    assert table[0, :4].sum() > 0.03
    assert table[1, :4].sum() == pytest.approx(0.7, abs=0.15)


def test_nothing_to_fit_to_gives_the_pseudo_counts() -> None:
    assert fit([], EARLIER).hazard == pytest.approx(1 / 7, abs=1e-4)
    assert posterior(2, [vote(0, "logic", 0, 1)], model_of(fit([], EARLIER), EARLIER))[0] > 0.8


def moves(size: int, row: list[float], lost: list[float]) -> np.ndarray:
    """How a success rate moves between `size` levels at a step."""
    table = np.zeros((size, size))
    for i in range(1, size):
        table[i, 0] += row[0]
        for j in range(1, i - 1):
            table[i, j] += row[1] / (i - 2)
        table[i, i - 1] += row[2] + (row[1] if i < 3 else 0)
        table[i, i] += row[3] + (row[4] if i == size - 1 else 0)
        weights = [2.0**-j for j in range(1, size - i)]
        for j, w in enumerate(weights, start=1):
            table[i, i + j] += row[4] * w / sum(weights)
    table[0] = [lost[0], *[lost[1] / (size - 1)] * (size - 1)]
    return table


def rebuilt(n_steps: int, votes: list[Vote], trust: Trust) -> list[float]:
    """Every step's p as data/README.md says that it comes about, slowly and with nothing of the product's."""
    said = [v for v in votes if v.p is not None]
    counts: dict[tuple[str, int], list[float]] = {}
    for v in said:
        name = "policy" if v.source in ("monte_carlo", "omegaprm", "scan") else v.source
        if v.source == "bisection" or (v.source == "omegaprm" and any(x.source == "bisection" for x in said)):
            continue
        pair = counts.setdefault((name, v.step), [0, 0])
        pair[0] += v.correct if v.n else v.p or 0
        pair[1] += v.n or 1

    def seen(name: str, step: int, levels: list[float]) -> np.ndarray:
        c, n = counts.get((name, step), [0, 0])
        logs = np.array([c * np.log(y) + (n - c) * np.log(1 - y) for y in levels])
        return np.exp(np.maximum(logs - logs.max(), -6))

    weights = []
    search = {v.step: v.p or 0.0 for v in said if v.source == "bisection"}
    for k in range(n_steps + 1):
        weight = 1.0
        for step in range(min(k + 1, n_steps)):
            hazard = trust.last_hazard or 0 if step == n_steps - 1 else trust.hazard
            weight *= hazard if step == k else 1 - hazard
        for name, rows in trust.tables.items():
            for step in range(n_steps):
                row = np.array(rows[0 if step < k else 1 if step == k else 2])
                levels = [1e-4, 1 - 1e-4] if len(row) == 2 else trust.levels
                weight *= row / row.sum() @ seen(name, step, levels)
        for name, (start, right, wrong, lost) in trust.rollouts.items():
            level = np.array(start) / sum(start)
            before, at = (
                moves(len(trust.levels), [x / sum(row) for x in row], [x / sum(lost) for x in lost])
                for row in (right, wrong)
            )
            for step in range(n_steps):
                after = trust.hazard * at + (1 - trust.hazard) * before
                level = level @ (before if step < k else at if step == k else after)
                level = level * seen(name, step, trust.levels)
            weight *= level.sum()
        if search:
            chances = -np.diff([1.0, *(search[step] for step in range(n_steps - 1)), 0.0])
            weight *= max(chances[min(k, n_steps - 1)] / chances.max(), np.exp(-6))
        weights.append(weight)
    return list(1 - np.cumsum(weights)[:-1] / sum(weights))


def test_p_is_rebuilt_from_row_and_manifest_as_the_data_dictionary_says(
    world: list[tuple[int, int, list[Vote]]],
) -> None:
    prover = [
        (n, [*votes, *(vote(step, "prover", 5 - step, 5) for step in range(2))]) for _, n, votes in world[:80]
    ]
    trust = fit(prover, EARLIER)
    for n_steps, votes in prover[:12]:
        search = [
            Vote(step=step, source="bisection", asks="solvable", p=0.9 - 0.1 * step, correct=1, n=2)
            for step in range(n_steps - 1)
        ]
        for given in (votes, [*votes, *search, vote(0, "omegaprm", 0, 8)], votes[::2]):
            expected = 1 - np.cumsum(posterior(n_steps, given, model_of(trust, EARLIER)))[:-1]
            assert rebuilt(n_steps, given, trust) == pytest.approx(list(expected), abs=1e-7)
