"""Claims against the constraints of a word problem."""

import pytest

from verifiers.constraints import Formalisation, judge, pins

ICE = Formalisation({"i": "integer", "t": "integer"}, ("3*i + i = 32", "t = 3*i"))


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("i = 8", "entailed"),
        ("t = 24", "entailed"),
        ("t + i = 32", "entailed"),
        ("i > 5", "entailed"),
        ("i = 9", "contradicted"),
        ("t < i", "contradicted"),
        ("i/0 = 1", "contradicted"),
        ("k = 8", "unknown"),
        ("i", "unknown"),
        ("i = 8 = 8", "unknown"),
        ("sqrt(i) = 2", "unknown"),
        ("i^9999 = 1", "unknown"),
        ("__import__('os') = 1", "unknown"),
        ("(" * 500 + "i = 8", "unknown"),
    ],
)
def test_claims(claim, verdict):
    assert judge(ICE, claim).verdict == verdict


def test_sorts_decide():
    square = ("r*r = 4",)
    found = judge(Formalisation({"r": "real"}, square), "r = 2")
    assert (found.verdict, found.model) == ("open", "r = -2")
    assert judge(Formalisation({"r": "real"}, (*square, "r > 0")), "r = 2").verdict == "entailed"
    assert judge(Formalisation({"r": "integer"}, ("2*r < 3", "r > 0")), "r = 1").verdict == "entailed"


def test_the_core_names_the_constraints_that_matter():
    found = judge(Formalisation({"a": "real", "b": "real"}, ("b > 7", "a = 2", "b < 9")), "a = 3")
    assert (found.verdict, found.core) == ("contradicted", (1,))


def test_constraints_that_clash_settle_nothing():
    assert judge(Formalisation({"a": "real"}, ("a = 1", "a = 2")), "a = 1").verdict == "unknown"


def test_a_formalisation_must_pin_the_gold_answer():
    assert pins(ICE, "t", "24") is True
    assert pins(ICE, "t", "25") is False
    assert pins(Formalisation({"t": "real"}, ("t > 1",)), "t", "24") is False
    assert pins(ICE, "unheard", "24") is None
