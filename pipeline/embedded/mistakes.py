"""Solutions as lists of step texts: the reference, or one with a natural mistake planted and carried
forward."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from pipeline.embedded import arithmetic, logic
from pipeline.embedded.arithmetic import ArithmeticCase, Step
from pipeline.embedded.logic import LogicCase, Rule

Case = ArithmeticCase | LogicCase


def reference(case: Case) -> list[str]:
    """The reference solution's steps, without the answer line."""
    return _arithmetic(case, None, None)[0] if isinstance(case, ArithmeticCase) else _logic(case, case.steps)


def planted(case: Case, rng: random.Random) -> tuple[list[str], int, str]:
    """Steps with one mistake, the mistake's 0-based index, and the wrong (or luckily right) final answer."""
    at = rng.randrange(len(case.steps))
    if isinstance(case, ArithmeticCase):
        steps, answer = _arithmetic(case, at, rng)
        return steps, at, answer
    wrong, head = _wrong_inference(case, at, rng)
    rest = case.steps[at + 1 :] if rng.random() < 0.5 else ()
    steps = [*_logic(case, case.steps[:at]), wrong, *_logic(case, rest)]
    return steps, at, (rest[-1].head if rest else head)


def correction(case: ArithmeticCase, text: str) -> str:
    """The true statement about whatever a step speaks of, in the reference solution's words."""
    values = case.values()
    for step in [*case.steps, *(Step(q.name, q.operator, q.operands) for q in case.quantities if q.operator)]:
        operands = tuple(values[o] if isinstance(o, str) else o for o in step.operands)
        true = arithmetic.say(case, step, operands, compute(operands, step.operator))
        if _said_of(true) == _said_of(text):
            return true
    raise ValueError(f"speaks of nothing in the problem: {text!r}")


def _said_of(text: str) -> str:
    """Whom a step speaks of: its words before the calculation, without the clause it quotes."""
    return text.split(" = ")[0].rsplit(" ", 3)[0].rpartition(" so ")[2]


def _logic(case: LogicCase, rules: Sequence[Rule]) -> list[str]:
    return [logic.say(case.who, rule) for rule in rules]


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


def _arithmetic(case: ArithmeticCase, at: int | None, rng: random.Random | None) -> tuple[list[str], str]:
    believed = {q.name: q.value for q in case.quantities if not q.operator}
    steps, result = [], 0
    for index, step in enumerate(case.steps):
        if rng is not None and index == at:
            text, result = _wrong_step(case, step, believed, rng)
        else:
            operands = tuple(believed[o] if isinstance(o, str) else o for o in step.operands)
            result = compute(operands, step.operator)
            text = arithmetic.say(case, step, operands, result)
        believed[step.subject] = result
        steps.append(text)
    return steps, str(result)


def _wrong_step(
    case: ArithmeticCase, step: Step, believed: dict[str, int], rng: random.Random
) -> tuple[str, int]:
    truth = arithmetic.subject_value(step.subject, case.values())
    operands = [believed[o] if isinstance(o, str) else o for o in step.operands]
    while True:
        operator, used = step.operator, list(operands)
        result = compute(tuple(used), operator)
        kind = rng.random()
        if kind < 0.5:  # wrong arithmetic: a slip of one or ten, or one digit read wrongly
            result = _slip(result, rng)
        elif kind < 0.7:
            operator = rng.choice("+-*/")
            result = compute(tuple(used), operator)
        else:  # wrong quantity
            numbers = [*believed.values(), *(o for s in case.steps for o in s.operands if isinstance(o, int))]
            used[rng.randrange(2)] = rng.choice(numbers)
            result = compute(tuple(used), operator)
        if 0 < result < 1000 and result != truth:
            return arithmetic.say(case, step, tuple(used), result, operator), result


def compute(operands: tuple[int, ...], operator: str) -> int:
    """Whole-number result of one operation; division rounds down, and by zero gives 0."""
    left, right = operands
    return math.floor(arithmetic.apply(left, operator, right) or 0)


def _slip(value: int, rng: random.Random) -> int:
    if rng.random() < 0.6:
        return value + rng.choice((-10, -2, -1, 1, 2, 10))
    digits = list(str(value))
    digits[rng.randrange(len(digits))] = rng.choice("0123456789")
    return int("".join(digits))
