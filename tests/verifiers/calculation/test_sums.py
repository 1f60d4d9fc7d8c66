"""The quick reading of a true sum says what the full reading says, or nothing."""

import random

import pytest

from verifiers.calculation.arithmetic import check_claim
from verifiers.calculation.sums import true_sum
from verifiers.claims.find import find_claims

_PIECES = (
    "5 3 8 15 2 1/2 .5 1,200 50% (3+2) (1/2) $5 $.50 10 100 = = + - * / x × – plus times minus of by is "
    "equals and apples eggs days/week per day so each pi log x in half twice dozen Tom has a "
    "I 5-pound twenty-five . , ; : ! ? ( ) % 's $ ^ # 2nd x2 2x 3x5 week"
).split()


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("Tom has 14 + 5 = 19 apples.", "14 + 5 = 19"),
        ("A total of: $1,200 - $200=$1,000", "1,200 - 200 = 1,000"),
        ("8 segments - 6 segments = 2 segments", "8 - 6 = 2"),
        ("He drives 3 hours/day x 4 days = 12 hours.", "3 * 4 = 12"),
        ("So 10% * 50 is saved, 10% * 50 = 5.", None),
        ("Half of it is (3+5) / 2 = 4 kg.", "(3+5) / 2 = 4"),
        ("14 + 5 = 20", None),
        ("3 apples + 2 pears = 5", None),
        ("5 m = 500 cm", None),
        ("1/2 feet = 1/2 yard", None),
        ("10% of 50 + 3 = 53", None),
        ("4 times 3 + 4 = 7", None),
        ("3 + 4 = 7 + 5", None),
        ("3 + 4 = 7 * 1 = 7", None),
        ("2 1/2 + 1/2 = 1", None),
        ("x + 3 + 4 = 7", None),
        ("3 + 4 = 7!", None),
        ("<<3+4=7>>", None),
        ("007 + 1 = 8", None),
        ("1/0 = 1", None),
        ("7 / 2 * 4 - 3 = 11", "7 / 2 * 4 - 3 = 11"),
        ("10 / 4 = 2.5", "10 / 4 = 2.5"),
        ("1 / 3 * .5 * 6 = 1", "1 / 3 * .5 * 6 = 1"),
        ("8 - 3 - 4 = 1", "8 - 3 - 4 = 1"),
        ("8 - 3 * 2 / 6 = 7", "8 - 3 * 2 / 6 = 7"),
        ("8 / 4 / 2 = 4", None),
        ("5 / 0.0 + 1 = 1", None),
        ("3 + 4 = 07", None),
        ("1 * 1 = " + "0" * 500 + "1", None),
        ("Tom bought 3 + 4 = 7 pears, by 5 pm.", None),
        ("Nearby 3 + 4 = 7 pears grow.", "3 + 4 = 7"),
        ("9*" * 400 + "9 = 1", None),
    ],
)
def test_what_it_reads(step: str, said: str | None) -> None:
    found = true_sum(step)
    assert (found and found[1]) == said


def test_it_agrees_with_the_full_reading() -> None:
    rng, read = random.Random(0), 0
    for _ in range(20_000):
        a, b = rng.randint(1, 20), rng.randint(1, 20)
        sign, result = rng.choice([("+", a + b), ("*", a * b), ("-", a - b), ("x", a * b), ("/", a)])
        sum_ = f"{a * b if sign == '/' else a}{rng.choice(['', ' ', ' eggs '])}{sign} {b} = {result}"
        words = rng.choices(_PIECES, k=rng.randint(0, 7))
        words.insert(rng.randint(0, len(words)), sum_)
        step = "".join(word + rng.choice(("", " ", " ", " ", " ")) for word in words)
        if found := true_sum(step):
            read += 1
            full = [(claim.span, check_claim(claim)) for claim in find_claims(step)]
            assert [(span, c and c.verdict, c and c.reason) for span, c in full] == [
                (found[0], "holds", found[1])
            ], step
    assert read > 1_000
