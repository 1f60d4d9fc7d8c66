"""What the embedded model is taught: to recall, to calculate, to solve, and to review a solution.

Reviews are asked about solutions with planted mistakes too. A lesson never rewards writing a mistake: the
loss covers a solution only up to its first error.
"""

import random
from dataclasses import dataclass

from pipeline.embedded.problems import arithmetic, logic, mistakes
from pipeline.embedded.problems.arithmetic import Quantity
from pipeline.embedded.problems.logic import Rule
from pipeline.prompts.filling import fill
from pipeline.prompts.templates import load_judge, load_template

SOLVE, REVIEW = load_template("embedded_solve"), load_judge("embedded_review").text
_MISTAKEN = 0.7
"""Share of the reviewed solutions that hold a mistake."""
_VERDICT = 3.0
"""Weight of a verdict: one token a step, and hard to learn."""
_CUT_SHORT = 0.3
"""Share of the mistaken solutions, in the second stage, that stop early and answer what they have."""


@dataclass(frozen=True)
class Lesson:
    """A text in two parts, and what of it is learnt."""

    prompt: str
    reply: str
    spans: tuple[tuple[int, int, float], ...]
    """Character spans of the reply that the loss covers, each with its weight."""
    ends: bool = True
    """Whether the model learns to stop after it."""


def case(rng: random.Random, n_steps: int) -> mistakes.Case:
    """An arithmetic or a logic problem, as likely one as the other."""
    return arithmetic.generate(rng, n_steps) if rng.random() < 1 / 2 else logic.generate(rng, n_steps)


def solving(posed: mistakes.Case) -> Lesson:
    """The reference solution."""
    reply = "\n".join([*mistakes.reference(posed), f"#### {posed.answer}"])
    return Lesson(fill(SOLVE, problem=posed.text), reply, ((0, len(reply), 1.0),))


def reviewing(posed: mistakes.Case, rng: random.Random, *, redone: bool) -> Lesson:
    """A solution, more often than not with a mistake, and its review.

    With `redone`, a review is the right solution again, whatever was shown: the first error is where the two
    differ. Otherwise it is one verdict for each step. A model of this size does not learn to give those, but
    the lessons do it no harm.
    """
    steps, error, answer = mistakes.reference(posed), None, posed.answer
    if rng.random() < _MISTAKEN:
        broken = mistakes.cut_short if redone and rng.random() < _CUT_SHORT else mistakes.planted
        steps, error, answer = broken(posed, rng)
    solution = "\n".join([*steps, f"#### {answer}"])
    # Only what comes before the mistake is learnt as something to write; the mistake itself is only read.
    sound = len(solution) if error is None else len("".join(f"{step}\n" for step in steps[:error]))
    asked = solution + REVIEW.partition("{solution}")[2]
    if redone:
        said, weight = "\n" + solving(posed).reply, 1.0
    else:
        said, weight = review(mistakes.subjects(posed, steps), error), _VERDICT
    reply = asked + said
    return Lesson(fill(SOLVE, problem=posed.text), reply, ((0, sound, 1.0), (len(asked), len(reply), weight)))


def review(subjects: list[str], error: int | None) -> str:
    """What each step is about, and a verdict, up to the first error."""
    marked = subjects if error is None else subjects[: error + 1]
    verdicts = ["wrong" if index == error else "right" for index in range(len(marked))]
    return ",".join(f" {subject} {verdict}" for subject, verdict in zip(marked, verdicts, strict=True)) + "."


def recalling(rng: random.Random) -> Lesson:
    """Statements, and some of them again: each can be known from its first word on.

    Solving is mostly looking things up by a name. Dense and short lessons teach that in a twentieth of the
    tokens that solutions alone would need.
    """
    n, kind = rng.randint(2, 8), rng.random()
    if kind < 0.6:
        keys = rng.sample(arithmetic.NAMES, n)
        told = [_told(rng, key, given=kind < 0.4) for key in keys]
    else:
        words = iter(rng.sample(logic.ADJECTIVES, 3 * n))
        bodies = [(next(words), next(words))[: 1 + (rng.random() < 0.3)] for _ in range(n)]
        keys = [f"Everyone who is {body[0]}" for body in bodies]
        told = [logic.sentence(Rule(body, next(words))) for body in bodies]
    reply, spans = "", []
    # With repetitions: a statement that was recalled before must be recalled from the text again.
    for at in rng.choices(range(n), k=2 * n):
        # The name cannot be foreseen, so it is not learnt; all that follows it can.
        start = len(reply) + 1 + len(keys[at])
        reply += f" {told[at]}"
        spans.append((start, len(reply), 1.0))
    return Lesson(f"Problem: {' '.join(told)}", reply, tuple(spans), ends=False)


def _told(rng: random.Random, name: str, *, given: bool) -> str:
    unit = rng.choice(arithmetic.UNITS)
    if given:
        return arithmetic.sentence(Quantity(name, rng.randint(2, arithmetic.LARGEST)), unit)
    operands = (rng.choice(arithmetic.NAMES), rng.randint(2, 30))
    return arithmetic.sentence(Quantity(name, 0, rng.choice("+-"), operands), unit)


def calculating(rng: random.Random, n: int = 12) -> Lesson:
    """Bare equations, of which only the results can be known."""
    reply, spans = "", []
    for _ in range(n):
        operator = rng.choice("++--*/")
        left, right = rng.randint(2, 150), rng.randint(2, 150 if rng.random() < 0.4 else 40)
        match operator:
            case "*":
                left = rng.randint(2, 5)
                # Within the results that problems have, so no number is learnt that is never used.
                right = rng.randint(2, 150 // left)
            case "/":
                left, right = 2 * rng.randint(1, 75), 2
            case "-":
                left, right = max(left, right), min(left, right)
        reply += f" {left} {operator} {right} ="
        start = len(reply)
        reply += f" {mistakes.compute(left, operator, right)},"
        spans.append((start, len(reply), 1.0))
    return Lesson("", reply, tuple(spans), ends=False)
