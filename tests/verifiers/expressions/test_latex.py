"""Superscripts in steps: a run of them is one power."""

import pytest

from stepmint import verify


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ("10\u00b2\u00b3 / 10\u00b2\u00b9 = 100.", "holds"),
        ("10\u00b2\u00b9 = 10 * 10 * 10.", "fails"),
        ("2\u2074 = 16.", "holds"),
        ("2\u2074 = 8.", "fails"),
        ("6 \u00d7 10\u2075 = 600000.", "holds"),
        ("10\u207b\u00b2 = 0.01.", "holds"),
        ("3\u00b2 + 4\u00b2 = 25.", "holds"),
        ("10\u00b9\u2070 = 10 * 10\u2079.", "holds"),
        # A raised zero is typed for a degree.
        ("90\u2070 + 90\u2070 = 180\u2070.", "abstains"),
        ("sin 30\u2070 = 0.5.", "abstains"),
    ],
)
def test_superscripts_are_one_power(step: str, verdict: str) -> None:
    assert [found["verdict"] for found in verify([("Compute.", step)])] == [verdict]
