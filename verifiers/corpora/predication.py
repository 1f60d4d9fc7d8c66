"""The parts of a sentence as formulas: predicates without a subject, subjects without a quantifier."""

from collections.abc import Iterator

from verifiers.logic.formulas import (
    Atom,
    Formula,
    Joined,
    Not,
    Quantified,
    Term,
    Variable,
    free_variables,
    rebuilt,
    substitute,
)

X = Variable("x")
EVERYONE = Variable("X")
"""The subject of `everything glows`, until its quantifier is known."""
Found = Iterator[tuple[Formula, int]]
"""Readings, each with the position of the word after it."""


def chosen(choice: Atom, one: Formula, other: Formula) -> Formula:
    """One formula where the choice is true, the other where it is false."""
    return Joined("v", (Joined("&", (choice, one)), Joined("&", (Not(choice), other))))


def perhaps_denied(formula: Formula) -> Atom | None:
    """The atom of a choice between it and its negation; None for anything else."""
    match formula:
        case Joined("v", (Joined("&", (Atom(name, ()), one)), Joined("&", (Not(Atom(same, ())), other)))) if (
            name == same and name.startswith("?") and Not in {type(one), type(other)}
        ):
            said = one if isinstance(one, Atom) else other
            return said if isinstance(said, Atom) and Not(said) in {one, other} else None
        case _:
            return None


def negated(found: Found) -> Found:
    """Every reading denied."""
    return ((Not(formula), end) for formula, end in found)


def implies(condition: Formula, then: Formula) -> Formula:
    """A conditional."""
    return Joined("->", (condition, then))


def of(who: Term, predicate: Formula) -> Formula:
    """What a predicate says of somebody."""
    match predicate:
        # A choice between readings (`?1`) is no property, so it is not said of anybody.
        case Atom(name, ()):
            return predicate if name.startswith("?") else Atom(name, (who,))
        case Not(body):
            return Not(of(who, body))
        case Joined(connective, parts):
            return Joined(connective, tuple(of(who, part) for part in parts))
        case _:
            return predicate


def closed(formula: Formula, *, exists: bool) -> Formula:
    """`Something glows` claims existence, `if something glows it hums` speaks of everybody."""
    free = free_variables(formula)
    if EVERYONE.name in free:
        return Quantified(False, "x", substitute(formula, EVERYONE.name, X))
    if "x" not in free:
        return formula
    # "It is false that something glows" denies that anything does, and does not say of something that it is
    # dark.
    if exists and isinstance(formula, Not):  # `it is false that something glows`
        return Not(Quantified(True, "x", formula.body))
    return Quantified(exists, "x", formula)


def plain(formula: Formula) -> Formula:
    """Without double negations, which the templates produce for the same meaning."""
    match formula:
        case Not(Not(body)):
            return plain(body)
        case _:
            return rebuilt(formula, plain)
