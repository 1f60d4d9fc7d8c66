"""Sentences about whole numbers: true, false, and those that only look like one."""

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.arithmetic import Arithmetic
from verifiers.calculation.number_facts import number_facts
from verifiers.claims.parsed import ParsedText


def verdicts(text):
    return [verdict for _, verdict, _ in number_facts(ParsedText(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The GCD of 116 and 174 is {}.", ("58", "2")),
        ("The least common multiple of $13$ and $91$ is ${}$.", ("91", "715")),
        ("So 91 is{} divisible by 7.", ("", " not")),
        ("Then C = 7(3) = 21, which is{} a multiple of 3.", ("", " not")),
        ("Here 7 is{} a factor of 91.", ("", " not")),
        ("Also {} is prime.", ("97", "91")),
        ("{} is not a prime number.", ("27", "7")),
        ("{} is a perfect square.", ("121", "101")),
        ("{} is odd.", ("7", "8")),
        ("Since {} do not share any other common factors, we stop.", ("137 and 111", "411 and 333")),
        ("{} are relatively prime.", ("20 and 9", "20 and 16")),
        ("The remainder when 100 is divided by 7 is {}.", ("2", "3")),
        ("51 divided by 7 is 7 with a remainder of {}.", ("2", "1")),
        ("The factors of 12 are {}.", ("1, 2, 3, 4, 6, and 12", "1, 2, 3, 5, 6, and 12")),
        ("The prime factors of 60 are {}.", ("2, 3, and 5", "2, 3, and 7")),
        ("We see that 36 has {} factors.", ("9", "8")),
        ("The sum of the digits of 1234 is {}.", ("10", "11")),
        (r"The prime factorization of 1184 is {} \cdot 37.", ("2^5", "2^4")),
        ("The smallest three-digit multiple of 11 is {}.", ("110", "99")),
        ("The units digit of $7^{{2011}}$ is ${}$.", ("3", "7")),
    ],
)
def test_a_fact_and_its_opposite(text, expected):
    assert [verdicts(text.format(one)) for one in expected] == [["holds"], ["fails"]]


@pytest.mark.parametrize(
    "text",
    [
        "7 + 14 is a multiple of 2.",
        "The sum of 7 and 14 is a multiple of 2.",
        "The product of 3 and 8 is odd.",
        "If 21 is prime, we stop.",
        "We check whether 21 is prime.",
        "Is 21 prime?",
        "It is wrong that 21 is prime.",
        "Suppose that 21 is prime.",
        "The sum of the digits of 123 is divisible by 5.",
        "91 is divisible by 3 or 7.",
        "21 is a multiple of 3 more than 18.",
        "2^21 is divisible by 3.",
        "3.21 is divisible by 5.",
        "x21 is prime.",
        "The GCD of 12, 18, and x is 5.",
        "The GCD of 12 and 18 is 2 times 3.",
        "The GCD of 12 and 18 is 2 * 3.",
        "Neither 4 nor 9 is prime.",
        "In base 7, 12 is odd.",
        "21 is prime to 10.",
        "The factors of 12 are 1, 2, 3, ..., 12.",
        "Checking if 27, 52, and 77 are prime: 27 is not.",
        "Half of 14 is odd.",
        "Of the 7 terms, 4 are odd.",
        "The product of the GCD and LCM of 8 and 6 is 48.",
        "The sum of the GCD of 8 and 6 is 48.",
        "The remainder when 7^10 is divided by 4 is 3.",
        "The digits of 21 are 2 and 1.",
        "12 has 3 factors in common with 18.",
        "No number between 24 and 28 is prime.",
    ],
)
def test_what_only_looks_like_a_false_fact(text):
    assert "fails" not in verdicts(text)


def test_a_problem_in_another_base():
    step = "So 12 is odd."
    assert Arithmetic().check(StepContext(Problem(text="How many digits?"), (step,))).verdict == "fails"
    assert (
        Arithmetic().check(StepContext(Problem(text="All numbers are in base 7."), (step,))).verdict
        == "abstains"
    )


@pytest.mark.parametrize(
    "text",
    ["1, " * 2500 + "are prime", "2 * " * 1900 + "is prime", "the GCD of " * 700, "9" * 7000 + " is prime"],
)
def test_hostile_lists(text):
    assert number_facts(ParsedText(text)) == ()
