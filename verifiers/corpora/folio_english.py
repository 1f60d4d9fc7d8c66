"""FOLIO's shortest conclusions into formulas: "Jojo is not a ghost.", "Jack is a thing or an iPhone."

The corpus's names are English run together (`NBAPlayer(x)`, `taylorSwift`), so that a conclusion about one
individual can be read where its words, run together, are names of the premises. Any other is not read.
"""

import re
from collections.abc import Iterable

from verifiers.logic.formulas import Atom, Constant, Formula, Joined, Not, Unparsed, atoms, constants

LONGEST = 200
# "Jojo is not a ghost.": a name, a verb, and what is said of it.
_SAYS = re.compile(
    r"(?P<who>[A-Z0-9][\w .'-]*?) (?:is|was|does|did|has|can|will)(?P<no> not|n't)? "
    r"(?P<what>[\w ,'-]+?)\.?\s*"
)
# "Jojo runs fast.": a verb in the third person.
_ACTS = re.compile(r"(?P<who>[A-Z0-9][\w .'-]*?) (?P<what>[a-z]+s(?: [\w'-]+)*)\.?\s*")
# Names of predicates have no articles: "a ghost" is `Ghost(x)`.
_ARTICLE = re.compile(r"^(?:both|a|an|the|also) ")


def read_conclusion(text: str, premises: Iterable[Formula]) -> Formula:
    """The formula of a conclusion in the names of its premises. Raises Unparsed."""
    premises = tuple(premises)
    people = {_joined(name): Constant(name) for formula in premises for name in constants(formula)}
    kinds = {_joined(a.predicate): a.predicate for f in premises for a in atoms(f) if len(a.terms) == 1}
    match = (_SAYS.fullmatch(text) or _ACTS.fullmatch(text)) if len(text) <= LONGEST else None
    if match is None:
        raise Unparsed("no conclusion of a form that is read")
    who = people.get(_joined(match["who"]))
    if who is None:
        raise Unparsed(f"the premises do not name {match['who'][:40]}")
    said = _said(match["what"], who, kinds)
    if not match.groupdict().get("no"):
        return said
    if isinstance(said, Joined):
        raise Unparsed("`not` may deny one half or both")
    return Not(said)


def _said(text: str, who: Constant, kinds: dict[str, str]) -> Formula:
    found = kinds.get(_joined(_ARTICLE.sub("", text.strip())))
    if found:
        return Atom(found, (who,))
    if text.startswith("not "):
        return Not(_said(text.removeprefix("not "), who, kinds))
    for word in (" or ", " and "):
        if text.count(word) == 1 and not text.startswith(("either ", "neither ")):  # `⊕` or not: texts differ
            parts = tuple(_said(part, who, kinds) for part in text.split(word))
            return Joined("v" if word == " or " else "&", parts)
    raise Unparsed(f"the premises have no predicate {text[:40]!r}")


def _joined(words: str) -> str:
    return re.sub("[^a-z0-9]", "", words.lower())
