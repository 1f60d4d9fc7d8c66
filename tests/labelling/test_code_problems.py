"""Code problems from end to end: unit tests grade rollouts of programs, and first errors are found."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Self

import pytest

from pipeline.inputs.program_steps import program_steps
from pipeline.labelling import tools
from pipeline.labelling.problems import read_problems
from pipeline.labelling.regrade import regrade_shard
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import label_problem, run_shard
from pipeline.labelling.tools import annotators_of
from pipeline.outputs.report import rows_of
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.runs.run_store import RunStore
from pipeline.sampling.roller import Roller
from schemas.config import RunConfig
from schemas.records import Finished, Problem, UnitTest
from schemas.sources import ANSWER
from verifiers.isolation.sandbox import unavailable

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")
PROMPT = 'def evens(xs):\n    """ The squares of the even numbers. """\n'
RIGHT = "    found = []\n    for x in xs:\n        if x % 2 == 0:\n            found.append(x * x)\n"
RIGHT += "    return found\n"
WRONG = RIGHT.replace("== 0", "== 1")  # at step 1 of 0, 1, 2
TESTS = (
    UnitTest(call="evens([1, 2, 4])", expected="[4, 16]"),
    UnitTest(call="evens([])", expected="[]"),
    UnitTest(assertion="assert all(y % 2 == 0 for y in evens(range(5)))"),
)
PROBLEM = Problem(text=PROMPT, tests=TESTS, domain="code")


class Programmer:
    """Writes a right program or one with a planted mistake, and goes on rightly with any prefix."""

    kind, model, revision = "programmer", "planted", ""

    def __init__(self, *texts: str) -> None:
        self.texts, self.drawn = texts, 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        assert prompt.text.endswith(PROMPT)
        self.drawn += n
        if not prompt.prefix:
            return [Completion(self.texts[i % len(self.texts)], "stop", 20) for i in range(n)]
        whole = next(text for text in (RIGHT, *self.texts) if text.startswith(prompt.prefix))
        return [Completion(whole[len(prompt.prefix) :], "stop", 10)] * n


def config(folder: Path, **problems: Any) -> RunConfig:
    template = folder / "complete.txt"
    template.write_text("{problem}", encoding="utf-8")
    sections = {
        "name": "code",
        "root": str(folder / "runs"),
        "shards": 1,
        "prompt": {"template": str(template)},
        "propose": {"kind": "sample", "n": 4},
        "annotate": [{"kind": "monte_carlo", "rollouts": 2}, {"kind": "verify", "verifiers": ["code"]}],
    }
    return RunConfig.model_validate(sections | ({"problems": problems} if problems else {}))


def label(tmp_path: Path, policy: Programmer) -> Finished:
    found, _ = asyncio.run(label_problem(PROBLEM, annotators_of(config(tmp_path), policy)))
    return found


def test_rollouts_of_programs_locate_the_planted_mistake(tmp_path: Path) -> None:
    item = label(tmp_path, Programmer(RIGHT, WRONG))
    found = {one.solution.text: one for one in item.candidates}
    outcomes = {text: one.solution.outcome for text, one in found.items()}
    assert outcomes == {RIGHT: "correct", WRONG: "incorrect"}
    assert [step.text for step in found[WRONG].solution.steps] == [s.text for s in program_steps(WRONG)]
    shares = {v.step: v.p for v in found[WRONG].votes if v.source == "monte_carlo"}
    assert shares == {0: 1.0, 1: 0.0}
    assert {v.step: v.p for v in found[RIGHT].votes if v.source == "monte_carlo"} == {0: 1.0, 1: 1.0}
    (grade,) = (v for v in found[WRONG].votes if v.source == ANSWER)
    assert (grade.p, grade.evidence[:23]) == (0.0, "passes 1 of 3 tests; te")
    assert found[WRONG].solution.answer is None


def test_a_chat_models_program_is_graded_too(tmp_path: Path) -> None:
    chat = f"It filters.\n\n```python\n{PROMPT}{RIGHT}```\nDone."
    (one,) = label(tmp_path, Programmer(chat)).candidates[:1]
    assert one.solution.outcome == "correct"
    assert one.solution.steps[-1].text == "Done."


def test_a_text_without_a_program_is_no_failure(tmp_path: Path) -> None:
    (one,) = label(tmp_path, Programmer("I cannot do that.")).candidates
    assert one.solution.outcome == "unknown"
    (grade,) = (v for v in one.votes if v.source == ANSWER)
    assert grade.why == "the final answer could not be graded: no program found"


def test_the_loop_goes_on_while_programs_run(tmp_path: Path) -> None:
    """Programs are tested in threads and processes: what else the loop does never waits for one."""
    slow = [f"    import time\n    time.sleep(0.6)\n    return {i}\n" for i in range(3)]
    roller = Roller(Programmer(*slow), config(tmp_path).prompt, PROBLEM, seed=0)
    gaps: list[float] = []

    async def heartbeat() -> None:
        while True:
            start = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - start)

    async def both() -> None:
        beat = asyncio.ensure_future(heartbeat())
        drawn = await roller.roll("", 6, "propose")
        beat.cancel()
        assert [rollout.outcome for rollout in drawn] == ["incorrect"] * 6

    asyncio.run(both())
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.5


def test_rollouts_are_graded_again_by_corrected_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test's wrong value is corrected in the data: the rollouts are graded anew, and none is drawn."""
    file, policy = tmp_path / "problems.jsonl", Programmer(RIGHT, WRONG)

    def write(expected: str) -> None:
        tests = [{"call": "evens([2])", "expected": expected}]
        file.write_text(json.dumps({"text": PROMPT, "tests": tests}) + "\n", encoding="utf-8")

    def outcomes(store: RunStore) -> list[str]:
        seal(store)
        return [row.solution.outcome for row in sorted(rows_of(store), key=lambda r: r.solution.text)]

    monkeypatch.setattr(tools, "open_policy", lambda _: policy)
    write("[5]")
    store = RunStore.open(config(tmp_path, path=str(file)))
    read_problems(store)
    asyncio.run(run_shard(store, 0))
    assert outcomes(store) == ["incorrect", "incorrect"]
    drawn = policy.drawn
    write("[4]")
    store = RunStore.open(config(tmp_path, path=str(file)))
    read_problems(store)
    found = asyncio.run(regrade_shard(store, 0, advance=lambda: None))
    assert (found.changed, found.missing) == (1, 0)
    assert outcomes(store) == ["correct", "incorrect"]  # RIGHT sorts before WRONG
    assert policy.drawn == drawn
