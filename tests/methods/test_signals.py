"""Log-probability signals: the arithmetic of the card, and a model that sees through its answers."""

import asyncio
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods import probing, signals
from pipeline.methods.stored import Run
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from schemas.config import ServerConfig
from schemas.derive import SignalSettings
from schemas.errors import UserError

FLOATS = st.floats(-20, 0)


def test_gains_telescope() -> None:
    found = signals.gains([0.1, 0.3, 0.25, 0.6])
    assert found == pytest.approx([0.2, -0.05, 0.35])
    assert sum(x for x in found if x is not None) == pytest.approx(0.5)
    assert signals.gains([0.1, None, 0.3, 0.3]) == [None, None, 0.0]


def test_readings_of_a_likelihood() -> None:
    found = signals.likelihood(tuple(map(math.log, (0.5, 0.8, 0.9))))
    assert found is not None
    assert found.log_prob == pytest.approx(-1.021651, abs=1e-6)
    assert found.mean_log_prob == pytest.approx(-0.340550, abs=1e-6)
    assert found.product == pytest.approx(0.36)
    assert found.geometric == pytest.approx(0.711379, abs=1e-6)
    assert found.arithmetic == pytest.approx(0.733333, abs=1e-6)
    assert signals.likelihood(None) is None
    assert signals.likelihood(()) is None


def test_jensen_bound() -> None:
    logs = [math.log(0.2), math.log(0.6)]
    assert signals.jensen_bound(logs) == pytest.approx(-0.916291, abs=1e-6)
    assert sum(logs) / 2 == pytest.approx(-1.060132, abs=1e-6)
    assert signals.jensen_bound([-2000.0, -2000.0]) == -2000


@given(st.lists(FLOATS, min_size=1, max_size=6))
def test_the_bound_is_between_mean_and_most(logs: list[float]) -> None:
    assert sum(logs) / len(logs) - 1e-9 <= signals.jensen_bound(logs) <= max(logs) + 1e-9


@given(st.floats(-5, 5))
def test_contrast(shift: float) -> None:
    found = signals.contrast(
        (-2.0 + shift, -0.5 + shift), [(-2.5 + shift, -3.0 + shift), (-2.6 + shift, -2.8 + shift)]
    )
    assert found == pytest.approx(1.85)
    assert signals.contrast((-2.0, -0.5), []) is None


@pytest.mark.parametrize(
    ("accuracy", "confidence", "phi"),
    [(1, 1, 1), (0, 1, -1), (0, 0, 0), (1, 0, 0.5), (0.5, 0.8, 0.05), (0.2, 0.9, -0.53)],
)
def test_potential(accuracy: float, confidence: float, phi: float) -> None:
    assert signals.potential(accuracy, confidence) == pytest.approx(phi)


def test_saturation() -> None:
    assert signals.saturation([0.95, None, 0.9, 0.91, 0.1]) == [0, 1, 1, 1, 2]
    found = [signals.penalty(count) for count in (0, 1, 2, 5)]
    assert found == pytest.approx([1, 0.683940, 0.567668, 0.503369], abs=1e-6)


def test_bonus() -> None:
    found = signals.bonus([0.4, -0.2, 0.1])
    assert found == pytest.approx([0.929281, -0.789001, -0.140280], abs=1e-6)
    assert sum(found) == pytest.approx(0)
    assert signals.bonus([0.3, 0.3]) == [0, 0]
    assert signals.bonus([]) == []


def test_first_error() -> None:
    scores = signals.first_error_scores([-0.1, -0.2, -1.5], [-2.4, -1.7, -0.25])
    assert scores == pytest.approx([-2.4, -1.8, -0.55, -1.8])
    assert signals.posterior(scores) == pytest.approx([0.0909, 0.1656, 0.5780, 0.1656], abs=1e-4)
    assert signals.posterior([-2000.0, -2000.0]) == [0.5, 0.5]


def solutions_of(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["solution_id"], []).append(row)
    return list(found.values())


def test_a_model_that_sees_through_its_answers(run: Run) -> None:
    policy = SimulatedPolicy(slip=0.25, n_steps=5)
    rows = list(probing.rows(run, SignalSettings(probes=3)))
    assert rows == list(probing.rows(run, SignalSettings(probes=3)))
    solutions = solutions_of(rows)
    assert len(solutions) > 4
    for steps in solutions:
        states: list[bool] = []
        for row in steps:
            assert row["p_before"] == pytest.approx(policy.value(states), abs=1e-9)
            states.append("good" in row["text"].split("\n")[0])
            assert row["p"] == pytest.approx(policy.value(states), abs=1e-9)
            assert row["gain"] == pytest.approx(row["p"] - row["p_before"])
            assert row["step_mean_log_prob"] is None  # it cannot score a step
        assert sum(row["gain"] for row in steps) == pytest.approx(steps[-1]["p"] - steps[0]["p_before"])
        # The one wrong answer gains what the right one loses; a wrong solution is not held against itself.
        for row in steps:
            assert states[-1] or row["negatives"] == 0
            if row["negatives"]:
                assert (row["contrast"] > 0) == (row["p"] > steps[0]["p_before"])
    assert any(row["negatives"] for row in rows)


class _Coin:
    """Answers with one token, `a` of probability .8 or `b` of .2, sharpened by the temperature."""

    kind = model = revision = "coin"

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:  # noqa: ARG002
        weights = [p ** (1 / sampling.temperature) for p in (0.8, 0.2)]
        rng = random.Random(sampling.seed)
        return [Completion(rng.choices("ab", weights)[0], "stop", 1) for _ in range(n)]

    async def logprob(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:  # noqa: ARG002
        return [(math.log(0.8 if text == "a" else 0.2),) for text in texts]


@pytest.mark.parametrize(("temperature", "surprise"), [(1.0, 0.5004), (0.6, 0.3483)])
def test_the_stand_in_for_entropy_is_unbiased_at_temperature_1_only(
    run: Run, temperature: float, surprise: float
) -> None:
    """The entropy of .8 and .2 is .5004; docs/methods.md and the docstring give both figures."""
    settings = SignalSettings(probes=1, temperature=temperature)
    asking = probing.Asking(_Coin(), _Coin(), run.config, settings, "")  # type: ignore[arg-type]

    async def surprises() -> list[float]:
        drawn = [probing._confidence(Prompt("p", str(i)), asking) for i in range(4000)]
        return [-math.log(one) for one in await asyncio.gather(*drawn) if one]

    assert sum(asyncio.run(surprises())) / 4000 == pytest.approx(surprise, abs=0.04)


def test_an_answer_line_does_not_show_the_answer(run: Run) -> None:
    for stored in run:
        for candidate in stored.finished.candidates:
            prefixes = probing.states(candidate.solution, "\n####", "\n")
            assert prefixes[0] == "####"
            assert len(prefixes) == 6
            assert not any("right" in prefix or "wrong" in prefix for prefix in prefixes)
            assert all(prefix.endswith(("good\n####", "bad\n####")) for prefix in prefixes[1:])


def test_the_embedded_model_in_earnest(run: Run, make_run: Any) -> None:
    """Real forward passes: signals exist, telescope, and a shuffled answer is less likely."""
    real = make_run(
        3,
        problems={"source": "embedded", "limit": 3, "steps": [3, 3]},
        policy={"kind": "transformers", "model": "embedded"},
        prompt={"template": "embedded_solve", "max_tokens": 160},
        annotate=[],
    )
    solutions = solutions_of(list(probing.rows(real, SignalSettings(probes=2, markers=(" right", " wrong")))))
    assert solutions
    for steps in solutions:
        assert all(row["p"] is not None and 0 <= row["p"] <= 1 for row in steps)
        assert sum(row["gain"] for row in steps) == pytest.approx(steps[-1]["p"] - steps[0]["p_before"])
        assert all(row["step_min_log_prob"] <= row["step_mean_log_prob"] <= 0 for row in steps)
        assert all(-1 <= row["potential"] <= 1 for row in steps)
        chances = [row["first_error_p"] for row in steps]
        assert None in chances or 0 <= sum(chances) <= 1


def test_a_policy_that_cannot_score_is_named(run: Run) -> None:
    settings = SignalSettings(policy=ServerConfig(model="m"))
    with pytest.raises(UserError, match="no log-probabilities"):
        next(probing.rows(run, settings))
