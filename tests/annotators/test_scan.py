"""SCAN's rollouts: only where they say something, and no further than the first zero."""

import asyncio

import pytest

from pipeline.annotators.base import Context
from pipeline.annotators.scan import Scan
from pipeline.policies.simulated import SimulatedPolicy, solution_text
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller
from schemas.config import PromptConfig, ScanConfig
from schemas.records import Outcome, Problem, Rollout, Vote

PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")


def annotate(bad_step: int, outcome: Outcome, *, right: int = 9, wrong: int = 1) -> tuple[list[Vote], Roller]:
    """Votes on a planted solution of 6 steps, after so many right and wrong draws of the bare problem."""
    policy = SimulatedPolicy(n_steps=6, bad_step=bad_step)
    roller = Roller(policy, PromptConfig(max_tokens=1000), PROBLEM, seed=0)
    text = solution_text([step < bad_step for step in range(6)])
    for index in range(right + wrong + 5):
        known: Outcome = "unknown" if index >= right + wrong else "correct" if index < right else "incorrect"
        roller.taken.append(
            Rollout(
                problem_id=PROBLEM.id, purpose="propose", prefix="", text=text, outcome=known, stopped="stop"
            )
        )
    solution = to_solution(roller, roller.taken[0]).model_copy(update={"outcome": outcome})
    return asyncio.run(Scan(ScanConfig(rollouts=8)).annotate(Context(roller), solution)), roller


@pytest.mark.parametrize("bad_step", range(5))
def test_it_stops_at_the_first_zero(bad_step: int) -> None:
    votes, roller = annotate(bad_step, "incorrect")
    assert [vote.p for vote in votes] == [1.0] * bad_step + [0.0]
    assert sum(r.purpose == "scan" for r in roller.taken) == 8 * (bad_step + 1)
    assert {(vote.source, vote.asks) for vote in votes} == {("scan", "solvable")}


def test_the_last_step_is_never_rolled_out() -> None:
    assert len(annotate(5, "incorrect")[0]) == 5


@pytest.mark.parametrize(
    ("outcome", "why"), [("correct", "right answer: not scanned"), ("unknown", "the answer was not graded")]
)
def test_only_wrong_solutions_are_scanned(outcome: Outcome, why: str) -> None:
    votes, roller = annotate(2, outcome)
    assert [(vote.p, vote.why) for vote in votes] == [(None, why)] * 5
    assert len(roller.taken) == 15


@pytest.mark.parametrize(("right", "wrong", "asked"), [(74, 26, False), (75, 25, True), (0, 0, False)])
def test_only_confident_problems_are_scanned(right: int, wrong: int, asked: bool) -> None:
    votes, _ = annotate(2, "incorrect", right=right, wrong=wrong)
    assert [vote.p is not None for vote in votes] == ([True] * 3 if asked else [False] * 5)


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        (1, 1, "not scanned: 1 of 2 draws of the bare problem are right, the least share is 0.75; "
               "of 2 draws none can reach it: draw more (propose.n)"),
        (2, 2, "not scanned: 2 of 4 draws of the bare problem are right, the least share is 0.75"),
    ],
)  # fmt: skip
def test_what_is_not_scanned_says_why(right: int, wrong: int, why: str) -> None:
    """With two samples a problem nothing was ever scanned, and nothing said so."""
    assert {vote.why for vote in annotate(2, "incorrect", right=right, wrong=wrong)[0]} == {why}
