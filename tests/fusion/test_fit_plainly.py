"""The fit in arrays against one that goes through solutions, first errors, steps and levels one by one."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.ballots import Floats, Item, ballots_of
from pipeline.fusion.chain import _LOST, _MOVES, AFTER, AT, BEFORE, LEVELS, SURE
from pipeline.fusion.trust import Model, Tables, _is_opinion, _normal, _prior, batches
from schemas.records import Vote
from schemas.sources import EARLIER, judge_source, score_source

SOURCES = {**EARLIER, **judge_source("judge:a"), **judge_source("judge:b"), **score_source("score")}
WALK = "rollouts:policy"
NAMES = (WALK, "answer", "arithmetic", "judge:a", "judge:b", "score")
Steps = list[list[float] | None]
"""The likelihood of a source's counts at each level, by step; None where it says nothing."""
Seen = dict[str, Steps]


@st.composite
def solutions(draw: st.DrawFn) -> Item:
    n_steps, votes = draw(st.integers(1, 5)), list[Vote]()
    for name, most in (("monte_carlo", 8), ("arithmetic", 1), ("judge:a", 4), ("judge:b", 1)):
        for step in range(n_steps):
            n = draw(st.sampled_from([0, most, most]))
            correct = draw(st.sampled_from([0, n // 2, n]))
            asks = SOURCES[name].asks
            p = correct / n if n else None
            votes.append(Vote(step=step, source=name, asks=asks, p=p, correct=correct, n=n))
    for name in draw(st.sets(st.sampled_from(["answer", "score"]))):
        right = draw(st.booleans())
        p = float(right)
        votes.append(
            Vote(step=n_steps - 1, source=name, asks=SOURCES[name].asks, p=p, correct=int(right), n=1)
        )
    return n_steps, votes


def seen_of(item: Item) -> Seen:
    n_steps, votes = item
    found: Seen = {}
    for vote in votes:
        if vote.p is not None:
            name = WALK if vote.source == "monte_carlo" else vote.source
            levels = SURE if name in ("answer", "arithmetic") else LEVELS
            rates = [min(max(float(level), 1e-4), 1 - 1e-4) for level in levels]
            logs = [vote.correct * math.log(y) + (vote.n - vote.correct) * math.log(1 - y) for y in rates]
            steps = found.setdefault(name, [None] * n_steps)
            steps[vote.step] = [math.exp(max(one - max(logs), -6.0)) for one in logs]
    return found


def state(step: int, k: int) -> int:
    return BEFORE if step < k else AT if step == k else AFTER


def moves(tables: Tables, hazard: float) -> list[Floats]:
    _, right, wrong, lost = tables
    plain = [sum(row[i] * _MOVES[i] for i in range(5)) + sum(lost[i] * _LOST[i] for i in range(2))
             for row in (right, wrong)]  # fmt: skip
    return [plain[0], plain[1], (1 - hazard) * plain[0] + hazard * plain[1]]


def passes(steps: Steps, k: int, tables: Tables, hazard: float) -> tuple[list[Floats], list[Floats]]:
    """Forward and backward, of a solution whose first error is `k`."""
    ones, table = np.ones(len(LEVELS)), moves(tables, hazard)
    forward, backward = [np.asarray(tables[0])], [ones]
    for step, seen in enumerate(steps):
        forward.append((forward[-1] @ table[state(step, k)]) * (ones if seen is None else seen))
    for step in range(len(steps) - 1, -1, -1):
        seen = steps[step]
        backward.append(table[state(step, k)] @ ((ones if seen is None else np.array(seen)) * backward[-1]))
    return forward, backward[::-1]


def log_of(name: str, steps: Steps, k: int, model: Model) -> float:
    tables = model.tables[name]
    if name == WALK:
        return math.log(passes(steps, k, tables, model.hazard)[0][-1].sum())
    return sum(
        math.log(float(tables[0][state(step, k)] @ seen))
        for step, seen in enumerate(steps)
        if seen is not None
    )


def shares(logs: list[float]) -> list[float]:
    weights = [math.exp(one - max(logs)) for one in logs]
    return [one / sum(weights) for one in weights]


def prior_of(n_steps: int, model: Model) -> list[float]:
    hazards = [model.hazard] * (n_steps - 1) + [model.last_hazard]
    survived = [sum(math.log(1 - h) for h in hazards[:k]) for k in range(n_steps + 1)]
    return [survived[k] + (math.log(hazards[k]) if k < n_steps else 0) for k in range(n_steps + 1)]


def counted(name: str, steps: Steps, weights: list[float], model: Model) -> Iterator[tuple[int, Floats]]:
    """Which table of a source gains what, for every first error by its weight."""
    tables, hazard = model.tables[name], model.hazard
    for k, weight in enumerate(weights):
        if name != WALK:
            for step, seen in enumerate(steps):
                if seen is not None:
                    row = tables[0][state(step, k)] * np.array(seen)
                    gain = np.zeros_like(tables[0])
                    gain[state(step, k)] = weight * row / row.sum()
                    yield 0, gain
            continue
        forward, backward = passes(steps, k, tables, hazard)
        told = max((step for step, seen in enumerate(steps) if seen is not None), default=-1)
        total, table = forward[-1].sum(), moves(tables, hazard)
        if told >= 0:
            yield 0, weight * forward[0] * backward[0] / total
        for step in range(told + 1):
            seen = steps[step]
            later = backward[step + 1] * (1.0 if seen is None else np.array(seen))
            # P(the level before this step, and after it), divided by the chance of that move.
            pair = weight * np.outer(forward[step], later) / total
            where = state(step, k)
            right = {BEFORE: 1.0, AT: 0.0, AFTER: 1 - hazard}[where]
            assert table[where].shape == pair.shape
            yield 1, right * np.array([tables[1][i] * (pair * _MOVES[i]).sum() for i in range(5)])
            yield 2, (1 - right) * np.array([tables[2][i] * (pair * _MOVES[i]).sum() for i in range(5)])
            yield 3, np.array([tables[3][i] * (pair * _LOST[i]).sum() for i in range(2)])


def one_round(items: list[Item], model: Model) -> Model:
    at, before = np.ones(2), np.full(2, 6.0)
    counts = {name: [table.copy() for table in _prior(name, SOURCES)] for name in NAMES}
    for n_steps, votes in items:
        seen, prior = seen_of((n_steps, votes)), prior_of(n_steps, model)
        logs = {
            name: [log_of(name, steps, k, model) for k in range(n_steps + 1)] for name, steps in seen.items()
        }
        chances = shares([sum(one) for one in zip(prior, *logs.values(), strict=True)])
        for step in range(n_steps):
            at[int(step == n_steps - 1)] += chances[step]
            before[int(step == n_steps - 1)] += sum(chances[step + 1 :])
        for name, steps in seen.items():
            told = 1.0
            if _is_opinion(name, SOURCES):
                others = [one for other, one in logs.items() if other != name]
                sooner, later = shares(prior), shares([sum(one) for one in zip(prior, *others, strict=True)])
                told = 1 - math.exp(
                    -max(sum(q * math.log(q / p) for p, q in zip(sooner, later, strict=True)), 0)
                )
                if not any(tells(other, seen[other]) for other in seen if other != name):
                    for table, pseudo in zip(counts[name], _prior(name, SOURCES), strict=True):
                        table += pseudo / pseudo[BEFORE].sum()
            for place, gain in counted(name, steps, [told * one for one in chances], model):
                counts[name][place] = counts[name][place] + gain
    hazard, last = at / (at + before)
    return Model(
        float(hazard), float(last), {name: _normal(tables) for name, tables in counts.items()}, SOURCES
    )


def tells(name: str, steps: Steps) -> bool:
    """A verifier tells of the first error where it refutes."""
    said = [seen for seen in steps if seen is not None]
    return any(seen[1] < 1 for seen in said) if name == "arithmetic" else bool(said)


@pytest.mark.parametrize("rounds", [1, 3])
@given(items=st.lists(solutions(), min_size=1, max_size=4))
@settings(max_examples=5)
def test_rounds_in_arrays_are_those_gone_through_one_by_one(items: list[Item], rounds: int) -> None:
    plain = arrays = Model(0.15, 0.15, {name: _normal(_prior(name, SOURCES)) for name in NAMES}, SOURCES)
    made = [batch for _, batch in batches(ballots_of(items, SOURCES))]
    for _ in range(rounds):
        plain, arrays = one_round(items, plain), arrays.learnt(made)
    assert arrays.hazard == pytest.approx(plain.hazard, abs=1e-9)
    assert arrays.last_hazard == pytest.approx(plain.last_hazard, abs=1e-9)
    for name in NAMES:
        for one, other in zip(arrays.tables[name], plain.tables[name], strict=True):
            assert one == pytest.approx(other, abs=1e-9)
