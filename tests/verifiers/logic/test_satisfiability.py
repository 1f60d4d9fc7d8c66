"""The search for a model, against all assignments, and what happens when it gives up."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers.logic.entailment import Theory
from verifiers.logic.formulas import Atom, Joined, Not
from verifiers.logic.satisfiability import Core, GaveUp, Model, satisfy

LITERALS = st.integers(-4, 4).filter(bool)


def true_in(clauses, true):
    return all(any((abs(lit) in true) == (lit > 0) for lit in clause) for clause in clauses)


def possible(clauses):
    return any(
        true_in(clauses, {n for n, value in enumerate(values, 1) if value})
        for values in product((False, True), repeat=4)
    )


@given(st.lists(st.lists(LITERALS, max_size=4).map(tuple), max_size=14))
@settings(max_examples=400)
def test_models_and_cores_are_what_they_say(clauses):
    found = satisfy(clauses)
    if isinstance(found, Model):
        assert true_in(clauses, found.true)
    else:
        assert not possible(clauses)
        assert not possible([clauses[index] for index in found.clauses])


def pigeons(n):
    """n + 1 pigeons in n holes: short to say, long to refute."""
    somewhere = [tuple(p * n + h + 1 for h in range(n)) for p in range(n + 1)]
    apart = [(-(p * n + h + 1), -(q * n + h + 1)) for h in range(n) for p in range(n + 1) for q in range(p)]
    return [*somewhere, *apart]


def test_a_long_search_is_given_up_and_z3_goes_on():
    assert isinstance(satisfy(pigeons(4)), Core)
    with pytest.raises(GaveUp):
        satisfy(pigeons(7), most_conflicts=50)
    atom = {n: Atom(f"p{n}") for n in range(1, 60)}
    clauses = [
        Joined("v", tuple(atom[lit] if lit > 0 else Not(atom[-lit]) for lit in clause))
        for clause in pigeons(7)
    ]
    assert Theory(clauses).ask().answer == "unsat"
    assert Theory(clauses[1:]).ask().answer == "sat"
