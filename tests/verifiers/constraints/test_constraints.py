"""Claims against the constraints of a word problem."""

import random
from collections import Counter

import pytest

from pipeline.embedded.problems import arithmetic as words
from pipeline.embedded.problems import mistakes
from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.constraints.constraints import Constraints, Formalisation, judge
from verifiers.constraints.formalisation import proposed

ICE = Formalisation({"i": "integer", "t": "integer"}, ("3*i + i = 32", "t = 3*i"))


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("i = 8", "entailed"),
        ("t = 24", "entailed"),
        ("t + i = 32", "entailed"),
        ("i > 5", "entailed"),
        ("i = 9", "contradicted"),
        ("t < i", "contradicted"),
        ("i/0 = 1", "contradicted"),
        ("k = 8", "unknown"),
        ("i", "unknown"),
        ("i = 8 = 8", "unknown"),
        ("sqrt(i) = 2", "unknown"),
        ("i^9999 = 1", "unknown"),
        ("__import__('os') = 1", "unknown"),
        ("(" * 500 + "i = 8", "unknown"),
    ],
)
def test_claims(claim, verdict):
    assert judge(ICE, claim).verdict == verdict


def test_sorts_decide():
    square = ("r*r = 4",)
    found = judge(Formalisation({"r": "real"}, square), "r = 2")
    assert (found.verdict, found.model) == ("open", "r = -2")
    assert judge(Formalisation({"r": "real"}, (*square, "r > 0")), "r = 2").verdict == "entailed"
    assert judge(Formalisation({"r": "integer"}, ("2*r < 3", "r > 0")), "r = 1").verdict == "entailed"


def test_the_core_names_the_constraints_that_matter():
    found = judge(Formalisation({"a": "real", "b": "real"}, ("b > 7", "a = 2", "b < 9")), "a = 3")
    assert (found.verdict, found.core) == ("contradicted", (1,))


def test_constraints_that_clash_settle_nothing():
    assert judge(Formalisation({"a": "real"}, ("a = 1", "a = 2")), "a = 1").verdict == "unknown"


REPLY = """```
ice: integer
tea = 3 * ice
ice + tea = 32
asked: tea
```"""


@pytest.mark.parametrize(
    ("reply", "answer", "why"),
    [
        (REPLY, "24", ""),
        (REPLY, "$24", ""),
        (REPLY, "25", "contradicted"),
        ("t > 1\nasked: t", "24", "open"),
        ("t = 24\nasked: t", "24", "states the answer"),
        ("t = 20 + 4\nasked: t", "24", "states the answer"),
        ("t = 3 * i\ni = 8\nasked: t", "24", ""),
        ("t = 24\nt = 25\nasked: t", "24", "contradict each other"),
        ("t = 24\nasked: z", "24", "no constraint names"),
        ("t = 24", "24", "nothing is asked for"),
        ("", "24", "nothing is asked for"),
        ("The answer is 24.\nasked: answer", "24", "not one relation"),
        ("t = __import__('os')\nasked: t", "24", "unexpected"),
        ("t = 9^9^9^9\nasked: t", "24", "small powers"),
        (REPLY, "blue", "no number"),
        ("t = 1\n" * 2000, "24", "longer"),
        ("t + u = 1\n" * 100 + "asked: t", "24", "more than 64"),
    ],
)
def test_a_proposal_must_pin_the_gold_answer(reply, answer, why):
    found = proposed(reply, answer)
    assert (found.formalisation is None) == bool(why)
    assert why in found.why


def test_a_trusted_proposal_can_stand_as_premises():
    trusted = proposed(REPLY, "24").formalisation
    problem = Problem(text="p", answer="24", premises=trusted.constraints)
    assert Constraints().check(StepContext(problem, ("So ice = 8 and tea = 24.",))).verdict == "holds"
    assert Constraints().check(StepContext(problem, ("So tea = 8 and ice = 24.",))).verdict == "fails"


PREMISES = ("Mia = 14", "Tom = Mia + 5", "Eva = Tom + Mia", "Ben = Mia / 2", "Zoe > 3")


@pytest.mark.parametrize(
    ("step", "verdict", "reason"),
    [
        ("Since Tom gets 5 more pens than Mia and Mia has 14, 14 + 5 = 19 so Tom has 19 pens.", "holds", ""),
        (
            "Since Tom gets 4 more pens than Mia and Mia has 14, 14 + 4 = 18 so Tom has 18 pens.",
            "fails",
            "Tom =",
        ),
        ("14 + 5 = 19 so Tom has 20 pens.", "fails", "Tom = 20 contradicts Mia = 14, Tom = Mia + 5"),
        ("14 + 5 = 20 so Tom has 19 pens.", "abstains", "calculation is not proved"),
        ("So Tom and Mia have 33 pens together.", "holds", ""),
        ("Since Eva gets as many pens as Mia and Tom together, Eva has 33 pens.", "holds", ""),
        ("So Tom has 5 more pens than Mia.", "holds", ""),
        ("So Tom has 5 fewer pens than Mia.", "fails", ""),
        ("Ben gets half as many pens as Mia.", "holds", ""),
        ("Tom gets 3 times as many pens as Ben.", "fails", ""),
        ("Tom = 2 * Mia - 9", "holds", ""),
        ("Zoe has 5 pens.", "abstains", "leave it open"),
        ("Zoe has -9 pens.", "fails", ""),
        ("Zoe has 2 pens.", "fails", "Zoe = 2 contradicts Zoe > 3"),
        ("Tom has 5 pens left.", "abstains", "states nothing"),
        ("If Tom has 5 pens, Mia has 14.", "abstains", "states nothing"),
        ("Tom does not have 5 pens; Tom has 5 pens?", "abstains", "states nothing"),
        ("Tom has 5 of the pens.", "abstains", "states nothing"),
        ("Tom has 5 * 3 pens.", "abstains", "states nothing"),
        ("Tommy has 5 pens.", "abstains", "states nothing"),
        ("Leo has 5 pens.", "abstains", "states nothing"),
        ("3 + 4 = 7", "abstains", "states nothing"),
        ("", "abstains", "states nothing"),
        ("Tom has 5 pens. " * 1000, "abstains", "states nothing"),
    ],
)
def test_steps_against_a_problems_premises(step, verdict, reason):
    found = Constraints().check(StepContext(Problem(text="p", premises=PREMISES), (step,)))
    assert (found.verdict, reason in found.reason) == (verdict, True), found


@pytest.mark.parametrize("premises", [(), ("{kind}{Ana}",), ("∀x (A(x) → B(x))",), ("a = 1",) * 65])
def test_problems_without_constraints(premises):
    found = Constraints().check(StepContext(Problem(text="p", premises=premises), ("a = 2",)))
    assert found.verdict == "abstains"


def test_generated_problems_are_judged_as_the_generator_does():
    rng, seen = random.Random(5), Counter()
    for _ in range(15):
        posed = words.generate(rng, rng.randint(2, 6))
        problem = Problem(text=posed.text, answer=posed.answer, premises=posed.premises)
        for steps in (mistakes.reference(posed), mistakes.planted(posed, rng)[0]):
            for step in steps:
                verdict = Constraints().check(StepContext(problem, (step,))).verdict
                truth = words.statement_truth(step, posed.premises)
                seen[truth, verdict] += 1
                assert (verdict, truth) not in {("fails", True), ("holds", False)}, (posed.text, step)
    assert seen[True, "holds"] == sum(n for (truth, _), n in seen.items() if truth)
    assert seen[False, "fails"] > 0.5 * sum(n for (truth, _), n in seen.items() if truth is False), seen
