"""Arithmetic word problems in plain English, with the exact truth of anything a solution can say about them.

A problem gives quantities one after another ("Tom gets 5 more apples than Mia") and asks for the last one,
or for its sum with, or difference from, an earlier one. Its premises are the same definitions in symbols, so
truth needs no stored key: evaluate the premises, then compare.
"""

import random
import re
from dataclasses import dataclass
from fractions import Fraction

NAMES = "Mia Tom Ana Leo Ben Zoe Sam Eva Max Ivy Kai Lea Dan Amy Jon Ruth".split()
UNITS = "apples pens books coins cards shells stamps eggs".split()
LARGEST = 150
"""Quantities stay within two or three digits: the difficulty is meant to lie in the chain, not in long
numbers."""


@dataclass(frozen=True)
class Quantity:
    """One defined quantity: `value = operands[0] <operator> operands[1]`; a plain number has no operator.

    An operand is a number or the name of an earlier quantity.
    """

    name: str
    value: int
    operator: str = ""
    operands: tuple[int | str, ...] = ()

    def premise(self) -> str:
        """The definition in symbols: `Tom = Mia + 5`."""
        if not self.operator:
            return f"{self.name} = {self.value}"
        return f"{self.name} = {self.operands[0]} {self.operator} {self.operands[1]}"


@dataclass(frozen=True)
class Step:
    """One solution step, kept apart from its words so that an error can be planted in it."""

    subject: str
    """A quantity's name, `A and B` (their sum), or `A than B` (their difference)."""
    operator: str
    operands: tuple[int | str, ...]


@dataclass(frozen=True)
class ArithmeticCase:
    """A generated problem: words, premises, the steps of its reference solution, and every true value."""

    text: str
    premises: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    steps: tuple[Step, ...]
    unit: str
    answer: str

    def values(self) -> dict[str, int]:
        """True value of every quantity."""
        return {quantity.name: quantity.value for quantity in self.quantities}


def generate(rng: random.Random, n_steps: int) -> ArithmeticCase:
    """A problem whose reference solution has exactly `n_steps` steps (at least 1).

    The reference computes the quantities in the order in which they are defined, up to the one asked for.
    """
    while True:
        # Two in five problems ask for a sum or difference of two people: the last step is then about no
        # single quantity.
        combine = n_steps > 1 and rng.random() < 0.4
        quantities = _quantities(rng, n_derived=n_steps - combine)
        target = quantities[-1]
        final = _combination(rng, target, quantities[:-1]) if combine else None
        if not combine or final:
            break
    unit = rng.choice(UNITS)
    steps = [Step(q.name, q.operator, q.operands) for q in quantities if q.operator]
    steps += [final] if final else []
    # Defined last and never needed: a solver must follow the question, not the order of the text.
    quantities += _distractors(rng, quantities)
    values = {q.name: q.value for q in quantities}
    question = _question(steps[-1].subject, unit)
    return ArithmeticCase(
        text=" ".join([*(sentence(q, unit) for q in quantities), question]),
        premises=tuple(q.premise() for q in quantities),
        quantities=tuple(quantities),
        steps=tuple(steps),
        unit=unit,
        answer=str(subject_value(steps[-1].subject, values)),
    )


def _quantities(rng: random.Random, *, n_derived: int) -> list[Quantity]:
    names = rng.sample(NAMES, len(NAMES))
    # Mostly one plain number, sometimes two: with two, the solver must choose where to begin.
    made = [Quantity(names.pop(), rng.randint(3, 40)) for _ in range(1 if rng.random() < 0.6 else 2)]
    while sum(bool(q.operator) for q in made) < n_derived:
        made.append(_derived(rng, names.pop(), made))
    return made


def _distractors(rng: random.Random, made: list[Quantity]) -> list[Quantity]:
    """Quantities defined after the one asked for, which nothing needs."""
    spare = [name for name in NAMES if name not in {q.name for q in made}]
    return [_derived(rng, name, made) for name in rng.sample(spare, rng.choice((0, 0, 1, 2)))]


def _derived(rng: random.Random, name: str, made: list[Quantity]) -> Quantity:
    while True:
        # Mostly the last quantity, so that chains grow long; sometimes an earlier one, so that they branch.
        base = made[-1] if rng.random() < 0.6 else rng.choice(made)
        kind = rng.choice("+-*/s")
        operands: tuple[int | str, ...]
        if kind == "s" and len(made) > 1:
            other = rng.choice([q for q in made if q is not base])
            value, operator, operands = base.value + other.value, "+", (base.name, other.name)
        elif kind == "*":
            factor = rng.randint(2, 5)
            value, operator, operands = factor * base.value, "*", (factor, base.name)
        elif kind == "/":
            # Halves must be whole numbers: nobody has half an apple here.
            if base.value % 2:
                continue
            value, operator, operands = base.value // 2, "/", (base.name, 2)
        else:
            by = rng.randint(2, 30)
            operator = "-" if kind == "-" else "+"
            value, operands = base.value + (by if operator == "+" else -by), (base.name, by)
        # From 2 on: "has 1 apples" would be a word that the grammar does not have.
        if 2 <= value <= LARGEST:
            return Quantity(name, value, operator, operands)


def _combination(rng: random.Random, target: Quantity, earlier: list[Quantity]) -> Step | None:
    """The sum of two quantities or their difference; None where it would be too large or nothing."""
    other = rng.choice(earlier)
    if rng.random() < 0.6:
        if target.value + other.value > LARGEST:
            return None
        return Step(f"{target.name} and {other.name}", "+", (target.name, other.name))
    # "0 more than" is a question that nobody asks.
    if target.value == other.value:
        return None
    high, low = (target, other) if target.value > other.value else (other, target)
    return Step(f"{high.name} than {low.name}", "-", (high.name, low.name))


def _question(subject: str, unit: str) -> str:
    if " and " in subject:
        return f"How many {unit} do {subject} have together?"
    if " than " in subject:
        high, low = subject.split(" than ", 1)
        return f"How many more {unit} does {high} have than {low}?"
    return f"How many {unit} does {subject} have?"


def sentence(q: Quantity, unit: str) -> str:
    """The definition in words: `Mia has 14 apples.` or `Tom gets 5 more apples than Mia.`"""
    if not q.operator:
        return f"{q.name} has {q.value} {unit}."
    left, right = q.operands
    if q.operator == "*":
        return f"{q.name} gets {left} times as many {unit} as {right}."
    if q.operator == "/":
        return f"{q.name} gets half as many {unit} as {left}."
    if isinstance(right, str):
        return f"{q.name} gets as many {unit} as {left} and {right} together."
    return f"{q.name} gets {right} {'more' if q.operator == '+' else 'fewer'} {unit} than {left}."


def subject_value(subject: str, values: dict[str, int]) -> int | None:
    """True value of what a step speaks about; None when it names something the problem does not define."""
    for joint, sign in ((" than ", -1), (" and ", 1)):
        if joint in subject:
            left, right = subject.split(joint, 1)
            if left in values and right in values:
                return values[left] + sign * values[right]
            return None
    return values.get(subject)


@dataclass(frozen=True)
class Claims:
    """What a step says, part by part, each of which can be wrong on its own."""

    quoted: Quantity | None
    """The definition it quotes; None for a sum or difference that the question asks for."""
    known: tuple[tuple[str, int], ...]
    """The values it recalls."""
    left: int
    operator: str
    right: int
    result: int
    stated: int
    """The value it concludes with."""


def say(step: Step, claims: Claims, unit: str) -> str:
    """A step in words: `Since Tom gets 5 more apples than Mia and Mia has 14, 14 + 5 = 19 so Tom has 19
    apples.`

    It quotes what it uses before it calculates: every token is then one look-up or one digit, which a small
    model can learn.
    """
    parts = [sentence(claims.quoted, unit).removesuffix(".")] if claims.quoted else []
    parts += [f"{name} has {value}" for name, value in claims.known]
    sum_ = f"{claims.left} {claims.operator} {claims.right} = {claims.result}"
    return f"Since {' and '.join(parts)}, {sum_} so {_conclusion(step.subject, claims.stated, unit)}."


def _conclusion(subject: str, value: int, unit: str) -> str:
    if " and " in subject:
        return f"{subject} have {value} {unit} together"
    if " than " in subject:
        high, low = subject.split(" than ", 1)
        return f"{high} has {value} more {unit} than {low}"
    return f"{subject} has {value} {unit}"


# `Tom gets 5 more apples than Mia`, `Tom gets half as many pens as Mia`, `... as many books as Mia and Ben
# together`.
_CLAUSE = re.compile(
    r"(?P<who>[A-Z][a-z]+) gets (?:(?P<n>\d{1,6}) )?(?P<how>more|fewer|times as many|half as many|as many) "
    r"[a-z]+ (?:than|as) (?P<base>[A-Z][a-z]+)(?: and (?P<other>[A-Z][a-z]+) together)?"
)
# `Mia has 14` or `Mia has 14 apples`.
_KNOWN = re.compile(r"(?P<who>[A-Z][a-z]+) has (?P<v>\d{1,6})(?: [a-z]+)?")
# `14 + 5 = 19`. Six digits at most: what a model writes is bounded before it is computed.
_SUM = re.compile(r"(?P<a>\d{1,6}) (?P<op>[-+*/]) (?P<b>\d{1,6}) = (?P<v>\d{1,6})")
# `Tom has 19 apples`, `Tom and Mia have 33 apples together`, `Tom has 5 more apples than Mia`.
_CONCLUSION = re.compile(
    r"(?P<who>[A-Z][a-z]+(?: and [A-Z][a-z]+)?) (?:has|have) (?P<v>\d{1,6})"
    r"(?P<more> more)? [a-z]+(?: than (?P<low>[A-Z][a-z]+))?(?: together)?"
)
# No comma inside the parts: a second comma means that a step says more than this grammar can check.
_STEP = re.compile(r"Since (?P<given>[^,]+), (?P<sum>[^,]+) so (?P<conclusion>[^,]+)\.")


def statement_truth(text: str, premises: tuple[str, ...]) -> bool | None:
    """Whether every part of a step is implied by the premises; None when it is no step of this grammar.

    A step quotes a definition, recalls values, calculates and concludes; it is true when all of these are.
    What it says about somebody the problem does not mention is false: nothing implies it.
    """
    match = _STEP.fullmatch(text.strip())
    if match is None:
        return None
    values = premise_values(premises)
    parts = [_sum_truth(match["sum"]), _conclusion_truth(match["conclusion"], values)]
    # A clause may hold an ` and ` of its own: `as many as A and B together`.
    given, _, rest = match["given"].partition(" together and ")
    givens = [f"{given} together", *rest.split(" and ")] if rest else given.split(" and ")
    parts += [_given_truth(part, values) for part in givens]
    # A part that is no sentence of this grammar could be true or false, so nothing is said of the step.
    return None if None in parts else all(parts)


def _given_truth(text: str, values: dict[str, int]) -> bool | None:
    if known := _KNOWN.fullmatch(text):
        return values.get(known["who"]) == int(known["v"])
    if found := _CLAUSE.fullmatch(text):
        return _clause_truth(found, values)
    return None


def _sum_truth(text: str) -> bool | None:
    found = _SUM.fullmatch(text)
    return apply(int(found["a"]), found["op"], int(found["b"])) == int(found["v"]) if found else None


def subject_of(text: str) -> str | None:
    """What a step of this grammar computes, as `Step.subject` names it; None for any other text."""
    match = _STEP.fullmatch(text.strip())
    found = _CONCLUSION.fullmatch(match["conclusion"]) if match else None
    return _subject(found) if found else None


def _subject(found: re.Match[str]) -> str | None:
    # `more` without `than`, or the other way round, is a sentence broken in the middle.
    if bool(found["more"]) != bool(found["low"]):
        return None
    return f"{found['who']} than {found['low']}" if found["more"] else found["who"]


def _conclusion_truth(text: str, values: dict[str, int]) -> bool | None:
    found = _CONCLUSION.fullmatch(text)
    subject = _subject(found) if found else None
    if found is None or subject is None:
        return None
    return subject_value(subject, values) == int(found["v"])


def _clause_truth(found: re.Match[str], values: dict[str, int]) -> bool:
    """Whether a comparison is true of the values: `Tom gets 5 more apples than Mia`."""
    who, base = values.get(found["who"]), values.get(found["base"])
    if who is None or base is None:
        return False
    n = int(found["n"] or 1)
    match found["how"]:
        case "more":
            return who == base + n
        case "fewer":
            return who == base - n
        case "times as many":
            return who == base * n
        case "half as many":
            return 2 * who == base
        case _:
            return found["other"] in values and who == base + values[found["other"]]


def premise_values(premises: tuple[str, ...]) -> dict[str, int]:
    """Evaluate the definitions in order."""
    values: dict[str, int] = {}
    for premise in premises:
        name, _, right = premise.partition(" = ")
        parts = re.fullmatch(r"(.+?) ([-+*/]) (.+)", right)
        if parts is None:
            values[name] = int(right)
        else:
            left, operator, last = parts.groups()
            values[name] = int(apply(_operand(left, values), operator, _operand(last, values)) or 0)
    return values


def _operand(text: str, values: dict[str, int]) -> int:
    return int(text) if text.isdigit() else values[text]


def apply(left: int, operator: str, right: int) -> Fraction | None:
    """Exact result of one operation; None for a division by zero."""
    match operator:
        case "+":
            return Fraction(left + right)
        case "-":
            return Fraction(left - right)
        case "*":
            return Fraction(left * right)
        case _:
            return Fraction(left, right) if right else None
