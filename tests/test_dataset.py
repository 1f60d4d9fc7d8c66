"""What sealing counts, and what it warns of."""

from pipeline.dataset import Tally
from schemas.records import LabelledSolution, PolicyIdentity, Problem, Solution, Step, StepLabel, Vote


def row(*votes: Vote) -> LabelledSolution:
    problem = Problem(text="What is 6*7?", answer="42")
    solution = Solution(
        problem_id=problem.id,
        text="42",
        steps=(Step(text="42", start=0, end=2),),
        answer="42",
        outcome="correct",
        policy=PolicyIdentity(kind="k", model="m"),
    )
    return LabelledSolution(
        problem=problem, solution=solution, labels=(StepLabel(),), votes=votes, first_error=None
    )


def test_a_source_that_never_says_no_is_named_once_it_has_said_enough() -> None:
    tally = Tally()
    yes, no, silent = (
        Vote(step=0, source="judge:a", asks="valid", p=1.0),
        Vote(step=0, source="logic", asks="valid", p=0.0),
        Vote(step=0, source="algebra", asks="valid", p=None, why="nothing to check"),
    )
    for index in range(120):
        tally._row(row(yes, silent, no if index == 7 else yes.model_copy(update={"source": "logic"})))
        assert tally.never_denying() == (["judge:a"] if index >= 99 else [])
