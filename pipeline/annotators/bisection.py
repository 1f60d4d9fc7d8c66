"""Find the first error of a wrong solution with as few tokens as possible: noisy bisection.

It follows OmegaPRM's binary search over one solution (arXiv 2406.06592, section 3.2), with three changes. A
prefix without a success is evidence of an error and no proof, so a posterior (`posterior`) decides where to
roll out next, and the same prefix may be probed again. Steps that verifiers refuted bound the search without
any rollout. Rollouts that the filter, the proposer or other solutions drew already count for every prefix of
this solution that they pass through. Right solutions are not searched.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.annotators.base import Context
from pipeline.annotators.posterior import Floats, Location
from pipeline.annotators.scan import ROOT
from pipeline.inputs.segment import prefix_of
from pipeline.sampling.counted import counts
from pipeline.sampling.roller import Roller
from schemas.config import BisectionConfig
from schemas.records import Rollout, Solution, Vote
from schemas.sources import POLICY, Source, Sources


@dataclass(frozen=True)
class Bisection:
    """Searches wrong solutions for their first error."""

    config: BisectionConfig
    needs_gold: bool = True

    @property
    def sources(self) -> Sources:
        """A posterior of the first error. What an OmegaPRM search drew it has counted already."""
        return {
            self.config.name: Source(kind="search", asks="solvable", by=POLICY, includes=("omegaprm",)),
        }

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """One vote for every step but the last, which the grade answers: p is the chance that no step so far
        is the first error, by rollouts alone and from a flat prior, so it never rises along the solution.

        The counts beside it are those of the rollouts through that prefix; many steps have none. The
        verifiers' votes steer the search, but p leaves them to fusion. Solutions that are right, or could not
        be graded, get abstentions.
        """
        name, n_steps, roller = self.config.name, len(solution.steps), context.roller
        how = roller.prompt.reasoning
        if solution.outcome != "incorrect":
            right = solution.outcome == "correct"
            why = "right answer: not searched" if right else "the answer was not graded"
            return [Vote(step=step, source=name, asks="solvable", why=why) for step in range(n_steps - 1)]
        prefixes = ["", *(prefix_of(solution.text, solution.steps, i, how) for i in range(1, n_steps))]
        location = Location(n_steps, recover=self.config.recover)
        # A few imagined rollouts of the bare problem: without them, one success in one draw would look like
        # certainty.
        location.observe(*self.config.prior, drawn=0)
        for vote in context.checked:
            if vote.p == 0:
                location.refute(vote.step)
        known = _already_drawn(roller, solution, prefixes)
        _learn(location, prefixes, known)
        # What a rollout still has to write, and so its price, by characters: tokens are not known before.
        left = np.array([1 - len(prefix) / len(solution.text) for prefix in prefixes])
        drawn = await self._search(roller, prefixes, left, location)
        sound = 1 - np.cumsum(location.measured())
        return [
            _vote(step, name, float(sound[step]), prefix, known, drawn)
            for step, prefix in enumerate(prefixes[1:])
        ]

    async def _search(
        self, roller: Roller, prefixes: Sequence[str], left: Floats, location: Location
    ) -> list[Rollout]:
        """Roll out where it says most until the first error is known well enough, or knowing costs too
        much."""
        drawn: list[list[Rollout]] = [[] for _ in prefixes]
        config, room = self.config, self.config.budget // self.config.batch
        for width, each in _rounds(config, len(prefixes)):
            if not room or location.chances().max() >= config.confidence:
                break
            # Where few rollouts can be read, each that can costs so much more.
            price = left * [_drawn_per_readable(rollouts) for rollouts in drawn]
            best = location.best_probes(min(width, room), price)
            probes = [probe.length for probe in best if probe.gain >= config.worth]
            if not probes:
                break
            each = min(each, room // len(probes))
            room -= each * len(probes)
            # Always whole requests from multiples of `batch` on: what two solutions that share a prefix ask
            # of it is then the same, and paid for once.
            asked = [
                (length, len(drawn[length]) + i * config.batch) for length in probes for i in range(each)
            ]
            found = await self._all(roller, [(prefixes[length], start) for length, start in asked])
            for (length, _), new in zip(asked, found, strict=True):
                drawn[length] += new
                _learn(location, prefixes, new)
        return [rollout for rollouts in drawn for rollout in rollouts]

    async def _all(self, roller: Roller, asked: Sequence[tuple[str, int]]) -> list[list[Rollout]]:
        """A batch of rollouts of each prefix, from a number on; all requests are under way at once."""

        def roll(prefix: str, start: int) -> Coroutine[Any, Any, list[Rollout]]:
            return roller.roll(prefix, self.config.batch, self.config.name, start=start)

        # Under a token budget requests go one by one in the order in which the annotators ask. A task of its
        # own for each would ask a moment later, and an engine that answers at once would serve others first.
        if roller.allowance.is_limited:
            return [await roll(*one) for one in asked]
        return list(await asyncio.gather(*(roll(*one) for one in asked)))


def _rounds(config: BisectionConfig, n_prefixes: int) -> Iterator[tuple[int, int]]:
    """Of each round, how many prefixes are probed at once, and with how many requests each.

    Both are settings and nothing that the engine's load decides: what is drawn, and so the run, must be the
    same on a busy machine.
    """
    if config.first:
        # What one prefix says decides little about the others yet, and to wait for it costs a round.
        yield n_prefixes, config.first
    each = 1.0
    while True:
        yield config.prefixes, round(each)
        # A solution that is still open is a stubborn one. With rounds that grow it waits for a few of them,
        # and not for many while the engine has little else to do.
        each = min(each * config.grow, float(config.budget))


def _already_drawn(roller: Roller, solution: Solution, prefixes: Sequence[str]) -> list[Rollout]:
    """What was drawn before any annotator ran, without the draw that became this solution: it is wrong
    because wrong ones are searched, and says nothing about rates."""
    earlier = [r for r in roller.taken if r.purpose in ROOT and r.prefix in prefixes]
    texts = [rollout.prefix + rollout.text for rollout in earlier]
    # Only one of equal texts: the others were drawn independently, and are evidence.
    if solution.text in texts:
        earlier.pop(texts.index(solution.text))
    return earlier


def _drawn_per_readable(rollouts: Sequence[Rollout]) -> float:
    # One is added above and below, so that a prefix without rollouts costs the plain price.
    return (len(rollouts) + 1) / (counts(rollouts)[1] + 1)


def _learn(location: Location, prefixes: Sequence[str], rollouts: Sequence[Rollout]) -> None:
    for rollout in rollouts:
        if rollout.outcome != "unknown":
            drawn = prefixes.index(rollout.prefix)
            length = max(i for i, prefix in enumerate(prefixes) if _passes(rollout, prefix))
            location.observe(int(rollout.outcome == "correct"), 1, drawn=drawn, length=length)


def _passes(rollout: Rollout, prefix: str) -> bool:
    """Whether a rollout goes through a prefix of its own accord, or started from it."""
    return prefix.startswith(rollout.prefix) and (rollout.prefix + rollout.text).startswith(prefix)


def _vote(
    step: int, source: str, sound: float, prefix: str, known: Sequence[Rollout], drawn: Sequence[Rollout]
) -> Vote:
    correct, n, n_failed = counts([rollout for rollout in (*known, *drawn) if _passes(rollout, prefix)])
    anything = any(rollout.outcome != "unknown" for rollout in (*known, *drawn))
    return Vote(
        step=step,
        source=source,
        asks="solvable",
        p=round(min(1.0, max(0.0, sound)), 6) if anything else None,
        correct=correct,
        n=n,
        n_failed=n_failed,
        why="" if anything else "no rollout could be graded",
        tokens=sum(rollout.tokens for rollout in drawn if rollout.prefix == prefix),
    )
