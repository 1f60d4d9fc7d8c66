"""Arithmetic word problems in plain English, with the exact truth of anything a solution can say about them.

A problem defines quantities one after another ("Tom has 5 more apples than Mia") and asks for one of them,
for the sum of two, or for their difference. Its premises are the same definitions in symbols, so truth
needs no stored key: evaluate the premises, then compare.
"""

import random
import re
from dataclasses import dataclass
from fractions import Fraction

NAMES = [
    "Mia",
    "Tom",
    "Ana",
    "Leo",
    "Ben",
    "Zoe",
    "Sam",
    "Eva",
    "Max",
    "Ivy",
    "Kai",
    "Lea",
    "Dan",
    "Amy",
    "Jon",
    "Ruth",
]
COLOURS = ["red", "blue", "green", "white", "black", "yellow", "pink", "brown", "grey"]
VESSELS = ["box", "jar", "bag", "crate"]
UNITS = ["apples", "pens", "books", "coins", "cards", "shells", "stamps", "eggs"]
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
    verbs: tuple[str, str]
    answer: str

    def values(self) -> dict[str, int]:
        """True value of every quantity."""
        return {quantity.name: quantity.value for quantity in self.quantities}


def generate(rng: random.Random, n_steps: int) -> ArithmeticCase:
    """A problem whose reference solution has exactly `n_steps` steps (at least 1)."""
    while True:
        combine = n_steps > 1 and rng.random() < 0.5
        quantities = _quantities(rng, n_derived=n_steps + rng.randint(0, 1 + n_steps // 4))
        case = _ask(rng, quantities, combine)
        if case is not None and len(case.steps) == n_steps:
            return case


def _quantities(rng: random.Random, *, n_derived: int) -> list[Quantity]:
    named = rng.random() < 0.5
    vessel = rng.choice(VESSELS)
    names = (
        rng.sample(NAMES, len(NAMES))
        if named
        else [f"the {c} {vessel}" for c in rng.sample(COLOURS, len(COLOURS))]
    )
    names = names[: n_derived + 2]
    made = [Quantity(names.pop(), rng.randint(3, 40)) for _ in range(1 if rng.random() < 0.7 else 2)]
    while names and len(made) < n_derived + 1:
        made.append(_derived(rng, names.pop(), made))
    return made


def _derived(rng: random.Random, name: str, made: list[Quantity]) -> Quantity:
    while True:
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
            if base.value % 2:
                continue
            value, operator, operands = base.value // 2, "/", (base.name, 2)
        else:
            by = rng.randint(2, 30)
            operator = "-" if kind == "-" else "+"
            value, operands = base.value + (by if operator == "+" else -by), (base.name, by)
        if 2 <= value <= LARGEST:
            return Quantity(name, value, operator, operands)


def _ask(rng: random.Random, quantities: list[Quantity], combine: bool) -> ArithmeticCase | None:
    by_name = {q.name: q for q in quantities}
    target = rng.choice(quantities[1:])
    final: Step | None = None
    needed = _needed(by_name, [target.name])
    unit = rng.choice(UNITS)
    verbs = ("holds", "hold") if target.name.startswith("the ") else ("has", "have")
    if combine:
        other = rng.choice([q for q in quantities if q is not target])
        needed = _needed(by_name, [target.name, other.name])
        if rng.random() < 0.6 or other.value == target.value:
            if target.value + other.value > LARGEST:
                return None
            final = Step(f"{target.name} and {other.name}", "+", (target.name, other.name))
            question = f"How many {unit} do {target.name} and {other.name} {verbs[1]} together?"
        else:
            high, low = (target, other) if target.value > other.value else (other, target)
            final = Step(f"{high.name} than {low.name}", "-", (high.name, low.name))
            question = f"How many more {unit} does {high.name} {verbs[1]} than {low.name}?"
    else:
        question = f"How many {unit} does {target.name} {verbs[1]}?"
    steps = [Step(q.name, q.operator, q.operands) for q in quantities if q.operator and q.name in needed]
    steps += [final] if final else []
    values = {q.name: q.value for q in quantities}
    text = " ".join([*(sentence(q, unit, verbs[0]) for q in quantities), question])
    answer = str(subject_value(steps[-1].subject, values)) if steps else ""
    premises = tuple(q.premise() for q in quantities)
    return (
        ArithmeticCase(text, premises, tuple(quantities), tuple(steps), unit, verbs, answer)
        if steps
        else None
    )


def _needed(by_name: dict[str, Quantity], targets: list[str]) -> set[str]:
    found: set[str] = set()
    while targets:
        name = targets.pop()
        if name not in found:
            found.add(name)
            targets += [operand for operand in by_name[name].operands if isinstance(operand, str)]
    return found


def sentence(q: Quantity, unit: str, verb: str) -> str:
    """The definition in words: `Tom has 5 more apples than Mia.`"""
    head = f"{capital(q.name)} {verb}"
    if not q.operator:
        return f"{head} {q.value} {unit}."
    left, right = q.operands
    if q.operator == "*":
        return f"{head} {left} times as many {unit} as {right}."
    if q.operator == "/":
        return f"{head} half as many {unit} as {left}."
    if isinstance(right, str):
        return f"{head} as many {unit} as {left} and {right} together."
    return f"{head} {right} {'more' if q.operator == '+' else 'fewer'} {unit} than {left}."


def subject_value(subject: str, values: dict[str, int]) -> int | None:
    """True value of what a step speaks about; None when it names something the problem does not define."""
    for joint, sign in ((" than ", -1), (" and ", 1)):
        if joint in subject:
            left, right = subject.split(joint, 1)
            if left in values and right in values:
                return values[left] + sign * values[right]
            return None
    return values.get(subject)


def say(
    case: ArithmeticCase, step: Step, operands: tuple[int, ...], result: int, operator: str | None = None
) -> str:
    """The step in words: `Tom has 5 more apples than Mia so Tom has 14 + 5 = 19 apples.`

    Quoting the problem first turns a look-up in two hops into two of one hop, which so small a model can
    learn.
    """
    sum_ = f"{operands[0]} {operator or step.operator} {operands[1]} = {result}"
    singular, plural = case.verbs
    if " and " in step.subject:
        return f"{capital(step.subject)} {plural} {sum_} {case.unit} together."
    if " than " in step.subject:
        high, low = step.subject.split(" than ", 1)
        return f"{capital(high)} {singular} {sum_} more {case.unit} than {low}."
    quoted = next(q for q in case.quantities if q.name == step.subject)
    clause = sentence(quoted, case.unit, singular).removesuffix(".")
    return f"{clause} so {step.subject} {singular} {sum_} {case.unit}."


def capital(text: str) -> str:
    """First letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


_WHO = r"[A-Za-z ]{1,40}?"
_CLAUSE = re.compile(
    rf"(?P<who>{_WHO}) (?:has|holds) (?:(?P<n>\d{{1,6}}) )?"
    r"(?P<how>more|fewer|times as many|half as many|as many) [a-z]+ "
    rf"(?:than|as) (?P<base>{_WHO})(?: and (?P<other>{_WHO}) together)?"
)
_STATEMENT = re.compile(
    rf"(?P<who>{_WHO}) (?:has|have|holds|hold) (?:(?P<a>\d{{1,6}}) (?P<op>[-+*/]) (?P<b>\d{{1,6}}) = )?"
    rf"(?P<v>\d{{1,6}})"
    rf"(?P<more> more)? [a-z]+(?: than (?P<low>{_WHO}))?(?: together)?\."
)


def statement_truth(text: str, premises: tuple[str, ...]) -> bool | None:
    """Whether one step states only what the premises imply; None when it states nothing this grammar can
    read.

    A step is a statement, or `clause so statement`, and then both must be true. A statement about somebody
    the problem does not mention is false: nothing implies it.
    """
    clause, quotes, stated = text.strip().rpartition(" so ")
    match = _STATEMENT.fullmatch(stated)
    quoted = _CLAUSE.fullmatch(clause) if quotes else None
    if match is None or (quotes and quoted is None):
        return None
    values = premise_values(premises)
    if quoted and not _clause_truth(quoted, values):
        return False
    subject = _lower_article(match["who"])
    if match["more"]:
        subject = f"{subject} than {match['low']}"
    value = int(match["v"])
    if match["op"] and apply(int(match["a"]), match["op"], int(match["b"])) != value:
        return False
    return subject_value(subject, values) == value


def _clause_truth(found: re.Match[str], values: dict[str, int]) -> bool:
    """Whether a comparison is true of the values: `Tom has 5 more apples than Mia`."""
    who, base = (values.get(_lower_article(found[name])) for name in ("who", "base"))
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


def _lower_article(who: str) -> str:
    return "the " + who[4:] if who.startswith("The ") else who


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
