"""What can be said about a step without a model, claim by claim, each with its place in the step."""

from dataclasses import dataclass

from verifiers.base import Finding, StepContext, Verdict
from verifiers.calculation.algebra import Algebra
from verifiers.calculation.arithmetic import claims_checked
from verifiers.calculation.checked import Checked, verdict_of
from verifiers.calculation.matrices import check_matrices
from verifiers.calculation.number_provenance import orphans
from verifiers.constraints.constraints import Constraints
from verifiers.isolation.workers import Pool
from verifiers.proofs.premises import Logic
from verifiers.proofs.proof_steps import check_line, is_proof_line
from verifiers.rules.rules import rule_claims


@dataclass(frozen=True)
class Remark:
    """What one verifier says of one claim."""

    span: tuple[int, int]
    """Where the claim stands in the step, in characters."""
    claim: str
    verdict: Verdict
    reason: str
    by: str
    """`arithmetic`, `algebra`, `constraints`, `logic`, `rules`, or `provenance`, which reports numbers from
    nowhere and refutes nothing."""


@dataclass(frozen=True)
class Review:
    """A step's verdict with the remarks it rests on."""

    verdict: Verdict
    remarks: tuple[Remark, ...]


def review(context: StepContext, *, pool: Pool | None = None) -> Review:
    """Check the last step. One refuted claim makes it fail; `holds` needs a proved claim and no open one."""
    # A line of a proof has no arithmetic: numbers in it name sentences.
    if is_proof_line(context.step):
        line = check_line(context)
        return Review(line.verdict, (_whole(context.step, line, "logic"),))
    found: list[Remark] = []
    if context.problem.premises:
        for verifier in (Logic(), Constraints()):
            judged = verifier.check(context)
            # These two judge the step as a whole. Their silence says nothing about a claim, so it is no
            # remark.
            if judged.verdict != "abstains":
                found.append(_whole(context.step, judged, verifier.name))
    judged_claims = [(span, checked, "arithmetic") for span, checked in claims_checked(context)]
    judged_claims += [(claim.span, checked, "algebra") for claim, checked in Algebra(pool).claims(context)]
    judged_claims += [(shown.span, checked, "algebra") for shown, checked in check_matrices(context, pool)]
    everything = (0, len(context.step))
    judged_claims += [(everything, checked, "rules") for checked in rule_claims(context)]
    for span, checked, by in judged_claims:
        found.append(Remark(span, context.step[slice(*span)], checked.verdict, checked.reason, by))
    whole = [Checked(remark.verdict, remark.reason) for remark in found[: len(found) - len(judged_claims)]]
    verdict = verdict_of([*whole, *(checked for _, checked, _ in judged_claims)])
    # Added after the verdict: a number from nowhere is worth a look, but decides nothing.
    for orphan in orphans(context) if context.problem.text.strip() else []:
        why = f"{orphan.text} stands neither in the problem nor in an earlier step"
        found.append(Remark(orphan.span, orphan.text, "abstains", why, "provenance"))
    return Review(verdict, tuple(sorted(found, key=lambda remark: remark.span)))


def _whole(step: str, found: Finding, by: str) -> Remark:
    return Remark((0, len(step)), step, found.verdict, found.reason, by)
