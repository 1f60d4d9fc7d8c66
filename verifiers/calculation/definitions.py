"""The values that the steps of a solution give to symbols: "So x = 3.", in which nothing is only tried."""

import re
from collections.abc import Iterable
from fractions import Fraction
from math import inf

from verifiers.base import StepContext
from verifiers.claims.find import Claim
from verifiers.claims.parsed import ParsedText
from verifiers.expressions.parser import NUMBER
from verifiers.expressions.tree import names

# Words with which a value holds for a case or a trial only: "if x = 3", "let x = 3", "try x = 3", "x = 3?".
NO_DEFINITION = re.compile(
    r"\b(?:if|when|for|at|case|let|or|where|substitut\w*|plug\w*|say|try|put|set|possible|could|may|either|suppose|"
    r"assum\w*|check\w*|not|would|guess\w*)\b|\?",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    # "So x = 3." and "x = 1/2, ...", whole: not the 3 of "x = 3y", "x = 3.5" or "2x = 3".
    r"(?:^|[.;,:]\s+|\b(?i:so|thus|therefore|hence|get|gives|have|find|then|that|obtain|and)\s+)\s*"
    rf"(?P<name>[A-Za-z])\s*=\s*(?P<value>-?(?:{NUMBER})(?:/\d+)?)(?!\d)\s*(?=\.(?!\d)|[,;:](?!\d)|and\b|$)"
)


def definitions(texts: Iterable[ParsedText]) -> dict[str, Fraction]:
    """Symbols to which the texts give one exact value, unconditionally; a symbol with two values has none."""
    table = _definitions(tuple(texts))
    return {name: value for name, (value, _, other) in table.items() if other == inf}


def _definitions(texts: tuple[ParsedText, ...]) -> dict[str, tuple[Fraction, float, float]]:
    """For each symbol its first value, where it is given, and where another one is."""
    found: dict[str, tuple[Fraction, float, float]] = {}
    for at, text in enumerate(texts):
        for name, value in text.once(_defined):
            first, since, until = found.setdefault(name, (value, at, inf))
            if value != first and until == inf:
                found[name] = (first, since, at)
    return found


def _step_definitions(texts: tuple[ParsedText, ...]) -> dict[str, tuple[Fraction, float, float]]:
    return _definitions(texts[1:])  # the problem's values may be those of a case


def values_before(context: StepContext, claims: list[Claim]) -> dict[str, Fraction]:
    """The values that earlier steps give the claims' symbols."""
    table, here = context.shared.once(_step_definitions), context.count - 1
    symbols = {name for claim in claims for side in (claim.left, claim.right) for name in names(side)}
    stated = ((name, table[name]) for name in sorted(symbols) if name in table)
    return {name: value for name, (value, since, until) in stated if since < here <= until}


def _defined(step: ParsedText) -> tuple[tuple[str, Fraction], ...]:
    """Each symbol that a step defines, with its value."""
    found = []
    for sentence in re.split(r"(?<=[.?!])\s+|\n", step.source.text):
        if not NO_DEFINITION.search(sentence):
            for match in _DEFINITION.finditer(sentence):
                value = match["value"].replace(",", "")
                # `x = 1/0` defines nothing.
                if not re.search(r"/0+$", value):
                    found.append((match["name"], _fraction(value)))
    return tuple(found)


def _fraction(text: str) -> Fraction:
    top, _, bottom = text.partition("/")
    return Fraction(top) / int(bottom or 1)
