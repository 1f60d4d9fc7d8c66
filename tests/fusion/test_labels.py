"""A label stands where votes bear it out, and nowhere else."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotators.base import Context
from pipeline.annotators.judge import votes_of
from pipeline.annotators.monte_carlo import MonteCarlo
from pipeline.annotators.verdicts import Reading
from pipeline.fusion.labels import Fused, fuse
from pipeline.fusion.trust import Model, fit, model_of
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.proposers import sample
from pipeline.sampling.roller import Roller
from schemas.config import FusionConfig, MonteCarloConfig, PromptConfig, SampleConfig
from schemas.errors import UserError
from schemas.records import Asks, Candidate, PolicyIdentity, Problem, Solution, Step, StepLabel, Vote
from schemas.sources import EARLIER, Source, declared, judge_source

TABLE = {**EARLIER, **judge_source("judge:a"), **judge_source("outsider")}
RULES = FusionConfig()
UNFITTED = Model(0.1, 0.1, {}, TABLE)
CERTAIN, DOOMED = Model(1e-6, 1e-6, {}, TABLE), Model(0.9999, 0.9999, {}, TABLE)
"""Hazards that alone would call every step right, or wrong."""
_RIGHT, _WRONG = [0.01] * 4 + [0.04] * 3 + [0.84], [0.84] + [0.04] * 3 + [0.01] * 4
KEEN = Model(0.2, 0.2, {"judge:a": (np.array([_RIGHT, _WRONG, _RIGHT]),)}, TABLE)
"""Knows the judge as one that is mostly right."""
SURE_OF_ROLLOUTS = "rollouts:policy"
LOSES = tuple(np.array(row) for row in ([1e-6] * 7 + [1.0], [0, 0, 0, 1, 0], [1.0, 0, 0, 0, 0], [1.0, 0]))
"""Rollouts that always succeed until a step is wrong, and never after."""


def solution(n_steps: int) -> Solution:
    steps = tuple(Step(text=f"s{i}", start=3 * i, end=3 * i + 2) for i in range(n_steps))
    return Solution(
        problem_id="p",
        text="\n".join(s.text for s in steps),
        steps=steps,
        policy=PolicyIdentity(kind="k", model="m"),
    )


def vote(step: int, source: str, correct: int, n: int = 8, *, why: str = "") -> Vote:
    p = correct / n if n else None
    return Vote(step=step, source=source, asks=TABLE[source].asks, p=p, correct=correct, n=n, why=why)


def rolled(*correct: int | None) -> list[Vote]:
    """Monte Carlo votes, c of 8; None where a step was not rolled out."""
    return [vote(step, "monte_carlo", c) for step, c in enumerate(correct) if c is not None]


def fused(n_steps: int, votes: list[Vote], model: Model, rules: FusionConfig) -> Fused:
    return fuse([Candidate(solution=solution(n_steps), votes=tuple(votes))], model, rules)[0]


def said(labels: tuple[StepLabel, ...]) -> list[int | None]:
    return [label.label for label in labels]


# Property: over any votes


SOURCES = ["monte_carlo", "scan", "omegaprm", "prover", "bisection", "answer", "logic", "judge:a", "outsider"]


@st.composite
def any_votes(draw: st.DrawFn) -> tuple[int, list[Vote]]:
    """Votes of any sources on any steps: counts, abstentions, shares without counts, and a search's p."""
    n_steps = draw(st.integers(1, 6))
    votes = []
    for _ in range(draw(st.integers(0, 14))):
        source, n = draw(st.sampled_from(SOURCES)), draw(st.integers(0, 12))
        correct = draw(st.integers(0, n))
        share = correct / n if n else draw(st.sampled_from([None, 0.0, 0.3, 0.5, 1.0]))
        p = draw(st.none() | st.floats(0, 1)) if source == "bisection" else share
        step = n_steps - 1 if source == "answer" else draw(st.integers(0, n_steps - 1))
        votes.append(Vote(step=step, source=source, asks=TABLE[source].asks, p=p, correct=correct, n=n))
    return n_steps, votes


MODELS = st.sampled_from([UNFITTED, CERTAIN, DOOMED])


def reaches(v: Vote) -> bool:
    if v.p is None or v.source in ("logic", "judge:a", "outsider"):
        return False
    return v.correct > 0 or (v.n == 0 and v.p > 0 and v.source != "bisection")


def says(v: Vote, step: int, label: int) -> bool:
    """Whether a vote on the step itself says right (1) or wrong (0)."""
    if v.p is None or v.step != step or (v.source == "bisection" and not v.n):
        return False
    share = v.correct / v.n if v.n else v.p
    return share > 0.5 if label else share <= 0.5


@settings(max_examples=200, deadline=None)
@given(any_votes(), MODELS)
def test_every_label_has_a_vote_that_implies_it(given_votes: tuple[int, list[Vote]], model: Model) -> None:
    n_steps, votes = given_votes
    labels, first = fused(n_steps, votes, model, RULES)
    for step, label in enumerate(labels):
        implied = [v for v in votes if v.step >= step and reaches(v)]
        if label.label == 1:
            assert implied or any(says(v, step, 1) for v in votes)
        if label.label == 0:
            assert any(says(v, step, 0) for v in votes)
            assert set(label.reason.split(": ")[0].split("+")) <= {v.source for v in votes if v.step == step}
        assert (label.decided_by != "") == (label.label is not None)
        assert set(filter(None, label.decided_by.split("+"))) <= {v.source for v in votes if v.p is not None}
        assert (label.reason != "") == (label.label != 1)
        if not implied and not any(says(v, step, 0) or says(v, step, 1) for v in votes):
            assert label.p is None
    if first == -1:
        assert said(labels) == [1] * n_steps
    elif first is not None:
        assert said(labels) == [1] * first + [0] + [None] * (n_steps - first - 1)
    else:
        assert 0 not in said(labels)
    p = [label.p for label in labels if label.p is not None]
    assert p == sorted(p, reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), MODELS, st.sampled_from(["logic", "monte_carlo", "answer", "bisection"]))
def test_no_vote_no_label(n_steps: int, model: Model, source: str) -> None:
    abstentions = [Vote(step=i, source=source, asks="valid", why="says nothing") for i in range(n_steps)]
    for votes in ([], abstentions):
        labels, first = fused(n_steps, votes, model, RULES)
        assert first is None
        assert {(x.label, x.p, x.decided_by, x.reason) for x in labels} == {
            (None, None, "", "no source voted on this step")
        }


@settings(max_examples=60, deadline=None)
@given(any_votes(), MODELS, st.integers(0, 5), st.sampled_from(SOURCES), st.randoms())
def test_an_abstention_changes_nothing_and_order_does_not_matter(
    given_votes: tuple[int, list[Vote]], model: Model, step: int, source: str, rng: object
) -> None:
    n_steps, votes = given_votes
    silent = Vote(step=step % n_steps, source=source, asks="valid", n_failed=8, why="cut off")
    if any(v.source == "bisection" for v in votes):
        return  # a search votes on every step or on none
    labels, first = fused(n_steps, votes, model, RULES)
    again, first_again = fused(n_steps, [silent, *votes[::-1]], model, RULES)
    assert first == first_again
    assert [(x.label, x.decided_by, x.rate_low, x.rate_high) for x in labels] == [
        (x.label, x.decided_by, x.rate_low, x.rate_high) for x in again
    ]
    assert [x.p or 0 for x in labels] == pytest.approx([x.p or 0 for x in again], abs=2e-6)


@settings(max_examples=60)
@given(st.lists(st.none() | st.sampled_from([0, 2, 4, 6, 8]), min_size=1, max_size=9))
def test_a_fit_to_one_solution_is_a_fit(rates: list[int | None]) -> None:
    model = model_of(fit([(len(rates), rolled(*rates))], TABLE), TABLE)
    labels, _ = fused(len(rates), rolled(*rates), model, RULES)
    p = [label.p for label in labels if label.p is not None]
    assert p == sorted(p, reverse=True)


# What speaks for what


def test_a_success_speaks_for_the_steps_before_it() -> None:
    labels, first = fused(4, rolled(None, None, 8, None), UNFITTED, RULES)
    assert said(labels) == [1, 1, 1, None]
    assert labels[0].decided_by == "monte_carlo"
    assert labels[3].p is None
    assert first is None


def test_a_right_answer_speaks_for_every_step() -> None:
    labels, first = fused(3, [vote(2, "answer", 1, 1)], Model(0.02, 0.02, {}, TABLE), RULES)
    assert said(labels) == [1, 1, 1]
    assert {label.decided_by for label in labels} == {"answer"}
    assert first == -1


def test_a_refutation_speaks_for_no_other_step() -> None:
    for model in (UNFITTED, CERTAIN, DOOMED):
        labels, first = fused(4, [vote(2, "logic", 0, 1, why="5 is not 4")], model, RULES)
        assert said(labels) == [None] * 4
        assert labels[0].reason == labels[1].reason == labels[3].reason == "no source voted on this step"
        assert first is None


def test_between_a_success_and_a_failure_two_steps_apart_nothing_is_called_wrong() -> None:
    """Alive after step 1, lost after step 3, and nobody looked at step 2: the error is one of the two."""
    votes = [*rolled(8, 8, None, 0, 0), vote(5, "answer", 0, 1)]
    labels, first = fused(6, votes, UNFITTED, RULES)
    assert said(labels) == [1, 1, None, None, None, None]
    assert first is None
    assert labels[2].reason == "no source voted on this step"
    assert labels[2].p is None
    told = [*votes, *votes_of([Reading(2)] * 3, 6, "judge:a")]
    assert fused(6, told, KEEN, RULES)[1] == 2


def test_an_error_by_exclusion_is_not_established() -> None:
    """Every other step is cleared on its own; the votes on step 1 are all in its favour."""
    votes = [*rolled(8, None, None), vote(1, "logic", 1, 1), vote(2, "answer", 0, 1), vote(2, "logic", 1, 1)]
    labels, first = fused(3, votes, Model(0.1, 0.1, {}, TABLE), RULES.model_copy(update={"reject": 0.5}))
    assert first != 1
    assert labels[1].label != 0


def test_a_judges_yes_speaks_for_its_steps() -> None:
    labels, first = fused(4, votes_of([Reading(2)] * 8, 4, "judge:a"), KEEN, RULES)
    assert said(labels) == [1, 1, 0, None]
    assert labels[2].decided_by == "judge:a"
    assert labels[2].reason == "judge:a: 0 of 8 say yes"
    assert labels[3].reason == "after the first error"
    assert first == 2


@pytest.mark.parametrize(("yes", "label"), [(4, None), (5, 1)])
def test_a_judge_that_is_evenly_split_bears_nothing_out(yes: int, label: int | None) -> None:
    """Where the hazard alone is sure, a label still needs a majority of the replies."""
    labels, _ = fused(1, [vote(0, "judge:a", yes)], CERTAIN, RULES)
    assert said(labels) == [label]


def test_the_last_failure_is_the_grades() -> None:
    labels, first = fused(3, [*rolled(8, 8), vote(2, "answer", 0, 1)], Model(0.03, 0.3, {}, TABLE), RULES)
    assert said(labels) == [1, 1, 0]
    assert labels[2].reason == "answer: the final answer is wrong"
    assert first == 2


def test_a_search_speaks_where_its_rollouts_passed() -> None:
    """Its p stands on steps that no rollout has passed, too: there it is no evidence of its own."""
    found = [(0.99, 3, 3), (0.98, 0, 0), (0.02, 0, 6)]
    votes = [
        Vote(step=i, source="bisection", asks="solvable", p=p, correct=c, n=n)
        for i, (p, c, n) in enumerate(found)
    ]
    labels, first = fused(4, [*votes, vote(3, "answer", 0, 1)], UNFITTED, RULES)
    assert said(labels) == [1, None, None, None]
    assert labels[1].reason == "no source voted on this step"
    assert first is None
    passed = votes[1].model_copy(update={"correct": 2, "n": 3})
    labels, first = fused(4, [votes[0], passed, votes[2], vote(3, "answer", 0, 1)], UNFITTED, RULES)
    assert said(labels) == [1, 1, 0, None]
    assert first == 2


def test_a_search_and_a_refutation_are_fused() -> None:
    """The search leaves step 1 or 2; the verifier refutes 2 and passes 1."""
    p = [0.98, 0.7, 0.02]
    votes = [
        *(
            Vote(step=i, source="bisection", asks="solvable", p=x, correct=int(i == 0), n=2)
            for i, x in enumerate(p)
        ),
        vote(3, "answer", 0, 1),
    ]
    checked = [vote(step, "arithmetic", int(step != 2), 1) for step in range(4)]
    model = model_of(fit([(4, [*votes, *checked])] * 3, TABLE), TABLE)
    assert "bisection" not in model.tables
    assert fused(4, votes, model, RULES)[1] is None
    labels, first = fused(4, [*votes, *checked], model, RULES)
    assert first == 2
    assert said(labels) == [1, 1, 0, None]


def test_the_interval_follows_the_pooled_counts() -> None:
    votes = [vote(0, "monte_carlo", 4), vote(0, "scan", 4), vote(0, "prover", 8), vote(0, "logic", 1, 1)]
    label = fused(2, votes, UNFITTED, RULES)[0][0]
    assert (label.rate_low, label.rate_high) == (0.28, 0.72), "Wilson, 8 of 16"


@pytest.mark.parametrize(
    ("n", "label"), [(1, None), (2, None), (3, 0), (8, 0)], ids=["0 of 1", "0 of 2", "0 of 3", "0 of 8"]
)
def test_too_few_readable_rollouts_call_no_step_wrong(n: int, label: int | None) -> None:
    """All other votes point here, and still: nothing on the step itself says so loudly enough."""
    votes = [
        *rolled(8, 8),
        vote(2, "monte_carlo", 0, n),
        *rolled(None, None, None, 0),
        vote(4, "answer", 0, 1),
    ]
    labels, first = fused(5, votes, Model(0.1, 0.1, {SURE_OF_ROLLOUTS: LOSES}, TABLE), RULES)
    assert (labels[2].p or 0) <= 0.2
    assert labels[2].label == label
    assert first == (2 if label == 0 else None)
    if label is None:
        assert labels[2].reason == "no vote on this step is enough to call it wrong"


# Few readable rollouts


def thinned(votes: list[Vote], keep: float, rng: np.random.Generator) -> list[Vote]:
    """Each rollout lost with chance 1 - `keep`, whatever it would have said."""
    left = []
    for v in votes:
        if declared(TABLE, v.source).kind == "rollouts":
            correct, failed = int(rng.binomial(v.correct, keep)), int(rng.binomial(v.n - v.correct, keep))
            v = vote(v.step, v.source, correct, correct + failed)
        left.append(v)
    return left


def test_a_server_that_loses_three_completions_of_four_turns_no_right_label_wrong() -> None:
    async def drawn() -> list[tuple[Solution, list[Vote]]]:
        policy, found = SimulatedPolicy(slip=0.06), []
        for i in range(60):
            problem = Problem(text=f"problem {i}", answer="right", answer_kind="text")
            roller = Roller(policy, PromptConfig(max_tokens=1000), problem, seed=1)
            for candidate in await sample.propose(roller, SampleConfig(n=2)):
                votes = await MonteCarlo(MonteCarloConfig()).annotate(Context(roller), candidate.solution)
                found.append((candidate.solution, votes))
        return found

    run = asyncio.run(drawn())
    assert len(run) > 90
    moved: Counter[tuple[int | None, int | None]] = Counter()
    before = labels_of(run)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        after = labels_of([(s, thinned(votes, 0.25, rng)) for s, votes in run])
        moved.update(
            pair for one, other in zip(before, after, strict=True) for pair in zip(one, other, strict=True)
        )
    assert moved[1, 0] <= moved[1, 1] / 500
    assert moved[0, 1] == 0
    assert moved[1, 1] > 0.8 * sum(n for (was, _), n in moved.items() if was == 1)


def labels_of(run: list[tuple[Solution, list[Vote]]]) -> list[list[int | None]]:
    model = model_of(fit([(len(s.steps), votes) for s, votes in run], TABLE), TABLE)
    found = fuse([Candidate(solution=s, votes=tuple(votes)) for s, votes in run], model, RULES)
    return [said(labels) for labels, _ in found]


def test_the_interval_is_of_the_policys_rollouts_and_of_nothing_else() -> None:
    """8 of 16 by two sources of the policy: Wilson's (.28, .72). The other 40 votes say something else."""
    own = [vote(0, "monte_carlo", 3), vote(0, "scan", 5)]
    others = [vote(0, "judge:a", 16, 16), vote(0, "logic", 1, 1), vote(0, "prover", 16, 16)]
    (label,), _ = fused(1, [*own, *others, vote(0, "answer", 1, 1)], UNFITTED, RULES)
    assert (label.rate_low, label.rate_high) == (0.28, 0.72)
    (label,), _ = fused(1, [*others, vote(0, "answer", 1, 1)], UNFITTED, RULES)
    assert (label.rate_low, label.rate_high) == (None, None)


@pytest.mark.parametrize(("asks", "labels"), [("solvable", [1, 1]), ("valid", [None, None])])
def test_what_is_in_reach_later_was_in_reach_before_and_what_is_valid_need_not_be(
    asks: Asks, labels: list[int | None]
) -> None:
    """A model's yes on the last step, by whether it says that the answer is in reach or that the step is
    right."""
    sources = {"value": Source(kind="judge", asks=asks)}
    model, yes = Model(1e-6, 1e-6, {}, sources), Vote(step=2, source="value", asks=asks, p=0.9)
    assert said(fused(3, [yes], model, RULES)[0])[:2] == labels
    doubtful = yes.model_copy(update={"p": 0.4})
    assert said(fused(3, [doubtful], model, RULES)[0])[:2] == [None, None]


def test_a_vote_that_nobody_declared_is_refused() -> None:
    with pytest.raises(UserError, match="votes of source 'stranger', which nobody declared"):
        fused(1, [Vote(step=0, source="stranger", asks="valid", p=1.0)], UNFITTED, RULES)


def test_opinions_alone_do_not_overrule_a_verifier() -> None:
    """A judge that always says yes, and no gold answers: the fit takes refutations for false alarms."""

    def votes(refuted: int | None) -> list[Vote]:
        said = [vote(step, "arithmetic", int(step != refuted), 1) for step in range(3)]
        return [*said, *(vote(step, "judge:a", 4, 4) for step in range(3))]

    run = [(3, votes(0 if number % 3 == 0 else None)) for number in range(60)]
    model = model_of(fit(run, TABLE), TABLE)
    labels, first = fused(3, votes(1), model, RULES)
    assert ([label.label for label in labels], first) == ([1, None, None], None)
    assert labels[1].reason == "a verifier refutes this step, and only opinions speak for it"
    # A right answer, or a success of rollouts, is no opinion.
    for fact in (vote(2, "answer", 1, 1), vote(1, "monte_carlo", 8)):
        labels, first = fused(3, [*votes(1), fact], model, RULES)
        assert ([label.label for label in labels], first) == ([1, 1, 1], -1)
    labels, first = fused(3, votes(None), model, RULES)
    assert ([label.label for label in labels], first) == ([1, 1, 1], -1)
