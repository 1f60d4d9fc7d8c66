"""Labels that came with a solution vote only as opinions, and only where they say something."""

from pipeline.proposers.gold import SOURCE, SOURCES, with_votes
from schemas.records import Candidate, GoldLabels, PolicyIdentity, Solution, Step
from schemas.sources import check_votes

STEPS = tuple(Step(text="s", start=2 * k, end=2 * k + 1) for k in range(3))
SOLUTION = Solution(
    problem_id="p", text="s\ns\ns", steps=STEPS, policy=PolicyIdentity(kind="given", model="")
)


def test_labels_become_declared_votes() -> None:
    gold = GoldLabels(labels=(1, 0, None), first_error=1, by="prm800k")
    voted = with_votes(Candidate(solution=SOLUTION, gold=gold))
    assert [(vote.step, vote.source, vote.p) for vote in voted.votes] == [(0, SOURCE, 1), (1, SOURCE, 0)]
    assert voted.votes[1].why == "labelled by prm800k"
    check_votes(voted.votes, SOURCES, 3, "the given labels")


def test_a_solution_without_labels_stays_as_it_is() -> None:
    bare = Candidate(solution=SOLUTION)
    assert with_votes(bare) is bare
