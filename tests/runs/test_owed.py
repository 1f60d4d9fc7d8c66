"""What a backend failed to draw stays owed: the run stops, says why in its words, and goes on later."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flows import commands
from flows.arguments import parser
from flows.synthesize import _raise_owed
from pipeline.labelling import tools
from pipeline.labelling.plan import Stated, plan_from_pilot
from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import run_shard
from pipeline.policies.base import Completion, Prompt, Sampling, Unfinished
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.runs.owed import nothing_readable, owed_figures, told
from pipeline.runs.run_store import RunStore
from schemas.config import PolicyConfig, RunConfig
from schemas.errors import BackendError, BackendGone, UserError
from schemas.manifest import Manifest


class Failing(SimulatedPolicy):
    """Cannot draw for some problems; with `gone` nothing more can be drawn from there on."""

    def __init__(self, *names: str, gone: bool = False) -> None:
        super().__init__(n_steps=4)
        self.names, self.gone = names, gone

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        if any(f"{name}\n" in prompt.text for name in self.names):
            if self.gone:
                raise BackendGone('12 of 12 calls failed: 500 "on fire"')
            raise Unfinished('500 "on fire"', {})
        await asyncio.sleep(0)
        return await super().sample(prompt, n, sampling)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"text": f"P {i}", "answer": "right"}) + "\n" for i in range(10)))
    config: dict[str, Any] = {
        "name": "r",
        "root": str(tmp_path),
        "problems": {"source": "jsonl", "path": str(problems)},
        "policy": {"kind": "simulated", "n_steps": 4},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}],
    }
    found = RunStore.open(RunConfig.model_validate(config))
    read_problems(found)
    return found


def use(policy: SimulatedPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(_: PolicyConfig) -> SimulatedPolicy:
        return policy

    monkeypatch.setattr(tools, "open_policy", opened)


def test_a_failed_problem_is_owed_and_the_others_are_done(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Failing("P 3", "P 7"), monkeypatch)
    counts = asyncio.run(run_shard(store, 0))
    assert counts == {"done": 8, "failed": 2}
    assert owed_figures(store) == {"owed": 2, "reasons": {'500 "on fire"': 2}}
    with pytest.raises(BackendError, match='2 of 10 problems are still owed.* 2 times: 500 "on fire"'):
        _raise_owed(store, 10, [counts])
    summary = json.loads((store.path / "summary.json").read_text())
    assert (summary["owed"], summary["sealed"]) == (2, False)
    assert summary["reasons"] == {'500 "on fire"': 2}

    use(Failing(), monkeypatch)
    assert asyncio.run(run_shard(store, 0)) == {"done": 2, "failed": 0}
    assert owed_figures(store) == {"owed": 0, "reasons": {}}
    _raise_owed(store, 10, [counts | {"failed": 0}])


def test_a_backend_that_is_gone_stops_the_shard_and_loses_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Failing("P 5", gone=True), monkeypatch)
    with pytest.raises(BackendGone, match="on fire"):
        asyncio.run(run_shard(store, 0))
    figures = owed_figures(store)
    assert 0 < figures["owed"] < 11
    assert "on fire" in told(figures["reasons"])
    done = 10 - figures["owed"]

    policy = Failing()
    use(policy, monkeypatch)
    assert asyncio.run(run_shard(store, 0)) == {"done": 10 - done, "failed": 0}
    assert not (store.path / "journal" / "00000.unfinished").exists()


def test_the_status_says_how_often_which_reason_was_met(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Failing("P 3", "P 7"), monkeypatch)
    asyncio.run(run_shard(store, 0))
    result = commands.status(parser().parse_args(["status", str(store.path)]))
    assert result["owed"] == 2
    assert result["reasons"] == {'500 "on fire"': 2}


def test_a_plan_is_never_made_from_failed_calls(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Failing(*(f"P {i}" for i in range(5))), monkeypatch)
    with pytest.raises(BackendError, match="pilot failed, so nothing is predicted.*on fire"):
        plan_from_pilot(store, 10, Stated())
    use(Failing(), monkeypatch)
    assert plan_from_pilot(store, 10, Stated()).sampled == 10


@pytest.mark.parametrize(
    ("skipped", "readable"),
    [
        ({"no solution was finished": 3}, False),
        ({"filter: no rollout could be graded": 2, "filter: too hard": 1}, False),
        ({"filter: too hard": 2, "filter: too easy": 1}, True),
    ],
)
def test_a_run_whose_answers_gave_no_solution_says_so(skipped: dict[str, int], readable: bool) -> None:
    manifest = Manifest.model_construct(problems=3, solutions=0, skipped=skipped, rollouts=24)
    assert (nothing_readable(manifest) == "") is readable
    assert nothing_readable(manifest.model_copy(update={"solutions": 1})) == ""


def test_the_error_that_says_most_comes_first(store: RunStore) -> None:
    with pytest.raises(UserError):
        _raise_owed(store, 10, [BackendGone("a"), UserError("b"), {"done": 1, "failed": 0}])
    with pytest.raises(KeyError):
        _raise_owed(store, 10, [BackendGone("a"), KeyError("b")])
    with pytest.raises(
        BackendError, match="10 of 10 problems are still owed; the same command draws them. a"
    ):
        _raise_owed(store, 10, [BackendGone("a")])


def test_doctor_says_what_the_policies_of_a_run_file_do(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('name = "r"\n[policy]\nkind = "simulated"\n')
    found = commands.doctor(parser().parse_args(["doctor", "--policy", str(file)]))
    assert found["refused"] == []
    assert {finding["what"] for finding in found["policies"]["policy"]["findings"]} >= {"answers"}
    gone = 'policy={kind = "server", model = "m", base_url = "http://127.0.0.1:9/v1"}'
    arguments = ["doctor", "--policy", str(file), "--set", gone]
    found = commands.doctor(parser().parse_args(arguments))
    assert found["refused"] == ["policy"]
    assert "is the server running" in found["policies"]["policy"]["refused"]
