"""Clock times and dates: exact forms only, and wrong only under every reading."""

import pytest

from verifiers.calculation.clock import timed_claims


@pytest.mark.parametrize(
    ("step", "verdicts"),
    [
        ("From 1:00 PM to 5:00 PM is 4 hours.", ["holds"]),
        ("From 1:00 PM to 5:00 PM is 5 hours.", ["fails"]),
        ("From 11:30 pm to 1:00 am is 1 hour and 30 minutes.", ["holds"]),
        ("From 10:00 to 2:00 there are 4 hours.", ["holds"]),
        ("9:00-6:00 = 3 hours", ["holds"]),
        ("9:00 - 6:15 = 3 hours", ["fails"]),
        ("7:30 + 45 minutes = 8:15", ["holds"]),
        ("7:30 + 45 minutes = 8:05", ["fails"]),
        ("11:45 AM plus 1.5 hours is 1:15 PM", ["holds"]),
        ("2:10 PM - 20 minutes = 1:50 PM", ["holds"]),
        ("From March 3 to March 10 is 7 days.", ["holds"]),
        ("From March 3 to March 10 is 8 days.", []),
        ("From March 3 to March 10 is 12 days.", ["fails"]),
        ("From February 27 to March 2 is 4 days.", ["holds"]),
        ("From February 27, 2023 to March 2, 2023 is 3 days.", ["holds"]),
        ("From December 30 to January 2 is 3 days.", ["holds"]),
        ("From February 30 to March 2 is 3 days.", []),
        ("The ratio 3:4 is 5:6 and 25:00 - 1:00 = 24 hours", []),
        ("From 1:00 PM to 5:00 PM he slept.", []),
        ("1:" * 4000, []),
    ],
)
def test_times(step, verdicts):
    assert [claim.verdict for claim in timed_claims(step)] == verdicts
    for claim in timed_claims(step):
        assert " ".join(step[slice(*claim.span)].split()) == claim.text
