"""What can be said about a step without a model, claim by claim, each with its place in the step."""

from dataclasses import dataclass

from verifiers.algebra import Algebra
from verifiers.arithmetic import checked_claims
from verifiers.context import StepContext, Verdict
from verifiers.limits import Pool
from verifiers.provenance import orphans


@dataclass(frozen=True)
class Remark:
    """What one verifier says of one claim."""

    span: tuple[int, int]
    """Where the claim stands in the step, in characters."""
    claim: str
    verdict: Verdict
    reason: str
    by: str
    """`arithmetic`, `algebra`, or `provenance`, which reports numbers from nowhere and refutes nothing."""


@dataclass(frozen=True)
class Review:
    """A step's verdict with the remarks it rests on."""

    verdict: Verdict
    remarks: tuple[Remark, ...]


def review(context: StepContext, *, pool: Pool | None = None) -> Review:
    """Check the last step. One refuted claim decides; `holds` needs a proved claim and no open one."""
    found: list[Remark] = []
    for span, checked in checked_claims(context.step):
        said = context.step[slice(*span)]
        found.append(Remark(span, said, checked.verdict, checked.reason, "arithmetic"))
    for claim, checked in Algebra(pool).claims(context):
        said = context.step[slice(*claim.span)]
        found.append(Remark(claim.span, said, checked.verdict, checked.reason, "algebra"))
    verdicts = {remark.verdict for remark in found}
    verdict: Verdict = next((v for v in _STRONGEST if v in verdicts), "abstains")
    for orphan in orphans(context) if context.problem.text.strip() else []:
        why = f"{orphan.text} stands neither in the problem nor in an earlier step"
        found.append(Remark(orphan.span, orphan.text, "abstains", why, "provenance"))
    return Review(verdict, tuple(sorted(found, key=lambda remark: remark.span)))


_STRONGEST: tuple[Verdict, ...] = ("fails", "abstains", "holds")
