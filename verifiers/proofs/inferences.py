"""The verdict on one inference: seven ways (FoVer, arXiv 2505.15960), with a core or a counter-model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
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
from verifiers.logic.shapes import Shape, is_monadic, shape

InferenceVerdict = Literal["VALID", "INVALID", "VACUOUS", "TAUTOLOGY", "UNKNOWN", "BAD_REFERENCE", "UNPARSED"]
# 2^8 readings, each decided alone, are still quick; a sentence with more doubts is not understood anyway.
_MOST_CHOICES = 8
_MOST_FACTS = 20
_MISSING = "a citation is missing"


@dataclass(frozen=True)
class Asked:
    """The formulas of an inference. Two are equal that have the same shape."""

    shape: Shape
    given: tuple[Formula, ...] = field(compare=False)
    goal: Formula = field(compare=False)
    known: tuple[Formula, ...] = field(compare=False)


@dataclass(frozen=True)
class Inference:
    """Whether a conclusion follows from its premises; more than the verdict is found when asked for."""

    verdict: InferenceVerdict
    reason: str = ""
    readings: tuple[int, int] = (1, 1)
    """In how many readings of an ambiguous wording it follows, and how many there are."""
    asked: Asked | None = field(default=None, repr=False, compare=False)

    @cached_property
    def core(self) -> tuple[int, ...]:
        """Premises of a valid inference that together entail its conclusion, by 0-based index; no one of them
        can be left out."""
        if self.asked is None or self.verdict != "VALID":
            return ()
        every = (*self.asked.given, Not(self.asked.goal))
        found = solve(every)
        indices = range(len(every)) if found.core is None else found.core
        return tuple(i for i in smallest_core(every, indices) if i < len(every) - 1)

    @cached_property
    def unused(self) -> tuple[int, ...]:
        """Premises that the conclusion of a valid inference does not need; each one alone can be left out."""
        if self.asked is None or self.verdict != "VALID":
            return ()
        given = self.asked.given
        return tuple(
            i for i in range(len(given))
            if i not in self.core or entails(given[:i] + given[i + 1 :], self.asked.goal).answer == "unsat"
        )  # fmt: skip

    @cached_property
    def repeat(self) -> bool:
        """The conclusion is in the context already, up to names of bound variables."""
        if self.asked is None or self.verdict != "VALID":
            return False
        return canonical(self.asked.goal) in map(canonical, self.asked.known)

    @cached_property
    def in_context(self) -> bool | None:
        """Whether the context alone entails the conclusion; an invalid inference then merely lacks a
        citation. None without a context, or where it could not be decided."""
        if self.asked is None or self.verdict not in {"VALID", "INVALID"}:
            return None
        return _follows(self.asked.known, self.asked.goal)

    @cached_property
    def counter_model(self) -> str:
        """What makes the premises of an invalid inference true and its conclusion false."""
        if self.asked is None or self.verdict != "INVALID":
            return ""
        return model_text(entails(self.asked.given, self.asked.goal))


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
    asked = Asked(shape(given, goal), tuple(given), goal, tuple(known))
    # Whether relations are decided may depend on the machine's load, so their verdicts are no one else's.
    decide = local_verdict if is_monadic(asked.shape) else local_verdict.__wrapped__
    verdict, reason = decide(asked)
    found = Inference(verdict, reason, asked=asked)
    return replace(found, reason=_MISSING) if verdict == "INVALID" and found.in_context else found


# By shape: steps of proofs repeat few shapes, and what is decided of one holds of all of its shape.
@lru_cache(8192)
def local_verdict(asked: Asked) -> tuple[InferenceVerdict, str]:
    """The verdict from the premises alone, and why."""
    found = entails(asked.given, asked.goal)
    if found.answer == "unknown":
        return "UNKNOWN", found.why
    if found.answer == "sat":
        return "INVALID", "the premises can be true and the conclusion false"
    if asked.goal != CONTRADICTION:
        # From premises that clash anything follows; that is no proof of this conclusion.
        if solve(asked.given).answer == "unsat":
            return "VACUOUS", "the premises contradict each other"
        if solve((Not(asked.goal),)).answer == "unsat":
            return "TAUTOLOGY", "the conclusion needs no premises"
    return "VALID", ""


def _follows(known: Sequence[Formula], goal: Formula) -> bool | None:
    answer = Theory(known).entails(goal).answer if known else "unknown"
    return None if answer == "unknown" else answer == "unsat"


def _read(formula: str | Formula) -> Formula:
    return parse_formula(formula) if isinstance(formula, str) else formula


def model_text(found: Satisfiable) -> str:
    """What a counter-model makes true and false, in words."""
    parts = [("true: ", found.true), ("false: ", found.false)]
    return "; ".join(label + ", ".join(names[:_MOST_FACTS]) for label, names in parts if names)
