"""Whether two words of a text may be forms or opposites of one word.

A reader of English cannot be sure that `thankless` and `grateful`, or `focus` and `focuses`, speak of two
things. A step is called invalid only if no such doubt could make it valid.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from os.path import commonprefix

from verifiers.logic.formulas import Atom, Formula, Not, atoms, rebuilt

Rewording = Mapping[str, tuple[str, bool]]
"""A predicate to the one that stands in its place, and whether it says the same or the opposite."""

# "unwearable", "dishonest", "atypical", "non-red", "outboard": before the word that they deny or turn.
_PREFIXES = ("non-", "non", "un", "in", "im", "il", "ir", "dis", "mis", "anti", "out", "a")
# Forms of one word share its beginning: "useful" and "useles(s)" three letters, "dim" and "dimm" all of one.
_FEWEST = 3
# An inference has some six words; a longer one is not tried in every way.
_MOST_WORDS = 12


def said_in(sentences: Iterable[Formula]) -> Counter[str]:
    """How many sentences use each predicate."""
    return Counter(name for sentence in sentences for name in _names([sentence]))


def rewordings(inference: Sequence[Formula], said: Mapping[str, int]) -> Iterator[Rewording]:
    """The ways to read the inference's words if some of them are forms or opposites of one word.

    Two words may be, if their letters say so. So may any two of which one stands in one sentence of the
    problem at most: only a dictionary knows that `grateful` is the opposite of `thankless`, and such a word
    mostly occurs nowhere else. A word that several sentences use stands for itself.
    """
    names = _names(inference)
    if len(names) > _MOST_WORDS:
        return
    pairs = list(combinations(names, 2))
    akin = [(one, other) for one, other in pairs if _akin(one, other)]
    for same in (True, False) if akin else ():
        yield {other: (one, same) for one, other in reversed(akin)}
    for one, other in pairs:
        if (one, other) in akin or min(said.get(one, 0), said.get(other, 0)) <= 1:
            yield {other: (one, True)}
            yield {other: (one, False)}


def reworded(formula: Formula, by: Rewording) -> Formula:
    """The formula with predicates replaced."""
    match formula:
        case Atom(name, terms) if name in by:
            instead, same = by[name]
            return Atom(instead, terms) if same else Not(Atom(instead, terms))
        case _:
            return rebuilt(formula, lambda part: reworded(part, by))


def _names(formulas: Iterable[Formula]) -> list[str]:
    found = (atom.predicate for formula in formulas for atom in atoms(formula))
    return sorted({name for name in found if not name.startswith("?")})


def _akin(one: str, other: str) -> bool:
    """`retaliat_hyperope`, a verb with its object, is akin to another verb with a like object."""
    parts, others = one.split("_"), other.split("_")
    return len(parts) == len(others) and all(map(_like, parts, others))


def _like(one: str, other: str) -> bool:
    if one == other:
        return True
    pairs = ((left, right) for left in _cores(one) for right in _cores(other))
    return any(len(commonprefix(pair)) >= max(_FEWEST, min(map(len, pair)) / 2) for pair in pairs)


def _cores(word: str) -> list[str]:
    """The word, and without a prefix that may deny it."""
    return [word, *(word.removeprefix(p) for p in _PREFIXES if word.startswith(p) and len(word) > len(p) + 2)]
