"""The sentences of an FLD problem read together: the words they share settle how each is meant."""

from collections import Counter
from collections.abc import Iterable, Mapping

from verifiers.fld_english import readings
from verifiers.formulas import (
    Atom,
    Constant,
    Formula,
    Joined,
    Not,
    Quantified,
    Unparsed,
    atoms,
    canonical,
    rebuilt,
)
from verifiers.predication import chosen

_PREFIXES = ("in", "im", "il", "ir", "un", "dis", "non")
_MOST_READINGS = 4
_ROUNDS = 4
_Symbol = tuple[str, int]


def read_together(texts: Mapping[str, str], *, goals: Iterable[str] = ()) -> dict[str, Formula]:
    """Formulas by the same keys; a text that is none of the templates is left out.

    A wording that stays open becomes a choice named after its key. `goals` are hypotheses: only they may deny
    a whole conditional ("it is false that, if ...").
    """
    candidates = {key: readings(text) for key, text in texts.items()}
    for key in candidates.keys() - set(goals):
        candidates[key] = [f for f in candidates[key] if not _denies_conditional(f)] or candidates[key]
    opposites = _opposites(candidates.values())
    for key, found in candidates.items():
        candidates[key] = list({canonical(r): r for r in (_renamed(f, opposites) for f in found)}.values())
    settled = _settled(candidates)
    return {key: _open(found, key) for key, found in settled.items() if 0 < len(found) <= _MOST_READINGS}


def read_among(text: str, known: Iterable[Formula], key: str) -> Formula:
    """One more sentence of a problem whose formulas are known. Raises Unparsed."""
    known = tuple(known)
    found = [f for f in readings(text) if not _denies_conditional(f)] or readings(text)
    if not found:
        raise Unparsed("the sentence is none of the templates")
    opposites = _opposites([[*found, *known]])
    used = {symbol for formula in known for symbol in _symbols(formula)}
    found = [formula for formula in (_renamed(f, opposites) for f in found) if _symbols(formula) <= used]
    if not found:  # perhaps an antonym (`outboard`, `thankless`) of what the problem says
        raise Unparsed("the sentence uses words that the problem does not")
    settled = _settled({"": found, **{f"#{i}": [f] for i, f in enumerate(known)}})
    if len(settled[""]) > _MOST_READINGS:
        raise Unparsed("the sentence has too many readings")
    return _open(settled[""], key)


def _denies_conditional(formula: Formula) -> bool:
    match formula:
        case Not(Joined("->", _)) | Not(Quantified()):
            return True
        case _:
            return False


def _symbols(formula: Formula) -> set[_Symbol]:
    """Predicates with their number of terms, and individuals as -1."""
    found: set[_Symbol] = set()
    for atom in atoms(formula):
        if not atom.predicate.startswith("?"):
            found.add((atom.predicate, len(atom.terms)))
            found |= {(term.name, -1) for term in atom.terms if isinstance(term, Constant)}
    return found


def _settled(candidates: Mapping[str, list[Formula]]) -> dict[str, list[Formula]]:
    """The readings that need the fewest words no other sentence is sure to use."""
    left = dict(candidates)
    for _ in range(_ROUNDS):
        known = Counter(s for found in left.values() if len(found) == 1 for s in _symbols(found[0]))
        for key, found in left.items():
            if len(found) > 1:
                costs = [(len(_symbols(f) - known.keys()), len(_symbols(f))) for f in found]
                left[key] = [f for f, cost in zip(found, costs, strict=True) if cost == min(costs)]
    return left


def _opposites(candidates: Iterable[list[Formula]]) -> dict[_Symbol, str]:
    """Words such as `unwearable` where `wearable` occurs too: the templates negate by prefix."""
    used = {symbol for found in candidates for formula in found for symbol in _symbols(formula)}
    return {
        (name, arity): name.removeprefix(prefix)
        for name, arity in used
        for prefix in _PREFIXES
        if arity >= 0 and name.startswith(prefix) and (name.removeprefix(prefix), arity) in used
    }


def _renamed(formula: Formula, opposites: Mapping[_Symbol, str]) -> Formula:
    match formula:
        case Atom(name, terms):
            positive = opposites.get((name, len(terms)))
            return formula if positive is None else Not(Atom(positive, terms))
        case Not(body):
            inner = _renamed(body, opposites)
            return inner.body if isinstance(inner, Not) else Not(inner)
        case Joined(connective, parts):
            return Joined(connective, tuple(_renamed(part, opposites) for part in parts))
        case Quantified(exists, variable, body):
            return Quantified(exists, variable, _renamed(body, opposites))


def _open(found: list[Formula], key: str) -> Formula:
    """The readings as one formula, each choice named after the sentence it belongs to."""
    parts = [_keyed(formula, key) for formula in found]
    number = 0
    while len(parts) > 1:
        number += 1
        choice = Atom(f"?{key}.or{number}")
        parts = [chosen(choice, *parts[:2]), *parts[2:]]
    return parts[0]


def _keyed(formula: Formula, key: str) -> Formula:
    match formula:
        case Atom(name, terms):
            return Atom(f"?{key}.{name[1:]}", terms) if name.startswith("?") else formula
        case _:
            return rebuilt(formula, lambda part: _keyed(part, key))
