"""The verdict on one inference: seven ways (FoVer, arXiv 2505.15960), with a core or a counter-model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from verifiers.logic.entailment import Satisfiable, Theory, entails, smallest_core, solve
from verifiers.logic.formulas import (
    CONTRADICTION,
    Atom,
    Formula,
    Not,
    Unparsed,
    canonical,
    choices,
    parse_formula,
    rebuilt,
)

InferenceVerdict = Literal["VALID", "INVALID", "VACUOUS", "TAUTOLOGY", "UNKNOWN", "BAD_REFERENCE", "UNPARSED"]
# 2^8 readings, each decided alone, are still quick; a sentence with more doubts is not understood anyway.
_MOST_CHOICES = 8
_MOST_FACTS = 20


@dataclass(frozen=True)
class Inference:
    """Whether a conclusion follows from its premises."""

    verdict: InferenceVerdict
    reason: str = ""
    core: tuple[int, ...] = ()
    """Premises that together entail the conclusion, by 0-based index; no one of them can be left out."""
    unused: tuple[int, ...] = ()
    """Premises the conclusion does not need; each one alone can be left out."""
    repeat: bool = False
    """The conclusion is in the context already, up to names of bound variables."""
    in_context: bool | None = None
    """Whether the context alone entails the conclusion; an invalid inference then merely lacks a citation.
    None without a context, or where it could not be decided."""
    counter_model: str = ""
    readings: tuple[int, int] = (1, 1)
    """In how many readings of an ambiguous wording it follows, and how many there are."""


def check_inference(
    premises: Sequence[str | Formula], conclusion: str | Formula, *, context: Sequence[str | Formula] = ()
) -> Inference:
    """Decide one inference. `context` is all that is known besides: it never makes an inference valid.

    Where the wording leaves a choice (`{?...}`), the verdict is given only if every reading with consistent
    premises has the same; otherwise it is UNKNOWN. Choices that the text suggests (`{?+...}`) are taken to be
    so, except to call an inference invalid.
    """
    try:
        given, known, goal = [_read(p) for p in premises], [_read(p) for p in context], _read(conclusion)
    except Unparsed as error:
        return Inference("UNPARSED", str(error))
    open_choices = sorted(frozenset().union(*map(choices, [*given, goal])), key=lambda atom: atom.predicate)
    if not open_choices:
        return _decided(given, goal, known)
    if len(open_choices) > _MOST_CHOICES:
        return Inference("UNKNOWN", "the wording can be read in too many ways")
    readings = list(_readings(open_choices))
    found = [_decided([_chosen(p, r) for p in given], _chosen(goal, r), known) for r in readings]
    # A suggestion may help an inference to be valid. It must not make one invalid, since the suggestion may
    # be wrong.
    suggested = _agreed([f for f, r in zip(found, readings, strict=True) if _as_suggested(r)])
    return suggested if suggested.verdict in {"VALID", "TAUTOLOGY"} else _agreed(found)


def _readings(open_choices: list[Atom]) -> Iterator[dict[Atom, bool]]:
    for values in product((False, True), repeat=len(open_choices)):
        yield dict(zip(open_choices, values, strict=True))


def _as_suggested(reading: dict[Atom, bool]) -> bool:
    return all(reading[c] == (c.predicate[1] == "+") for c in reading if c.predicate[1:2] in {"+", "-"})


def _chosen(formula: Formula, reading: dict[Atom, bool]) -> Formula:
    """The formula under one reading."""
    match formula:
        case Atom():
            value = reading.get(formula)
            return formula if value is None else Not(CONTRADICTION) if value else CONTRADICTION
        case _:
            return rebuilt(formula, lambda part: _chosen(part, reading))


def _agreed(found: list[Inference]) -> Inference:
    meant = [f for f in found if f.verdict != "VACUOUS"] or found  # nobody means premises that clash
    valid = sum(f.verdict in {"VALID", "TAUTOLOGY"} for f in meant)
    counts = (valid, len(meant))
    if len({f.verdict for f in meant}) == 1 or valid == len(meant):
        # Where one reading makes it a tautology and another makes it valid, it is called valid.
        least = next((f for f in meant if f.verdict != "TAUTOLOGY"), meant[0])
        return replace(least, readings=counts)
    return Inference("UNKNOWN", f"follows in {valid} of {len(meant)} readings", readings=counts)


def _decided(given: list[Formula], goal: Formula, known: list[Formula]) -> Inference:
    found = entails(given, goal)
    if found.answer == "unknown":
        return Inference("UNKNOWN", found.why)
    if found.answer == "sat":
        in_context = _follows(known, goal)
        reason = (
            "a citation is missing" if in_context else "the premises can be true and the conclusion false"
        )
        return Inference("INVALID", reason, in_context=in_context, counter_model=model_text(found))
    if goal != CONTRADICTION:
        # From premises that clash anything follows; that is no proof of this conclusion.
        if solve(tuple(given)).answer == "unsat":
            return Inference("VACUOUS", "the premises contradict each other")
        if solve((Not(goal),)).answer == "unsat":
            return Inference("TAUTOLOGY", "the conclusion needs no premises")
    return _valid(given, goal, known, found)


def _valid(given: list[Formula], goal: Formula, known: list[Formula], found: Satisfiable) -> Inference:
    every = [*given, Not(goal)]
    indices = range(len(every)) if found.core is None else found.core
    core = tuple(i for i in smallest_core(every, indices) if i < len(given))
    unused = (
        i for i in range(len(given))
        if i not in core or entails(given[:i] + given[i + 1 :], goal).answer == "unsat"
    )  # fmt: skip
    repeat = canonical(goal) in {canonical(formula) for formula in known}
    return Inference("VALID", "", core, tuple(unused), repeat, _follows(known, goal))


def _follows(known: list[Formula], goal: Formula) -> bool | None:
    answer = Theory(known).entails(goal).answer if known else "unknown"
    return None if answer == "unknown" else answer == "unsat"


def _read(formula: str | Formula) -> Formula:
    return parse_formula(formula) if isinstance(formula, str) else formula


def model_text(found: Satisfiable) -> str:
    """What a counter-model makes true and false, in words."""
    parts = [("true: ", found.true), ("false: ", found.false)]
    return "; ".join(label + ", ".join(names[:_MOST_FACTS]) for label, names in parts if names)
