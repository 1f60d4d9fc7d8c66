"""Solutions as lists of step texts: the reference, or one with a natural mistake planted and carried
forward."""

import math
import random
from dataclasses import replace

from pipeline.embedded.problems import arithmetic, logic
from pipeline.embedded.problems.arithmetic import ArithmeticCase, Claims, Quantity, Step
from pipeline.embedded.problems.logic import LogicCase

Case = ArithmeticCase | LogicCase
_HIGHEST = 1000
"""Results stay below: the model has not been taught longer numbers."""


def reference(case: Case) -> list[str]:
    """The reference solution's steps, without the answer line."""
    if isinstance(case, LogicCase):
        return [logic.say(case.who, rule) for rule in case.steps]
    return _arithmetic(case, None, random.Random())[0]


def planted(case: Case, rng: random.Random) -> tuple[list[str], int, str]:
    """Steps with one mistake, the mistake's 0-based index, and the wrong (or luckily right) final answer."""
    at = rng.randrange(len(case.steps))
    if isinstance(case, ArithmeticCase):
        steps, answer = _arithmetic(case, at, rng)
        return steps, at, answer
    wrong, head = _wrong_inference(case, at, rng)
    # Half go on as if nothing were wrong, half stop: a first error is not always the last step, nor never.
    rest = case.steps[at + 1 :] if rng.random() < 0.5 else ()
    steps = [logic.say(case.who, rule) for rule in case.steps[:at]]
    steps += [wrong, *(logic.say(case.who, rule) for rule in rest)]
    return steps, at, (rest[-1].head if rest else head)


def cut_short(case: Case, rng: random.Random) -> tuple[list[str], int, str]:
    """The reference up to some step, whose result is given for the answer; like `planted` otherwise.

    A problem of one step cannot be cut short: a mistake is planted in it.
    """
    if len(case.steps) == 1:
        return planted(case, rng)
    last = rng.randrange(len(case.steps) - 1)
    return reference(case)[: last + 1], last, result(case, last)


def result(case: Case, step: int) -> str:
    """What a step of the reference finds, as an answer."""
    if isinstance(case, LogicCase):
        return case.steps[step].head
    return str(arithmetic.subject_value(case.steps[step].subject, case.values()))


def subjects(case: Case, steps: list[str]) -> list[str]:
    """What each step is about, in a word: the person it computes, `together`, `more`, or the adjective it
    infers."""
    if isinstance(case, LogicCase):
        return [step.removesuffix(".").rsplit(" ", 1)[1] for step in steps]
    kinds = {True: "together", False: "more"}
    return [kinds[" and " in step.subject] if " " in step.subject else step.subject for step in case.steps]


def _wrong_inference(case: LogicCase, at: int, rng: random.Random) -> tuple[str, str]:
    """An invented rule, a rule whose condition was skipped, or a conclusion its rule does not give; never a
    true step."""
    rule = case.steps[at]
    used = [word for word in logic.ADJECTIVES if f"{{{word}}}" in " ".join(case.premises)]
    rules = logic.parse(case.premises, case.who)[1]
    while True:
        kind, head = rng.random(), None
        if kind < 0.4:
            quoted = replace(rule, head=rng.choice(used))
        elif kind < 0.7:
            quoted = rng.choice(rules)
        else:
            quoted, head = rule, rng.choice(used)
        text = logic.say(case.who, quoted, head)
        if logic.statement_truth(text, case.premises) is False:
            return text, head or quoted.head


def _arithmetic(case: ArithmeticCase, at: int | None, rng: random.Random) -> tuple[list[str], str]:
    """Step texts and the answer they lead to; step `at` is wrong, and what it concludes is believed."""
    believed = {q.name: q.value for q in case.quantities if not q.operator}
    steps, stated = [], 0
    for index, step in enumerate(case.steps):
        claims = _wrong(case, step, believed, rng) if index == at else _claims(case, step, believed)
        stated = believed[step.subject] = claims.stated
        steps.append(arithmetic.say(step, claims, case.unit))
    return steps, str(stated)


def _claims(case: ArithmeticCase, step: Step, believed: dict[str, int]) -> Claims:
    """What a careful solver says at this step."""
    quoted = next((q for q in case.quantities if q.name == step.subject), None)
    return calculated(quoted, step.operator, step.operands, believed)


def calculated(
    quoted: Quantity | None, operator: str, operands: tuple[int | str, ...], believed: dict[str, int]
) -> Claims:
    """What follows from a definition, true or not, and from what is believed."""
    known = tuple((name, believed[name]) for name in operands if isinstance(name, str))
    left, right = (believed[o] if isinstance(o, str) else o for o in operands)
    result = compute(left, operator, right)
    return Claims(quoted, known, left, operator, right, result, result)


def _wrong(case: ArithmeticCase, step: Step, believed: dict[str, int], rng: random.Random) -> Claims:
    """Claims with one natural mistake, which leads to a false conclusion."""
    right = _claims(case, step, believed)
    truth = arithmetic.subject_value(step.subject, case.values())
    while True:
        kind = rng.random()
        # Misremembered values and wrong sums are the most frequent, as in what small models write; a slip of
        # the pen is the rarest.
        if kind < 0.3:  # wrong arithmetic
            slipped = _slip(right.result, rng)
            wrong = replace(right, result=slipped, stated=slipped)
        elif kind < 0.4:  # wrong operation
            operator = rng.choice("+-*/")
            result = compute(right.left, operator, right.right)
            wrong = replace(right, operator=operator, result=result, stated=result)
        elif kind < 0.6:
            wrong = _misquoted(right, step, believed, rng)
        elif kind < 0.9:
            wrong = _misremembered(right, believed, rng)
        else:  # a slip of the pen
            wrong = replace(right, stated=_slip(right.result, rng))
        if 0 < min(wrong.result, wrong.stated) <= max(wrong.result, wrong.stated) < _HIGHEST and (
            wrong.stated != truth
        ):
            return wrong


def _misquoted(right: Claims, step: Step, believed: dict[str, int], rng: random.Random) -> Claims:
    """Another person, another number or another relation than the problem's, calculated with."""
    if right.quoted is None:
        return right
    operator, operands = right.quoted.operator, list(right.quoted.operands)
    at = rng.randrange(2)
    if operator in "+-" and isinstance(operands[1], int) and rng.random() < 0.3:
        operator = "-" if operator == "+" else "+"
    elif isinstance(operands[at], str):
        operands[at] = rng.choice([name for name in believed if " " not in name])
    elif operator != "/":
        operands[at] = rng.randint(2, 30 if operator in "+-" else 5)
    quoted = Quantity(step.subject, 0, operator, tuple(operands))
    return calculated(quoted, operator, quoted.operands, believed)


def _misremembered(right: Claims, believed: dict[str, int], rng: random.Random) -> Claims:
    """Another value than the one found before, in the recollection and in the sum or in the sum alone."""
    name, old = rng.choice(right.known)
    new = rng.choice([*believed.values(), _slip(old, rng)])
    left, second = (new if value == old else value for value in (right.left, right.right))
    known = tuple((n, new if n == name else v) for n, v in right.known)
    result = compute(left, right.operator, second)
    wrong = replace(right, left=left, right=second, result=result, stated=result)
    return wrong if rng.random() < 0.3 else replace(wrong, known=known)


def compute(left: int, operator: str, right: int) -> int:
    """Whole-number result of one operation; division rounds down, and by zero gives 0."""
    return math.floor(arithmetic.apply(left, operator, right) or 0)


def _slip(value: int, rng: random.Random) -> int:
    """A slip of one, two or ten, or one digit read wrongly."""
    # Near misses are the common slips; a wrong digit is what a small model writes.
    if rng.random() < 0.6:
        return abs(value + rng.choice((-10, -2, -1, 1, 2, 10)))
    digits = list(str(value))
    digits[rng.randrange(len(digits))] = rng.choice("0123456789")
    return int("".join(digits))
