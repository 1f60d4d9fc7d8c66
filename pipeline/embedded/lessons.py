"""What the embedded model is taught: to solve, to review a solution step by step, and to mark its steps.

Reviews and marks are asked about solutions with planted mistakes too. A lesson never rewards writing a
mistake: the loss covers a solution only up to its first error.
"""

import random
from dataclasses import replace

from pipeline.embedded import arithmetic, logic, mistakes
from pipeline.embedded.arithmetic import ArithmeticCase, Step, capital
from pipeline.embedded.logic import LogicCase, Rule
from pipeline.rollouts import fill, load_template

SOLVE, REVIEW, MARKS = (load_template(f"embedded_{name}") for name in ("solve", "review", "marks"))
_CHECK_SHARE = 0.5
"""Share of lessons that ask for a review or for marks; the rest only solve."""


def case(rng: random.Random, n_steps: int) -> mistakes.Case:
    """An arithmetic or a logic problem, two to one: calculation is the harder skill to learn."""
    return arithmetic.generate(rng, n_steps) if rng.random() < 2 / 3 else logic.generate(rng, n_steps)


def lesson(rng: random.Random, n_steps: int) -> tuple[str, str, list[tuple[int, int]]]:
    """A prompt, the rest of the text, and the character spans of that rest the loss covers."""
    posed = case(rng, n_steps)
    ask = fill(SOLVE, problem=posed.text)
    if rng.random() >= _CHECK_SHARE:
        reply = "\n".join([*mistakes.reference(posed), f"#### {posed.answer}"])
        return ask, reply, [(0, len(reply))]
    steps, error, answer = _checked(posed, rng)
    solution = "\n".join([*steps, f"#### {answer}"])
    sound = len(solution) if error is None else len("".join(f"{step}\n" for step in steps[:error]))
    if rng.random() < 0.6:
        request, reply = REVIEW, review(posed, steps, error)
    else:
        request, reply = MARKS, marks(len(steps), error)
    asked = solution + request.partition("{solution}")[2]
    return ask, asked + reply, [(0, sound), (len(asked), len(asked + reply))]


def drill(rng: random.Random, n: int = 12) -> str:
    """Bare equations, the fastest way to the arithmetic that the word problems need."""
    lines: list[str] = []
    while len(lines) < n:
        operator = rng.choice("++--*/")
        left, right = rng.randint(2, 150), rng.randint(2, 150 if rng.random() < 0.4 else 40)
        match operator:
            case "*":
                left = rng.randint(2, 5)
                right = rng.randint(2, 150 // left)
            case "/":
                left, right = 2 * rng.randint(1, 75), 2
            case "-":
                left, right = max(left, right), min(left, right)
        result = mistakes.compute((left, right), operator)
        lines.append(f"{left} {operator} {right} = {result}")
    return "\n".join(lines)


def review(posed: mistakes.Case, steps: list[str], error: int | None) -> str:
    """The reply to a review prompt: each step done again, a verdict, and the first error (counted from 1)."""
    last = len(steps) if error is None else error + 1
    lines = []
    for index, step in enumerate(steps[:last]):
        verdict = "wrong" if index == error else "right"
        lines.append(f"{index + 1}: {_redo(posed, step, index == error)} {verdict}")
    return "\n".join([*lines, f"First error: {'none' if error is None else error + 1}"])


def marks(n_steps: int, error: int | None) -> str:
    """The reply to a marks prompt: one word a step, up to the first error."""
    return " right" * n_steps if error is None else " right" * error + " wrong"


def _redo(posed: mistakes.Case, step: str, is_wrong: bool) -> str:
    if isinstance(posed, ArithmeticCase):
        return capital(mistakes.correction(posed, step).rpartition(" so ")[2].removesuffix("."))
    if is_wrong:
        return "No rule says so."
    return logic.sentence(logic.cited_rule(step))


def _checked(posed: mistakes.Case, rng: random.Random) -> tuple[list[str], int | None, str]:
    """A solution to check: sometimes with true detours, more often than not with a mistake."""
    if rng.random() < 0.25:
        posed = with_detours(posed)
    if rng.random() < 0.6:
        return mistakes.planted(posed, rng)
    return mistakes.reference(posed), None, posed.answer


def with_detours(posed: mistakes.Case) -> mistakes.Case:
    """The case with every further true step its problem allows, as a wandering solver would write it."""
    if isinstance(posed, LogicCase):
        return replace(posed, steps=tuple(_all_rules(posed)))
    final = [step for step in posed.steps if " and " in step.subject or " than " in step.subject]
    every = [Step(q.name, q.operator, q.operands) for q in posed.quantities if q.operator]
    asked = posed.steps[-1]
    if not final:  # the asked quantity comes last, whatever is defined after it
        every = [
            *(step for step in every if step.subject != asked.subject and asked.subject not in step.operands),
            asked,
        ]
        if not _ordered(posed, every):
            return posed
    return replace(posed, steps=(*every, *final))


def _ordered(posed: ArithmeticCase, steps: list[Step]) -> bool:
    known = {q.name for q in posed.quantities if not q.operator}
    for step in steps:
        if any(isinstance(o, str) and o not in known for o in step.operands):
            return False
        known.add(step.subject)
    return True


def _all_rules(posed: LogicCase) -> list[Rule]:
    facts, rules = logic.parse(posed.premises, posed.who)
    known, chain = set(facts), []
    extra = [r for r in rules if r not in posed.steps]
    for step in posed.steps:
        for rule in [r for r in extra if set(r.body) <= known and r not in chain]:
            chain.append(rule)
            known.add(rule.head)
        chain.append(step)
        known.add(step.head)
    return chain
