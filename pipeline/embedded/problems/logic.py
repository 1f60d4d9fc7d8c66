"""Rule-chaining logic problems ("Everyone who is kind is calm"), with the exact truth of every inference
about them.

Premises are written in the monadic first-order syntax that the logic verifier reads (`(x): {kind}x ->
{calm}x`). Truth is decided here by forward chaining and not by that verifier, so that one can be measured
against the other.
"""

import random
import re
from dataclasses import dataclass

from pipeline.embedded.problems.arithmetic import NAMES

ADJECTIVES = (
    "kind calm tall brave shy proud loud quiet quick slow neat warm wise bold "
    "glad fair keen strong young fond gentle happy clever honest polite jolly lucky tidy"
).split()


@dataclass(frozen=True)
class Rule:
    """Whoever has all of `body` has `head`."""

    body: tuple[str, ...]
    head: str


@dataclass(frozen=True)
class LogicCase:
    """A generated problem: words, premises, and the rule applications of its reference solution in order."""

    text: str
    premises: tuple[str, ...]
    who: str
    steps: tuple[Rule, ...]
    answer: str


def generate(rng: random.Random, n_steps: int) -> LogicCase:
    """A problem whose reference solution applies exactly `n_steps` rules, with distracting rules around
    them."""
    who = rng.choice(NAMES)
    words = rng.sample(ADJECTIVES, len(ADJECTIVES))
    facts = [words.pop() for _ in range(rng.randint(1, 2))]
    known, chain = list(facts), []
    for _ in range(n_steps):
        # Each rule needs the conclusion before it, so the chain has exactly one order.
        body = [known[-1]]
        if len(known) > 1 and rng.random() < 0.3:
            body.append(rng.choice(known[:-1]))
        chain.append(Rule(tuple(body), words.pop()))
        known.append(chain[-1].head)
    answer = known[-1]
    # Options that do not follow, with rules that lead to them: guessing by words in the text fails.
    wrong = [words.pop() for _ in range(rng.randint(2, 3))]
    rules = [*chain, *_distractors(rng, known[:-1], wrong, words)]
    rng.shuffle(rules)
    options = [answer, *wrong]
    rng.shuffle(options)
    question = f"Which of {', '.join(options[:-1])} and {options[-1]} is {who}?"
    text = " ".join([*(f"{who} is {fact}." for fact in facts), *(sentence(rule) for rule in rules), question])
    premises = (*(f"{{{fact}}}{{{who}}}" for fact in facts), *(_formula(rule) for rule in rules))
    return LogicCase(text, premises, who, tuple(chain), answer)


def _distractors(rng: random.Random, known: list[str], wrong: list[str], spare: list[str]) -> list[Rule]:
    """Rules to the wrong options whose bodies never hold, and one that leads from the chain to a dead end."""
    rules = []
    for option in wrong:
        missing = rng.choice(spare)
        body = [missing, rng.choice(known)] if rng.random() < 0.4 else [missing]
        rng.shuffle(body)
        rules.append(Rule(tuple(body), option))
    if rng.random() < 0.4:
        rules.append(Rule((rng.choice(known),), rng.choice([s for s in spare if s not in _needed_by(rules)])))
    return rules


def _needed_by(rules: list[Rule]) -> set[str]:
    return {word for rule in rules for word in rule.body}


def sentence(rule: Rule) -> str:
    """The rule in words: `Everyone who is kind is calm.`"""
    return f"Everyone who is {' and '.join(rule.body)} is {rule.head}."


def _formula(rule: Rule) -> str:
    body = " & ".join(f"{{{word}}}x" for word in rule.body)
    return f"(x): {f'({body})' if len(rule.body) > 1 else body} -> {{{rule.head}}}x"


def say(who: str, rule: Rule, head: str | None = None) -> str:
    """The step in words: `Everyone who is kind is calm so Ana is calm.` `head` plants another conclusion."""
    return f"{sentence(rule).removesuffix('.')} so {who} is {head or rule.head}."


# `{kind}{Ana}`.
_FACT = re.compile(r"\{(\w+)\}\{(\w+)\}")
# `(x): ({kind}x & {calm}x) -> {tall}x`, with or without the brackets.
_RULE = re.compile(r"\(x\): \(?(.+?)\)? -> \{(\w+)\}x")
_STATEMENT = re.compile(
    r"Everyone who is (?P<body>[a-z]+(?: and [a-z]+)*) is (?P<rule>[a-z]+) "
    r"so (?P<who>[A-Z][a-z]+) is (?P<head>[a-z]+)\."
)


def statement_truth(text: str, premises: tuple[str, ...]) -> bool | None:
    """Whether the rule a step quotes follows from the problem, its person meets it, and the conclusion
    follows.

    None when the text is no inference of this grammar.
    """
    match = _STATEMENT.fullmatch(text.strip())
    if match is None:
        return None
    facts, rules = parse(premises, match["who"])
    body = set(match["body"].split(" and "))
    quoted = Rule(tuple(body), match["rule"])
    # Three things must hold, since a step may err in each: the rule exists, the person meets it, it gives
    # this conclusion.
    follows = match["head"] in closure(body, [*rules, quoted])
    return quoted.head in closure(body, rules) and body <= closure(facts, rules) and follows


def parse(premises: tuple[str, ...], who: str) -> tuple[set[str], list[Rule]]:
    """What the premises say of one person, and their rules in order."""
    facts = {m[1] for p in premises if (m := _FACT.fullmatch(p)) and m[2] == who}
    rules = [
        Rule(tuple(re.findall(r"\{(\w+)\}x", m[1])), m[2]) for p in premises if (m := _RULE.fullmatch(p))
    ]
    return facts, rules


def closure(known: set[str], rules: list[Rule]) -> set[str]:
    """Everything that follows from `known` by forward chaining."""
    found = set(known)
    while new := {r.head for r in rules if set(r.body) <= found} - found:
        found |= new
    return found
