"""Shapes: equal for one inference under other names, different where anything but names differs."""

import random

import pytest

from verifiers.logic.formulas import Atom, Constant, Formula, Not, parse_formula, rebuilt
from verifiers.logic.shapes import is_monadic, shape
from verifiers.proofs.inferences import check_inference

SYLLOGISM = ("{A}{a}", "(x): {A}x -> {B}x", "{B}{a}")


def shape_of(*texts):
    *premises, goal = map(parse_formula, texts)
    return shape(premises, goal)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SYLLOGISM, ("{A}{a}", "(y): {A}y -> {B}y", "{B}{a}")),
        (SYLLOGISM, ("(y): {Q}y -> {A}y", "{Q}{c}", "{A}{c}")),
        (("{A}", "{A} -> {B}", "{B}"), ("{B} -> {A}", "{B}", "{A}")),
        (("(x): ((Ey): ({A}x & {B}y))", "{C}"), ("(y): ((Ex): ({D}y & {A}x))", "{B}")),
    ],
)
def test_names_and_the_order_of_premises_make_no_difference(one, other):
    assert shape_of(*one) == shape_of(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SYLLOGISM, ("{A}{b}", "(x): {A}x -> {B}x", "{B}{a}")),
        (SYLLOGISM, ("{A}{a}", "(x): {B}x -> {A}x", "{B}{a}")),
        (SYLLOGISM, ("{A}{a}", "(Ex): {A}x -> {B}x", "{B}{a}")),
        (SYLLOGISM, ("{A}{a}", "(x): {A}x -> {B}x", "{A}{a}")),
        (SYLLOGISM, (SYLLOGISM[0], SYLLOGISM[0], *SYLLOGISM[1:])),
        (("{A}", "{A} -> {B}", "{B}"), ("{A}", "{A} -> {A}", "{A}")),
        # As many names, in other places.
        (("{R}{a} & {S}{b}{c}", "{A}"), ("{R}{a}{b} & {S}{c}", "{A}")),
        (("{A}{a} & {B}", "{C}"), ("{A} & {B}{a}", "{C}")),
        # One spelling is two predicates where it has one term and none, and a constant is no predicate.
        (("{A}{a} & {A}", "{A}"), ("{A}{a} & {B}", "{A}{a}")),
        (("{A}{A}", "{A}"), ("{A}{A}", "{A}{A}")),
        (("(x): ((y): {R}x{a})", "{A}"), ("(x): ((y): {R}y{a})", "{A}")),
        (("{A} & {B} & {C}", "{A}"), ("({A} & {B}) & {C}", "{A}")),
    ],
)
def test_another_inference_has_another_shape(one, other):
    assert shape_of(*one) != shape_of(*other)


def test_relations_are_told_from_predicates():
    assert is_monadic(shape_of(*SYLLOGISM, "{RELATION}{a}"))
    assert not is_monadic(shape_of("{R}{a}{b}", "{A}"))


def test_a_verdict_told_before_comes_with_the_names_of_its_own_inference():
    one = check_inference(["{A}{a}", "{A}{a} -> {B}{a}", "{C}{a}"], "{B}{a}")
    other = check_inference(["{K}{c}", "{J}{c}", "{J}{c} -> {I}{c}"], "{I}{c}")
    assert (one.verdict, one.unused) == ("VALID", (2,))
    assert (other.verdict, other.unused, other.core) == ("VALID", (0,), (1, 2))
    assert "A a" in check_inference(["{A}{a}"], "{B}{a}").counter_model
    assert "K c" in check_inference(["{K}{c}"], "{I}{c}").counter_model
    assert check_inference(["{A}{a}"], "{B}{a}", context=["{B}{a}"]).reason == "a citation is missing"
    assert check_inference(["{K}{c}"], "{I}{c}", context=["{K}{c}"]).reason != "a citation is missing"


def renamed(formula: Formula, names: dict[str, str]) -> Formula:
    if isinstance(formula, Atom):
        terms = tuple(Constant(names[t.name]) if isinstance(t, Constant) else t for t in formula.terms)
        return Atom(names[formula.predicate], terms)
    return rebuilt(formula, lambda part: renamed(part, names))


def test_renamed_inferences_have_one_shape_and_one_verdict():
    rng = random.Random(3)
    texts = [
        "{A}{a}",
        "(x): {A}x -> {B}x",
        "¬{B}{b}",
        "(Ex): ({A}x & {C})",
        "({A}{b} v {B}{a}) -> {C}",
        "{C}",
    ]
    verdicts = set()
    for _ in range(60):
        *premises, goal = (parse_formula(text) for text in rng.sample(texts, 4))
        goal = Not(goal) if rng.random() < 0.3 else goal
        upper, lower = rng.sample("ABCDEF", 3), rng.sample("abcd", 2)
        names = dict(zip("ABCab", [*upper, *lower], strict=True))
        others = [renamed(formula, names) for formula in (*premises, goal)]
        assert shape(others[:-1], others[-1]) == shape(premises, goal)
        found = check_inference(premises, goal).verdict
        assert check_inference(others[:-1], others[-1]).verdict == found
        verdicts.add(found)
    assert {"VALID", "INVALID"} <= verdicts
