"""What a run will take, before anything is spent: from a pilot, or from a stated pass rate.

A pilot labels the run's first problems with the run's own policy, into the run's own folder: they are the
beginning of the run, and nothing that it paid for is lost. Where a pass rate is stated instead, the run's own
proposer and annotators work on the simulated policy, so the prediction includes how many rollouts each asks.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.inputs.problems import load_problems, name_of
from pipeline.labelling.shard import label_problem, run_shard
from pipeline.labelling.tools import open_tools
from pipeline.policies.simulated import RIGHT, solution_text
from pipeline.runs import records
from schemas.config import (
    AnyAnnotator,
    BudgetConfig,
    GivenConfig,
    JudgeConfig,
    PolicyConfig,
    RunConfig,
    SimulatedConfig,
    VerifyConfig,
)
from schemas.errors import BackendError, UserError
from schemas.plan import Plan, Range
from schemas.records import Finished, Problem

if TYPE_CHECKING:
    from pipeline.runs.run_store import RunStore

Floats = NDArray[np.float64]
_MOST = 1000
"""Finished problems looked at: of a run that is under way there may be many."""
# The 5% and 95% quantiles then rest on 100 resamples each.
_RESAMPLES = 2000
_Z = 1.6449
"""Of a standard normal, 5% lie above: intervals hold 90%."""
_LEVELS, _PER_LEVEL = 10, 10
"""Pass rates that stand for all problems, and problems tried out at each."""


@dataclass(frozen=True)
class Stated:
    """What the person knows, or asks about."""

    pass_rate: float | None = None
    """Share of the policy's solutions that are right, over all problems."""
    tokens_per_solution: float = 0.0
    steps: int = 8
    tokens_per_second: float | None = None
    price_per_hour: float | None = None

    def check(self, config: RunConfig, pilot: int) -> None:
        """UserError where something stated cannot be, or where something needed is not stated."""
        # One problem says nothing about how problems differ, and the interval is made of that.
        if pilot < 2:
            raise UserError(f"--pilot {pilot}: expected at least 2 problems, to see how they differ")
        for name in ("tokens_per_second", "price_per_hour"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"--{name.replace('_', '-')} {value}: expected a number above 0")
        if self.pass_rate is None:
            return
        if not 0 <= self.pass_rate <= 1:
            raise UserError(f"--pass-rate {self.pass_rate}: expected a share from 0 to 1")
        if not 1 <= self.tokens_per_solution <= config.prompt.max_tokens:
            raise UserError(
                f"--pass-rate needs --tokens-per-solution, from 1 to prompt.max_tokens="
                f"{config.prompt.max_tokens}, not {self.tokens_per_solution:g}"
            )
        if not 1 <= self.steps <= 100:
            raise UserError(f"--steps {self.steps}: expected 1 to 100 steps a solution")


@dataclass(frozen=True)
class Speed:
    """What a pilot generated, and how long that took once the policies were loaded."""

    tokens: int = 0
    seconds: float = 0.0


def plan_from_pilot(
    store: "RunStore", n: int, stated: Stated, *, advance: Callable[[], None] = lambda: None
) -> Plan:
    """Label the first `n` problems of the run, unless that is done already, and predict the rest.

    Raises BackendError when the policy fails on one of them: a prediction from the others would be of easier
    problems. UserError when too few are left to predict from.
    """
    from pipeline.labelling.problems import read_problems

    problems, before = read_problems(store), records.read_plan(store.path, store.config.digest())
    speed = asyncio.run(_pilot(store, n, advance))
    done = list(islice(_finished(store), max(n, _MOST)))
    rate = stated.tokens_per_second or (speed.tokens / speed.seconds if speed.tokens else None)
    # Nothing was drawn this time, since the pilot was finished before: the speed measured then still holds.
    if rate is None and before is not None and "tokens_per_second" not in before.assumed:
        rate = before.tokens_per_second
    return _predict(store.config, problems, done, stated, rate, origin="pilot")


def plan_from_pass_rate(config: RunConfig, problems: int, stated: Stated) -> Plan:
    """Predict a run of so many problems from what is stated; nothing of the run is sampled or written.

    Problems differ: their pass rates are spread as a Beta distribution with the stated mean and a + b = 2,
    which is even from 0 to 1 where the mean is one half.
    """
    imagined = asyncio.run(_imagined(config, stated))
    return _predict(config, problems, imagined, stated, stated.tokens_per_second, origin="pass_rate")


def refuse_given(config: RunConfig) -> None:
    """UserError where a run's solutions are given: no pass rate says what they are like."""
    if config.proposer(GivenConfig):
        raise UserError(
            "--pass-rate imagines solutions that the policy writes, and those of this run are given: leave "
            "it out, and the first of them are labelled as a pilot"
        )


def count_problems(config: RunConfig) -> int:
    """Usable problems of a run, read and not kept. UserError when there are none."""
    refuse_given(config)
    found = load_problems(config.problems, seed=config.seed)
    n = sum(isinstance(item, Problem) for item in found)
    if not n:
        raise UserError(f"{name_of(config.problems)}: no usable problem")
    return n


async def _pilot(store: "RunStore", n: int, advance: Callable[[], None]) -> Speed:
    """Label what is missing of the first `n` problems."""
    tokens, seconds, wanted, start = 0, 0.0, n, 0.0

    def opened() -> None:
        nonlocal start
        start = time.perf_counter()

    for shard in range(store.config.shards):
        state = store.shard_state(shard)
        missing = min(wanted - len(state.done), len(state.owed))
        if missing > 0:
            before = sum(store.finished(shard).values())
            counts = await run_shard(store, shard, most=missing, opened=opened, advance=advance)
            # Problems that fail may be the long ones; leaving them out would make the forecast too low.
            if counts["failed"]:
                from pipeline.runs.owed import owed_figures, told

                raise BackendError(
                    f"{counts['failed']} problems of the pilot failed, so nothing is predicted: "
                    f"{told(owed_figures(store)['reasons'])}; the same command draws them again"
                )
            seconds += time.perf_counter() - start
            tokens += sum(store.finished(shard).values()) - before
        wanted -= len(state.done) + max(0, missing)
        if wanted <= 0:
            break
    return Speed(tokens, seconds)


def _finished(store: "RunStore") -> Iterator[Finished]:
    for shard in range(store.config.shards):
        yield from store.journal(shard)


async def _imagined(config: RunConfig, stated: Stated) -> list[Finished]:
    """Problems of many difficulties, labelled on the simulated policy; their tokens are those stated."""
    mean = stated.pass_rate or 0.0
    rates = np.full(_LEVELS, mean)
    if 0 < mean < 1:
        # A seed of its own: the same question gives the same forecast.
        drawn = np.random.default_rng(0).beta(2 * mean, 2 * (1 - mean), 100_000)
        # The middle of each tenth stands for it: with mean 0.5 the rates are 0.05, 0.15, ..., 0.95.
        rates = np.quantile(drawn, (np.arange(_LEVELS) + 0.5) / _LEVELS)
    words = len(solution_text([True] * stated.steps).split())
    scale = words / stated.tokens_per_solution
    found = list[Finished]()
    for level, rate in enumerate(rates):
        # The simulated policy errs with one chance per step; with this one, a solution of so many steps is
        # right as often as stated.
        slip = 1 - float(rate) ** (1 / stated.steps)
        policy = SimulatedConfig(slip=min(1.0, max(0.0, slip)), n_steps=stated.steps)
        for item in await _label(_in_words(config, scale, policy), level):
            tokens = {purpose: round(n / scale) for purpose, n in item.tokens.items()}
            found.append(item.model_copy(update={"tokens": tokens}))
    return found


async def _label(config: RunConfig, level: int) -> list[Finished]:
    posed = (Problem(text=f"{level}.{i}", answer=RIGHT, answer_kind="text") for i in range(_PER_LEVEL))
    async with AsyncExitStack() as stack:
        tools = await open_tools(config, stack)
        return [(await label_problem(problem, tools))[0] for problem in posed]


def _in_words(config: RunConfig, scale: float, policy: PolicyConfig) -> RunConfig:
    """The run on the simulated policy, whose tokens are words: `scale` of them to a token."""

    def words(tokens: int | None) -> int | None:
        return None if tokens is None else max(1, round(tokens * scale))

    def simulated(one: AnyAnnotator) -> AnyAnnotator:
        if isinstance(one, JudgeConfig):
            return one.model_copy(update={"policy": None, "max_tokens": words(one.max_tokens)})
        return one.model_copy(update={"policy": policy}) if one.own_policy else one

    per_problem = words(config.budget.per_problem)
    changed: dict[str, Any] = {
        "policy": policy,
        "prompt": config.prompt.model_copy(
            update={
                "separator": "\n",
                "split": None,
                "stop": (),
                "max_tokens": words(config.prompt.max_tokens),
            }
        ),
        # A budget of the run would cut the imagined problems; it is applied to the forecast instead.
        "budget": BudgetConfig(per_problem=per_problem),
        "propose": tuple(
            one.model_copy(update={"policy": policy}) if one in config.writers else one
            for one in config.proposers
        ),
        "annotate": tuple(
            one for one in map(simulated, config.annotate) if not isinstance(one, VerifyConfig)
        ),
    }
    return config.model_copy(update=changed)


def _predict(
    config: RunConfig, problems: int, done: list[Finished], stated: Stated, rate: float | None, *, origin: str
) -> Plan:
    if len(done) < 2 and problems > len(done):
        raise UserError(f"{len(done)} problems are too few to predict {problems} from: use --pilot 2 or more")
    rows = np.array([[item.n_calls, item.n_rollouts, sum(item.tokens.values())] for item in done], float)
    known = origin == "pilot"
    calls, completions, tokens = forecast(rows, problems - len(done) if known else problems, known=known)
    purposes = Counter[str]()
    for item in done:
        purposes.update(item.tokens)
    hours = _times(tokens, 1 / rate / 3600) if rate else None
    stating = (
        vars(stated)
        if not known
        else {name: getattr(stated, name) for name in ("tokens_per_second", "price_per_hour")}
    )
    return Plan.model_validate(
        {
            "config_digest": config.digest(),
            "origin": origin,
            "problems": problems,
            "sampled": len(done),
            "assumed": {name: value for name, value in stating.items() if value is not None},
            "calls": calls,
            "completions": completions,
            "tokens": tokens,
            "purposes": {name: round(n / len(done) * problems) for name, n in sorted(purposes.items())},
            "dearest": int(rows[:, 2].max()),
            "tokens_per_second": rate,
            "gpu_hours": hours,
            "cost": _times(hours, stated.price_per_hour) if hours and stated.price_per_hour else None,
            "reached": _reached(config.budget.run, tokens, problems),
        }
    )


def forecast(rows: Floats, rest: int, *, known: bool = True) -> list[Range]:
    """Totals of every column of `rows` (problems, columns), with 90% intervals, when `rest` more problems
    like these are added; with `known` the rows themselves are part of the total.

    A bootstrap over problems: each resample is one guess at what problems are like, from which the rest is
    drawn. Resamples of few problems scatter too little; they are spread by what Student's t adds.
    """
    k, columns = rows.shape
    rng = np.random.default_rng(0)
    # How often each problem is drawn when k are drawn with replacement; the shares give means and variances
    # of all resamples at once.
    shares = rng.multinomial(k, np.full(k, 1 / k), size=_RESAMPLES) / k
    means = shares @ rows
    # The rest is a finite sample from the resample: its total scatters by the square root of its size.
    spread = np.sqrt(np.maximum(shares @ rows**2 - means**2, 0) * rest)
    base = rows.sum(0) if known else np.zeros(columns)
    totals = base + rest * means + spread * rng.standard_normal(means.shape)
    value = base + rest * rows.mean(0)
    # t over the normal quantile, and the factor of Bessel's correction: about 4 times for 2 problems, 1.03
    # for 50.
    wider = _student(k - 1) / _Z * np.sqrt(k / (k - 1)) if k > 1 else 1.0
    low, high = value + (np.quantile(totals, (0.05, 0.95), axis=0) - value) * wider
    # What is drawn already is spent: no total can be below it.
    ends = zip(value, np.maximum(low, base), high, strict=True)
    return [
        Range(value=round(float(v), 1), low=round(float(a), 1), high=round(float(b), 1)) for v, a, b in ends
    ]


def _student(freedom: int) -> float:
    """The 95% quantile of Student's t (Abramowitz and Stegun, 26.7.5)."""
    z, v = _Z, freedom
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def _times(found: Range, factor: float) -> Range:
    return Range(value=found.value * factor, low=found.low * factor, high=found.high * factor)


def _reached(budget: int | None, tokens: Range, problems: int) -> Range | None:
    """Problems that a run's budget reaches for, at most all of them."""
    if budget is None:
        return None
    value, low, high = (
        min(1.0, budget / max(t, 1.0)) * problems for t in (tokens.value, tokens.high, tokens.low)
    )
    return Range(value=round(value, 1), low=round(low, 1), high=round(high, 1))
