"""The embedded problems: their truth is exact, and their words and premises say the same."""

import random

import pytest

from pipeline.embedded import arithmetic, logic, mistakes
from pipeline.embedded.lessons import case, lesson, review
from pipeline.embedded.truth import first_error, problems, step_truth
from pipeline.segment import segment


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
        ("Tom has 14 + 5 = 19 apples.", True),
        ("Tom has 19 apples.", True),
        ("Tom has 5 + 14 = 19 apples.", True),
        ("Tom has 14 + 5 = 18 apples.", False),  # wrong arithmetic
        ("Tom has 14 - 5 = 9 apples.", False),  # wrong operation
        ("Tom has 14 + 6 = 20 apples.", False),  # wrong quantity
        ("Zoe has 14 + 5 = 19 apples.", False),  # nobody the problem knows
        ("Mia and Tom have 14 + 19 = 33 apples together.", True),
        ("Tom has 19 - 14 = 5 more apples than Mia.", True),
        ("Mia has 19 - 14 = 5 more apples than Tom.", False),
        ("Tom has 14 / 0 = 19 apples.", False),
        ("Tom has 5 more apples than Mia so Tom has 14 + 5 = 19 apples.", True),
        ("Tom has 5 fewer apples than Mia so Tom has 14 + 5 = 19 apples.", False),  # a wrong clause
        ("Tom has 5 more apples than Zoe so Tom has 14 + 5 = 19 apples.", False),
        ("Tom has 5 more apples than Mia so Tom has 14 + 5 = 18 apples.", False),
        ("Mia has half as many apples as Tom so Mia has 14 apples.", False),
        ("It is late so Tom has 14 + 5 = 19 apples.", None),
        ("Let us think.", None),
    ],
)
def test_arithmetic_statements(step: str, truth: bool | None) -> None:
    assert arithmetic.statement_truth(step, ("Mia = 14", "Tom = Mia + 5")) is truth


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


def test_lessons_never_teach_a_mistake() -> None:
    rng = random.Random(5)
    seen = 0
    for _ in range(400):
        posed = case(rng, 4)
        steps, error, _ = mistakes.planted(posed, rng)
        reply = review(posed, steps, error)
        assert reply.endswith(f"First error: {error + 1}")
        prompt, text, spans = lesson(rng, 4)
        learnt = "".join(text[a:b] for a, b in spans)
        if "First error" in text and not text.endswith("none"):
            seen += 1
            bad = int(text.rsplit(" ", 1)[1])
            wrong_step = text.split("\n")[bad - 1]
            assert wrong_step not in learnt.split("First error")[0].split("\n")[: bad - 1]
        assert "Problem:" not in learnt
        assert prompt.startswith("Problem: ")
    assert seen > 20
