"""The arithmetic verifier: a table of step and finding, hostile text, invariants, and whole corpora."""

import gzip
import json
import os
import random
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedded.problems import arithmetic as words
from pipeline.embedded.problems import mistakes
from schemas.records import Problem
from verifiers.base import Finding, StepContext
from verifiers.calculation.arithmetic import Arithmetic, check_claim
from verifiers.calculation.sloppy import left_to_right
from verifiers.claims.find import find_claims
from verifiers.expressions.parser import parse

DATA = Path(os.environ.get("STEPMINT_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
PROBLEM = Problem(text="A problem.")


def check(text: str) -> Finding:
    return Arithmetic().check(StepContext(PROBLEM, (text,)))


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        ("<<48/2=24>>", "holds", ""),
        ("<<0.1+0.2=0.3>>", "holds", ""),
        ("<<560//10=56>>", "holds", ""),
        ("<<+30+46=76>>", "holds", ""),
        ("<<48/2=25>>", "fails", "48/2 is 24, not 25"),
        ("7/3 = 2.33", "holds", "rounded from 7/3"),
        ("7/3 = 2.34", "abstains", "rounded from 7/3"),
        ("7/3 is about 2.33, as 7/3 = 2.33", "holds", "rounded"),
        ("7/3 ≈ 2.33", "holds", "rounded"),
        (r"$\frac{7}{3} \approx 2.34$", "fails", "not 2.34"),
        ("-2^2 = -4", "holds", ""),
        ("-2^2 = 4", "fails", "-2^2 is -4, not 4"),
        ("2^3^2 = 512", "holds", ""),
        ("3+4=7+5=12", "abstains", "run on"),
        ("2+2=4=2*2", "holds", ""),
        ("2+2=4=2*3", "fails", "2*3 is 6, not 4"),
        ("1/0 = 1/0", "abstains", "division by zero"),
        ("0/0 = 1", "abstains", "division by zero"),
        ("12% of 50 = 6", "holds", ""),
        ("12% of 50 = 7", "fails", "12% * 50 is 6, not 7"),
        ("5 m = 500 cm", "holds", ""),
        ("5 m = 5 cm", "fails", "5 m is 500 cm, not 5"),
        ("3 apples + 2 pears = 5", "abstains", ""),
        ("1,234 + 1 = 1,235", "holds", ""),
        (r"$1{,}000/4 = 250$", "holds", ""),
        ("1/2^99 = 1/2^98", "fails", ""),
        ("10^-30 = 10^-31", "fails", ""),
        ("2x + 1 = 7", "abstains", "no calculation"),
        ("x = 5", "abstains", "no calculation"),
    ],
)
def test_every_row_of_the_table(text, verdict, reason):
    finding = check(text)
    assert finding.verdict == verdict, finding
    assert reason in finding.reason


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Tom has 14 + 5 = 19 apples.", "holds"),
        ("Tom has 14 + 5 = 20 apples.", "fails"),
        ("She pays $1,234 + 1 = 1,235 in all.", "holds"),
        ("1. 3 + 4 = 8", "fails"),
        ("So 3+4 = 7 and 5+6 = 11.", "holds"),
        ("So 3+4 = 7 and 5+6 = 12.", "fails"),
        ("He ran 3 x 4 = 12 miles.", "holds"),
        ("He ran 3 x 4 = 13 miles.", "fails"),
        (r"It costs \(\frac{1}{2} \times 10 = 5\) dollars.", "holds"),
        (r"\[ 2\frac{1}{2} \cdot 2 = 5 \]", "holds"),
        (r"\( \left(3 + 4\right) \div 2 = 3.5 \)", "holds"),
        (r"$\sqrt{16} + 1 = 5$", "holds"),
        ("5 * 12 = 60 minutes = 1 hour", "holds"),
        ("3/4 of 20 = 15", "holds"),
        ("**3 + 4 = 7**", "holds"),
        ("4! = 24", "holds"),
        ("Ruth has -6 - 9 = -15 eggs.", "holds"),
        ("Ruth has 9 fewer eggs than Ana so Ruth has 6 - 9 = -4 eggs.", "fails"),
        ("5 > 3 + 1", "holds"),
        ("Since Tom gets 5 more apples than Mia and Mia has 14, 14 + 5 = 19 so Tom has 19 apples.", "holds"),
        ("Since Zoe gets 21 fewer stamps than Ivy and Ivy has 120, 120 - 21 = 99 so Zoe has 99.", "holds"),
        ("Since Zoe gets 21 fewer stamps than Ivy and Ivy has 120, 120 - 21 = 79 so Zoe has 79.", "fails"),
        ("3 + 4 = 7\n= 7", "holds"),
        ("Then convert it: 15 feet * 12 inches/foot = 180 inches", "holds"),
        ("Then convert it: 15 feet * 12 inches/foot = 170 inches", "fails"),
        ("There are 75 people - 25 children = 50 parents.", "holds"),
        ("There are 75 people - 25 children = 60 parents.", "fails"),
        ("It costs 7 rides x 1 ticket/ride = 7 tickets.", "holds"),
        ("It takes 3 lbs. coffee * 40 cups of coffee per lb. = 120 cups.", "holds"),
        ("First 3 students – 1 = 2 students.", "holds"),
        ("He walks 240 minutes / 60 minutes = 4 hours.", "holds"),
        ("She has 14 plus 5 equals 19 apples.", "holds"),
        ("She has 14 plus 5 equals 20 apples.", "fails"),
        ("The film lasts 14 + 5 = 19 minutes, so 7:30 + 45 minutes = 8:15.", "holds"),
        ("From 1:00 PM to 5:00 PM is 5 hours.", "fails"),
        ("Now 14 * 2 is 28.", "holds"),
        ("Now 14 * 2 is 29.", "fails"),
        ("For a total of 6+8 = 48 children.", "fails"),
        ("If it takes 40 minutes, the rest takes 180 - 40 = 148 minutes.", "fails"),
        ("3/4 * 100 = 75%", "holds"),
        ("She gets $30 / ($3/week) = 10 weeks.", "holds"),
    ],
)
def test_text_around_a_calculation(text, verdict):
    assert check(text).verdict == verdict, check(text)


@pytest.mark.parametrize(
    "text",
    [
        "Half of 10 = 5.",
        "The sum of 3 and 4 = 7.",
        "5 boxes of 3 = 15 apples.",
        "twice 4 + 1 = 9",
        "The profit - 3 + 4 = 9",
        "The profit -3 + 4 = 9",
        "5 more than 3 + 4 = 12",
        "- 5 + 3 = 8",
        "10:30 - 9 = 1.5",
        "10/3 = 3 remainder 1",
        "7 + 8 = 3 (mod 12)",
        "Is 3 + 4 = 8?",
        "If 3 + 4 = 8 then pigs fly.",
        "3 + 4 = 8 is wrong.",
        "We know that 3 + 4 ≠ 8, so 3 + 4 = 8 cannot be.",
        "3,5 + 1 = 4,5",
        "the ratio 3:4 = 6:8",
        "$7,980 : $420 = 19",
        "14, 400 / 80 = 180",
        "A 250-page book in 250/10 = 25 hours.",
        "Week 1 + Week 2 = 35 + 35 = 70 hours",
        "Lazlo = 4 pounds - 6 ounces = 58 ounces",
        "10 pages per day on day 1 * 2 = 20 pages",
        "He will add 20 to the 29 + 24 = 73 already up.",
        "42 * 20/21 daps = 42 baps",
        "The inverse of 1/5 is 9.",
        r"We have $3\ast 10 = 2(3)+5(10)$.",
        "We have $4 * 3 = 2(4)+3(3) = 17$.",
        "Her ratio started at exactly .$500 = 1/2$.",
        "We can estimate that 314.159 / 1 ≈ 314.15.",
        r"$\frac{4}{8}=\frac{1}{2}\qquad \frac{4}{12} =\frac{1}{3}$",
        r"\[500 \div 13=13 \cdot 38+6.\]",
        "It is a 30-60-90 triangle and AB=6.",
        "40 bricks at ($1 - $0.20) each = 40*$0.80 = $32",
        "77 empty bottles = 15 full bottles + 2 empty bottles",
        "20/4 = 5 characters per second = 5*60 characters per minute",
        "9!/6!*3! = 84",
        "So 2lw + 2lh + 2wh = 1704.",
        "-7 * 2 = -14 and -7 + 2 = -5",
        "6 dozen * 12 eggs/dozen = 72 eggs, 6 dozen * 12 = 864",
        "We know that (9 + 1) is next after 9 * 2 is 20 * 1.",
        "12 * 2 = 2 dozen",
        "Two thirds of 500cm³ is (2/5)*500cm³ = 200cm³",
        "3/4*100 = 75%",
        "0.75 = 75",
        "60 / 3/4 = 80",
        "3 + 4 * 2 = 14",
        "1/3 * 150 = 1/3 of $150",
        "= 7",
        "He has 3 ducks = 9",
        "100 = 5AD^2",
        "The answer is 3 * 4 = 12!",
        "0.33 * 300 = 100",
        "10/3 = 3.3",
        "38.6731^2 = 1495.62",
        "We get 38.6731^2 ≈ 1495.62",
        "5 * 3 = 15 thousand",
        "f(3) = 9",
        r"$\binom{5}{2} = 10$",
        r"$\log_2 8 = 3$",
        "0900 - 0130 = 0730",
        "There are 12 (3 + 9) = 12 apples",
        r"\frac{180}{123} < k < \frac{270}{123} \approx 1.463 < k < 2.2",
    ],
)
def test_a_right_step_is_never_called_wrong(text):
    assert check(text).verdict != "fails", check(text)


HOSTILE = [
    "9^9^9^9 = 1",
    "(9^9)^(9^9) = 1",
    "100000! = 0",
    "200!^200! = 1",
    "(" * 600 + "1" + ")" * 600 + " = 1",
    "-" * 390 + "1 = 1",
    "__import__('os').system('x') = 0",
    "().__class__ = 1",
    "9" * 5000 + " = 1",
    r"\frac" * 500 + " = 1",
    r"\frac{" * 500 + "1 = 1",
    "{" * 3000 + "=" + "}" * 3000,
    "1=" * 3000,
    "2 + " * 1500 + "2 = 1",
    "=" * 7000,
    "\x00 = \x00 \ud800 = 1",
    "1 ÷ 0 = ∞",
    "x" * 1_000_000,
    "1 = 2 " * 170_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_abstains_quickly(text, own_seconds):
    assert check(text).verdict == "abstains"
    assert own_seconds() < 0.5


@given(st.text(alphabet="0123456789+-*/^=().,%!$x \\{}frac<>≈\n", max_size=120))
@settings(max_examples=300)
def test_no_text_raises(text):
    assert check(text).verdict in {"holds", "fails", "abstains"}


numbers = st.integers(1, 999)


@given(numbers, numbers, st.sampled_from("+-*"), st.integers(-3, 3))
@settings(max_examples=200)
def test_swapped_sides_and_spelling_keep_the_verdict(a, b, op, off):
    result = {"+": a + b, "-": a - b, "*": a * b}[op] + off
    verdict = check(f"<<{a}{op}{b}={result}>>").verdict
    assert verdict == ("fails" if off else "holds")
    latex = op.replace("*", r"\cdot")
    for text in (
        f"<<{result}={a}{op}{b}>>",
        f"<< {a} {op}  {b} = {result} >>",
        rf"<<\left({a}\right){op}{b}={result}>>".replace("\\left", "").replace("\\right", ""),
        f"<<({a}{op}{b})*7=({result})*7>>",
    ):
        assert check(text).verdict == verdict, text
    plain = check(f"${a} {op} {b} = {result}$").verdict
    assert check(rf"$\left({a}\right) {latex} {b} = {result}$").verdict in {plain, "abstains"}


@given(st.lists(st.sampled_from(["3+4=7", "2*2=5", "7/3=2.33", "1/0=1"]), min_size=1, max_size=4))
def test_the_order_of_claims_does_not_matter(claims):
    lines = [f"<<{claim}>>" for claim in claims]
    assert check(" ".join(lines)).verdict == check(" ".join(reversed(lines))).verdict


def test_one_wrong_claim_decides_and_one_undecided_forbids():
    assert check("<<3+4=7>> <<2*2=5>> <<1/0=1>>").verdict == "fails"
    assert check("<<3+4=7>> <<1/0=1>>").verdict == "abstains"


def test_a_pocket_calculator_ignores_precedence():
    assert left_to_right("3 + 4 * 2") == Fraction(14)
    assert left_to_right("3 + (4 * 2)") is None


def test_embedded_problems_every_sum_is_judged_and_every_planted_slip_found():
    rng = random.Random(5)
    seen = Counter()
    for _ in range(300):
        case = words.generate(rng, rng.randint(1, 6))
        problem = Problem(text=case.text, premises=case.premises)
        steps, _, _ = mistakes.planted(case, rng)
        for step in [*mistakes.reference(case), *steps]:
            match = re.search(r"(-?\d+) ([-+*/]) (-?\d+) = (-?\d+)", step)
            assert match
            a, op, b, value = int(match[1]), match[2], int(match[3]), int(match[4])
            true = {"+": a + b, "-": a - b, "*": a * b, "/": Fraction(a, b) if b else None}[op]
            finding = Arithmetic().check(StepContext(problem, (step,)))
            seen[finding.verdict] += 1
            if finding.verdict == "abstains":  # a division that was rounded down, or a factor of a hundred
                assert op == "/" or true in {value * 100, Fraction(value, 100)}, step
            else:
                assert (finding.verdict == "holds") == (true == value), step
    assert seen["holds"] > 1000
    assert seen["fails"] > 50


def rows(name: str) -> list[dict]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}: set STEPMINT_DATA")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


ANNOTATION = re.compile(r"<<([^<>]*)>>")


def test_gsm8k_every_annotation_holds_and_none_does_plus_one():
    found = [m for row in rows("gsm8k/train.jsonl.gz") for m in ANNOTATION.findall(row["answer"])]
    assert len(found) > 23_000
    for text in found:
        left, _, right = text.rpartition("=")
        wrong = f"{left}={Fraction(right) + 1}"
        assert [check_claim(c).verdict for c in find_claims(f"<<{text}>>")] == ["holds"], text
        assert [check_claim(c).verdict for c in find_claims(f"<<{wrong}>>")] == ["fails"], wrong


def test_gsm8k_text_without_annotations_is_almost_never_called_wrong():
    """26 of 26,649 lines fail, each a misprint in the corpus ("2*8 = 24"); the bound catches drift."""
    seen = Counter()
    for row in rows("gsm8k/train.jsonl.gz"):
        for line in row["answer"].split("\n")[:-1]:
            seen[check(ANNOTATION.sub("", line)).verdict] += 1
    assert seen["fails"] <= 26
    assert seen["holds"] > 0.8 * seen.total()


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("gsm8k_part.jsonl", 0),
        ("math_part.jsonl.gz", 5),
        ("olympiadbench_part.jsonl.gz", 1),
        ("omnimath_part.jsonl.gz", 2),
    ],
)
def test_processbench_steps_before_the_first_error(name, most):
    """Eight of some 4,000 steps that people passed fail; all eight show a sum that is wrong."""
    failed = []
    for row in rows(f"processbench/{name}"):
        end = len(row["steps"]) if row["label"] == -1 else row["label"]
        failed += [finding for step in row["steps"][:end] if (finding := check(step)).verdict == "fails"]
    assert len(failed) <= most, failed


@pytest.mark.parametrize(
    ("step", "claims"),
    [
        ("Tom has 14 + 5 = 19 apples.", ["14 + 5 = 19"]),
        ("So 15 feet * 12 inches/foot = 180 inches.", ["15 feet * 12 inches/foot = 180"]),
        ("He pays 3*4=<<3*4=12>>12 dollars.", ["3*4=12", "3*4=<<3*4=12>>12"]),
        (r"Thus \(\frac{1}{2} \cdot 10 = 5\) and 2² = 4.", [r"\frac{1}{2} \cdot 10 = 5", "2² = 4"]),
        ("2+2=4=2*2", ["2+2=4", "4=2*2"]),
    ],
)
def test_spans_are_the_claims_as_they_were_written(step, claims):
    assert [step[slice(*claim.span)] for claim in find_claims(step)] == claims


@given(st.text(alphabet="0123456789+-*/^()=., $x²\\{}frac<>≈\napples", max_size=80))
@settings(max_examples=300)
def test_spans_lie_in_the_step(text):
    for claim in find_claims(text):
        start, end = claim.span
        assert 0 <= start < end <= len(text)


@given(st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 99)), max_size=7), st.integers(1, 99))
def test_a_row_of_operations_is_the_tree_of_the_same_in_brackets(rest, first):
    row = str(first) + "".join(f" {op} {number}" for op, number in rest)
    # A leading bracket takes the parser's long way.
    assert parse(row) == parse(f"({first})" + "".join(f" {op} {number}" for op, number in rest))
