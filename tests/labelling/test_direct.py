"""Labelling in memory gives what a run gives, in the order that was given, and says what gave nothing."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.annotators.base import Context
from pipeline.labelling.direct import Labelled, OpenPolicy, fuse_rows, label, opened
from pipeline.policies.base import Completion, Policy, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import config_here
from schemas.config import MonteCarloConfig, SampleConfig
from schemas.errors import BackendError, BackendGone, UserError
from schemas.records import GoldLabels, Problem, Solution, Vote
from schemas.sources import check_source, judge_source
from stepmint import label as label_api
from verifiers.base import Finding, StepContext

ROLLED: dict[str, Any] = {"annotate": [{"kind": "monte_carlo", "rollouts": 4}]}
CHECKED: dict[str, Any] = {"annotate": [{"kind": "verify", "verifiers": ["arithmetic"]}]}
SIMULATED = {"kind": "simulated", "slip": 0.2, "n_steps": 4}
PROBLEMS = [{"text": f"p {i}", "answer": "right"} for i in range(9)]


def test_votes_are_those_of_a_run(labelled: Path) -> None:
    store = RunStore(labelled, config_here(labelled))
    run = {
        candidate.solution.id: candidate
        for shard in range(2)
        for item in store.journal(shard)
        for candidate in item.candidates
    }
    found = label(PROBLEMS, {**ROLLED, "prompt": {"max_tokens": 1000}}, SIMULATED)
    assert {row.solution.id: row.votes for row in found} == {name: one.votes for name, one in run.items()}
    assert [row.solution for row in found] == [run[row.solution.id].solution for row in found]
    order = [row.problem.text for row in found]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("annotate", "propose"),
    [
        ([MonteCarloConfig(rollouts=4)], SampleConfig(n=3)),
        ([{"kind": "monte_carlo", "rollouts": 4}], {"kind": "sample", "n": 3}),
    ],
)
def test_settings_are_dicts_or_records(annotate: Sequence[Any], propose: Any) -> None:
    found = label(PROBLEMS[:1], {"annotate": annotate, "propose": propose}, SIMULATED)
    counts = {vote.n for row in found for vote in row.votes if vote.source == "monte_carlo"}
    assert counts == {4}


def test_given_solutions_are_one_row_each_in_their_order() -> None:
    one, other = Problem(text="one", answer="5"), Problem(text="other", answer="6")
    texts = [(one, "2 + 3 = 5."), (other, "2 + 3 = 6."), (one, "2 + 3 = 7."), (one, "2 + 3 = 5.")]
    found = label(texts, CHECKED, None)
    assert [(row.problem.text, row.solution.text, row.first_error) for row in found] == [
        ("one", "2 + 3 = 5.", -1),
        ("other", "2 + 3 = 6.", 0),
        ("one", "2 + 3 = 7.", 0),
        ("one", "2 + 3 = 5.", -1),
    ]
    assert label(found, CHECKED, None) == found, "rows are labelled again as they were"


def test_a_given_solution_is_rolled_out_from_and_not_replaced() -> None:
    policy = SimulatedPolicy(n_steps=4, bad_step=2)
    [row] = label([(PROBLEMS[0], policy.planted())], ROLLED, policy)
    assert row.solution.policy.kind == "given"
    assert [vote.p for vote in row.votes] == [1.0, 1.0, 0.0, 0.0]
    assert row.first_error == 2


class Failing(SimulatedPolicy):
    """Fails on some problems, or is gone from one on."""

    def __init__(self, on: str, error: type[BackendError]) -> None:
        super().__init__(n_steps=3)
        self.on, self.error = on, error

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        if self.on in prompt.text:
            raise self.error(f"no reply to {self.on}")
        return await super().sample(prompt, n, sampling)


@pytest.mark.parametrize(("error", "left_out"), [(BackendError, [3]), (BackendGone, [3, 4, 5, 6, 7, 8])])
def test_what_gave_no_row_is_named(error: type[BackendError], left_out: list[int]) -> None:
    found = label(PROBLEMS, ROLLED, Failing("p 3", error))
    assert isinstance(found, Labelled)
    assert [one.row for one in found.left_out] == left_out
    assert found.left_out[0].reason == "no reply to p 3"
    assert {row.problem.text for row in found} == {f"p {i}" for i in range(9) if i not in left_out}


@pytest.mark.parametrize("error", [BackendError, BackendGone])
def test_no_row_at_all_is_an_error(error: type[BackendError]) -> None:
    with pytest.raises(UserError, match="no problem could be labelled; the first: no reply to p"):
        label(PROBLEMS, ROLLED, Failing("p", error))


def test_a_problem_that_stands_twice_is_labelled_once() -> None:
    found = label([*PROBLEMS[:2], PROBLEMS[0]], ROLLED, SIMULATED)
    assert [(one.row, one.reason) for one in found.left_out] == [(2, "the same as problems[0]")]


def test_without_a_gold_answer_rollouts_say_nothing() -> None:
    with pytest.raises(UserError, match="the first: the problem has no gold answer"):
        label(["p"], ROLLED, SIMULATED)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"annotate": [{"kind": "monte_carlo", "rollouts": 0}]}, "monte_carlo.*rollouts"),
        ({"annotate": [{"kind": "oracle"}]}, "annotate"),
        ({"annotate": [{"rollouts": 3}]}, "kind"),
        ({**ROLLED, "propose": {"kind": "sample", "n": 0}}, "propose.*n"),
        ({**ROLLED, "seed": "x"}, "seed"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        label(["p"], settings, SIMULATED)
    assert "\n" not in str(caught.value)


class Counting(SimulatedPolicy):
    """Counts how often it is opened and closed, and on which thread it is asked."""

    def __init__(self) -> None:
        super().__init__(n_steps=3)
        self.opened = self.closed = 0
        self.threads: set[int] = set()

    async def __aenter__(self) -> "Counting":
        self.opened += 1
        self.loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.closed += 1

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        assert asyncio.get_running_loop() is self.loop
        self.threads.add(threading.get_ident())
        return await super().sample(prompt, n, sampling)


def test_a_policy_is_opened_for_a_call_or_for_several() -> None:
    policy = Counting()
    label(PROBLEMS[:2], ROLLED, policy)
    assert (policy.opened, policy.closed) == (1, 1)
    with opened(policy) as held:
        assert isinstance(held, OpenPolicy)
        for _ in range(2):
            label(PROBLEMS[:2], ROLLED, held)
        assert (policy.opened, policy.closed) == (2, 1)
    assert (policy.opened, policy.closed) == (2, 2)
    assert threading.get_ident() not in policy.threads


def test_progress_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    label(PROBLEMS[:3], ROLLED, SIMULATED)
    assert capsys.readouterr().err == ""
    label(PROBLEMS[:3], ROLLED, SIMULATED, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_an_opened_policy_is_a_policy_of_ours() -> None:
    with opened(SIMULATED) as held:
        policy: Policy = held.policy
        assert policy.kind == "simulated"


class Suspicious:
    """An annotator of an outsider: thinks that one step is wrong."""

    needs_gold = False
    sources = judge_source("suspicious")

    def __init__(self, step: int, source: str = "suspicious") -> None:
        self.step, self.source = step, source

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        assert context.problem.text
        return [
            Vote(step=step, source=self.source, asks="valid", p=float(step != self.step))
            for step in range(len(solution.steps))
        ]


class Unfinished:
    """An annotator that declares nothing."""

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        return []


class NoShouting:
    """A verifier of an outsider."""

    name = "no_shouting"
    sources = check_source("no_shouting")

    def check(self, context: StepContext) -> Finding:
        if context.step.isupper():
            return Finding("fails", "it shouts")
        return Finding("abstains", "nothing to say")


def test_annotators_and_verifiers_may_be_objects() -> None:
    given = [("p", ["LOUD.", "Quiet."])]
    found = label(given, {"annotate": [NoShouting(), Suspicious(0), *CHECKED["annotate"]]}, None)
    assert {vote.source for vote in found[0].votes} == {"no_shouting", "suspicious", "arithmetic", "answer"}
    assert found[0].first_error == 0
    assert "no_shouting: it shouts" in found[0].labels[0].reason
    assert found.sources["suspicious"].kind == "judge"


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Suspicious(0, source="someone"), "votes of source 'someone', which nobody declared"),
        (object(), "annotate: expected a list of settings with a `kind`, .*; it holds object"),
        ("kind", "it holds str 'kind'"),
        (Unfinished(), "annotator 'Unfinished object': .*has no `sources`"),
    ],
)
def test_an_object_that_is_no_annotator_is_refused(one: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        label([("p", "a")], {"annotate": [one]}, None)


def test_two_annotators_of_one_kind_may_stand_side_by_side() -> None:
    two = [{"kind": "judge"}, {"kind": "judge", "name": "second"}]
    policy = SimulatedPolicy(n_steps=2)
    [row] = label([("p", "step 0: good\nstep 1: good\n#### right")], {"annotate": two}, policy)
    assert len({vote.source for vote in row.votes} - {"answer"}) == 2


def test_rows_bring_what_their_sources_declare() -> None:
    rows = label([("p", "a\nb")], {"annotate": [Suspicious(1)]}, None)
    assert [row.votes for row in fuse_rows(rows, {})] == [row.votes for row in rows]
    with pytest.raises(UserError, match="votes of source 'suspicious', which nobody declared"):
        fuse_rows(list(rows), {})
    assert fuse_rows(list(rows), {}, judge_source("suspicious")) == fuse_rows(rows, {})


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="policy: expected settings, a Policy, .*; found str"):
        label(["p"], ROLLED, "gpt")  # type: ignore[arg-type]


class Absent(SimulatedPolicy):
    """Cannot be opened."""

    async def __aenter__(self) -> "Absent":
        raise BackendGone("http://nowhere does not answer")


@pytest.mark.parametrize("kept_open", [False, True])
def test_a_policy_that_does_not_open_is_a_user_error(kept_open: bool) -> None:
    with pytest.raises(UserError, match="nowhere does not answer"):  # noqa: PT012
        if kept_open:
            with opened(Absent()):
                pass
        else:
            label(["p"], CHECKED, Absent())


def test_rows_of_files_are_labelled_with_the_labels_that_they_bring() -> None:
    row = {"problem": "q", "steps": ["3 + 4 = 8.", "So it is 8."], "label": 0, "generator": "gpt"}
    many = {"problem": "r", "responses": ["2 + 2 = 4.", "2 + 2 = 5."]}
    rows = label_api([row, many], annotate=[{"kind": "verify"}])
    assert [(one.problem.text, one.first_error) for one in rows] == [("q", 0), ("r", -1), ("r", 0)]
    assert rows[0].gold == GoldLabels(labels=(0, None), first_error=0, by="processbench")
    assert rows[0].solution.policy.model == "gpt"
    voted = label_api([row], annotate=[], propose={"kind": "given", "gold_votes": True})
    assert [vote.p for vote in voted[0].votes if vote.source == "gold"] == [0.0]


def test_given_solutions_and_proposed_ones_stand_side_by_side() -> None:
    rows = label_api(
        [{"problem": "q", "answer": "right", "solution": "step 0: good\n#### right"}],
        policy={"kind": "simulated", "n_steps": 2},
        propose=[{"kind": "given"}, {"kind": "sample", "n": 3}],
        annotate=[{"kind": "monte_carlo", "rollouts": 2}],
    )
    assert [row.solution.policy.kind for row in rows][:1] == ["given"]
    assert {row.solution.policy.kind for row in rows} == {"given", "simulated"}
