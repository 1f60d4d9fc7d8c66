"""Verdicts on formal inferences and proofs, with what they cite and nothing else (FoVer, arXiv 2505.15960).

A verdict is local: earlier conclusions are taken as true. Whether a step rests on a wrong one is told apart,
as `poisoned`, and so is whether the conclusion follows from all that is known, as `in_context`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from verifiers.entailment import Satisfiable, entails, solve
from verifiers.formulas import Formula, Not, Unparsed, canonical, parse_formula

InferenceVerdict = Literal["VALID", "INVALID", "VACUOUS", "TAUTOLOGY", "UNKNOWN", "BAD_REFERENCE", "UNPARSED"]
ProofLabel = Literal["PROVED", "DISPROVED", "UNKNOWN"]
LONGEST_PROOF = 20_000
_ERRORS = frozenset({"INVALID", "BAD_REFERENCE"})
_ABSTENTIONS = frozenset({"UNKNOWN", "UNPARSED"})


@dataclass(frozen=True)
class Inference:
    """Whether a conclusion follows from its premises."""

    verdict: InferenceVerdict
    reason: str = ""
    unused: tuple[int, ...] = ()
    """Premises the conclusion does not need, by 0-based index; each one alone can be left out."""
    repeat: bool = False
    """The conclusion is in the context already, up to names of bound variables."""
    in_context: bool | None = None
    """Whether the context alone entails the conclusion; an invalid inference then merely lacks a citation.
    None without a context, or where it could not be decided."""
    counter_model: str = ""


def check_inference(
    premises: Sequence[str | Formula], conclusion: str | Formula, *, context: Sequence[str | Formula] = ()
) -> Inference:
    """Decide one inference. `context` is all that is known besides: it never makes an inference valid."""
    try:
        given, known, goal = [_read(p) for p in premises], [_read(p) for p in context], _read(conclusion)
    except Unparsed as error:
        return Inference("UNPARSED", str(error))
    found = entails(given, goal)
    if found.answer == "unknown":
        return Inference("UNKNOWN", found.why)
    if found.answer == "sat":
        in_context = _follows(known, goal)
        reason = (
            "a citation is missing" if in_context else "the premises can be true and the conclusion false"
        )
        return Inference("INVALID", reason, in_context=in_context, counter_model=_model(found))
    if solve(tuple(given)).answer == "unsat":
        return Inference("VACUOUS", "the premises contradict each other")
    if solve((Not(goal),)).answer == "unsat":
        return Inference("TAUTOLOGY", "the conclusion needs no premises")
    unused = (i for i in range(len(given)) if entails(given[:i] + given[i + 1 :], goal).answer == "unsat")
    repeat = canonical(goal) in {canonical(formula) for formula in known}
    return Inference("VALID", "", tuple(unused), repeat, _follows(known, goal))


def _follows(known: list[Formula], goal: Formula) -> bool | None:
    answer = entails(known, goal).answer if known else "unknown"
    return None if answer == "unknown" else answer == "unsat"


def _read(formula: str | Formula) -> Formula:
    return parse_formula(formula) if isinstance(formula, str) else formula


def _model(found: Satisfiable) -> str:
    """What a counter-model makes true and false, in words."""
    parts = [("true: ", found.true), ("false: ", found.false)]
    return "; ".join(label + ", ".join(names[:20]) for label, names in parts if names)


@dataclass(frozen=True)
class ProofStep:
    """One line of a proof and what came of it."""

    text: str
    id: str
    refs: tuple[str, ...]
    inference: Inference
    poisoned: bool = False
    """It rests, through its citations, on an erroneous step."""
    sound: bool = False
    """It is valid and rests on nothing that is not."""
    formula: Formula | None = None


@dataclass(frozen=True)
class Proof:
    """A checked proof."""

    steps: tuple[ProofStep, ...]
    first_error: int | None
    """0-based index of the first invalid step or bad reference; -1 where every step is decided and none is
    wrong; None where nothing wrong was found but some step was not decided."""
    supports_label: bool | None
    """Whether the last conclusion is what the label claims and rests on valid steps only."""


_LINE = re.compile(r"->\s*(?:(?P<id>int\d+)\s*:\s*(?P<formula>.+)|(?P<goal>(?:¬|~)?\s*hypothesis))\s*;?\s*$")
_REFERENCE = re.compile(r"[A-Za-z_]+\d*")


@dataclass
class _State:
    facts: Mapping[str, Formula]
    hypothesis: Formula
    defined: dict[str, ProofStep | None] = field(default_factory=dict)
    """Conclusions by id; None for a line whose formula could not be read."""
    lost_line: bool = False
    """A line whose id could not be read: any unknown id may be that one."""


def check_proof(facts: Mapping[str, str], proof_text: str, hypothesis: str, label: ProofLabel) -> Proof:
    """Check every line `fact1 & int2 -> int3: formula`. Raises Unparsed where the facts cannot be read.

    Every line of the proof comes back as a step: nothing is dropped.
    """
    state = _State({name: parse_formula(text) for name, text in facts.items()}, parse_formula(hypothesis))
    lines = [line.strip() for line in re.split(r"[;\n]", proof_text[:LONGEST_PROOF])]
    lines = [line for line in lines if line and not line.startswith("$")]  # `$proof$:`, `$proof_label$: …`
    steps = tuple(_step(line, state) for line in lines)
    errors = [index for index, step in enumerate(steps) if step.inference.verdict in _ERRORS]
    undecided = not steps or any(step.inference.verdict in _ABSTENTIONS for step in steps)
    first_error = errors[0] if errors else None if undecided else -1
    return Proof(steps, first_error, _supports(steps, state.hypothesis, label))


def _step(line: str, state: _State) -> ProofStep:
    match = _LINE.search(line)
    if match is None:
        state.lost_line = True
        return ProofStep(line, "", (), Inference("UNPARSED", "no step of the form `premises -> id: formula`"))
    name = match["id"] or match["goal"].replace(" ", "").replace("~", "¬")
    refs = tuple(part.strip() for part in _split(line[: match.start()]))
    try:
        goal = _conclusion(match, state)
    except Unparsed as error:
        state.defined.setdefault(name, None)
        return ProofStep(line, name, refs, Inference("UNPARSED", str(error)))
    step = _judged(ProofStep(line, name, refs, Inference("UNPARSED"), formula=goal), state)
    state.defined.setdefault(name, step)
    return step


def _conclusion(match: re.Match[str], state: _State) -> Formula:
    if match["formula"]:
        return parse_formula(match["formula"])
    return state.hypothesis if match["goal"] == "hypothesis" else Not(state.hypothesis)


def _split(text: str) -> list[str]:
    """At `&` outside brackets: an inline formula in brackets is one premise."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "&" and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _judged(step: ProofStep, state: _State) -> ProofStep:
    if step.formula is None:
        return step
    if step.id in state.defined or step.id in state.facts:
        return replace(
            step, inference=Inference("BAD_REFERENCE", f"{step.id} is defined twice"), poisoned=True
        )
    premises: list[Formula] = []
    parents: list[ProofStep] = []
    for ref in step.refs:
        found = _premise(ref, state)
        if isinstance(found, Inference):
            return replace(step, inference=found, poisoned=found.verdict == "BAD_REFERENCE")
        if isinstance(found, ProofStep):
            parents.append(found)
        formula = found.formula if isinstance(found, ProofStep) else found
        if formula is not None:
            premises.append(formula)
    known = [
        *state.facts.values(),
        *(s.formula for s in state.defined.values() if s and s.sound and s.formula),
    ]
    inference = check_inference(premises, step.formula, context=known)
    poisoned = any(parent.poisoned or parent.inference.verdict in _ERRORS for parent in parents)
    sound = inference.verdict == "VALID" and all(parent.sound for parent in parents)
    return replace(step, inference=inference, poisoned=poisoned, sound=sound)


def _premise(ref: str, state: _State) -> Formula | ProofStep | Inference:
    """What a citation stands for; a verdict where it stands for nothing."""
    if ref in state.facts:
        return state.facts[ref]
    if ref in state.defined:
        return state.defined[ref] or Inference("UNPARSED", f"{ref} could not be read")
    if _REFERENCE.fullmatch(ref):
        if state.lost_line:
            return Inference("UNPARSED", f"{ref} may be a line that could not be read")
        return Inference("BAD_REFERENCE", f"{ref} is not defined before this step")
    try:
        formula = parse_formula(ref)
    except Unparsed as error:
        return Inference("UNPARSED", str(error))
    if canonical(formula) in map(canonical, state.facts.values()):
        return formula
    return Inference("BAD_REFERENCE", "a premise that is no fact")


def _supports(steps: tuple[ProofStep, ...], hypothesis: Formula, label: ProofLabel) -> bool | None:
    if label == "UNKNOWN" or not steps:
        return None
    last = steps[-1]
    if last.formula is None:
        return None
    goal = hypothesis if label == "PROVED" else Not(hypothesis)
    if canonical(last.formula) not in {canonical(goal), canonical(_without_double(goal))}:
        return False
    ancestors = _ancestors(last, {step.id: step for step in reversed(steps)})
    verdicts = {step.inference.verdict for step in ancestors}
    if verdicts <= {"VALID"}:
        return True
    return None if verdicts & _ABSTENTIONS and not verdicts - _ABSTENTIONS - {"VALID"} else False


def _without_double(formula: Formula) -> Formula:
    if isinstance(formula, Not) and isinstance(formula.body, Not):
        return formula.body.body
    return formula


def _ancestors(step: ProofStep, by_id: Mapping[str, ProofStep]) -> list[ProofStep]:
    """The step and all it rests on."""
    found, waiting = {step.text: step}, [step]
    while waiting:
        for ref in waiting.pop().refs:
            parent = by_id.get(ref)
            if parent is not None and parent.text not in found:
                found[parent.text] = parent
                waiting.append(parent)
    return list(found.values())
