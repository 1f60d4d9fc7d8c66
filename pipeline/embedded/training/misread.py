"""Solutions to read: every step with the place from which on it is mistaken, and whether it answers the
question."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.embedded.problems import arithmetic, logic, mistakes
from pipeline.embedded.problems.arithmetic import ArithmeticCase, Quantity
from pipeline.embedded.problems.language import PIECES
from pipeline.embedded.problems.logic import LogicCase
from pipeline.embedded.problems.mistakes import Case

# Pieces that can stand in each other's place: the sentence stays grammatical, and only its sense is wrong.
_ALIKE = (
    frozenset(f" {name}" for name in arithmetic.NAMES),
    frozenset(f" {adjective}" for adjective in logic.ADJECTIVES),
    frozenset(f" {digit}" for digit in "0123456789"),
    frozenset("0123456789"),
    frozenset((" +", " -", " *", " /")),
    frozenset((" more", " fewer")),
)
_KIND = {piece: kind for kind in _ALIKE for piece in kind}
_WORDS = _ALIKE[:2]
"""Of these, only what the problem mentions is put in: a stranger would be no test of reading."""


@dataclass(frozen=True)
class Written:
    """One step, the last one with the answer after it."""

    text: str
    mistaken_from: int | None = None
    """Index of the first of its pieces that should not stand there; None where nothing is wrong."""
    answers: bool = False
    """Whether it speaks of what the question asks for, be it right or wrong."""


def solution(posed: Case, rng: random.Random) -> list[Written]:
    """A solution with mistakes in some steps, or up to its only mistake, or without one."""
    right, kind = mistakes.reference(posed), rng.random()
    # A quarter with several mistakes, 15% with one, 20% that answer another question, 40% right: a model that
    # mostly sees right text learns what wrong looks like, and does not suspect everything.
    if kind < 0.25:
        share = rng.choice((0.2, 0.5))
        texts = [_spoilt(posed, step, rng) if rng.random() < share else step for step in right]
        return _compared(posed, right, texts, posed.answer)
    if kind < 0.4:
        texts, at, answer = mistakes.planted(posed, rng)
        return _compared(posed, right, texts, answer)[: at + 1]
    if kind < 0.6:
        return _elsewhere(posed, rng)
    return _compared(posed, right, right, posed.answer)


def _spoilt(posed: Case, step: str, rng: random.Random) -> str:
    """The step with one piece exchanged for another of its kind, or with somebody else's relation."""
    if isinstance(posed, ArithmeticCase) and rng.random() < 0.25:
        text = _borrowed(posed, step, rng)
    else:
        pieces, told = PIECES.findall(step), set(PIECES.findall(posed.text))
        at = rng.choice([i for i, piece in enumerate(pieces) if piece in _KIND])
        others = _KIND[pieces[at]] - {pieces[at]}
        known = others & told if _KIND[pieces[at]] in _WORDS else others
        pieces[at] = rng.choice(sorted(known or others))
        text = "".join(pieces)
    # An exchange may leave the step true (two people with equal numbers): then it is no mistake.
    return text if is_true(posed, text) is False else step


def _borrowed(posed: ArithmeticCase, step: str, rng: random.Random) -> str:
    """The step's person with the relation that the problem gives for another, and what follows from it."""
    own = next((s for s in posed.steps if s.subject == subject_of(posed, step)), None)
    others = [q for q in posed.quantities if q.operator and own and own.subject not in (q.name, *q.operands)]
    if own is None or " " in own.subject or not others:
        return step
    other = rng.choice(others)
    quoted = Quantity(own.subject, 0, other.operator, other.operands)
    claims = mistakes.calculated(quoted, other.operator, other.operands, posed.values())
    return arithmetic.say(own, claims, posed.unit)


def _elsewhere(posed: Case, rng: random.Random) -> list[Written]:
    """True steps that stop before the question's, or go on after it, and give their last result for the
    answer."""
    more: tuple[arithmetic.Step, ...] = ()
    if isinstance(posed, ArithmeticCase) and rng.random() < 0.4:
        done = {step.subject for step in posed.steps}
        rest = [q for q in posed.quantities if q.operator and q.name not in done]
        more = tuple(arithmetic.Step(q.name, q.operator, q.operands) for q in rest)
        posed_on: Case = replace(posed, steps=(*posed.steps, *more))
    else:
        posed_on = posed
    n = len(posed.steps)
    ends = range(n + 1, n + 1 + len(more)) if more else range(1, n)
    if not ends:
        return solution(posed, rng)
    texts = mistakes.reference(posed_on)[: rng.choice(ends)]
    return _compared(posed, texts, texts, mistakes.result(posed_on, len(texts) - 1))


def _compared(posed: Case, right: Sequence[str], texts: Sequence[str], answer: str) -> list[Written]:
    """Each step that is written, compared with the one that should stand there."""
    found = []
    for index, text in enumerate(texts):
        at = _first_difference(right[index], text) if index < len(right) else 0
        asked = subject_of(posed, text) == asked_for(posed)
        if index == len(texts) - 1:
            if at is None and answer != posed.answer:
                at = len(PIECES.findall(text)) + 1  # the answer's mark, after the newline
            text = f"{text}\n#### {answer}"
        found.append(Written(text, at, asked))
    return found


def _first_difference(right: str, text: str) -> int | None:
    pairs = zip(PIECES.findall(right), PIECES.findall(text), strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), None)


def is_true(posed: Case, text: str) -> bool | None:
    """Exact truth of a step."""
    check = logic.statement_truth if isinstance(posed, LogicCase) else arithmetic.statement_truth
    return check(text, posed.premises)


def subject_of(posed: Case, text: str) -> str | None:
    """What a step speaks about: the adjective it infers, or the quantity it computes."""
    if isinstance(posed, LogicCase):
        return text.removesuffix(".").rpartition(" ")[2]
    return arithmetic.subject_of(text)


def asked_for(posed: Case) -> str:
    """What the question asks about, as `subject_of` says it."""
    return posed.answer if isinstance(posed, LogicCase) else posed.steps[-1].subject
