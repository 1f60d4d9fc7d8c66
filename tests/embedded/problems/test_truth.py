"""The embedded problems: their truth is exact, and their words and premises say the same."""

import random
from collections.abc import Callable

import pytest

from pipeline.annotators.stepwise import read_per_step
from pipeline.annotators.verdicts import read_redone
from pipeline.embedded.problems import arithmetic, logic, mistakes
from pipeline.embedded.problems.lessons import case, review, reviewing, solving
from pipeline.embedded.problems.truth import first_error, problems, step_truth
from pipeline.inputs.segment import segment


def steps_of(text: str) -> list[str]:
    return [step.text for step in segment(text)]


def test_references_are_true_and_have_the_steps_asked_for() -> None:
    for problem in problems(200, seed=3, steps=(3, 8)):
        steps = steps_of(problem.reference or "")
        assert 3 <= len(steps) <= 8
        assert step_truth(problem, steps) == [True] * len(steps), (problem.text, steps)


def test_planted_mistakes_are_the_first_untrue_step() -> None:
    rng = random.Random(4)
    for _ in range(300):
        posed = case(rng, rng.randint(2, 8))
        check = logic.statement_truth if isinstance(posed, logic.LogicCase) else arithmetic.statement_truth
        steps, error, _ = mistakes.planted(posed, rng)
        truth = [check(step, posed.premises) for step in steps]
        assert truth[: error + 1] == [True] * error + [False], (posed.text, steps)


@pytest.mark.parametrize(
    ("step", "truth"),
    [
        ("Since Tom gets 5 more apples than Mia and Mia has 14, 14 + 5 = 19 so Tom has 19 apples.", True),
        ("Since Mia has 14, 14 + 5 = 19 so Tom has 19 apples.", True),
        ("Since Mia has 14 and Tom has 19, 14 + 19 = 33 so Mia and Tom have 33 apples together.", True),
        ("Since Tom has 19 and Mia has 14, 19 - 14 = 5 so Tom has 5 more apples than Mia.", True),
        ("Since Ivy gets as many apples as Tom and Mia together and Tom has 19, 19 + 14 = 33 so Ivy has 33 "
         "apples.", True),
        ("Since Tom gets 5 more apples than Mia and Mia has 14, 14 + 5 = 18 so Tom has 18 apples.", False),
        ("Since Tom gets 5 more apples than Mia and Mia has 14, 14 - 5 = 9 so Tom has 9 apples.", False),
        ("Since Tom gets 5 more apples than Mia and Mia has 15, 15 + 5 = 20 so Tom has 20 apples.", False),
        ("Since Tom gets 5 more apples than Mia and Mia has 15, 14 + 5 = 19 so Tom has 19 apples.", False),
        ("Since Tom gets 5 fewer apples than Mia and Mia has 14, 14 + 5 = 19 so Tom has 19 apples.", False),
        ("Since Tom gets 5 more apples than Zoe and Zoe has 14, 14 + 5 = 19 so Tom has 19 apples.", False),
        ("Since Tom gets 5 more apples than Mia and Mia has 14, 14 + 5 = 19 so Tom has 18 apples.", False),
        ("Since Tom gets 5 more apples than Mia and Mia has 14, 14 + 5 = 19 so Zoe has 19 apples.", False),
        ("Since Tom has 19 and Mia has 14, 19 - 14 = 5 so Mia has 5 more apples than Tom.", False),
        ("Since Mia has 14, 14 / 0 = 19 so Tom has 19 apples.", False),
        ("Since it is late, 14 + 5 = 19 so Tom has 19 apples.", None),
        ("Since Mia has 14 so Tom has 19 apples.", None),
        ("Let us think.", None),
    ],
)  # fmt: skip
def test_arithmetic_statements(step: str, truth: bool | None) -> None:
    assert arithmetic.statement_truth(step, ("Mia = 14", "Tom = Mia + 5", "Ivy = Tom + Mia")) is truth


@pytest.mark.parametrize(
    ("step", "truth"),
    [
        ("Everyone who is kind is calm so Ana is calm.", True),
        ("Everyone who is calm and tall is brave so Ana is brave.", True),
        ("Everyone who is tall and calm is brave so Ana is brave.", True),
        ("Everyone who is kind and tall is brave so Ana is brave.", True),  # skips a line, but follows
        ("Everyone who is kind is brave so Ana is brave.", False),  # a condition is missing
        ("Everyone who is calm is kind so Ana is kind.", False),  # the wrong way round
        ("Everyone who is shy is loud so Ana is loud.", False),  # nobody said she is shy
        ("Everyone who is kind is calm so Ana is brave.", False),  # the rule gives something else
        ("Everyone who is kind is calm so Ben is calm.", False),
        ("Ana is kind.", None),
    ],
)
def test_inferences(step: str, truth: bool | None) -> None:
    rules = ("(x): {kind}x -> {calm}x", "(x): ({calm}x & {tall}x) -> {brave}x", "(x): {shy}x -> {loud}x")
    assert logic.statement_truth(step, ("{kind}{Ana}", "{tall}{Ana}", *rules)) is truth


def test_a_wrong_answer_makes_the_last_step_untrue() -> None:
    problem = problems(1, seed=1)[0]
    steps = steps_of((problem.reference or "").replace(f"#### {problem.answer}", "#### 999"))
    assert first_error(problem, steps) == len(steps) - 1


def test_problems_are_repeatable_distinct_and_apart_from_other_splits() -> None:
    train, again, other = (problems(100, seed=1, split=s) for s in ("train", "train", "held-out"))
    assert train == again
    assert len({p.id for p in train + other}) == 200


@pytest.mark.parametrize("redone", [True, False])
def test_lessons_never_teach_a_mistake(redone: bool) -> None:
    rng = random.Random(5)
    seen = 0
    for _ in range(400):
        posed = case(rng, 4)
        lesson = reviewing(posed, rng, redone=redone)
        learnt = "".join(lesson.reply[a:b] for a, b, _ in lesson.spans)
        solution = lesson.reply.partition("\nReview:")[0]
        wrong = [step for step in solution.split("\n")[:-1] if step not in mistakes.reference(posed)]
        seen += bool(wrong)
        assert not any(step in learnt for step in wrong)
        assert "Problem:" not in learnt
        assert lesson.prompt.startswith("Problem: ")
    assert seen > 80


def test_marked_reviews_are_read_as_judges_replies() -> None:
    rng = random.Random(6)
    for _ in range(100):
        posed = case(rng, rng.randint(2, 8))
        steps, error, _ = mistakes.planted(posed, rng)
        subjects = mistakes.subjects(posed, steps)
        assert read_per_step(review(subjects, error), len(steps)).first == error
        assert read_per_step(review(subjects, None), len(steps)).first == -1


@pytest.mark.parametrize("broken", [mistakes.planted, mistakes.cut_short])
def test_the_right_solution_done_again_names_the_first_error(
    broken: Callable[..., tuple[list[str], int, str]],
) -> None:
    rng = random.Random(7)
    for _ in range(100):
        posed = case(rng, rng.randint(2, 8))
        redone = solving(posed).reply
        steps, error, answer = broken(posed, rng)
        written = [s.text for s in segment("\n".join([*steps, f"#### {answer}"]))]
        assert read_redone(redone, written, posed.text).first == error
        assert read_redone(redone, [s.text for s in segment(redone)], posed.text).first == -1
        assert read_redone(redone.partition("\n####")[0], written, posed.text).first is None
