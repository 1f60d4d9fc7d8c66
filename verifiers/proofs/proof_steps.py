"""Proof lines as steps: `sent1 & int1 -> int2: the pip glows`, judged by the problem's own sentences.

The problem's text names them (`sent1: ... sent2: ... hypothesis: ...`, as in FLD), or they are its premises,
which are then `fact1`, `fact2` and so on. They are FoVer's formulas, FOLIO's, or FLD's English.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice

from verifiers.base import Finding, StepContext, Verdict
from verifiers.claims.parsed import ParsedText
from verifiers.corpora.fld import read_among, read_together
from verifiers.corpora.folio import read_folio
from verifiers.logic.formulas import Formula, Unparsed, parse_formula
from verifiers.proofs.inferences import Inference
from verifiers.proofs.proof_lines import ProofState, Reader

LONGEST_PROBLEM = 20_000
_MOST_FACTS = 100
_MOST_LINES = 200
# `sent1: `, `$fact2$ = `, `hypothesis: ` at the start or after a space; where one begins, the last ends.
_NAMED = re.compile(r"(?:^|(?<=\s))\$?(sent\d+|fact\d+|hypothesis)\$?\s*[:=] ")
# `sent1 & int1 -> int2: ...`, `... -> assump1: ...`, `int2 -> hypothesis;`, `... -> ¬hypothesis`.
_LINE = re.compile(r"[^\n]*->\s*(?:(?:int|assump)\d+\s*:|(?:¬|~)?\s*hypothesis\s*;?\s*$)")
# FOLIO writes quantifiers and `Eel(x)`; neither FLD's English nor FoVer's braces do.
_FOLIO = re.compile(r"[∀∃⊕↔]|[A-Za-z]\(")
# What follows without what is cited, and what cites what is not there, is wrong as a step of a proof.
_VERDICTS: Mapping[str, Verdict] = {
    "VALID": "holds",
    "TAUTOLOGY": "holds",
    "INVALID": "fails",
    "BAD_REFERENCE": "fails",
}


def is_proof_line(step: str) -> bool:
    """Whether a step is written as a line of a proof."""
    return len(step) <= 2_000 and _LINE.match(step.strip()) is not None


def check_line(context: StepContext) -> Finding:
    """The verdict on the last step as a line of a proof, from what it cites alone."""
    lines = context.shared.once(_proof_lines)
    before = bisect_left(lines, (context.count, ""))
    # Every line is judged among all before it, so the time would grow with the square of their number.
    if before > _MOST_LINES:
        return Finding("abstains", f"a proof of more than {_MOST_LINES} lines")
    texts = (*(text for _, text in lines[:before]), context.step.strip())
    try:
        state = _state(context.problem.text, context.problem.premises, texts)
    except Unparsed as error:
        return Finding("abstains", str(error))
    found = state.steps[-1].inference
    return Finding(_VERDICTS.get(found.verdict, "abstains"), _reason(found), found.counter_model)


def _proof_lines(texts: tuple[ParsedText, ...]) -> tuple[tuple[int, str], ...]:
    """The number and the text of each step that is a line of a proof, as far as they are judged."""
    lines = ((at, text.text.strip()) for at, text in enumerate(texts) if at and is_proof_line(text.text))
    return tuple(islice(lines, _MOST_LINES + 1))


def _reason(found: Inference) -> str:
    if found.verdict == "VALID":
        return "follows from what it cites"
    return found.reason or found.verdict.lower()


@lru_cache(maxsize=512)
def _state(text: str, premises: tuple[str, ...], lines: tuple[str, ...]) -> ProofState:
    """The problem's formulas and the lines so far, judged. Raises Unparsed where the problem has none."""
    if lines:
        return _state(text, premises, lines[:-1]).after(lines[-1])
    texts = _texts(text, premises)
    formulas, read, worded = _formulas(texts)
    hypothesis = formulas.pop("hypothesis", None)
    unread = frozenset(texts.keys() - formulas.keys())
    return ProofState(formulas, hypothesis, read=read, unread=unread, worded=worded)


def _texts(text: str, premises: tuple[str, ...]) -> dict[str, str]:
    parts = _NAMED.split(text) if len(text) <= LONGEST_PROBLEM else []
    found = {name: said.strip().rstrip(";") for name, said in zip(parts[1::2], parts[2::2], strict=True)}
    found |= {f"fact{number}": premise for number, premise in enumerate(premises, 1)}
    if not found.keys() - {"hypothesis"}:
        raise Unparsed("the problem has no premises in symbols and no named sentences")
    if len(found) > _MOST_FACTS:
        raise Unparsed(f"more than {_MOST_FACTS} premises")
    return found


def _formulas(texts: dict[str, str]) -> tuple[dict[str, Formula], Reader, bool]:
    """The formulas, what reads more of their kind, and whether they were read from words."""
    facts = [text for name, text in texts.items() if name != "hypothesis"]
    if any("{" in text for text in facts):
        return _each(texts, parse_formula), parse_formula, False
    if any(map(_FOLIO.search, facts)):
        return _each(texts, read_folio), read_folio, False
    formulas = read_together(texts, goals=["hypothesis"])
    known = tuple(formulas.values())
    return formulas, lambda text: read_among(text, known, "step"), True


def _each(texts: dict[str, str], read: Reader) -> dict[str, Formula]:
    """What can be read: a premise that cannot is no reason to lose the others."""
    found: dict[str, Formula] = {}
    for name, text in texts.items():
        try:
            found[name] = read(text)
        except Unparsed:
            continue
    return found
