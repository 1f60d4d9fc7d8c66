"""Checks natural inferences against a problem's formulas.

Three forms are read: "Ana is kind so Ana is calm.", "Everyone who is kind is calm so Ana is calm.", and lines
of a proof (`proof_steps`).

A step of the first two forms holds if the premises entail what it cites, and if the rules together with only
what it cites entail its conclusion. Monadic logic is decidable, so `fails` is as certain as `holds`. What
the premises do not state is not taken to be false; it does not follow, and that is all.
"""

import re

from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.logic.entailment import Satisfiable, entails, solve
from verifiers.logic.formulas import Atom, Constant, Formula, Quantified, Unparsed, parse_formula
from verifiers.proofs.inferences import Inference, check_inference
from verifiers.proofs.proof_lines import Proof, ProofStep, check_proof
from verifiers.proofs.proof_steps import check_line, is_proof_line

__all__ = ["Inference", "Logic", "Proof", "ProofStep", "check_inference", "check_proof"]

# A longer step is prose; the patterns below take time in proportion to the text.
LONGEST_STEP = 400
# "Ana is kind and tall, so Ana is calm." The same name twice; "is not kind" is refused later.
_INFERENCE = re.compile(
    r"(?P<who>[A-Z][a-z]+) is (?P<body>[a-z]+(?:(?:,| and|, and) [a-z]+)*),? "
    r"(?:so|therefore|hence|thus) (?P=who) is (?P<head>[a-z]+)\.?"
)
# "Everyone who is kind is calm so Ana is calm."
_RULE_APPLIED = re.compile(
    r"Everyone who is (?P<body>[a-z]+(?: and [a-z]+)*) is (?P<rule>[a-z]+),? "
    r"(?:so|therefore|hence|thus) (?P<who>[A-Z][a-z]+) is (?P<head>[a-z]+)\.?"
)
# A solution's last step carries its answer line, `#### yes`.
_ANSWER_LINE = re.compile(r"\n#### \S{1,40}$")
_ANYBODY = Constant("anybody")
"""Stands for everyone: what follows for a name no premise mentions follows for all."""
# "Ana is not kind", "Ana is a teacher": the word behind "is" is no adjective, so the step is not read.
_NOT_ADJECTIVES = frozenset({"not", "no", "a", "an", "the", "so", "either", "neither", "never", "or"})


class Logic:
    """Decides inferences about one person, and lines of proofs, from the problem's first-order premises."""

    name = "logic"
    sources = check_source(name)
    one_thread = True

    def check(self, context: StepContext) -> Finding:
        """Check what the last step cites, then whether its conclusion follows."""
        step = _ANSWER_LINE.sub("", context.step.strip())
        if is_proof_line(step):
            return check_line(context)
        short = len(step) <= LONGEST_STEP
        match = (_INFERENCE.fullmatch(step) or _RULE_APPLIED.fullmatch(step)) if short else None
        if match is None:
            return Finding("abstains", "not an inference of the form `A is b so A is c.`")
        quoted = match.groupdict().get("rule")
        words = re.split(r",? and |, ", match["body"])
        if _NOT_ADJECTIVES & {*words, match["head"]}:
            return Finding("abstains", "a negation or an article that is not understood")
        try:
            premises = tuple(parse_formula(premise) for premise in context.problem.premises)
        except Unparsed as error:
            return Finding("abstains", f"the problem's premises are no formulas: {error}")
        if not premises:
            return Finding("abstains", "the problem has no premises in symbols")
        # From premises that contradict each other everything follows, so `holds` would mean nothing.
        consistent = solve(premises).answer
        if consistent != "sat":
            why = "contradict each other" if consistent == "unsat" else "could not be decided"
            return Finding("abstains", f"the problem's premises {why}")
        if quoted and (wrong := _judge_rule(premises, words, quoted)):
            return wrong
        return _judge(premises, match["who"], words, match["head"])


def _judge_rule(premises: tuple[Formula, ...], words: list[str], head: str) -> Finding | None:
    """What is wrong with a rule that a step quotes; None when it follows from the problem's rules."""
    rules = tuple(premise for premise in premises if isinstance(premise, Quantified))
    found = entails((*rules, *(Atom(word, (_ANYBODY,)) for word in words)), Atom(head, (_ANYBODY,)))
    if found.answer == "unsat":
        return None
    if found.answer == "unknown":
        return Finding("abstains", f"could not be decided: {found.why}")
    return Finding("fails", f"no rule says that everyone who is {' and '.join(words)} is {head}")


def _judge(premises: tuple[Formula, ...], who: str, words: list[str], head: str) -> Finding:
    cited = [Atom(word, (Constant(who),)) for word in words]
    for word, atom in zip(words, cited, strict=True):
        # Citing a premise word by word is the common case, and needs no solver.
        if atom in premises:
            continue
        found = entails(premises, atom)
        if found.answer == "unknown":
            return Finding("abstains", f"could not be decided: {found.why}")
        if found.answer == "sat":
            return Finding("fails", f"nothing says that {who} is {word}", _possible(found, who))
    rules = tuple(premise for premise in premises if isinstance(premise, Quantified))
    found = entails((*rules, *cited), Atom(head, (Constant(who),)))
    given = " and ".join(words)
    if found.answer == "unknown":
        return Finding("abstains", f"could not be decided: {found.why}")
    if found.answer == "sat":
        reason = f"no rule says that whoever is {given} is {head}"
        return Finding("fails", reason, _possible(found, who))
    return Finding("holds", f"{who} is {given}, and the rules make {who} {head}")


def _possible(found: Satisfiable, who: str) -> str:
    """The counter-model, as far as it concerns the person."""
    true = [fact.removesuffix(f" {who}") for fact in found.true if fact.endswith(f" {who}")]
    return f"possible: {who} is only {', '.join(true)}" if true else f"possible: {who} is none of these"
