"""Votes from verifiers: what the CAS and the solver can settle without a model."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from schemas.config import VerifierName
from schemas.records import Problem, Solution, Vote
from verifiers.base import StepContext, Verifier, contexts_of

_Z3 = ThreadPoolExecutor(1, thread_name_prefix="z3")
"""Z3's context belongs to one thread; a check takes about a millisecond, so one keeps up with the engine."""
_OTHERS = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="verifiers")
"""What takes long runs in processes of its own, one for each of these threads."""


def verifier_named(name: VerifierName) -> Verifier:
    """A verifier by its name; its library is imported here and not before."""
    match name:
        case "arithmetic":
            from verifiers.calculation.arithmetic import Arithmetic

            return Arithmetic()
        case "algebra":
            from verifiers.calculation.algebra import Algebra

            return Algebra()
        case "constraints":
            from verifiers.constraints.constraints import Constraints

            return Constraints()
        case "logic":
            from verifiers.proofs.premises import Logic

            return Logic()
        case "code":
            from verifiers.code.outputs import Code

            return Code()
        case "tables":
            from verifiers.tables.lookups import Tables

            return Tables()


async def annotate(problem: Problem, solution: Solution, verifiers: list[Verifier]) -> list[Vote]:
    """One vote for every step and verifier; abstentions too, with their reasons."""
    loop = asyncio.get_running_loop()
    contexts = contexts_of(problem, solution.step_texts())
    shared = {
        _Z3: [v for v in verifiers if v.name == "logic"],
        _OTHERS: [v for v in verifiers if v.name != "logic"],
    }
    found = await asyncio.gather(
        *(loop.run_in_executor(pool, _check_all, contexts, vs) for pool, vs in shared.items() if vs)
    )
    places = {verifier.name: place for place, verifier in enumerate(verifiers)}
    return sorted(chain(*found), key=lambda vote: (vote.step, places[vote.source]))


def _check_all(contexts: list[StepContext], verifiers: list[Verifier]) -> list[Vote]:
    return [_vote(verifier, context) for context in contexts for verifier in verifiers]


def _vote(verifier: Verifier, context: StepContext) -> Vote:
    finding = verifier.check(context)
    p = {"holds": 1.0, "fails": 0.0, "abstains": None}[finding.verdict]
    return Vote(
        step=len(context.steps) - 1,
        source=verifier.name,
        asks="valid",
        p=p,
        correct=int(p == 1.0),
        n=int(p is not None),
        why=finding.reason,
        evidence=finding.evidence,
    )
