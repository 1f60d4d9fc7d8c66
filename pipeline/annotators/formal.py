"""Votes from verifiers, which check a step by calculation, algebra, logic or a run of its code: no model."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from pipeline.annotators.base import Context
from pipeline.annotators.outside import made_verifier
from schemas.config import VerifierName
from schemas.factories import load_factory
from schemas.records import Solution, Vote
from schemas.sources import Sources
from verifiers.base import StepContext, Verifier, contexts_of

_Z3 = ThreadPoolExecutor(1, thread_name_prefix="z3")
"""Z3's context belongs to one thread; a check takes about a millisecond, so one keeps up with the engine."""
_OTHERS = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="verifiers")
"""What takes long runs in processes of its own, one for each of these threads."""
VERIFIERS: dict[VerifierName, str] = {
    "arithmetic": "verifiers.calculation.arithmetic:Arithmetic",
    "algebra": "verifiers.calculation.algebra:Algebra",
    "constraints": "verifiers.constraints.constraints:Constraints",
    "logic": "verifiers.proofs.premises:Logic",
    "code": "verifiers.code.outputs:Code",
    "tables": "verifiers.tables.lookups:Tables",
    "rules": "verifiers.rules.rules:Rules",
}
"""Where ours are; a verifier's library is imported when a run asks for it, and not before."""


def verifier_named(name: str) -> Verifier:
    """A verifier of ours by its name, or an outsider's by `package.module:function`.

    UserError where the function cannot be loaded, or what it returns is no verifier.
    """
    # The same loader for ours and an outsider's: an installed package is imported by its name only when it is
    # asked for.
    ours = {str(key): place for key, place in VERIFIERS.items()}
    if name in ours:
        made: Verifier = load_factory(ours[name])()
        return made
    return made_verifier(name)


@dataclass(frozen=True)
class Verify:
    """Asks verifiers about every step."""

    verifiers: Sequence[Verifier]
    needs_gold: bool = False

    @property
    def sources(self) -> Sources:
        """A source for each verifier."""
        return {name: source for verifier in self.verifiers for name, source in verifier.sources.items()}

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """One vote for every step and verifier; abstentions too, with their reasons."""
        loop = asyncio.get_running_loop()
        z3 = [verifier for verifier in self.verifiers if _needs_one_thread(verifier)]
        shared = {_Z3: z3, _OTHERS: [v for v in self.verifiers if v not in z3]}
        contexts = contexts_of(context.problem, solution.step_texts())
        jobs = (
            loop.run_in_executor(pool, _check_all, contexts, verifiers)
            for pool, verifiers in shared.items()
            if verifiers
        )
        found = await asyncio.gather(*jobs)
        # Threads finish in any order; votes are stored in one order, so that two equal runs write equal
        # bytes.
        places = {verifier.name: place for place, verifier in enumerate(self.verifiers)}
        return sorted(chain(*found), key=lambda vote: (vote.step, places[vote.source]))


def _needs_one_thread(verifier: Verifier) -> bool:
    """Whether a verifier says that all its checks belong to one thread, as those by Z3 do."""
    return getattr(verifier, "one_thread", False)


def _check_all(contexts: Sequence[StepContext], verifiers: Sequence[Verifier]) -> list[Vote]:
    return [_vote(verifier, context) for context in contexts for verifier in verifiers]


def _vote(verifier: Verifier, context: StepContext) -> Vote:
    finding = verifier.check(context)
    # A check is one sample that said yes or no. How far it is believed is fitted by fusion, not decided here.
    p = {"holds": 1.0, "fails": 0.0, "abstains": None}[finding.verdict]
    return Vote(
        step=context.count - 1,
        source=verifier.name,
        asks="valid",
        p=p,
        correct=int(p == 1.0),
        n=int(p is not None),
        why=finding.reason,
        evidence=finding.evidence,
    )
