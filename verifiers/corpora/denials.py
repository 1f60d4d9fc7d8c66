"""How often FLD's English denies a conditional: once, and never a side of it twice.

The generator leaves out double negations in formulas, and only hypotheses deny a whole conditional. So "it is
wrong that, it is false that the core glows, so that the pip is red" denies a conditional whose condition is
denied; it does not say twice that the conditional is false.
"""

import re
from collections.abc import Iterable

from verifiers.corpora.fld_words import NEGATIONS
from verifiers.logic.formulas import Formula, Joined, Not, Quantified

_TWICE = re.compile(rf"\b(?:{'|'.join(NEGATIONS)}),? (?:{'|'.join(NEGATIONS)})\b")


def denied_once(found: Iterable[tuple[Formula, bool]], sentence: str) -> list[Formula]:
    """The readings, those that deny twice only where there are no others. Each comes with whether it does."""
    found = list(found)
    once = [formula for formula, twice in found if not twice]
    # Other templates deny twice by their words: "the pip prevents a non-red core".
    return once if once and _TWICE.search(sentence) else [formula for formula, _ in found]


def denies_twice(formula: Formula) -> bool:
    """Whether a conditional, or a side of one, is denied twice."""
    match formula:
        case Not(Not(Joined("->"))) | Not(Not(Quantified(_, _, Joined("->")))):
            return True
        case Joined("->", parts) if any(isinstance(p, Not) and isinstance(p.body, Not) for p in parts):
            return True
        case Joined(_, parts):
            return any(map(denies_twice, parts))
        case Not(body) | Quantified(_, _, body):
            return denies_twice(body)
    return False
