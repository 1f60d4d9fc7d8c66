"""Natural inferences, compared step by step with forward chaining: an independent account of the truth."""

import random
import threading
from collections import Counter

import pytest

from pipeline.embedded.problems import logic as chaining
from pipeline.embedded.problems import mistakes
from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.proofs.premises import Logic

PREMISES = (
    "{kind}{Ana}",
    "{tall}{Ana}",
    "(x): ({kind}x & {tall}x) -> {calm}x",
    "(x): {calm}x -> {wise}x",
    "{shy}{Ben}",
)
PROBLEM = Problem(text="Who is calm?", premises=PREMISES)


def check(step, problem=PROBLEM):
    return Logic().check(StepContext(problem, (step,)))


@pytest.mark.parametrize(
    ("step", "verdict", "reason"),
    [
        ("Ana is kind and tall so Ana is calm.", "holds", ""),
        ("Ana is tall and kind, so Ana is wise.", "holds", ""),
        ("Ana is calm so Ana is wise.", "holds", ""),
        ("Ana is kind so Ana is kind.", "holds", ""),
        ("Ana is kind so Ana is calm.", "fails", "no rule says that whoever is kind is calm"),
        ("Ana is shy so Ana is calm.", "fails", "nothing says that Ana is shy"),
        ("Ben is kind and tall so Ben is calm.", "fails", "nothing says that Ben is kind"),
        ("Zoe is calm so Zoe is wise.", "fails", "nothing says that Zoe is calm"),
        ("Ana is wise so Ana is calm.", "fails", "no rule"),
        ("Ana is kind so Ben is calm.", "abstains", ""),
        ("Ana is not so Ana is calm.", "abstains", ""),
        ("Ana is calm.", "abstains", ""),
        ("Tom has 14 + 5 = 19 apples.", "abstains", ""),
        ("", "abstains", ""),
        ("Ana is {kind} so Ana is calm.", "abstains", ""),
        ("Ana is kind and " * 10**5, "abstains", ""),
        ("__import__('os')", "abstains", ""),
    ],
)
def test_steps(step, verdict, reason):
    finding = check(step)
    assert finding.verdict == verdict, finding
    assert reason in finding.reason


def test_a_refutation_shows_a_counter_model():
    assert check("Ana is kind so Ana is calm.").evidence == "possible: Ana is only kind"


@pytest.mark.parametrize(
    ("premises", "reason"),
    [
        ((), "no premises"),
        (("Tom = 5",), "no formulas"),
        (("{kind}{Ana}", "¬{kind}{Ana}"), "contradict"),
        (("{kind}{Ana}", "{a} & {b} v {c}"), "no formulas"),
    ],
)
def test_problems_that_cannot_be_used(premises, reason):
    finding = check("Ana is kind so Ana is calm.", Problem(text="?", premises=premises))
    assert finding.verdict == "abstains"
    assert reason in finding.reason


def test_negative_rules_and_disjunctions_are_understood():
    premises = ("{kind}{Ana}", "(x): {kind}x -> ({calm}x v {wise}x)", "(x): ¬{calm}x")
    problem = Problem(text="?", premises=premises)
    assert check("Ana is kind so Ana is wise.", problem).verdict == "holds"
    assert check("Ana is kind so Ana is calm.", problem).verdict == "fails"


def generated(count):
    rng = random.Random(11)
    for _ in range(count):
        case = chaining.generate(rng, rng.randint(1, 7))
        steps = [*mistakes.reference(case), *mistakes.planted(case, rng)[0]]
        yield Problem(text=case.text, premises=case.premises), steps


def test_agrees_with_forward_chaining_on_generated_problems_and_planted_mistakes():
    seen = Counter()
    for problem, steps in generated(200):
        for step in steps:
            truth = chaining.statement_truth(step, problem.premises)
            verdict = check(step, problem).verdict
            assert verdict == {True: "holds", False: "fails", None: "abstains"}[truth], step
            seen[verdict] += 1
    assert seen["holds"] > 500
    assert seen["fails"] > 150


def test_a_step_costs_milliseconds(own_seconds):
    steps = [(problem, step) for problem, steps in generated(40) for step in steps]
    check(steps[0][1], steps[0][0])
    started = own_seconds()
    for problem, step in steps:
        check(step, problem)
    assert (own_seconds() - started) / len(steps) < 0.02


def test_threads_do_not_disturb_each_other():
    wrong = []

    def work(problem, steps):
        for step in steps:
            truth = chaining.statement_truth(step, problem.premises)
            if check(step, problem).verdict != {True: "holds", False: "fails"}[truth]:
                wrong.append(step)

    rng = random.Random(77)
    threads = []
    for _ in range(8):
        case = chaining.generate(rng, 5)
        steps = [*mistakes.reference(case), *mistakes.planted(case, rng)[0]]
        problem = Problem(text=case.text, premises=case.premises)
        threads.append(threading.Thread(target=work, args=(problem, steps)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
