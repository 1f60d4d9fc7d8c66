"""A step's review: one refuted claim decides, one open claim forbids `holds`, provenance refutes nothing."""

import pytest

from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.review import review


@pytest.mark.parametrize(
    ("step", "verdict", "said"),
    [
        ("14 + 5 = 19", "holds", [("arithmetic", "holds")]),
        ("14 + 5 = 20", "fails", [("arithmetic", "fails")]),
        ("14 + 6 = 20", "holds", [("arithmetic", "holds"), ("provenance", "abstains")]),
        ("2x + 14 = 5", "abstains", [("algebra", "abstains")]),
        ("14 + 5 = 19, and 2x + 14 = 5", "holds", [("arithmetic", "holds"), ("algebra", "abstains")]),
        ("14 + 5 = 19, so 2x + 14 = 5", "abstains", [("arithmetic", "holds"), ("algebra", "abstains")]),
        ("2x + 5 = 19, so x = 7", "holds", [("algebra", "abstains"), ("algebra", "holds")]),
        ("He is happy.", "abstains", []),
    ],
)
def test_verdicts(step, verdict, said):
    problem = Problem(text="Tom has 14 apples and gets 5. What is 2x + 5?")
    found = review(StepContext(problem, (step,)))
    assert found.verdict == verdict
    assert sorted((remark.by, remark.verdict) for remark in found.remarks) == sorted(said)
    for remark in found.remarks:
        assert step[slice(*remark.span)] == remark.claim


def test_without_a_problem_no_number_comes_from_nowhere():
    assert [r.by for r in review(StepContext(Problem(text=" "), ("77 + 1 = 78",))).remarks] == ["arithmetic"]
