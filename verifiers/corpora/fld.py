"""The sentences of an FLD problem read together: the words they share settle how each is meant."""

from collections import Counter
from collections.abc import Iterable, Mapping

from verifiers.corpora.fld_english import readings
from verifiers.corpora.predication import chosen, perhaps_denied
from verifiers.logic.formulas import (
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

_PREFIXES = {"in": "", "im": "", "il": "", "ir": "", "un": "", "dis": "", "non": "", "out": "in"}
"""Prefixes that deny, and what stands in their place otherwise: `outboard`, `inboard`."""
# Readings of one sentence become a formula with a choice; every choice doubles what must be decided later.
_MOST_READINGS = 4
# In each round the sentences settled before settle further ones; the bound ends the loop.
_ROUNDS = 4
_Symbol = tuple[str, int]
_Signs = frozenset[tuple[str, bool]]
"""Two predicates, each said or denied."""


def read_together(texts: Mapping[str, str], *, goals: Iterable[str] = ()) -> dict[str, Formula]:
    """Formulas by the same keys; a text that is none of the templates is left out.

    A wording that stays open becomes a choice. `goals` are hypotheses: only they may deny a whole conditional
    ("it is false that, if ...").
    """
    candidates = {key: readings(text) for key, text in texts.items()}
    for key in candidates.keys() - set(goals):
        # A fact "it is false that, if A, then B" is no template; without this rule it would compete with the
        # reading "if it is false that A, then B".
        candidates[key] = [f for f in candidates[key] if not _denies_conditional(f)] or candidates[key]
    opposites = _opposites(candidates.values())
    for key, found in candidates.items():
        candidates[key] = list({canonical(r): r for r in (_renamed(f, opposites) for f in found)}.values())
    settled = _settled(candidates)
    formulas = {key: _open(found, key) for key, found in settled.items() if 0 < len(found) <= _MOST_READINGS}
    meant = _signs(formulas.values())
    return {key: _as_meant(formula, meant) for key, formula in formulas.items()}


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
    return _as_meant(_open(settled[""], key), _signs(known))


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
                # A word that the other sentences use is more likely meant than a new one: "glows" as a verb,
                # if another sentence says "glow" as a verb.
                costs = [(len(_symbols(f) - known.keys()), len(_symbols(f))) for f in found]
                left[key] = [f for f, cost in zip(found, costs, strict=True) if cost == min(costs)]
    return left


def _signs(formulas: Iterable[Formula]) -> dict[frozenset[str], set[_Signs]]:
    """How plain conjunctions say or deny their halves; where there are none, what disjunctions deny."""
    joined: dict[str, dict[frozenset[str], set[_Signs]]] = {"&": {}, "v": {}}
    waiting = list(formulas)
    while waiting:
        match waiting.pop():
            case Joined(connective, parts):
                literals = [literal for part in parts if (literal := _literal(part))]
                if len(parts) == len(literals) == 2 and connective != "->":
                    # "not A or not B" denies "A and B": it tells the same signs turned round.
                    signs = frozenset((name, said == (connective == "&")) for name, said in literals)
                    joined[connective].setdefault(frozenset(name for name, _ in signs), set()).add(signs)
                waiting += parts
            case Not(body) | Quantified(_, _, body):
                waiting.append(body)
    # A conjunction tells the signs directly; a disjunction only as the denial of one, so it stands back.
    return joined["v"] | joined["&"]


def _literal(formula: Formula) -> tuple[str, bool] | None:
    atom = formula.body if isinstance(formula, Not) else formula
    if not isinstance(atom, Atom) or atom.predicate.startswith("?"):
        return None
    return atom.predicate, atom is formula


def _as_meant(formula: Formula, meant: Mapping[frozenset[str], set[_Signs]]) -> Formula:
    """The formula with each doubt about a dropped negation named after its words, so that it is one doubt in
    all sentences, and marked (`?+`, `?-`) where `meant` tells how it is to be decided."""
    match formula:
        case Joined("&", (one, other)) if (first := perhaps_denied(one)) and (
            second := perhaps_denied(other)
        ):
            pair = frozenset({first.predicate, second.predicate})
            found, name = meant.get(pair, set()), "&".join(sorted(pair))
            said = dict(next(iter(found))) if len(found) == 1 else {}
            mark = {True: "-", False: "+", None: ""}
            doubts = (
                chosen(Atom(f"?{mark[said.get(a.predicate)]}{name}.{a.predicate}"), Not(a), a)
                for a in (first, second)
            )
            return Joined("&", tuple(doubts))
        case _:
            return rebuilt(formula, lambda part: _as_meant(part, meant))


def _opposites(candidates: Iterable[list[Formula]]) -> dict[_Symbol, str]:
    """Words such as `unwearable` where `wearable` occurs too: the templates negate by prefix."""
    used = {symbol for found in candidates for formula in found for symbol in _symbols(formula)}
    return {
        (name, arity): positive + name.removeprefix(prefix)
        for name, arity in used
        for prefix, positive in _PREFIXES.items()
        if arity >= 0 and name.startswith(prefix) and (positive + name.removeprefix(prefix), arity) in used
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
