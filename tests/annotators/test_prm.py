"""Votes of a PRM: up to the first step that it calls wrong, and none where it cannot read."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.annotators.base import Context
from pipeline.annotators.prm import Prm
from pipeline.fusion.consensus import consensus
from pipeline.inputs.segment import segment
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.sampling.roller import Roller
from schemas.config import GivenConfig, PrmConfig, PromptConfig, RunConfig
from schemas.errors import UserError
from schemas.records import PolicyIdentity, Problem, Solution, Vote
from schemas.sources import check_votes, rollout_source

PROBLEM = Problem(text="How much is 6 * 7 + 30?", answer="72")


class Planted:
    """A PRM whose scores are known. It reads no more than four steps."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = list(scores)

    def readable(self, problem: str, steps: Sequence[str]) -> bool:
        return len(steps) <= 4

    def score_steps(self, problem: str, steps: Sequence[str]) -> list[float]:
        return self.scores[: len(steps)]


def votes(folder: Path, scores: Sequence[float]) -> list[Vote]:
    """The votes of a PRM with these scores on a solution of as many steps."""
    (folder / "prm.json").write_text("{}")
    prm = Prm(PrmConfig(checkpoint=str(folder)))
    prm._loaded = Planted(scores)  # type: ignore[assignment]
    text = "\n\n".join(f"Step {i}." for i in range(len(scores)))
    who = PolicyIdentity(kind="k", model="m")
    solution = Solution(problem_id=PROBLEM.id, text=text, steps=segment(text, "\n\n"), policy=who)
    context = Context(Roller(SimulatedPolicy(), PromptConfig(), PROBLEM, seed=0))
    found = asyncio.run(prm.annotate(context, solution))
    check_votes(found, prm.sources, len(scores), "prm")
    assert not context.roller.taken  # it costs no completion
    return found


@pytest.mark.parametrize(
    ("scores", "heard", "first_error"),
    [
        ([0.9, 0.8, 0.7], 3, -1),
        ([0.9, 0.2, 0.9], 2, 1),
        ([0.5, 0.9], 1, 0),
        ([0.9, 0.51, 0.1], 3, 2),
    ],
)
def test_it_votes_up_to_the_first_step_that_it_calls_wrong(
    tmp_path: Path, scores: list[float], heard: int, first_error: int
) -> None:
    found = votes(tmp_path, scores)
    assert [(vote.step, vote.p) for vote in found] == list(enumerate(scores[:heard]))
    # Fusion takes it for a judge that names this first error.
    rolled = [
        Vote(step=i, source="monte_carlo", asks="solvable", p=float(c), correct=4 * c, n=4)
        for i, c in enumerate(int(first_error < 0 or i < first_error) for i in range(len(scores)))
    ]
    sources = {**Prm(PrmConfig(checkpoint=str(tmp_path))).sources, **rollout_source("monte_carlo")}
    kept, how = consensus(len(scores), [*found, *rolled], sources)
    assert (kept, how) == (True, "agree_clean" if first_error < 0 else "agree_error")


def test_what_it_cannot_read_is_an_abstention(tmp_path: Path) -> None:
    found = votes(tmp_path, [0.9] * 5)
    assert [(vote.step, vote.p) for vote in found] == [(i, None) for i in range(5)]
    assert "cannot read" in found[0].why


def test_a_score_that_is_no_number_is_an_abstention(tmp_path: Path) -> None:
    found = votes(tmp_path, [0.9, float("nan"), 0.2])
    assert [(vote.step, vote.p) for vote in found] == [(0, None), (1, None), (2, None)]
    assert "no number" in found[0].why


def test_a_checkpoint_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"prm.checkpoint = '.*': no PRM is there; `stepmint train RUN` makes"
    ):
        Prm(PrmConfig(checkpoint=str(tmp_path)))
    with pytest.raises(UserError, match="only fires of `stepmint deploy` know the newest PRM"):
        Prm(PrmConfig(checkpoint="series"))


def test_the_newest_prm_of_a_series_needs_one_that_trains(tmp_path: Path) -> None:
    data = {"name": "r", "annotate": [{"kind": "prm", "checkpoint": "series"}], "train": {}}
    for series in ({}, {"series": {"name": "nightly"}}):
        with pytest.raises(
            ValueError, match=r'prm.checkpoint = "series" needs a \[series\] with retrain_rows'
        ):
            RunConfig.model_validate({**data, **series})
    config = RunConfig.model_validate({**data, "series": {"name": "nightly", "retrain_rows": 9}})
    # It asks no model: where all solutions are given, none is loaded.
    given = config.model_copy(update={"propose": GivenConfig()})
    assert not given.asks_policy
