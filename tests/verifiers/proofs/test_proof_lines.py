"""Formal inferences and proofs: seven verdicts, what a proof supports, and a published checker's faults."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers.logic.entailment import solve
from verifiers.logic.formulas import (
    Atom,
    Constant,
    Joined,
    Not,
    Unparsed,
    canonical,
    parse_formula,
    show_formula,
)
from verifiers.proofs.inferences import check_inference
from verifiers.proofs.proof_lines import check_proof

TABLE = Path(__file__).parents[3] / "benchmarks" / "inferences.jsonl"
ROWS = [tuple(json.loads(line).values()) for line in TABLE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("premises", "conclusion", "verdict"), ROWS)
def test_every_row_of_the_table(premises, conclusion, verdict):
    found = check_inference(premises, conclusion)
    assert found.verdict == verdict
    assert bool(found.counter_model) == (verdict == "INVALID")


def test_unused_premises_repeats_and_context():
    assert check_inference(["{A}", "{A} -> {B}", "{C}"], "{B}").unused == (2,)
    assert check_inference(["(x): {A}x"], "(y): {A}y", context=["(z): {A}z"]).repeat
    missing = check_inference(["{A} -> {B}"], "{B}", context=["{A}", "{A} -> {B}"])
    assert (missing.verdict, missing.in_context) == ("INVALID", True)


@pytest.mark.parametrize(
    "text",
    [
        "{A} v {B} & {C}",
        "{A} -> {B} -> {C}",
        "(x): {A}x -> {B}x -> {C}",
        "{A} & (x): {B}x v {C} & {D}",
        "{A} {a}",
        "{A} &",
        "({A}",
        "{A})",
        "{A}x",
        "",
        "A",
        "{A} {B}",
        "(x) {A}x",
        "__import__('os')",
        "(" * 600 + "{A}" + ")" * 600,
        "¬" * 600 + "{A}",
        "{A} & " * 10**5,
    ],
)
def test_other_text_is_unparsed(text):
    with pytest.raises(Unparsed):
        parse_formula(text)
    assert check_inference([text], "{A}").verdict == "UNPARSED"


def test_a_quantifier_reaches_to_the_end_of_its_group():
    assert parse_formula("{A} v (x): {B}x & {C}") == parse_formula("{A} v ((x): ({B}x & {C}))")
    assert parse_formula("¬(x): {B}x & {C}") == parse_formula("¬((x): ({B}x & {C}))")
    assert parse_formula("({A} v (x): {B}x) & {C}") == parse_formula("({A} v ((x): {B}x)) & {C}")


@pytest.mark.parametrize(("depth", "is_read"), [(40, True), (41, False)])
def test_formulas_nest_forty_deep(depth, is_read):
    for opening, closing in ("(", ")"), ("¬", ""), ("(x): ", ""):
        text = opening * depth + "{A}" + closing * depth
        if is_read:
            parse_formula(text)
        else:
            with pytest.raises(Unparsed, match="nested deeper than 40"):
                parse_formula(text)


FACTS = {
    "fact1": "{A}{a}",
    "fact2": "(x): {A}x -> {B}x",
    "fact3": "({B}{a} & {C}) -> {D}",
    "fact4": "{C}",
    "fact5": "{D} -> ¬{E}",
}


def proof(text, label="PROVED"):
    return check_proof(FACTS, text, "¬{E}", label)


def verdicts(found):
    return [step.inference.verdict for step in found.steps]


def test_a_sound_proof_supports_its_label():
    found = proof(
        "fact1 & fact2 -> int1: {B}{a};\nint1 & fact4 -> int2: ({B}{a} & {C});\n"
        "int2 & fact3 -> int3: {D};\nint3 & fact5 -> hypothesis;\n"
    )
    assert verdicts(found) == ["VALID"] * 4
    assert (found.first_error, found.supports_label) == (-1, True)
    assert not any(step.poisoned for step in found.steps)


def test_a_missing_citation_is_told_from_a_falsehood_and_poisons_what_follows():
    found = proof("fact3 -> int1: {D}; int1 & fact5 -> hypothesis;")
    assert verdicts(found) == ["INVALID", "VALID"]
    assert found.steps[0].inference.in_context is True
    assert [step.poisoned for step in found.steps] == [False, True]
    assert (found.first_error, found.supports_label) == (0, False)


def test_verdicts_are_local_and_context_is_told_apart():
    found = proof("fact5 -> int1: {E}; int1 & fact4 -> int2: ({E} & {C}); int1 & fact5 -> int3: ¬{D}")
    assert verdicts(found) == ["INVALID", "VALID", "VALID"]
    assert [step.inference.in_context for step in found.steps] == [False, False, False]


@pytest.mark.parametrize(
    ("text", "expected", "first_error"),
    [
        ("int2 -> int1: {A}; int1 -> int2: {A}", ["BAD_REFERENCE", "VALID"], 0),
        ("int1 -> int1: {A}", ["BAD_REFERENCE"], 0),
        ("hypothesis -> hypothesis", ["BAD_REFERENCE"], 0),
        ("fact11 -> int1: {A}{a}", ["BAD_REFERENCE"], 0),
        ("fact1 -> int1: {A}{a}; fact4 -> int1: {C}", ["VALID", "BAD_REFERENCE"], 1),
        ("fact4 -> int10: {C}; fact1 -> int1: {A}{a}; int1 -> int2: {A}{a}", ["VALID"] * 3, -1),
        ("({D} -> ¬{E}) & fact4 -> int1: {C}", ["VALID"], -1),
        ("{E} -> int1: {E}", ["BAD_REFERENCE"], 0),
        ("fact4 -> int1: {C} v {D} & {E}; int1 -> int2: {C}", ["UNPARSED", "UNPARSED"], None),
        ("$proof$:\nso it goes; int1 -> int2: {C}\n$proof_label$: PROVED", ["UNPARSED", "UNPARSED"], None),
        ("fact4 -> garbage; int1 -> int2: {C}", ["UNPARSED", "UNPARSED"], None),
        ("", [], None),
    ],
)
def test_faults_of_text_substitution(text, expected, first_error):
    found = proof(text)
    assert verdicts(found) == expected
    assert found.first_error == first_error
    assert found.supports_label is not True


def test_a_disproof_ends_in_the_negation():
    found = check_proof({"fact1": "¬{E}"}, "fact1 -> ¬hypothesis", "{E}", "DISPROVED")
    assert found.supports_label is True
    assert check_proof({"fact1": "¬{E}"}, "fact1 -> ¬hypothesis", "{E}", "PROVED").supports_label is False


def formulas():
    atoms = st.sampled_from(
        ["{A}{a}", "{B}{a}", "{C}", "(x): {A}x -> {B}x", "(Ex): {B}x", "(x): ¬{C} v {A}x"]
    )
    leaf = st.one_of(atoms.filter(lambda t: "v" not in t).map(parse_formula), st.just(Atom("D")))
    return st.recursive(
        leaf,
        lambda f: st.one_of(
            f.map(Not), st.tuples(st.sampled_from(["&", "v", "->"]), f, f).map(lambda t: Joined(t[0], t[1:]))
        ),
        max_leaves=5,
    )


@given(formulas())
def test_shown_formulas_are_read_back(formula):
    assert parse_formula(show_formula(formula)) == formula
    assert canonical(canonical(formula)) == canonical(formula)


@given(st.lists(formulas(), min_size=1, max_size=3), formulas(), formulas())
@settings(max_examples=80)
def test_invariants(premises, conclusion, extra):
    found = check_inference(premises, conclusion).verdict
    assert found != "UNKNOWN"
    assert check_inference(premises[::-1], conclusion).verdict == found
    renamed = [
        parse_formula(show_formula(f).replace("{A}", "{Z}").replace("{a}", "{b}"))
        for f in [*premises, conclusion]
    ]
    assert check_inference(renamed[:-1], renamed[-1]).verdict == found
    if found == "VALID":
        assert check_inference([*premises, extra], conclusion).verdict in {"VALID", "VACUOUS"}
        assert check_inference(premises, Not(conclusion)).verdict == "INVALID"


def models(formula, domain, true):
    """Truth by brute force over a finite structure: an independent semantics."""
    match formula:
        case Atom(predicate, terms):
            return (predicate, *(term.name for term in terms)) in true
        case Not(body):
            return not models(body, domain, true)
        case Joined("&", parts):
            return all(models(p, domain, true) for p in parts)
        case Joined("v", parts):
            return any(models(p, domain, true) for p in parts)
        case Joined("->", (left, right)):
            return not models(left, domain, true) or models(right, domain, true)
        case _:
            from verifiers.logic.formulas import substitute

            found = (
                models(substitute(formula.body, formula.variable, Constant(d)), domain, true) for d in domain
            )
            return any(found) if formula.exists else all(found)


@given(st.lists(formulas(), min_size=1, max_size=3))
@settings(max_examples=60)
def test_satisfiability_agrees_with_all_small_structures(sentences):
    """Two predicates make four types, so `a` and four more individuals realise any structure."""
    from itertools import chain, combinations, product

    domain = ["a", "t0", "t1", "t2", "t3"]
    found = False
    for inhabited in chain.from_iterable(combinations(range(4), n) for n in range(1, 5)):
        for of_a, c, d in product(inhabited, (0, 1), (0, 1)):
            types = {"a": of_a, **{f"t{t}": t for t in inhabited}}
            true = {("A", i) for i, t in types.items() if t & 1} | {
                ("B", i) for i, t in types.items() if t & 2
            }
            true |= ({("C",)} if c else set()) | ({("D",)} if d else set())
            present = [i for i in domain if i in types]
            found = found or all(models(s, present, true) for s in sentences)
    assert (solve(tuple(sentences)).answer == "sat") == found
