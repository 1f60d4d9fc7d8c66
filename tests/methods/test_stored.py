"""A sealed run as the methods read it."""

from typing import Any

import pytest

from pipeline.methods.counts import Count
from pipeline.methods.stored import Run
from schemas.errors import UserError


def test_every_problem_comes_once_with_its_own_rollouts(run: Run) -> None:
    found = list(run)
    ids = [stored.finished.problem.id for stored in found]
    assert len(set(ids)) == len(ids) == 6
    for stored in found:
        assert {rollout.problem_id for rollout in stored.rollouts} == {stored.finished.problem.id}
        assert len(stored.rollouts) == stored.finished.n_rollouts
    assert [stored.finished for stored in run] == [stored.finished for stored in found]


def test_counts_along_a_solution(run: Run) -> None:
    for stored in run:
        for candidate in stored.finished.candidates:
            counts = stored.along(candidate.solution)
            assert len(counts) == 6
            assert counts[0].n == 18  # the filter's and the proposer's
            assert counts[-1].n == 1
            rolled = {vote.step: vote for vote in candidate.votes if vote.source == "monte_carlo"}
            for step, vote in rolled.items():
                assert counts[step + 1].n >= vote.n == 8
            prover = stored.along(candidate.solution, "prover")
            assert [count.n for count in prover] == [8, 8, 8, 8, 8, 1]


def test_an_empty_shard_is_no_fault(make_run: Any) -> None:
    assert len(list(make_run(1))) == 1  # of two shards


def test_missing_rollouts_are_named(make_run: Any) -> None:
    run = make_run(6)
    for path in (run._store.path / "rollouts").glob("*.parquet"):
        path.unlink()
    with pytest.raises(UserError, match="rollouts are missing"):
        list(run)


def test_an_unknown_outcome_is_no_zero(run: Run) -> None:
    stored = next(iter(run))
    solution = stored.finished.candidates[0].solution.model_copy(update={"outcome": "unknown"})
    assert stored.along(solution)[-1] == Count(n_failed=1)
