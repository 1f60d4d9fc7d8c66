"""From first-order formulas to clauses without variables, where that loses nothing.

First, negations are moved to the atoms. If then no existential stands under a universal, each existential is
replaced by one new individual, its witness, and each universal by its instances for all constants and
witnesses: no other individual need exist (Bernays and Schönfinkel; the domain is never empty). If an
existential does stand under a universal, quantifiers are moved inwards, which always helps for monadic
formulas, because each body then speaks of its own variable only. What is left are formulas with relations,
whose models may be infinite.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

from verifiers.logic.formulas import (
    Atom,
    Constant,
    Formula,
    Joined,
    Not,
    Quantified,
    Variable,
    constants,
    free_variables,
    rebuilt,
    substitute,
)

# Multiplying out doubles with each nested alternative; formulas of a text stay far below these bounds, and
# one that a model writes to be expensive is refused.
MOST_CLAUSES = 256
MOST_GROUND = 20_000
_LONGEST_PRODUCT = 64
"""Clauses of one formula beyond which a sub-formula gets a name instead of being multiplied out."""

OpenLiteral = tuple[bool, Atom]
OpenClause = tuple[OpenLiteral, ...]


class TooLarge(Exception):
    """Taking the formulas apart would exceed the limits."""


class NotGround(Exception):
    """An existential depends on a universal: the formulas have no equivalent without variables."""


@dataclass(frozen=True)
class Open:
    """A formula as clauses over its variables, each of which stands for everybody."""

    clauses: tuple[OpenClause, ...]
    constants: tuple[str, ...]
    witnesses: int
    """How many individuals it claims to exist: `someone 1`, ... No name that is read can hold a space."""
    parts: int
    """How many of its parts were given a predicate of their own: `part 1`, ..."""


@lru_cache(8192)
def opened(formula: Formula) -> Open:
    """The clauses of a formula. Raises NotGround and TooLarge."""
    normal = _normal(formula, positive=True)
    if not _is_groundable(normal):
        normal = _inwards(normal)
        if not _is_groundable(normal):
            raise NotGround
    witnesses: list[str] = []
    matrix = _matrix(normal, witnesses, [0])
    parts: list[str] = []
    clauses = tuple(dict.fromkeys(_clauses(matrix, parts)))
    if len(clauses) > MOST_GROUND:
        raise TooLarge("a formula is too large")
    return Open(clauses, tuple(sorted(constants(formula))), len(witnesses), len(parts))


def shifted(found: Open, witnesses: int, parts: int) -> tuple[OpenClause, ...]:
    """Its clauses, with witnesses and parts numbered on from those of other formulas."""
    if not (found.witnesses and witnesses or found.parts and parts):
        return found.clauses
    # Two formulas that each say "somebody is tall" do not speak of the same person: the second's `someone 1`
    # becomes `someone 2`.
    people = {Constant(someone(n)): Constant(someone(n + witnesses)) for n in range(1, found.witnesses + 1)}
    names = {_part(n): _part(n + parts) for n in range(1, found.parts + 1)}

    def move(atom: Atom) -> Atom:
        terms = tuple(people.get(t, t) if isinstance(t, Constant) else t for t in atom.terms)
        return Atom(names.get(atom.predicate, atom.predicate), terms)

    return tuple(tuple((sign, move(atom)) for sign, atom in clause) for clause in found.clauses)


def someone(number: int) -> str:
    """The name of a witness."""
    return f"someone {number}"


def _part(number: int) -> str:
    return f"part {number}"


def instances(clauses: Sequence[OpenClause], domain: Sequence[str]) -> Iterator[OpenClause]:
    """Every clause of every individual. Raises TooLarge."""
    budget = MOST_GROUND
    for clause in clauses:
        variables = list(
            dict.fromkeys(t.name for _, atom in clause for t in atom.terms if isinstance(t, Variable))
        )
        if not variables:
            yield clause
            continue
        # Counted before they are made: 30 people and 3 variables are 27,000 clauses.
        budget -= len(domain) ** len(variables)
        if budget < 0:
            raise TooLarge("too many individuals")
        for choice in product(map(Constant, domain), repeat=len(variables)):
            chosen = dict(zip(variables, choice, strict=True))
            yield tuple((sign, _instance(atom, chosen)) for sign, atom in clause)


def _instance(atom: Atom, chosen: dict[str, Constant]) -> Atom:
    return Atom(atom.predicate, tuple(chosen.get(t.name, t) if isinstance(t, Variable) else t
                                      for t in atom.terms))  # fmt: skip


def over(formula: Formula, domain: Sequence[str]) -> Formula:
    """The formula without quantifiers, where these individuals are all there are. Raises TooLarge."""
    return _over(_normal(formula, positive=True), domain, [MOST_GROUND])


def _over(formula: Formula, domain: Sequence[str], budget: list[int]) -> Formula:
    match formula:
        case Quantified(exists, variable, body):
            budget[0] -= len(domain)
            if budget[0] < 0:
                raise TooLarge("too many individuals")
            parts = tuple(_over(substitute(body, variable, Constant(d)), domain, budget) for d in domain)
            return Joined("v" if exists else "&", parts)
        case Joined(connective, parts):
            return Joined(connective, tuple(_over(part, domain, budget) for part in parts))
        case _:
            return formula


def _normal(formula: Formula, *, positive: bool) -> Formula:
    """Negations at the atoms only, and no implications."""
    match formula:
        case Atom():
            return formula if positive else Not(formula)
        case Not(body):
            return _normal(body, positive=not positive)
        case Joined("->", (left, right)):
            parts = (_normal(left, positive=not positive), _normal(right, positive=positive))
            return Joined("v" if positive else "&", parts)
        case Joined(connective, parts):
            # De Morgan: the denial of a conjunction is the disjunction of the denials.
            kept = (connective == "&") == positive
            return Joined("&" if kept else "v", tuple(_normal(part, positive=positive) for part in parts))
        case Quantified(exists, variable, body):
            # "Not everybody" is "somebody not", so a denied quantifier turns round.
            return Quantified(exists == positive, variable, _normal(body, positive=positive))


def _is_groundable(normal: Formula, *, under_universal: bool = False) -> bool:
    match normal:
        case Quantified(exists, _, body):
            return not (exists and under_universal) and _is_groundable(
                body, under_universal=under_universal or not exists
            )
        case Joined(_, parts):
            return all(_is_groundable(part, under_universal=under_universal) for part in parts)
        case _:
            return True


def _inwards(normal: Formula) -> Formula:
    """Every quantifier around as little as possible."""
    match normal:
        case Quantified(exists, variable, body):
            return _pushed(exists, variable, _inwards(body))
        case _:
            return rebuilt(normal, _inwards)


def _pushed(exists: bool, variable: str, body: Formula) -> Formula:
    """A quantifier over a normal body, with everything that does not mention its variable outside it."""
    if variable not in free_variables(body):
        return body
    # "Somebody is A or B" is "somebody is A, or somebody is B", and "all are A and B" likewise: a quantifier
    # passes through its own connective. Of the other one it can leave out only the parts without its
    # variable.
    own: Literal["&", "v"] = "v" if exists else "&"
    other: Literal["&", "v"] = "&" if exists else "v"
    clauses = []
    for clause in _multiplied(body, variable, outer=own):
        inside = tuple(leaf for leaf in clause if variable in free_variables(leaf))
        outside = tuple(leaf for leaf in clause if variable not in free_variables(leaf))
        quantified = (Quantified(exists, variable, _join(other, inside)),) if inside else ()
        clauses.append(_join(other, outside + quantified))
    return _join(own, tuple(clauses))


def _multiplied(formula: Formula, variable: str, *, outer: str) -> list[tuple[Formula, ...]]:
    """The disjunctive (`outer` is `v`) or conjunctive normal form over leaves."""
    if not isinstance(formula, Joined) or variable not in free_variables(formula):
        return [(formula,)]
    forms = [_multiplied(part, variable, outer=outer) for part in formula.parts]
    if formula.connective == outer:
        return [clause for form in forms for clause in form]
    size = 1
    for form in forms:
        size *= len(form)
    if size > MOST_CLAUSES:
        raise TooLarge("a quantified formula is too large to take apart")
    return [tuple(leaf for clause in choice for leaf in clause) for choice in product(*forms)]


def _join(connective: Literal["&", "v"], parts: tuple[Formula, ...]) -> Formula:
    return parts[0] if len(parts) == 1 else Joined(connective, parts)


def _matrix(formula: Formula, witnesses: list[str], count: list[int]) -> Formula:
    """Without quantifiers: witnesses for existentials, variables of their own names for universals."""
    match formula:
        case Quantified(True, variable, body):
            witnesses.append(someone(len(witnesses) + 1))
            return _matrix(substitute(body, variable, Constant(witnesses[-1])), witnesses, count)
        case Quantified(False, variable, body):
            count[0] += 1
            # Two universals may use one letter; after they lose their quantifiers they must not be mixed up.
            renamed = substitute(body, variable, Variable(f"#{count[0]}"))
            return _matrix(renamed, witnesses, count)
        case Joined(connective, parts):
            return Joined(connective, tuple(_matrix(part, witnesses, count) for part in parts))
        case _:
            return formula


def _clauses(formula: Formula, names: list[str]) -> list[OpenClause]:
    """Conjunctive normal form of a normal formula without quantifiers.

    A conjunction under a disjunction that is too large to be multiplied out is named by a new predicate of
    its variables (Plaisted and Greenbaum), so the size stays linear.
    """
    match formula:
        case Atom():
            return [((True, formula),)]
        case Not(Atom() as atom):
            return [((False, atom),)]
        case Joined("&", parts):
            return [clause for part in parts for clause in _clauses(part, names)]
        case Joined("v", parts):
            named: list[OpenClause] = []
            forms = [_clauses(part, names) for part in parts]
            size = 1
            for at, form in enumerate(forms):
                if size * len(form) > _LONGEST_PRODUCT and len(form) > 1:
                    atom = _name(form, names)
                    named += [((False, atom), *clause) for clause in form]
                    forms[at] = [((True, atom),)]
                size *= len(forms[at])
            return [*named, *(_merged(choice) for choice in product(*forms))]
        case _:
            raise AssertionError("not in normal form")


def _name(form: Iterable[OpenClause], names: list[str]) -> Atom:
    names.append(_part(len(names) + 1))
    variables = dict.fromkeys(
        t for clause in form for _, atom in clause for t in atom.terms if isinstance(t, Variable)
    )
    return Atom(names[-1], tuple(variables))


def _merged(choice: tuple[OpenClause, ...]) -> OpenClause:
    return tuple(dict.fromkeys(literal for clause in choice for literal in clause))
