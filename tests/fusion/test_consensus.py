"""The consensus filter: which two sides must agree, and that a perfect judge loses no solution that rollouts
have measured."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from pipeline.annotators.judge import votes_of
from pipeline.annotators.verdicts import Reading
from pipeline.fusion.consensus import check_pair, consensus
from pipeline.fusion.first_error import named_by
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.labelling.tools import open_tools
from pipeline.outputs.report import rows_of
from pipeline.policies.simulated import read_states
from pipeline.runs.run_store import RunStore
from schemas.config import RunConfig, parse_config
from schemas.errors import UserError
from schemas.records import LabelledSolution, Vote
from schemas.sources import GRADE, Sources, check_source, judge_source, rollout_source

SOURCES: Sources = {
    **GRADE,
    **rollout_source("monte_carlo"),
    **rollout_source("scan"),
    **rollout_source("prover", by="prover"),
    **judge_source("judge:a"),
    **judge_source("judge:b"),
    **check_source("arithmetic"),
}


def rolled(rates: list[float], source: str = "monte_carlo") -> list[Vote]:
    return [
        Vote(step=i, source=source, asks="solvable", p=p, correct=round(8 * p), n=8)
        for i, p in enumerate(rates)
    ]


def judged(first: int | None, source: str = "judge:a") -> list[Vote]:
    return votes_of([Reading(first)], 4, source)


def checked(*verdicts: float | None) -> list[Vote]:
    return [Vote(step=i, source="arithmetic", asks="valid", p=p) for i, p in enumerate(verdicts)]


def grade(p: float) -> list[Vote]:
    return [Vote(step=3, source="answer", asks="solvable", p=p, correct=round(p), n=1)]


DEAD_AT_2, DEAD_AT_1 = rolled([1, 0.5, 0, 0]), rolled([1, 0, 0, 0], "scan")


@pytest.mark.parametrize(
    ("pair", "votes", "expected"),
    [
        (("monte_carlo", "judge:a"), [*DEAD_AT_2, *judged(2), *judged(0, "judge:b")], (True, "agree_error")),
        (("monte_carlo", "judge:b"), [*DEAD_AT_2, *judged(0, "judge:b")], (False, "disagree_position")),
        (("judge:a", "judge:b"), [*DEAD_AT_2, *judged(1), *judged(1, "judge:b")], (True, "agree_error")),
        (("judge:a", "judge:b"), [*judged(-1), *judged(3, "judge:b")], (False, "disagree_existence")),
        (("judge:a", "judge:b"), [*judged(None), *judged(3, "judge:b")], (False, "judge_unparsed")),
        (("judge:a", "judge:b"), [*DEAD_AT_2, *judged(1)], (True, "one_sided")),
        (("judge:a", "judge:b"), DEAD_AT_2, (True, "")),
        # Two that roll out one policy are compared apart where the pair names them, and pooled otherwise.
        (("monte_carlo", "scan"), [*DEAD_AT_2, *DEAD_AT_1], (False, "disagree_position")),
        (("monte_carlo", "scan"), [*DEAD_AT_2, *rolled([1, 1], "scan")], (False, "mc_incomplete")),
        (("monte_carlo", "scan"), DEAD_AT_2, (True, "one_sided")),
        (("rollouts", "judge:a"), [*DEAD_AT_2, *DEAD_AT_1, *judged(2)], (True, "agree_error")),
        (("rollouts", "prover"), [*DEAD_AT_2, *rolled([1, 1, 0, 0], "prover")], (True, "agree_error")),
        # A verifier that refutes nothing has not said that there is no error.
        (("judge", "check"), [*judged(-1), *checked(1, 1, 1, 1)], (True, "one_sided")),
        (("judge", "check"), [*judged(2), *checked(1, None, 0, 0)], (True, "agree_error")),
        (("rollouts", "check"), [*DEAD_AT_2, *checked(1, 0, None, None)], (False, "disagree_position")),
        (("scan", "judge"), [*judged(-1), *grade(1)], (True, "agree_clean")),
        (("scan", "judge"), [*judged(2), *grade(1)], (True, "judge_only")),
    ],
)  # fmt: skip
def test_two_named_sides_must_agree(
    pair: tuple[str, str], votes: list[Vote], expected: tuple[bool, str]
) -> None:
    assert consensus(4, votes, SOURCES, pair=pair) == expected


def test_without_a_gold_answer_only_a_pair_with_rollouts_is_left_unfiltered() -> None:
    votes = [*DEAD_AT_2, *judged(1), *judged(3, "judge:b")]
    assert consensus(4, votes, SOURCES, has_gold=False) == (True, "no_gold")
    apart = consensus(4, votes, SOURCES, has_gold=False, pair=("judge:a", "judge:b"))
    assert apart == (False, "disagree_position")


def test_what_one_policy_rolled_out_in_two_ways_is_pooled() -> None:
    """At step 2 Monte Carlo has 0 of 8 and SCAN 1 of 8: one success speaks for the step."""
    votes = [*DEAD_AT_2, *rolled([1, 1, 0.125], "scan"), *judged(3)]
    assert named_by("monte_carlo", 4, votes, SOURCES).first == 2
    assert named_by("rollouts", 4, votes, SOURCES).first == 3
    assert consensus(4, votes, SOURCES) == (True, "agree_error")


def test_a_name_that_cannot_be_compared_is_refused_with_those_that_can() -> None:
    with pytest.raises(UserError, match="'omegaprm' is no source of this run: name two of monte_carlo, scan"):
        check_pair(("omegaprm", "judge:a"), SOURCES)
    with pytest.raises(UserError, match="'answer' names no first error"):
        check_pair(("answer", "judge"), SOURCES)
    # All judges are this one and others: they would name what it names.
    with pytest.raises(UserError, match="'judge:a' is one of 'judge', so it would agree with itself"):
        check_pair(("judge:a", "judge"), SOURCES)
    for pair in (True, False, ("rollouts", "check"), ("judge:a", "scan"), ("prover", "monte_carlo")):
        check_pair(pair, SOURCES)


@pytest.mark.parametrize("given", [["judge"], ["a", "b", "c"], ["a", "a"], [1, 2], "judge"])
def test_anything_but_a_switch_or_two_names_is_one_clear_line(given: object) -> None:
    with pytest.raises(UserError, match="fusion.consensus: expected true"):
        parse_config({"name": "r", "fusion": {"consensus": given}}, "r.toml")


def test_the_usual_pair_is_true_and_older_run_files_keep_their_digest() -> None:
    def digest(**fusion: object) -> str:
        return parse_config({"name": "r", "fusion": fusion}, "r.toml").fusion_digest()

    assert digest() == digest(consensus=True) == digest(consensus=["judge", "rollouts"]) == "bd1831cf3affd7e8"
    assert digest(consensus=False) != digest() != digest(consensus=["judge", "check"])


def test_a_run_is_refused_before_it_draws_anything() -> None:
    config = run_of([{"kind": "monte_carlo"}], fusion={"consensus": ["monte_carlo", "judge:x"]})

    async def open_it() -> None:
        async with AsyncExitStack() as stack:
            await open_tools(config, stack)

    with pytest.raises(UserError, match="'judge:x' is no source of this run: name two of monte_carlo, or"):
        asyncio.run(open_it())


PERFECT_JUDGE = """
from pipeline.policies.base import Completion
from pipeline.policies.simulated import read_states

class PerfectJudge:
    kind, model, revision = "scripted", "perfect", "1"

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        return None

    async def sample(self, prompt, n, sampling):
        # The template shows no solution of its own, so every state in the prompt is the solution's.
        states = read_states(prompt.text)
        first = states.index(False) if False in states else -1
        return [Completion(f"I looked at each. The first error: \\\\boxed{{{first}}}", "stop", 9)] * n
"""


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    (tmp_path / "perfect_judge_of_tests.py").write_text(PERFECT_JUDGE)
    monkeypatch.syspath_prepend(tmp_path)
    factory = "perfect_judge_of_tests:PerfectJudge"
    return {"kind": "judge", "policy": {"kind": "python", "factory": factory}}


def run_of(annotate: list[Any], **more: Any) -> RunConfig:
    policy = {"kind": "simulated", "slip": 0.05, "n_steps": 9}
    data = {"name": "r", "policy": policy, "prompt": {"max_tokens": 1000}, "annotate": annotate, **more}
    return parse_config(data, "r.toml")


def labelled(
    annotate: list[Any], propose: dict[str, Any], root: Path
) -> tuple[list[LabelledSolution], Sources]:
    """The rows of a sealed run over twelve problems."""
    problems = root / "problems.jsonl"
    problems.write_text(
        "".join(json.dumps({"text": f"problem {i}", "answer": "right"}) + "\n" for i in range(12))
    )
    source = {"source": "jsonl", "path": str(problems)}
    config = run_of(annotate, propose=propose, filter={"rollouts": 8}, problems=source, root=str(root))
    store = RunStore.open(config)
    read_problems(store)
    asyncio.run(run_shard(store, 0))
    seal(store)
    return list(rows_of(store)), store.sources()


SAMPLED = {"kind": "sample", "n": 3}
RUNS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "monte_carlo": ([{"kind": "monte_carlo"}], SAMPLED),
    "bisection": ([{"kind": "bisection"}], SAMPLED),
    "scan": ([{"kind": "scan", "confidence": 0.0}], SAMPLED),
    "omegaprm": ([], {"kind": "omegaprm", "searches": 6, "budget": 150}),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_perfect_judge_makes_consensus_keep_every_solution(
    kind: str, judge: dict[str, object], tmp_path: Path
) -> None:
    """Through a whole run: the searches leave steps out, and each measures where its solutions go wrong."""
    annotate, propose = RUNS[kind]
    rows, sources = labelled([*annotate, judge], propose, tmp_path)
    truths = [first_of(read_states(row.solution.text)) for row in rows]
    assert sum(truth == -1 for truth in truths) >= 5
    assert sum(truth >= 0 for truth in truths) >= 8
    dropped = [(row.consensus, truth) for row, truth in zip(rows, truths, strict=True) if not row.kept]
    assert dropped == []
    assert {row.consensus for row in rows} == {"agree_error", "agree_clean"}
    for row, truth in zip(rows, truths, strict=True):
        for side in ("rollouts", "judge", "judge:judge_processbench"):
            assert named_by(side, len(row.labels), row.votes, sources).first == truth, side


def test_with_too_few_rollouts_only_what_they_leave_open_is_dropped(
    judge: dict[str, object], tmp_path: Path
) -> None:
    """A search that may draw sixteen rollouts ends before it has found where a solution goes wrong. The judge
    is perfect, so what the rollouts decide is kept; the rest is dropped for that reason alone."""
    few = {"kind": "omegaprm", "searches": 6, "budget": 16}
    rows, sources = labelled([judge], few, tmp_path)
    assert {row.consensus for row in rows} == {"agree_clean", "mc_incomplete"}
    for row in rows:
        left_open = named_by("rollouts", len(row.labels), row.votes, sources).first is None
        assert row.kept == (not left_open), row.consensus


def first_of(states: list[bool]) -> int:
    return states.index(False) if False in states else -1
