"""Verdicts on proofs written line by line, from what each line cites alone (FoVer, arXiv 2505.15960).

A verdict is local: earlier conclusions are taken as true. Whether a step rests on a wrong one is told apart,
as `poisoned`, and so is whether the conclusion follows from all that is known, as `in_context`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from verifiers.corpora.wording import reworded, rewordings, said_in
from verifiers.logic.formulas import Formula, Joined, Not, Unparsed, canonical, parse_formula
from verifiers.proofs.inferences import Inference, check_inference

ProofLabel = Literal["PROVED", "DISPROVED", "UNKNOWN"]
Reader = Callable[[str], Formula]
LONGEST_PROOF = 20_000
# What makes a line wrong, and what leaves it undecided. VACUOUS is neither: such a line follows, but proves
# nothing.
_ERRORS = frozenset({"INVALID", "BAD_REFERENCE"})
_ABSTENTIONS = frozenset({"UNKNOWN", "UNPARSED"})
_ASSUMED = Inference("VALID", "an assumption, which a later step must discharge")


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
    assumes: frozenset[str] = frozenset()
    """Assumptions it rests on that no step has discharged."""


@dataclass(frozen=True)
class Proof:
    """A checked proof."""

    steps: tuple[ProofStep, ...]
    first_error: int | None
    """0-based index of the first invalid step or bad reference; -1 where every step is decided and none is
    wrong; None where nothing wrong was found but some step was not decided."""
    supports_label: bool | None
    """Whether the last conclusion is what the label claims and rests on valid steps and facts only."""


# What a line concludes: `-> int2: the pip glows`, `-> hypothesis;`. The citations stand before the arrow.
_LINE = re.compile(
    r"->\s*(?:(?P<id>(?:int|assump)\d+)\s*:\s*(?P<formula>.+)|(?P<goal>(?:¬|~)?\s*hypothesis))\s*;?\s*$"
)
# `sent1`, `int2`, `fact3`, and `void`, which cites nothing.
_REFERENCE = re.compile(r"[A-Za-z_]+\d*")
# `[assump1]` ends an assumption; `assump1` cites it.
_DISCHARGED = re.compile(r"\[(assump\d+)\]")


@dataclass(frozen=True)
class ProofState:
    """What a proof has stated so far."""

    facts: Mapping[str, Formula]
    hypothesis: Formula | None
    """None where the problem states none: no line can conclude it."""
    steps: tuple[ProofStep, ...] = ()
    read: Reader = parse_formula
    """How a line's conclusion becomes a formula; raises Unparsed."""
    unread: frozenset[str] = frozenset()
    """Facts that are there and could not be read."""
    worded: bool = False
    """Whether the formulas were read from words, which may be forms or opposites of one another."""

    @cached_property
    def defined(self) -> dict[str, ProofStep]:
        """The first line of every id."""
        return {step.id: step for step in reversed(self.steps) if step.id}

    @cached_property
    def said(self) -> Mapping[str, int]:
        """How many sentences of the problem use each predicate."""
        return said_in([*self.facts.values(), *([self.hypothesis] if self.hypothesis else [])])

    @cached_property
    def lost_line(self) -> bool:
        """Whether there is a line whose id could not be read: any unknown id may be that one."""
        return any(not step.id for step in self.steps)

    def after(self, line: str) -> "ProofState":
        """The state with one more line, checked."""
        return replace(self, steps=(*self.steps, _step(line, self)))


def check_proof(
    facts: Mapping[str, str | Formula],
    proof_text: str,
    hypothesis: str | Formula,
    label: ProofLabel,
    *,
    read: Reader = parse_formula,
    worded: bool = False,
) -> Proof:
    """Check every line `fact1 & int2 -> int3: formula`. Raises Unparsed where the facts cannot be read.

    `void -> assump1: formula` assumes, and `[assump1] & int4 -> ...` discharges. Every line of the proof
    comes back as a step: nothing is dropped.
    """
    given = {name: parse_formula(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
    goal = parse_formula(hypothesis) if isinstance(hypothesis, str) else hypothesis
    state = ProofState(given, goal, read=read, worded=worded)
    for line in proof_lines(proof_text):
        state = state.after(line)
    errors = [index for index, step in enumerate(state.steps) if step.inference.verdict in _ERRORS]
    # A first error is known even behind undecided lines, as the first that is certain; "no error" needs all
    # decided.
    undecided = not state.steps or any(step.inference.verdict in _ABSTENTIONS for step in state.steps)
    first_error = errors[0] if errors else None if undecided else -1
    return Proof(state.steps, first_error, _supports(state, goal, label))


def proof_lines(text: str) -> list[str]:
    """The lines of a proof; `$proof$:` and `$proof_label$: ...` are none."""
    lines = (line.strip() for line in re.split(r"[;\n]", text[:LONGEST_PROOF]))
    return [line for line in lines if line and not line.startswith("$")]


def _step(line: str, state: ProofState) -> ProofStep:
    match = _LINE.search(line)
    if match is None:
        return ProofStep(line, "", (), Inference("UNPARSED", "no step of the form `premises -> id: formula`"))
    name = match["id"] or match["goal"].replace(" ", "").replace("~", "¬")
    refs = tuple(part.strip() for part in _split(line[: match.start()]))
    try:
        formula = _conclusion(match, state)
    except Unparsed as error:
        return ProofStep(line, name, refs, Inference("UNPARSED", str(error)))
    return _judged(ProofStep(line, name, refs, Inference("UNPARSED"), formula=formula), state)


def _conclusion(match: re.Match[str], state: ProofState) -> Formula:
    if match["formula"]:
        return state.read(match["formula"].strip().removesuffix(";"))
    if state.hypothesis is None:
        raise Unparsed("the problem states no hypothesis")
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


def _judged(step: ProofStep, state: ProofState) -> ProofStep:
    if step.formula is None:
        return step
    # A second `int1` would change what later lines cite; which of the two is meant cannot be told.
    if step.id in state.defined or step.id in state.facts:
        return replace(
            step, inference=Inference("BAD_REFERENCE", f"{step.id} is defined twice"), poisoned=True
        )
    if step.id.startswith("assump"):
        if step.refs != ("void",):
            return replace(step, inference=Inference("BAD_REFERENCE", "an assumption cites `void` alone"))
        return replace(step, inference=_ASSUMED, sound=True, assumes=frozenset({step.id}))
    cited = [_premise(ref, state) for ref in step.refs if ref != "void"]
    for found in cited:
        if isinstance(found, Inference):
            return replace(step, inference=found, poisoned=found.verdict == "BAD_REFERENCE")
    discharged = [match[1] for ref in step.refs if (match := _DISCHARGED.fullmatch(ref))]
    parents = [found for found in cited if isinstance(found, ProofStep)]
    premises = [found for found in cited if not isinstance(found, ProofStep | Inference)]
    premises += _from_parents(parents, discharged, state)
    assumes = frozenset().union(*(parent.assumes for parent in parents if parent.id not in discharged))
    # The context is what is proved without open assumptions: only that may be cited anywhere.
    sound_steps = (s.formula for s in state.steps if s.sound and s.formula and not s.assumes)
    inference = check_inference(premises, step.formula, context=[*state.facts.values(), *sound_steps])
    if inference.verdict == "INVALID" and state.worded:
        inference = _doubted(inference, premises, step.formula, state.said)
    return ProofStep(
        step.text,
        step.id,
        step.refs,
        inference,
        poisoned=any(parent.poisoned or parent.inference.verdict in _ERRORS for parent in parents),
        sound=inference.verdict == "VALID" and all(parent.sound for parent in parents),
        formula=step.formula,
        assumes=assumes - frozenset(discharged),
    )


def _doubted(
    invalid: Inference, premises: list[Formula], goal: Formula, said: Mapping[str, int]
) -> Inference:
    """UNKNOWN instead of INVALID where the step follows if some of its words are forms of one word."""
    for by in rewordings([*premises, goal], said):
        found = check_inference([reworded(one, by) for one in premises], reworded(goal, by))
        if found.verdict in {"VALID", "TAUTOLOGY"}:
            pairs = ", ".join(f"{one} and {other}" for one, (other, _) in sorted(by.items())[:3])
            return Inference("UNKNOWN", f"follows if these are forms or opposites of one word: {pairs}")
    return invalid


def _from_parents(parents: list[ProofStep], discharged: list[str], state: ProofState) -> list[Formula]:
    """What cited steps contribute: one that rests on a discharged assumption only follows from it."""
    found: list[Formula] = []
    for parent in parents:
        formula = parent.formula
        if formula is None or parent.id in discharged:
            continue
        for name in discharged:
            assumed = state.defined[name].formula
            if name in parent.assumes and assumed is not None:
                # Discharging: what was proved under the assumption A is worth `A -> it` after the assumption
                # ends.
                formula = Joined("->", (assumed, formula))
        found.append(formula)
    return found


def _premise(ref: str, state: ProofState) -> Formula | ProofStep | Inference:
    """What a citation stands for; a verdict where it stands for nothing."""
    discharged = _DISCHARGED.fullmatch(ref)
    name = discharged[1] if discharged else ref
    if name in state.facts:
        return state.facts[name]
    if name in state.defined:
        step = state.defined[name]
        return step if step.formula is not None else Inference("UNPARSED", f"{name} could not be read")
    if name in state.unread:
        return Inference("UNPARSED", f"{name} could not be read")
    if discharged or _REFERENCE.fullmatch(name):
        # The id may stand on the line that could not be read, so calling the citation wrong would be a guess.
        if state.lost_line:
            return Inference("UNPARSED", f"{name} may be a line that could not be read")
        return Inference("BAD_REFERENCE", f"{name} is not defined before this step")
    try:
        formula = parse_formula(ref)
    except Unparsed as error:
        return Inference("UNPARSED", str(error))
    if canonical(formula) in map(canonical, state.facts.values()):
        return formula
    return Inference("BAD_REFERENCE", "a premise that is no fact")


def _supports(state: ProofState, hypothesis: Formula, label: ProofLabel) -> bool | None:
    if label == "UNKNOWN" or not state.steps:
        return None
    last = state.steps[-1]
    if last.formula is None:
        return None
    goal = hypothesis if label == "PROVED" else Not(hypothesis)
    if last.assumes or not (last.formula == goal or _says(last.formula, goal)):
        return False
    verdicts = {step.inference.verdict for step in _ancestors(last, state.defined)}
    if verdicts <= {"VALID"}:
        return True
    return None if verdicts & _ABSTENTIONS and not verdicts - _ABSTENTIONS - {"VALID"} else False


def _says(formula: Formula, goal: Formula) -> bool:
    return canonical(formula) in {canonical(goal), canonical(_without_double(goal))}


def _without_double(formula: Formula) -> Formula:
    if isinstance(formula, Not) and isinstance(formula.body, Not):
        return formula.body.body
    return formula


def _ancestors(step: ProofStep, by_id: Mapping[str, ProofStep]) -> list[ProofStep]:
    """The step and all it rests on."""
    found, waiting = {step.text: step}, [step]
    while waiting:
        for ref in waiting.pop().refs:
            parent = by_id.get(ref.strip("[]"))
            if parent is not None and parent.text not in found:
                found[parent.text] = parent
                waiting.append(parent)
    return list(found.values())
