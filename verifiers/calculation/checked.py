"""The verdict on one claim, and what the claims of a step make of it."""

from collections.abc import Sequence
from typing import NamedTuple

from verifiers.base import Finding, Verdict

GIVEN = "given"
"""The code of a relation that claims nothing which could be checked: a definition. It is no open claim."""


class Checked(NamedTuple):
    """A claim's verdict; `reason` is for people, `code` is the kind of abstention."""

    verdict: Verdict
    reason: str
    code: str = ""


def combine(checked: list[Checked], nothing: str = "no calculation to check") -> Finding:
    """A step's verdict from its claims': one wrong claim decides, one undecided claim forbids `holds`."""
    if len(checked) == 1:
        return Finding(checked[0].verdict, checked[0].reason, checked[0].reason[:1000])
    evidence = "; ".join(dict.fromkeys(c.reason for c in checked))[:1000]
    # One wrong calculation makes a step wrong, whatever else is right. A step with one claim that could not
    # be decided must not hold, since that claim may be the wrong one.
    if not checked:
        return Finding("abstains", nothing)
    verdict = verdict_of(checked)
    reason = next(claim.reason for claim in checked if claim.verdict == verdict)
    return Finding(verdict, reason, evidence)


def verdict_of(checked: Sequence[Checked]) -> Verdict:
    """What the claims of a step make of it: one refutation decides, and an open claim forbids `holds`."""
    said = {claim.verdict for claim in checked if claim.code != GIVEN}
    return next((verdict for verdict in _STRONGEST if verdict in said), "abstains")


_STRONGEST: tuple[Verdict, ...] = ("fails", "abstains", "holds")
