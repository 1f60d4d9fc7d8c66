"""Benches of the logic verifier: agreement with gold labels, and steps/s beside plain Z3."""

import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.corpora import rows
from benchmarks.shares import share
from pipeline.embedded.problems import arithmetic, mistakes
from schemas.records import Problem
from verifiers.base import StepContext
from verifiers.calculation.arithmetic import Arithmetic
from verifiers.constraints.constraints import Constraints
from verifiers.corpora.fld import read_among, read_together
from verifiers.corpora.folio import read_folio
from verifiers.corpora.folio_english import read_conclusion
from verifiers.corpora.proofwriter import by_rules_alone, read_rule_sentence, read_rulebase
from verifiers.logic.entailment import Theory, solve, solve_relations
from verifiers.logic.formulas import CONTRADICTION, Atom, Formula, Not, Unparsed, choices, rebuilt
from verifiers.logic.grounding import opened
from verifiers.logic.shapes import outlined, shape
from verifiers.proofs.inferences import Inference, check_inference, local_verdict
from verifiers.proofs.proof_lines import Proof, ProofState, check_proof, proof_lines

TABLE = Path(__file__).with_name("inferences.jsonl")
RULEBASES = {
    "prontoqa": "prontoqa/dev_part.jsonl",
    "proofwriter_dev": "proofwriter/dev_with_gpt4_programs_part.jsonl",
    "proofwriter_train": "proofwriter/train.jsonl.gz",
}
# 2^10 readings of a proof; further doubts stay as they are.
_MOST_DOUBTS = 10
Reading = dict[str, bool]
"""How each doubt about a wording is decided."""
_FOLIO = {"A": "True", "B": "False", "C": "Unknown"} | {n: n for n in ("undecided", "contradictory theory")}
_LETTERS = {(True, False): "A", (False, True): "B", (False, False): "C"}


def agreement() -> dict[str, Any]:
    """Rows of ProntoQA and ProofWriter whose gold label is found by rules applied forwards, in per cent.

    The baseline is classical entailment, which also turns rules round. `details` counts the rest: the table
    of FoVer, the steps of FLD's gold proofs and the labels they support, and the FOLIO formulas read.
    """
    table = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    kept = sum(check_inference(r["premises"], r["conclusion"]).verdict == r["verdict"] for r in table)
    details: dict[str, Any] = {"table": f"{kept} of {len(table)}"}
    n = forwards = classical = 0
    for name, path in RULEBASES.items():
        found = Counter(_rulebase_row(row) for row in rows(path))
        details[name] = {
            f"gold {g}, forwards {f}, classical {c}": k for (g, f, c), k in sorted(found.items())
        }
        n += found.total()
        forwards += sum(count for (gold, by_rules, _), count in found.items() if by_rules == gold)
        classical += sum(count for (gold, _, all_), count in found.items() if all_ == gold)
    details |= _fld() | _folio()
    return {**share(forwards, n, per=100), "unit": "% of rows", "baseline": 100 * classical / n,
            "details": details}  # fmt: skip


def _rulebase_row(row: dict[str, Any]) -> tuple[str, str, str]:
    """The gold label, the one by rules applied forwards, and the classical one."""
    try:
        theory = read_rulebase(row["context"])
        goal = read_rule_sentence(row["question"].rpartition("? ")[2])
    except Unparsed:
        return row["answer"], "unparsed", "unparsed"
    literals = [by_rules_alone(formula) for formula in theory]
    denied = goal.body if isinstance(goal, Not) else Not(goal)
    by_rules = _label(literals, by_rules_alone(goal), by_rules_alone(denied))
    return row["answer"], by_rules, _label(list(theory), goal, denied)


def _label(theory: list[Formula], goal: Formula, denied: Formula) -> str:
    asked = Theory(theory)
    answers = (asked.entails(goal).answer, asked.entails(denied).answer)
    if "unknown" in answers:
        return "undecided"
    return _LETTERS.get((answers[0] == "unsat", answers[1] == "unsat"), "contradictory theory")


def fld_rows() -> Iterator[tuple[dict[str, Any], dict[str, Formula], Formula]]:
    """FLD problems with their facts and hypothesis as formulas."""
    for row in rows("fld/fld_test_part.jsonl.gz"):
        parts = re.split(r"(sent\d+): ", row["context"])[1:]
        texts = {key: text.strip() for key, text in zip(parts[::2], parts[1::2], strict=True)}
        formulas = read_together({**texts, "hypothesis": row["hypothesis"]}, goals=["hypothesis"])
        if (hypothesis := formulas.pop("hypothesis", None)) is not None:
            yield row, formulas, hypothesis


def _fld() -> dict[str, Any]:
    """Verdicts on gold proofs' steps: with doubts about the wording left open, and with each decided one way
    in all sentences of its problem; then verdicts on the opposite of what the steps conclude."""
    steps, best, labels = Counter[str](), Counter[str](), Counter[str]()
    for row, facts, hypothesis in fld_rows():
        for proof in _gold_proofs(row, facts, hypothesis):
            steps.update(_step_verdict(step.inference) for step in proof.steps)
            proof = _read_one_way(row, facts, hypothesis) if proof.first_error is None else proof
            best.update(step.inference.verdict for step in proof.steps)
            labels[f"{row['answer']}, supported {proof.supports_label}"] += 1
    denied = (check_inference(cited, Not(goal)) for row in fld_rows() for cited, goal in _inferences(*row))
    return {
        "fld_gold_steps": {**steps, "% valid": share(steps["VALID"], steps.total(), per=100)},
        "fld_gold_steps_invalid": share(steps["INVALID"] + steps["BAD_REFERENCE"], steps.total(), per=100),
        "fld_read_one_way": {**best, "% valid": share(best["VALID"], best.total(), per=100)},
        "fld_citations_dropped": dict(Counter(v for row in fld_rows() for v in _one_citation_less(*row))),
        "fld_conclusions_denied": dict(Counter(inference.verdict for inference in denied)),
        "fld_labels": dict(labels),
    }


def _gold_proofs(
    row: dict[str, Any], facts: dict[str, Formula], hypothesis: Formula, reading: Reading | None = None
) -> Iterator[Proof]:
    """The row's proof, checked; under a reading, with its doubts decided."""
    known = [*facts.values(), hypothesis]

    def bound(formula: Formula) -> Formula:
        return formula if reading is None else _bound(formula, reading)

    for text in row["proofs"][:1]:
        if row["answer"] == "DISPROVED":
            # FLD's proofs of a DISPROVED hypothesis end with its denial, but write the hypothesis.
            text = text.replace("-> hypothesis", "-> ¬hypothesis")
        read = {name: bound(fact) for name, fact in facts.items()}
        yield check_proof(
            read,
            text,
            bound(hypothesis),
            row["answer"],
            read=lambda s: bound(_among(s, known)),
            worded=True,
        )


def _one_citation_less(row: dict[str, Any], facts: dict[str, Formula], hypothesis: Formula) -> Iterator[str]:
    """Verdicts on valid gold steps that need all they cite, without their first citation."""
    known = [*facts.values(), hypothesis]
    state = ProofState(facts, hypothesis, read=lambda s: _among(s, known), worded=True)
    for line in (line for text in row["proofs"][:1] for line in proof_lines(text)):
        before, state = state, state.after(line)
        found = state.steps[-1].inference
        if found.verdict == "VALID" and len(found.core) > 1 and not found.unused:
            yield before.after(line.partition("&")[2]).steps[-1].inference.verdict


def _among(text: str, known: list[Formula]) -> Formula:
    return read_among(text, known, "step")


def _read_one_way(row: dict[str, Any], facts: dict[str, Formula], hypothesis: Formula) -> Proof:
    """The proof under that reading of the row which makes the most of its steps valid."""
    (open_,) = _gold_proofs(row, facts, hypothesis)
    formulas = [*facts.values(), hypothesis, *(step.formula for step in open_.steps if step.formula)]
    cited = {ref for step in open_.steps for ref in step.refs}
    formulas = [f for f in formulas if f not in facts.values() or any(facts.get(ref) == f for ref in cited)]
    doubts = sorted({_doubt(choice) for formula in formulas for choice in choices(formula)})
    found = [open_]
    for values in product((False, True), repeat=min(len(doubts), _MOST_DOUBTS)):
        found += _gold_proofs(row, facts, hypothesis, dict(zip(doubts, values, strict=False)))
    return max(found, key=lambda proof: sum(step.inference.verdict == "VALID" for step in proof.steps))


def _doubt(choice: Atom) -> str:
    return choice.predicate.lstrip("?+-")


def _bound(formula: Formula, reading: Reading) -> Formula:
    if isinstance(formula, Atom) and formula.predicate.startswith("?"):
        return Not(CONTRADICTION) if reading.get(_doubt(formula)) else CONTRADICTION
    return rebuilt(formula, lambda part: _bound(part, reading))


def _step_verdict(found: Inference) -> str:
    """The verdict; for UNKNOWN, whether the wording or the solver is to blame."""
    valid, of = found.readings
    if found.verdict != "UNKNOWN":
        return found.verdict
    if of == 1:
        return f"UNKNOWN, {found.reason}"
    return f"UNKNOWN, ambiguous wording, {'some' if valid else 'no'} reading valid"


def _folio() -> dict[str, Any]:
    """How many premises' formulas can be read; and how the gold labels compare with Z3's where the conclusion
    can be read too, of which the rows hold no formula."""
    found, labels, differ = Counter[str](), Counter[str](), []
    for row in rows("folio/train.jsonl.gz"):
        premises: list[Formula] = []
        for text in row["premises-FOL"]:
            try:
                premises.append(read_folio(text))
            except Unparsed:
                found["refused"] += 1
        found["read"] += len(premises)
        try:
            goal = read_conclusion(row["conclusion"], premises)
        except Unparsed:
            continue
        # With a premise missing, entailment would be of another problem.
        if len(premises) == len(row["premises-FOL"]):
            label = _FOLIO[_label(premises, goal, goal.body if isinstance(goal, Not) else Not(goal))]
            labels[f"gold {row['label']}, Z3 {label}"] += 1
            if label != row["label"]:
                differ.append(row["example_id"])
    return {"folio": dict(found), "folio_labels": dict(sorted(labels.items())), "folio_labels_differ": differ}


def speed() -> dict[str, Any]:
    """Steps/s of inference checks with core and unused premises, of which no two have one shape, beside a
    fresh Z3 solver a step; in the details of all steps, whose shapes repeat.

    The steps are those of FLD's gold proofs whose wording leaves no choice.
    """
    every = [step for row in fld_rows() for step in _inferences(*row)]
    steps = [(facts, goal) for facts, goal in every if not any(map(choices, [*facts, goal]))]
    distinct = list({shape(facts, goal): (facts, goal) for facts, goal in steps}.values())
    rate, of_all = _inferences_per_s(distinct), _inferences_per_s(steps)
    import z3

    # Z3 is loaded before the clock starts.
    z3.main_ctx()
    # A fresh solver takes milliseconds a step; 200 are enough for a rate.
    sample = distinct[:200]
    start = time.process_time()
    for facts, goal in sample:
        solve_relations((*facts, Not(goal)))
    return {
        "value": rate,
        "unit": "steps/s",
        "baseline": len(sample) / (time.process_time() - start),
        "n": len(distinct),
        "details": {"all_steps": len(steps), "all_steps_per_s": round(of_all, 1)},
    }


def _inferences_per_s(steps: list[Any]) -> float:
    # Reading the gold proofs has decided these steps once.
    for kept in (solve, opened, outlined, choices, local_verdict):
        kept.cache_clear()
    start = time.process_time()
    for facts, goal in steps:
        found = check_inference(facts, goal)
        _ = found.core, found.unused  # found when asked for
    return len(steps) / (time.process_time() - start)


def _inferences(row: dict[str, Any], facts: dict[str, Formula], hypothesis: Formula) -> Iterator[Any]:
    """The valid steps of gold proofs, as premises and conclusion."""
    state = dict(facts)
    for text in row["proofs"][:1]:
        proof = check_proof(
            facts,
            text,
            hypothesis,
            "PROVED",
            read=lambda s: read_among(s, [*facts.values(), hypothesis], "step"),
        )
        for step in proof.steps:
            cited = [state[ref] for ref in step.refs if ref in state]
            if step.formula is not None:
                state[step.id] = step.formula
                if step.inference.verdict == "VALID" and len(cited) == len(step.refs):
                    yield cited, step.formula


def constraints() -> dict[str, Any]:
    """Untrue steps of the embedded default that its problems' constraints refute (Z3), in per cent.

    The baseline is arithmetic alone. `details` counts verdicts by the generator's own truth of each step.
    """
    rng, verdicts, refuted, n, crude = random.Random(0), Counter[str](), 0, 0, 0
    # 300 problems of 3 to 8 steps hold some 1,600 steps.
    for _ in range(300):
        posed = arithmetic.generate(rng, rng.randint(3, 8))
        problem = Problem(text=posed.text, answer=posed.answer, premises=posed.premises)
        for steps in (mistakes.reference(posed), mistakes.planted(posed, rng)[0]):
            for step in steps:
                truth = arithmetic.statement_truth(step, posed.premises)
                context = StepContext(problem, (step,))
                verdict = Constraints().check(context).verdict
                verdicts[f"{'true' if truth else 'untrue'}, {verdict}"] += 1
                n += not truth
                refuted += not truth and verdict == "fails"
                crude += not truth and Arithmetic().check(context).verdict == "fails"
    return {"value": 100 * refuted / n, "unit": "% of untrue steps", "baseline": 100 * crude / n, "n": n,
            "details": dict(sorted(verdicts.items()))}  # fmt: skip
