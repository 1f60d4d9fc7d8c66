"""The readers of ProofWriter's and ProntoQA's English and of FOLIO's and FLD's formulas and sentences."""

import pytest

from verifiers.corpora.fld import read_among, read_together
from verifiers.corpora.folio import read_folio
from verifiers.corpora.proofwriter import by_rules_alone, read_rule_sentence, read_rulebase
from verifiers.logic.entailment import Theory
from verifiers.logic.formulas import Not, Unparsed, parse_formula, show_formula
from verifiers.proofs.inferences import check_inference


@pytest.mark.parametrize(
    ("sentence", "formula"),
    [
        ("Anne is furry.", "{furry}{anne}"),
        ("The bald eagle is not big.", "¬{big}{bald_eagle}"),
        ("The rabbit does not eat the tiger.", "¬{eat}{rabbit}{tiger}"),
        ("Nice, furry things are green.", "(x): (({nice}x & {furry}x) -> {green}x)"),
        ("All red people are young.", "(x): ({red}x -> {young}x)"),
        ("If someone is furry and quiet then they are white.", "(x): (({furry}x & {quiet}x) -> {white}x)"),
        ("If something likes the cow then the cow likes the squirrel.",
         "(x): ({like}x{cow} -> {like}{cow}{squirrel})"),
        ("If Anne is quiet then Anne is red.", "{quiet}{anne} -> {red}{anne}"),
        ("Vumpuses are floral.", "(x): ({vumpus}x -> {floral}x)"),
        ("Each dumpus is not metallic.", "(x): ({dumpus}x -> ¬{metallic}x)"),
        ("Wumpuses are numpuses.", "(x): ({wumpus}x -> {numpus}x)"),
        ("Wren is an impus.", "{impus}{wren}"),
    ],
)  # fmt: skip
def test_sentences_of_rulebases(sentence, formula):
    assert read_rule_sentence(sentence) == parse_formula(formula)


@pytest.mark.parametrize("text", ["", "Hello.", "If then.", "a " * 900, "Anne is {x}.", "__import__('os')"])
def test_other_sentences_are_refused(text):
    with pytest.raises(Unparsed):
        read_rule_sentence(text)


def test_rules_alone_do_not_turn_a_rule_round():
    theory = read_rulebase("Bob is not red. If something is big then it is red.")
    goal = read_rule_sentence("Bob is not big.")
    assert Theory(theory).entails(goal).answer == "unsat"
    assert Theory([by_rules_alone(f) for f in theory]).entails(by_rules_alone(goal)).answer == "sat"


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("∀x (Eel(x) → ¬Fish(x))", "(x): ({Eel}x -> ¬{Fish}x)"),
        ("A(a) ∧ B(a) → C(a, b)", "({A}{a} & {B}{a}) -> {C}{a}{b}"),
        ("A(a) ⊕ B(a)", "({A}{a} & ¬{B}{a}) v (¬{A}{a} & {B}{a})"),
        ("∃x ∀y R(x, y)", "(Ex): ((y): {R}xy)"),
    ],
)
def test_formulas_of_folio(text, formula):
    assert read_folio(text) == parse_formula(formula)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A(x)",
        "A(a) ∧ B(a) ∨ C(a)",
        "(A(a)",
        "A(a))",
        "A(",
        "A(a,)",
        "A()",
        "A(a) → B(a) → C(a)",
        "A(a) ↔ B(a) ↔ C(a)",
        "∀x A(x) ∧ B(x)",
        "¬" * 600 + "A(a)",
        "∀x " * 600 + "A(x)",
    ],
)
def test_malformed_formulas_of_folio(text):
    with pytest.raises(Unparsed):
        read_folio(text)


def test_fld_sentences_are_read_together():
    found = read_together(
        {"sent1": "the WLAN is a Bahraini", "sent2": "a WLAN that is Bahraini causes a pip that is not red"}
    )
    step = read_among("the pip is not red", found.values(), "step")
    assert check_inference(list(found.values()), step).verdict == "VALID"
    assert check_inference([found["sent2"]], step).verdict == "INVALID"
    assert read_together({"sent1": "friskiness the abdicator quite"}) == {}


@pytest.mark.parametrize("step", ["the pip is thankless", "the blini is red", "hello", "the " * 500])
def test_steps_about_words_the_problem_does_not_use_are_not_read(step):
    with pytest.raises(Unparsed):
        read_among(step, [parse_formula("{red}{pip}"), parse_formula("{inboard}{blin}")], "step")


def test_prefixes_that_deny():
    known = [parse_formula("{inboard}{pip}"), parse_formula("{wearabl}{pip}")]
    assert read_among("the pip is outboard", known, "step") == Not(known[0])
    assert read_among("the pip is unwearable", known, "step") == Not(known[1])


def test_a_dropped_negation_is_taken_from_where_it_is_said():
    found = read_together(
        {
            "sent1": "the pip is red and is warm",
            "sent2": "if something is not red but it is warm, it glows",
            "sent3": "the pip is calm and glows",
        }
    )
    step = read_among("the pip glows", found.values(), "step")
    assert check_inference([found["sent1"], found["sent2"]], step).verdict == "VALID"
    assert check_inference([found["sent1"], found["sent2"]], Not(step)).verdict != "VALID"
    half = read_among("the pip is red", found.values(), "step")
    denied = check_inference([found["sent1"]], half)
    assert denied.verdict == "UNKNOWN", "what is only suggested makes nothing invalid"
    assert check_inference([found["sent3"]], step).verdict == "UNKNOWN", "nothing else is calm and glows"


@pytest.mark.parametrize(
    "hypothesis",
    [
        "it is wrong that, it is false that the pip is red, so that the hat glows",
        "it is wrong that, it is false that, the pip is red and it is not warm, so that the hat glows",
    ],
)
def test_a_conditional_is_denied_once(hypothesis):
    """Not "it is false twice over that, if the pip is red, the hat glows"."""
    found = read_together(
        {"sent1": "the pip is not red", "sent2": "the hat glows", "h": hypothesis}, goals=["h"]
    )
    assert check_inference([found["sent1"], found["sent2"]], found["h"]).verdict == "INVALID"
    assert check_inference([found["sent1"], found["sent2"]], Not(found["h"])).verdict == "VALID"


def test_what_is_no_conditional_may_be_denied_twice():
    found = read_together(
        {"sent1": "the pip is red", "h": "it is wrong that, it is false that the pip is red"}, goals=["h"]
    )
    assert check_inference([found["sent1"]], found["h"]).verdict == "VALID"


def test_one_doubt_is_decided_one_way_in_all_sentences():
    texts = {"sent1": "the pip is red and is warm", "sent2": "if the pip is red and is warm, the hat glows"}
    found = read_together(texts)
    assert (
        check_inference(list(found.values()), read_among("the hat glows", found.values(), "s")).verdict
        == "VALID"
    )


def test_a_wording_with_a_dropped_negation_stays_open():
    found = read_together({"sent1": "the pip is red and is warm"})
    half = read_among("the pip is red", found.values(), "step")
    assert check_inference([found["sent1"]], half).verdict == "UNKNOWN", show_formula(found["sent1"])
    assert check_inference([found["sent1"]], Not(half)).verdict == "UNKNOWN"
