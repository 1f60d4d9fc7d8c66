"""Plans: intervals that hold what they promise, pilots that begin the run, and honest ratios."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.labelling.plan import Stated, count_problems, forecast, plan_from_pass_rate, plan_from_pilot
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.plan import Forecast, Plan, Range, compare

SLIP, STEPS = 0.2, 5


def new_config(root: Path, name: str, n: int = 90, **sections: Any) -> RunConfig:
    problems = root / f"{n}.jsonl"
    problems.write_text(
        "".join(json.dumps({"text": f"Problem {i}", "answer": "right"}) + "\n" for i in range(n))
    )
    plain = {
        "name": name,
        "root": str(root),
        "shards": 2,
        "problems": {"source": "jsonl", "path": str(problems)},
        "policy": {"kind": "simulated", "slip": SLIP, "n_steps": STEPS},
        "filter": {"rollouts": 8},
        "propose": {"kind": "omegaprm", "rollouts": 4, "searches": 6},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
    }
    return RunConfig.model_validate(plain | sections)


def run(store: RunStore) -> None:
    read_problems(store)
    for shard in range(store.config.shards):
        asyncio.run(run_shard(store, shard))


def shard_bytes(store: RunStore) -> list[bytes]:
    return [path.read_bytes() for path in sorted(store.path.glob("*/*.parquet"))]


@pytest.mark.parametrize("k", [4, 16])
def test_nine_of_ten_intervals_hold_the_total(k: int) -> None:
    """Costs like those of searches: most problems are cheap, a few take many times as much."""
    rng, n, held = np.random.default_rng(k), 600, 0
    for _ in range(200):
        costs = rng.lognormal(5, 0.6, size=(n, 1))
        (found,) = forecast(costs[:k], n - k)
        assert found.low <= found.value <= found.high
        held += found.low <= costs.sum() <= found.high
    assert 0.82 <= held / 200 <= 0.96


def test_what_is_known_needs_no_interval() -> None:
    rows = np.array([[1.0, 10.0], [3.0, 30.0]])
    assert forecast(rows, 0) == [Range(value=4, low=4, high=4), Range(value=40, low=40, high=40)]
    one = forecast(rows[:1], 0)
    assert one[0].value == 1


def test_a_pilot_is_the_beginning_of_the_run(tmp_path: Path) -> None:
    plain = RunStore.open(new_config(tmp_path, "plain"))
    run(plain)
    seal(plain)
    planned = RunStore.open(new_config(tmp_path, "planned"))
    heard: list[None] = []
    plan = plan_from_pilot(planned, 24, Stated(price_per_hour=3.0), advance=lambda: heard.append(None))
    records.write_plan(planned.path, plan)
    assert (plan.sampled, plan.problems, len(heard)) == (24, 90, 24)
    assert len(planned.finished(0)) == 24
    assert plan.gpu_hours is not None
    assert plan.cost == Range(**{end: 3 * getattr(plan.gpu_hours, end) for end in ("value", "low", "high")})

    run(planned)
    report = seal(planned).plan
    assert shard_bytes(planned) == shard_bytes(plain)
    assert report is not None
    assert report.origin == "pilot"
    assert plan.tokens.low <= report.actual.tokens <= plan.tokens.high
    assert plan.calls.low <= report.actual.calls <= plan.calls.high
    for name in ("calls", "completions", "tokens"):
        assert report.ratio[name] == pytest.approx(
            getattr(report.actual, name) / getattr(plan, name).value, abs=1e-3
        )
        assert 0.7 < report.ratio[name] < 1.4


def test_planning_again_draws_nothing_and_keeps_the_measured_speed(tmp_path: Path) -> None:
    store = RunStore.open(new_config(tmp_path, "twice"))
    first = plan_from_pilot(store, 10, Stated())
    records.write_plan(store.path, first)
    journal = (store.path / "journal" / "00000.jsonl").read_bytes()
    again = plan_from_pilot(store, 10, Stated())
    assert (store.path / "journal" / "00000.jsonl").read_bytes() == journal
    assert again == first
    assert plan_from_pilot(store, 10, Stated(tokens_per_second=50.0)).tokens_per_second == 50


def test_a_pilot_of_everything_is_no_prediction(tmp_path: Path) -> None:
    store = RunStore.open(new_config(tmp_path, "small", n=9))
    plan = plan_from_pilot(store, 100, Stated())
    assert plan.tokens.low == plan.tokens.value == plan.tokens.high
    assert plan.tokens.value == sum(sum(store.finished(shard).values()) for shard in range(2))


def test_a_stated_pass_rate_predicts_without_writing(tmp_path: Path) -> None:
    """Told the truth about the policy, it is as far off as the spread of difficulties it assumes."""
    config = new_config(tmp_path, "stated", n=90)
    stated = Stated(
        pass_rate=(1 - SLIP) ** STEPS,
        tokens_per_solution=3 * STEPS + 2,
        steps=STEPS,
        tokens_per_second=1000.0,
        price_per_hour=2.0,
    )
    stated.check(config, 16)
    plan = plan_from_pass_rate(config, count_problems(config), stated)
    assert not (tmp_path / "stated").exists()
    assert plan == plan_from_pass_rate(config, 90, stated)
    store = RunStore.open(config)
    records.write_plan(store.path, plan)
    run(store)
    report = seal(store).plan
    assert report is not None
    assert 0.5 < report.ratio["tokens"] < 2
    assert plan.assumed == vars(stated)
    assert plan.gpu_hours is not None
    assert plan.gpu_hours.value == pytest.approx(plan.tokens.value / 1000 / 3600)


def test_tokens_scale_with_the_solution_and_calls_do_not(tmp_path: Path) -> None:
    config = new_config(tmp_path, "scaled")
    short, long = (
        plan_from_pass_rate(config, 50, Stated(pass_rate=0.4, tokens_per_solution=tokens))
        for tokens in (50, 200)
    )
    assert short.calls == long.calls
    assert long.tokens.value == pytest.approx(4 * short.tokens.value, rel=0.02)


def test_a_budget_says_how_far_it_reaches(tmp_path: Path) -> None:
    config = new_config(tmp_path, "budgeted")
    plan = plan_from_pass_rate(config, 200, Stated(pass_rate=0.4, tokens_per_solution=50))
    half = int(plan.tokens.value / 2)
    bound = config.model_copy(update={"budget": config.budget.model_copy(update={"run": half})})
    reached = plan_from_pass_rate(bound, 200, Stated(pass_rate=0.4, tokens_per_solution=50)).reached
    assert reached is not None
    assert reached.value == pytest.approx(100, abs=1)
    assert reached.low < reached.value < reached.high <= 200
    assert plan.reached is None


def test_a_plan_of_another_configuration_is_not_compared(tmp_path: Path) -> None:
    config = new_config(tmp_path, "other", n=8)
    stated = Stated(pass_rate=0.4, tokens_per_solution=50)
    records.write_plan(RunStore(tmp_path / "other", config).path, plan_from_pass_rate(config, 8, stated))
    store = RunStore.open(config.model_copy(update={"seed": 5}))
    run(store)
    assert seal(store).plan is None


@pytest.mark.parametrize(
    ("stated", "pilot", "said"),
    [
        (Stated(), 1, "--pilot 1"),
        (Stated(tokens_per_second=0.0), 16, "--tokens-per-second 0.0"),
        (Stated(price_per_hour=math.inf), 16, "--price-per-hour inf"),
        (Stated(price_per_hour=math.nan), 16, "--price-per-hour nan"),
        (Stated(pass_rate=1.5, tokens_per_solution=50), 16, "--pass-rate 1.5"),
        (Stated(pass_rate=math.nan, tokens_per_solution=50), 16, "--pass-rate nan"),
        (Stated(pass_rate=0.5), 16, "needs --tokens-per-solution"),
        (Stated(pass_rate=0.5, tokens_per_solution=257), 16, "prompt.max_tokens=256"),
        (Stated(pass_rate=0.5, tokens_per_solution=50, steps=0), 16, "--steps 0"),
    ],
)
def test_what_cannot_be_is_refused(stated: Stated, pilot: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        stated.check(RunConfig(name="r"), pilot)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_pass_rate_of_all_or_nothing(tmp_path: Path, rate: float) -> None:
    plan = plan_from_pass_rate(
        new_config(tmp_path, "extreme"), 50, Stated(pass_rate=rate, tokens_per_solution=50)
    )
    # The difficulty filter's, four rollouts a call, and no more: only all eight show that it is extreme.
    assert plan.calls == Range(value=100, low=100, high=100)
    assert plan.purposes == {"filter": pytest.approx(50 * 8 * 50, rel=0.01)}


def test_a_comparison_is_for_as_many_problems() -> None:
    whole = Range(value=1000, low=900, high=1100)
    plan = Plan(
        config_digest="x", origin="pilot", problems=100, sampled=10, calls=whole, completions=whole,
        tokens=whole, dearest=20,
    )  # fmt: skip
    half = Forecast(problems=50, calls=500, completions=1000, tokens=250, gpu_hours=1.0)
    report = compare(plan, half)
    assert report is not None
    assert report.ratio == {"calls": 1.0, "completions": 2.0, "tokens": 0.5}
    assert compare(None, half) is None
    assert compare(plan, Forecast(problems=0, calls=0, completions=0, tokens=0)) is None
