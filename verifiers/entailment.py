"""Whether formulas can be true together, by Z3: `sat`, `unsat`, or `unknown`, which is never a verdict.

Monadic formulas are decided completely. Their quantifiers are first moved inwards until each body speaks of
its own variable only; then an existential needs one witness, a universal holds of the constants and the
witnesses, and what is left is propositional. The domain is never empty. Formulas with relations may have
infinite models only: they go to a worker that can be killed, because Z3's own limits do not always bind.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal

from verifiers.formulas import (
    Atom,
    Constant,
    Formula,
    Joined,
    Not,
    Quantified,
    constants,
    free_variables,
    is_monadic,
    substitute,
)
from verifiers.limits import run_limited

_MOST_CLAUSES = 256
_MOST_GROUND = 20_000
_SEARCH_LIMIT = 2_000_000
"""Z3's own unit of work, about a second; unlike a time limit it gives the same answer on a busy machine."""
_RELATIONS_S = 2.0


_THREAD = threading.local()


class TooLarge(Exception):
    """Grounding would exceed the limits."""


@dataclass(frozen=True)
class Satisfiable:
    """Whether a set of formulas has a model; for `sat`, what the model makes true and false."""

    answer: Literal["sat", "unsat", "unknown"]
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    why: str = ""


@lru_cache(8192)
def solve(formulas: tuple[Formula, ...]) -> Satisfiable:
    """Decide whether all formulas can be true together."""
    try:
        if all(map(is_monadic, formulas)):
            return _propositional(_ground(formulas))
    except TooLarge as error:
        return Satisfiable("unknown", why=str(error))
    result = run_limited(solve_relations, (formulas,), timeout_s=_RELATIONS_S, preload="z3")
    if result.failure:
        return Satisfiable("unknown", why=result.failure)
    return Satisfiable(result.value, why="relations")


def entails(premises: Iterable[Formula], conclusion: Formula) -> Satisfiable:
    """`unsat` where the premises entail the conclusion; `sat` comes with a counter-model."""
    return solve((*premises, Not(conclusion)))


@lru_cache(8192)
def _normal(formula: Formula, *, positive: bool) -> Formula:
    """Negations at the atoms only, no implications, and every quantifier around its own variable only."""
    match formula:
        case Atom():
            return formula if positive else Not(formula)
        case Not(body):
            return _normal(body, positive=not positive)
        case Joined("->", (left, right)):
            parts = (_normal(left, positive=not positive), _normal(right, positive=positive))
            return Joined("v" if positive else "&", parts)
        case Joined(connective, parts):
            kept = (connective == "&") == positive
            return Joined("&" if kept else "v", tuple(_normal(part, positive=positive) for part in parts))
        case Quantified(exists, variable, body):
            return _pushed(exists == positive, variable, _normal(body, positive=positive))


def _pushed(exists: bool, variable: str, body: Formula) -> Formula:
    """A quantifier over a normal body, with everything that does not mention its variable outside it."""
    if variable not in free_variables(body):
        return body
    own: Literal["&", "v"] = "v" if exists else "&"
    clauses = []
    for clause in _clauses(body, variable, outer=own):
        inside = tuple(leaf for leaf in clause if variable in free_variables(leaf))
        outside = tuple(leaf for leaf in clause if variable not in free_variables(leaf))
        other: Literal["&", "v"] = "&" if exists else "v"
        quantified = (Quantified(exists, variable, _join(other, inside)),) if inside else ()
        clauses.append(_join(other, outside + quantified))
    return _join(own, tuple(clauses))


def _clauses(formula: Formula, variable: str, *, outer: str) -> list[tuple[Formula, ...]]:
    """The disjunctive (`outer` is `v`) or conjunctive normal form over leaves."""
    if not isinstance(formula, Joined) or variable not in free_variables(formula):
        return [(formula,)]
    forms = [_clauses(part, variable, outer=outer) for part in formula.parts]
    if formula.connective == outer:
        return [clause for form in forms for clause in form]
    size = 1
    for form in forms:
        size *= len(form)
    if size > _MOST_CLAUSES:
        raise TooLarge("a quantified formula is too large to take apart")
    return [tuple(leaf for clause in choice for leaf in clause) for choice in product(*forms)]


def _join(connective: Literal["&", "v"], parts: tuple[Formula, ...]) -> Formula:
    return parts[0] if len(parts) == 1 else Joined(connective, parts)


def _ground(formulas: tuple[Formula, ...]) -> list[Formula]:
    """Equivalent formulas without quantifiers: witnesses first, then every universal of every individual."""
    witnesses: list[str] = []
    named = frozenset().union(*map(constants, formulas))
    skolemised = [_witnessed(_normal(formula, positive=True), witnesses) for formula in formulas]
    domain = sorted(named) + witnesses or ["#0"]
    budget = [_MOST_GROUND]
    return [_instantiated(formula, domain, budget) for formula in skolemised]


def _witnessed(formula: Formula, witnesses: list[str]) -> Formula:
    match formula:
        case Quantified(True, variable, body):
            witnesses.append(f"#{len(witnesses) + 1}")
            return substitute(body, variable, Constant(witnesses[-1]))
        case Joined(connective, parts):
            return Joined(connective, tuple(_witnessed(part, witnesses) for part in parts))
        case _:
            return formula  # a universal's body holds its own variable only, so no witness depends on it


def _instantiated(formula: Formula, domain: list[str], budget: list[int]) -> Formula:
    match formula:
        case Quantified(_, variable, body):
            budget[0] -= len(domain)
            if budget[0] < 0:
                raise TooLarge("too many individuals")
            return _join("&", tuple(substitute(body, variable, Constant(name)) for name in domain))
        case Joined(connective, parts):
            return Joined(connective, tuple(_instantiated(part, domain, budget) for part in parts))
        case _:
            return formula


def _propositional(formulas: list[Formula]) -> Satisfiable:
    import z3

    # Z3's default context must not be shared between threads; a new one for every call costs a millisecond.
    context = getattr(_THREAD, "context", None)
    if context is None:
        context = _THREAD.context = z3.Context()
    solver = z3.SolverFor("QF_FD", ctx=context)
    solver.set("rlimit", _SEARCH_LIMIT)
    symbols: dict[Atom, Any] = {}
    for formula in formulas:
        solver.add(_encoded(formula, symbols, context))
    answer = str(solver.check())
    if answer != "sat":
        return Satisfiable("unsat" if answer == "unsat" else "unknown", why=solver.reason_unknown())
    model = solver.model()
    values = {atom: z3.is_true(model.eval(symbol)) for atom, symbol in symbols.items()}
    return Satisfiable(
        "sat",
        tuple(sorted(_said(atom) for atom, value in values.items() if value)),
        tuple(sorted(_said(atom) for atom, value in values.items() if not value)),
    )


def _said(atom: Atom) -> str:
    return " ".join([atom.predicate, *(term.name for term in atom.terms)])


def _encoded(formula: Formula, symbols: dict[Atom, Any], context: Any) -> Any:
    import z3

    match formula:
        case Atom():
            if formula not in symbols:
                symbols[formula] = z3.Bool(f"p{len(symbols)}", ctx=context)
            return symbols[formula]
        case Not(body):
            return z3.Not(_encoded(body, symbols, context))
        case Joined("&", parts):
            return z3.And([_encoded(part, symbols, context) for part in parts])
        case Joined(_, parts):
            return z3.Or([_encoded(part, symbols, context) for part in parts])
        case Quantified():
            raise AssertionError("grounding leaves no quantifier")


def solve_relations(formulas: tuple[Formula, ...]) -> str:
    """Z3 on formulas with relations. Meant for a worker: it may take for ever."""
    import z3

    sort = z3.DeclareSort("Individual")
    solver = z3.Solver()
    for formula in formulas:
        solver.add(_quantified(formula, {}, sort))
    return str(solver.check())


def _quantified(formula: Formula, bound: dict[str, Any], sort: Any) -> Any:
    import z3

    match formula:
        case Atom(predicate, ()):
            return z3.Bool(f"{predicate}/0")
        case Atom(predicate, terms):
            symbol = z3.Function(f"{predicate}/{len(terms)}", *[sort] * len(terms), z3.BoolSort())
            return symbol(*(bound.get(t.name) if t.name in bound and not isinstance(t, Constant)
                            else z3.Const(f"c:{t.name}", sort) for t in terms))  # fmt: skip
        case Not(body):
            return z3.Not(_quantified(body, bound, sort))
        case Joined(connective, parts):
            encoded = [_quantified(part, bound, sort) for part in parts]
            if connective == "->":
                return z3.Implies(*encoded)
            return z3.And(encoded) if connective == "&" else z3.Or(encoded)
        case Quantified(exists, variable, body):
            symbol = z3.Const(f"v:{variable}", sort)
            inner = _quantified(body, {**bound, variable: symbol}, sort)
            return z3.Exists([symbol], inner) if exists else z3.ForAll([symbol], inner)
