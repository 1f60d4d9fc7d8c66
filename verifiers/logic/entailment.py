"""Whether formulas can be true together: `sat`, `unsat`, or `unknown`, which is never a verdict.

Formulas that have an equivalent without variables (all monadic ones, and relations without an existential
under a universal) are decided completely: by a search of our own, or by Z3 where that gives up. Other
formulas may have infinite models only: a small model is looked for, then they go to Z3 in a worker that can
be killed, because Z3's own limits do not always bind.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from verifiers.isolation.workers import run_limited
from verifiers.logic.formulas import Atom, Constant, Formula, Joined, Not, Quantified, constants
from verifiers.logic.grounding import (
    NotGround,
    Open,
    OpenClause,
    TooLarge,
    instances,
    opened,
    over,
    shifted,
    someone,
)
from verifiers.logic.satisfiability import Clause, GaveUp, Model, satisfy

_SEARCH_LIMIT = 20_000_000
"""Z3's own unit of work, about ten seconds; unlike a time limit it does not depend on the machine's load."""
# Z3 may search for ever on such formulas; a question that stays undecided costs this much at most.
_RELATIONS_S = 2.0
_STRANGERS = 2
"""A small model holds at most so many individuals besides those that are named."""
_THREAD = threading.local()


@dataclass(frozen=True)
class Satisfiable:
    """Whether a set of formulas has a model, with the evidence."""

    answer: Literal["sat", "unsat", "unknown"]
    true: tuple[str, ...] = ()
    """For `sat`, what the model makes true."""
    false: tuple[str, ...] = ()
    core: tuple[int, ...] | None = None
    """For `unsat`, formulas that contradict each other already, by 0-based index; None where not known."""
    why: str = ""


class Theory:
    """Formulas that are asked about often: the clauses of each are made once."""

    def __init__(self, formulas: Sequence[Formula]) -> None:
        self.formulas = tuple(formulas)
        self._opened: list[Open] | None = None
        self._too_large = ""
        try:
            self._opened = [opened(formula) for formula in self.formulas]
        except NotGround:
            pass  # asked with a small model and in a worker
        except TooLarge as error:
            self._too_large = str(error)
        self._numbers: dict[Atom, int] = {}
        self._ground: dict[tuple[str, ...], tuple[list[Clause], list[int]]] = {}

    def ask(self, *extra: Formula) -> Satisfiable:
        """Whether the theory and these formulas can be true together. In a core, their indices follow on
        those of the theory's formulas."""
        if self._too_large:
            return Satisfiable("unknown", why=self._too_large)
        try:
            if self._opened is None:
                raise NotGround
            return self._decide([*self._opened, *map(opened, extra)])
        except TooLarge as error:
            return Satisfiable("unknown", why=str(error))
        except NotGround:
            every = (*self.formulas, *extra)
            return _small_model(every) or _relations(every)

    def entails(self, conclusion: Formula, *given: Formula) -> Satisfiable:
        """`unsat` where the theory and what is given entail the conclusion; `sat` has a counter-model."""
        return self.ask(*given, Not(conclusion))

    def _decide(self, every: list[Open]) -> Satisfiable:
        # Everybody who is named, one witness for each thing said to exist, and at least one individual.
        names = sorted({name for found in every for name in found.constants})
        people = [*names, *(someone(n + 1) for n in range(sum(found.witnesses for found in every)))]
        domain = tuple(people or [someone(1)])
        n_known = len(self.formulas)
        # The same theory is asked about many conclusions; its clauses over one domain are made once.
        if domain not in self._ground:
            self._ground[domain] = self._numbered(every[:n_known], 0, domain, (0, 0))
        clauses, owners = self._ground[domain]
        before = tuple(sum(getattr(f, kind) for f in every[:n_known]) for kind in ("witnesses", "parts"))
        more = self._numbered(every[n_known:], n_known, domain, (before[0], before[1]))
        return self._search(clauses + more[0], owners + more[1])

    def _numbered(
        self, every: list[Open], first: int, domain: tuple[str, ...], before: tuple[int, int]
    ) -> tuple[list[Clause], list[int]]:
        """Clauses of numbers, and the index of the formula each one belongs to."""
        witnesses, parts = before
        clauses: list[Clause] = []
        owners: list[int] = []
        for index, found in enumerate(every, first):
            for clause in instances(shifted(found, witnesses, parts), domain):
                clauses.append(self._number(clause))
                owners.append(index)
            witnesses, parts = witnesses + found.witnesses, parts + found.parts
        return clauses, owners

    def _number(self, clause: OpenClause) -> Clause:
        numbers = self._numbers
        return tuple(
            numbers.setdefault(atom, len(numbers) + 1) * (1 if sign else -1) for sign, atom in clause
        )

    def _search(self, clauses: list[Clause], owners: list[int]) -> Satisfiable:
        try:
            found = satisfy(clauses)
        # Our search is faster on the small sets that steps give; Z3 learns from conflicts, and finishes hard
        # ones.
        except GaveUp:
            return self._by_z3(clauses)
        if isinstance(found, Model):
            return self._model(clauses, found.true)
        return Satisfiable("unsat", core=tuple(sorted({owners[index] for index in found.clauses})))

    def _model(self, clauses: list[Clause], true: frozenset[int]) -> Satisfiable:
        present = {abs(literal) for clause in clauses for literal in clause}
        said = {number: _said(atom) for atom, number in self._numbers.items()
                # Names that grounding gave to parts of a formula mean nothing to a reader.
                if number in present and not atom.predicate.startswith("part ")}  # fmt: skip
        return Satisfiable(
            "sat",
            tuple(sorted(text for number, text in said.items() if number in true)),
            tuple(sorted(text for number, text in said.items() if number not in true)),
        )

    def _by_z3(self, clauses: list[Clause]) -> Satisfiable:
        """Z3's SAT solver, for the few clause sets that our own search does not finish."""
        import z3

        # Z3's default context must not be shared between threads; a new one for every call costs time.
        context = getattr(_THREAD, "context", None)
        if context is None:
            context = _THREAD.context = z3.Context()
        solver = z3.SolverFor("QF_FD", ctx=context)
        solver.set("rlimit", _SEARCH_LIMIT)
        symbols = {
            n: z3.Bool(f"p{n}", ctx=context) for n in {abs(lit) for clause in clauses for lit in clause}
        }
        for clause in clauses:
            solver.add(z3.Or([symbols[lit] if lit > 0 else z3.Not(symbols[-lit]) for lit in clause]))
        answer = str(solver.check())
        if answer != "sat":
            return Satisfiable("unsat" if answer == "unsat" else "unknown", why=solver.reason_unknown())
        model = solver.model()
        return self._model(clauses, frozenset(n for n, s in symbols.items() if z3.is_true(model.eval(s))))


@lru_cache(8192)
def solve(formulas: tuple[Formula, ...]) -> Satisfiable:
    """Decide whether all formulas can be true together."""
    return Theory(formulas).ask()


def entails(premises: Iterable[Formula], conclusion: Formula) -> Satisfiable:
    """`unsat` where the premises entail the conclusion; `sat` comes with a counter-model."""
    return solve((*premises, Not(conclusion)))


def smallest_core(formulas: Sequence[Formula], core: Iterable[int]) -> tuple[int, ...]:
    """A part of a core that still contradicts itself, and of which no formula can be left out."""
    kept = list(core)
    for index in list(kept):
        rest = tuple(formulas[i] for i in kept if i != index)
        if solve(rest).answer == "unsat":
            kept.remove(index)
    return tuple(kept)


def _said(atom: Atom) -> str:
    return " ".join([atom.predicate, *(term.name for term in atom.terms)])


def _small_model(formulas: tuple[Formula, ...]) -> Satisfiable | None:
    """A model with few individuals, where there is one."""
    names = sorted(frozenset().union(*map(constants, formulas)))
    # From few to many: the smallest counter-model is the easiest to read.
    for strangers in range(0 if names else 1, _STRANGERS + 1):
        domain = [*names, *(someone(n + 1) for n in range(strangers))]
        try:
            found = Theory([over(formula, domain) for formula in formulas]).ask()
        except TooLarge:
            return None
        if found.answer == "sat":
            return found
    return None


def _relations(formulas: tuple[Formula, ...]) -> Satisfiable:
    result = run_limited(solve_relations, (formulas,), timeout_s=_RELATIONS_S, preload="z3")
    if result.failure:
        return Satisfiable("unknown", why=result.failure)
    answer, core = result.value
    return Satisfiable(answer, core=core, why="relations")


def solve_relations(formulas: tuple[Formula, ...]) -> tuple[str, tuple[int, ...] | None]:
    """Z3 on formulas with relations, and its core. Meant for a worker: it may take for ever."""
    import z3

    sort = z3.DeclareSort("Individual")
    solver = z3.Solver()
    for index, formula in enumerate(formulas):
        solver.assert_and_track(_quantified(formula, {}, sort), f"formula {index}")
    answer = str(solver.check())
    core = (int(str(tracked).split()[1].strip("|")) for tracked in solver.unsat_core())
    return answer, tuple(sorted(core)) if answer == "unsat" else None


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
