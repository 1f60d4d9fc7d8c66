"""Sequential tests and searches for the first error, where the simulated policy knows every success rate."""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.annotators.base import Context
from pipeline.annotators.bisection import Bisection
from pipeline.annotators.monte_carlo import MonteCarlo
from pipeline.annotators.stopping import confidence_sequence, most_to_miss, ratio_test
from pipeline.fusion.first_error import measured
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy, solution_text
from pipeline.proposers import omegaprm
from pipeline.proposers.sample import to_solution
from pipeline.sampling.counted import counts
from pipeline.sampling.roller import Roller
from schemas.config import BisectionConfig, MonteCarloConfig, OmegaConfig, PromptConfig
from schemas.records import Problem, Rollout, Solution, Vote

Figures = dict[str, Any]
PROBLEM = Problem(text="a problem", answer="right", answer_kind="text")
ERROR = 0.05
TRIALS = 600
"""Of each test at each rate."""
SEARCHES = 300
# A test that is open after so many rollouts is counted as open, and not as wrong.
_CAP = 400


class Worded(SimulatedPolicy):
    """Words every step differently: with two words a step, rollouts would meet by chance and tell too
    much."""

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        drawn = await super().sample(prompt, n, sampling)
        marks = range(sampling.seed, sampling.seed + n)
        return [
            Completion(re.sub("^step", f"{mark} step", c.text, flags=re.MULTILINE), c.stopped, c.tokens)
            for mark, c in zip(marks, drawn, strict=True)
        ]


def _roller(policy: SimulatedPolicy, seed: int) -> Roller:
    return Roller(policy, PromptConfig(max_tokens=1000), PROBLEM, seed=seed)


def _solution(roller: Roller, states: list[bool]) -> Solution:
    text = solution_text(states)
    return to_solution(
        roller,
        Rollout(
            problem_id=PROBLEM.id, purpose="x", prefix="", text=text, outcome="incorrect", stopped="stop"
        ),
    )


# Sequential tests


@dataclass(frozen=True)
class Cell:
    """A test, and a state whose success rate is at an end of the test's zone (or anything, for `soft`)."""

    slip: float
    recover: float
    good: bool
    left: int
    """Steps still to be written."""
    config: MonteCarloConfig

    @property
    def policy(self) -> SimulatedPolicy:
        return SimulatedPolicy(slip=self.slip, recover=self.recover, n_steps=self.left + 1)

    @property
    def rate(self) -> float:
        return self.policy.value([self.good])

    def is_wrong(self, vote: Vote) -> bool:
        if self.config.stop == "soft":
            low, high = confidence_sequence(vote.correct, vote.n, self.config.error)
            return not low <= self.rate <= high
        zone = {"low": self.config.low, "high": self.config.high}
        answer = ratio_test(vote.correct, vote.n, **zone, error=self.config.error)
        return answer == ("yes" if self.rate <= self.config.low else "no")


def _cells() -> Iterator[Cell]:
    """A sound and an unsound state for every slip and recovery, and tests whose zone ends at their rates."""
    for slip in (0.05, 0.15, 0.3, 0.5):
        for recover in (0.0, 0.1, 0.2):
            states = [(good, left) for left in (1, 2, 4, 6) for good in (True, False)]
            rates = {state: Cell(slip, recover, *state, MonteCarloConfig()).rate for state in states}
            sound = (True, 4)
            unsound = min((s for s in states if not s[0]), key=lambda s: abs(rates[s] - rates[sound] / 3))
            # Two rates so close together would need thousands of rollouts: a state with fewer steps left
            # succeeds more often.
            if rates[unsound] > rates[sound] / 1.5:
                sound = (True, 1)
            high, low = min(rates[sound], 0.95), rates[unsound]
            miss = MonteCarloConfig(rollouts=_CAP, stop="hard", low=0.0, high=high, error=ERROR)
            both = miss.model_copy(update={"low": low or high / 4})
            soft = MonteCarloConfig(rollouts=_CAP, stop="soft", error=ERROR, width=0.4)
            yield Cell(slip, recover, *sound, miss)
            yield from (
                Cell(slip, recover, *state, test) for test in (both, soft) for state in (sound, unsound)
            )


async def _votes(cell: Cell) -> list[Vote]:
    """What the annotator says of the cell's state, once a trial."""
    policy, found = cell.policy, []
    for seed in range(TRIALS):
        roller = _roller(policy, seed)
        solution = _solution(roller, [cell.good, False])
        found.append((await MonteCarlo(cell.config).annotate(Context(roller), solution))[0])
    return found


def error_rate() -> Figures:
    """Worst measured error of the Monte Carlo annotator's sequential tests; baseline: the error asked for.

    Rates at both ends of the zone, slips .05 to .5, recoveries 0 to .2. `interval` is the worst cell's
    Clopper-Pearson interval at 95% over all cells together; `draws` compares with the fixed number of
    rollouts that keeps the same two errors.
    """
    rows, draws = [], Counter[str]()
    for cell in _cells():
        votes = asyncio.run(_votes(cell))
        wrong = sum(map(cell.is_wrong, votes))
        kind = cell.config.stop if cell.config.low or cell.config.stop == "soft" else "hard, low = 0"
        draws[f"{kind}, drawn"] += sum(vote.n for vote in votes)
        draws[f"{kind}, fixed"] += TRIALS * _fixed(cell)
        rows.append((wrong / TRIALS, wrong, kind, cell, sum(vote.n >= _CAP for vote in votes)))
    worst = max(rows, key=lambda row: row[0])
    by_kind = {kind: max(row[0] for row in rows if row[2] == kind) for kind in {row[2] for row in rows}}
    return {
        "value": worst[0],
        "unit": "share of wrong answers",
        "baseline": ERROR,
        "n": TRIALS * len(rows),
        "details": {
            # 0.05 over the number of cells (Bonferroni): the worst of many cells looks bad by chance alone.
            "interval": _clopper_pearson(worst[1], TRIALS, 0.05 / len(rows)),
            "cell": f"{worst[2]}, slip {worst[3].slip}, recover {worst[3].recover}, rate {worst[3].rate:.4f}",
            "cells": len(rows),
            "mean_error": round(sum(row[0] for row in rows) / len(rows), 4),
            "worst_by_test": by_kind,
            "open_at_the_cap": sum(row[4] for row in rows),
            "draws": dict(draws),
        },
    }


def _fixed(cell: Cell) -> int:
    """The least fixed number of rollouts that keeps a test's errors; of a soft one its width, at rate 1/2."""
    config = cell.config
    if config.stop == "soft":
        # Width of a 95% interval at rate one half: 2 * 1.96 * sqrt(0.25 / n).
        return math.ceil((1.96 / config.width) ** 2)
    if not config.low:
        return most_to_miss(high=config.high, error=config.error)
    return next(n for n in range(1, 10_000) if _separates(n, config))


def _separates(n: int, config: MonteCarloConfig) -> bool:
    """Whether some threshold keeps both errors with `n` rollouts."""
    missed = above = 0.0
    tail = [_binomial(k, n, config.low) for k in range(n + 1)]
    for threshold in range(n + 1):
        above = sum(tail[threshold:])
        if above <= config.error:
            missed = sum(_binomial(k, n, config.high) for k in range(threshold))
            return missed <= config.error
    return False


def _binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def _clopper_pearson(k: int, n: int, level: float) -> list[float]:
    def edge(is_far: Any) -> float:
        low, high = 0.0, 1.0
        # Each round halves the gap: 40 are more than the four digits that are shown.
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if is_far(middle) else (low, middle)
        return round(low, 4)

    def at_most(p: float, most: int) -> float:
        return sum(_binomial(i, n, p) for i in range(most + 1))

    lower = edge(lambda p: 1 - at_most(p, k - 1) < level / 2) if k else 0.0
    return [lower, edge(lambda p: at_most(p, k) > level / 2)]


# Searches


async def _root(roller: Roller, n: int = 32) -> bool:
    """The difficulty filter's rollouts; whether the problem passes it."""
    correct, readable, _ = counts(await roller.roll("", n, "filter"))
    return 0 < correct < readable


async def _bisect(policy: SimulatedPolicy, error: int, config: BisectionConfig) -> tuple[list[int], int]:
    """Where the first error is found (from 1, as `error`), and the rollouts it took, over many searches."""
    found: list[int] = []
    drawn = seed = 0
    while len(found) < SEARCHES:
        roller, seed = _roller(policy, seed), seed + 1
        # As in a run: problems that the filter drops are never searched.
        if not await _root(roller):
            continue
        solution = _solution(roller, [step < error - 1 for step in range(8)])
        votes = await Bisection(config).annotate(Context(roller), solution)
        sound = [1.0, *(vote.p or 0.0 for vote in votes), 0.0]
        # p falls by the chance of each step to be the first error; the largest fall is the named step.
        chances = [a - b for a, b in zip(sound, sound[1:], strict=False)]
        found.append(1 + chances.index(max(chances)))
        drawn += sum(rollout.purpose == config.name for rollout in roller.taken)
    return found, drawn


async def _plain(policy: SimulatedPolicy, error: int, k: int) -> tuple[list[int], int]:
    """The same by OmegaPRM's search of one rollout."""
    found: list[int] = []
    drawn = 0
    for seed in range(SEARCHES):
        roller, config = _roller(policy, seed), OmegaConfig(rollouts=k)
        solution, tree = _solution(roller, [step < error - 1 for step in range(8)]), omegaprm.Tree()
        await omegaprm._search(tree, omegaprm.State("", []), solution, roller, config)
        first, _ = measured(8, omegaprm._candidate(tree, solution, roller).votes, omegaprm.SOURCES)
        found.append(1 + first if first is not None else 0)
        drawn += len(roller.taken)
    return found, drawn


def _row(found: list[int], drawn: int, error: int) -> Figures:
    n = len(found)
    share = {"exact": sum(x == error for x in found), "late": sum(x > error for x in found)}
    return {**{name: round(count / n, 3) for name, count in share.items()}, "rollouts": round(drawn / n, 1)}


SPARING = BisectionConfig(confidence=0.998, worth=0.038, batch=1, recover=0.0001, budget=96)
PATIENT = BisectionConfig(confidence=0.995, worth=0.005, batch=1, recover=0.0001, budget=96)


def first_error() -> Figures:
    """Share of first errors found exactly at 3, 5 and 7 of 8 steps, by noisy bisection; baseline: OmegaPRM's
    search with k = 8 at slip .15 and k = 32 at slip .4.

    Both know the 32 rollouts of the difficulty filter, which count for neither. At slip .4 the filter passes
    few problems and says little of those, so the pass rate of 4,000 other problems is given as a prior.
    `recovering` is the limit: with recovery .1 rollouts succeed from unsound prefixes too.
    """
    pilot = asyncio.run(_pilot(SimulatedPolicy(slip=0.4), 4000))
    patient = PATIENT.model_copy(update={"prior": pilot})
    # `told` knows that the policy recovers; SPARING and PATIENT take it never to.
    told = BisectionConfig(recover=0.15, confidence=0.9, batch=1)
    rows: dict[str, Figures] = {}
    for name, slip, recover, k, configs in (
        ("slip .15", 0.15, 0.0, 8, {"bisection": SPARING}),
        ("slip .4", 0.4, 0.0, 32, {"bisection, pass rate given": patient, "bisection": PATIENT}),
        ("recovering", 0.15, 0.1, 8, {"bisection": SPARING, "bisection, recovery given": told}),
    ):
        policy = Worded(slip=slip, recover=recover)
        for error in (3, 5, 7):
            row = {f"k={k}": _row(*asyncio.run(_plain(policy, error, k)), error)}
            row |= {
                label: _row(*asyncio.run(_bisect(policy, error, config)), error)
                for label, config in configs.items()
            }
            rows[f"{name}, error at {error}"] = row
    judged = [row for name, row in rows.items() if not name.startswith("recovering")]
    plain, ours = zip(*(list(row.values())[:2] for row in judged), strict=True)
    return {
        "value": sum(row["exact"] for row in ours) / len(ours),
        "unit": "share exact",
        "baseline": sum(row["exact"] for row in plain) / len(plain),
        "n": SEARCHES * len(judged),
        "details": {
            "rollouts": [sum(r["rollouts"] for r in ours[i : i + 3]) / 3 for i in (0, 3)],
            "baseline_rollouts": [sum(r["rollouts"] for r in plain[i : i + 3]) / 3 for i in (0, 3)],
            "rows": rows,
        },
    }


async def _pilot(policy: SimulatedPolicy, n: int) -> tuple[int, int]:
    """Right rollouts, and all, of other problems."""
    correct, readable, _ = counts(await _roller(policy, 10**6).roll("", n, "monte_carlo"))
    return correct, readable
