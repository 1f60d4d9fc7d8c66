"""Steps written as lines of a proof, on problems in FLD's English and in two syntaxes of formulas."""

import gzip
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.inputs.solutions import Written, read_solutions
from pipeline.labelling.verify_files import verify
from schemas.records import Problem
from verifiers.base import StepContext, contexts_of
from verifiers.corpora.folio import read_folio
from verifiers.corpora.folio_english import read_conclusion
from verifiers.logic.formulas import Unparsed, show_formula
from verifiers.proofs.premises import Logic
from verifiers.review import review

DATA = Path(os.environ.get("STEPMINT_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
ENGLISH = (
    "sent1: the WLAN is a Bahraini sent2: a WLAN that is Bahraini causes a pip that is not red "
    "sent3: quite abdicator the hypothesis: the pip is red"
)
FORMULAS = ("{A}{a}", "(x): {A}x -> {B}x", "{C} & {D} v {E}")
FOLIO = ("∀x (Eel(x) → Fish(x))", "Eel(nemo)", "∀x (Fish(x) → ¬Plant(x))")


@pytest.mark.parametrize(
    ("problem", "steps", "verdict", "reason"),
    [
        (ENGLISH, ("sent1 & sent2 -> int1: the pip is not red",), "holds", "follows"),
        (ENGLISH, ("sent1 & sent2 -> int1: the pip is not red;", "int1 -> ¬hypothesis;"), "holds", ""),
        (ENGLISH, ("sent1 & sent2 -> hypothesis",), "fails", ""),
        (ENGLISH, ("sent1 -> int1: the pip is not red",), "fails", "a citation is missing"),
        (ENGLISH, ("sent3 -> int1: the pip is not red",), "abstains", "sent3 could not be read"),
        (ENGLISH, ("sent9 -> int1: the pip is not red",), "fails", "sent9 is not defined"),
        (ENGLISH, ("sent1 -> int1: the blini hums",), "abstains", "words that the problem does not"),
        (FORMULAS, ("fact1 & fact2 -> int1: {B}{a}",), "holds", ""),
        (FORMULAS, ("fact2 -> int1: {B}{a}",), "fails", ""),
        (FORMULAS, ("So it is.", "fact1 & fact2 -> int1: {B}{a}", "int1 -> int2: (Ex): {B}x"), "holds", ""),
        (FORMULAS, ("fact3 -> int1: {E}",), "abstains", "fact3 could not be read"),
        (FORMULAS, ("fact1 -> hypothesis",), "abstains", "no hypothesis"),
        (FORMULAS, ("fact1 -> int1: {A} & {B} v {C}",), "abstains", "parentheses"),
        (FOLIO, ("fact1 & fact2 -> int1: Fish(nemo)", "int1 & fact3 -> int2: ¬Plant(nemo)"), "holds", ""),
        (FOLIO, ("fact1 & fact2 -> int1: Plant(nemo)",), "fails", ""),
        ("No symbols here.", ("fact1 -> int1: {A}",), "abstains", "no premises in symbols"),
        ("sent1: a " * 400, ("sent1 -> int1: {A}",), "abstains", ""),
    ],
)
def test_lines(problem, steps, verdict, reason):
    posed = Problem(text=problem) if isinstance(problem, str) else Problem(text="p", premises=problem)
    found = Logic().check(StepContext(posed, steps))
    assert (found.verdict, reason in found.reason) == (verdict, True), found
    assert review(StepContext(posed, steps)).verdict == verdict


# A fact in one form of a word, a rule in another, and two sentences that use both words.
WORDED = "sent1: the pip {} sent2: if the pip {}, the hat is red sent3: the fez {} sent4: the fez {}"


@pytest.mark.parametrize(
    ("fact", "condition", "verdict"),
    [
        ("dims", "does dim", "holds"),
        ("dims", "will dim", "holds"),
        ("focuses", "does focus", "holds"),
        ("biases hat", "will bias hat", "holds"),
        ("gases", "does gas", "holds"),
        ("quizzes", "will quiz", "holds"),
        ("is not wearable", "is unwearable", "holds"),
        # Opposites and forms that no rule of spelling knows for certain.
        ("is not useless", "is useful", "abstains"),
        ("is useful", "is not useless", "abstains"),
        ("is atypical", "is not typical", "abstains"),
        ("is careful", "is not careless", "abstains"),
        ("is dimmed", "does dim", "abstains"),
        ("is a dimmer", "is dim", "abstains"),
        ("sank", "is sinking", "abstains"),
        # Other words.
        ("is red", "is warm", "fails"),
        ("hums", "does glow", "fails"),
        ("is not warm", "is warm", "fails"),
    ],
)
def test_forms_of_a_word_are_one_word_or_a_doubt(fact, condition, verdict):
    text = WORDED.format(fact, condition, fact, condition)
    found = Logic().check(StepContext(Problem(text=text), ("sent1 & sent2 -> int1: the hat is red",)))
    assert found.verdict == verdict, found


def test_a_word_that_stands_in_one_sentence_alone_may_be_an_opposite():
    """Only a dictionary knows that who is not thankless is grateful."""
    text = "sent1: the nerd is not thankless sent2: if the nerd is grateful, the hat is red sent3: a fez hums"
    both = " sent4: the fez is grateful sent5: the fez is thankless"
    steps = ("sent1 & sent2 -> int1: the hat is red",)
    for more, verdict in (("", "abstains"), (both, "fails")):
        found = Logic().check(StepContext(Problem(text=text + more), steps))
        assert found.verdict == verdict, found


def test_entailment_bank_is_prose_and_abstains(tmp_path):
    row = {
        "id": "a",
        "context": "sent1: a star produces light and heat sent2: a source of something emits that something",
        "question": "What is a star?",
        "answer": "A source of light.",
        "hypothesis": "a star is a source of light",
        "proof": "sent1 & sent2 -> int1: a star is a source of light; int1 -> hypothesis; ",
    }
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    assert [line["verdict"] for line in verify(read_solutions(file))] == ["abstains"] * 2


def test_premises_are_used_in_reviews_of_plain_steps():
    posed = Written(
        "a",
        "p",
        ("Ana is kind so Ana is calm.", "So Ana has 3."),
        0,
        ("{kind}{Ana}", "(x): {kind}x -> {calm}x"),
    )
    assert [(line["verdict"], [f["by"] for f in line["findings"]]) for line in verify([posed])][0] == (
        "holds",
        ["logic"],
    )
    counted = Written("b", "Tom has 3.", ("So Tom has 4.",), 0, ("Tom = 3",))
    (line,) = verify([counted])
    assert (line["verdict"], line["findings"][0]["by"]) == ("fails", "constraints")


def test_rows_of_fld_and_folio(tmp_path):
    rows = [
        {"hypothesis": "the pip is red", "context": ENGLISH.split(" hypothesis")[0], "answer": "DISPROVED",
         "proofs": ["sent1 & sent2 -> int1: the pip is not red; int1 -> hypothesis;"]},
        {"hypothesis": "the pip hums", "context": "sent1: the hat is red", "answer": "UNKNOWN", "proofs": []},
        {"premises": ["Eels are fish."], "premises-FOL": list(FOLIO), "conclusion": "Nemo is a fish.",
         "steps": ["fact1 & fact2 -> int1: Fish(nemo)"]},
    ]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert [line["verdict"] for line in verify(read_solutions(file))] == ["holds"] * 3


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("Nemo is a fish.", "{Fish}{nemo}"),
        ("Nemo is not an eel", "¬{Eel}{nemo}"),
        ("Nemo is a fish or a plant.", "{Fish}{nemo} v {Plant}{nemo}"),
        ("Nemo is a fish and not a plant.", "{Fish}{nemo} & ¬{Plant}{nemo}"),
        ("Nemo is either a fish or a plant.", None),
        ("Nemo is not a fish and a plant.", None),
        ("Dory is a fish.", None),
        ("Nemo is happy.", None),
        ("All eels are fish.", None),
        ("", None),
        ("N" * 500, None),
    ],
)
def test_conclusions_of_folio(text, formula):
    premises = [read_folio(premise) for premise in FOLIO]
    if formula:
        assert show_formula(read_conclusion(text, premises)) == formula
    else:
        with pytest.raises(Unparsed):
            read_conclusion(text, premises)


@pytest.mark.skipif(not (DATA / "fld").is_dir(), reason="STEPMINT_DATA holds no FLD")
def test_gold_proofs_of_fld():
    with gzip.open(DATA / "fld" / "fld_test_part.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for _, line in zip(range(40), lines, strict=False)]
    found: Counter[str] = Counter()
    for row in rows:
        text = f"{row['context']} hypothesis: {row['hypothesis']}"
        goal = "-> ¬hypothesis" if row["answer"] == "DISPROVED" else "-> hypothesis"
        steps = [
            s.strip() for proof in row["proofs"][:1] for s in proof.replace("-> hypothesis", goal).split(";")
        ]
        steps = tuple(step for step in steps if step)
        for index in range(len(steps)):
            found[Logic().check(StepContext(Problem(text=text), steps[: index + 1])).verdict] += 1
    assert found["fails"] <= 1
    assert found["holds"] > 0.85 * found.total()


def test_a_long_proof_takes_time_in_proportion_to_its_lines():
    """Lines beyond those that are judged are not looked through again for each step."""
    lines = [f"fact1 -> int{number}: {{A}}" for number in range(1, 8_001)]
    start = time.process_time()
    contexts = contexts_of(Problem(text="a long proof", premises=("{A}",)), lines)
    assert Counter(Logic().check(context).verdict for context in contexts) == {
        "holds": 201,
        "abstains": 7_799,
    }
    assert time.process_time() - start < 5
