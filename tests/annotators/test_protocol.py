"""What outsiders bring votes as ours does once it is declared, and is refused or owed where it fails."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.annotators.base import Context
from pipeline.annotators.opening import annotators
from pipeline.labelling.problems import read_problems
from pipeline.labelling.regrade import regrade_shard
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import label_problem, run_shard
from pipeline.labelling.tools import annotators_of
from pipeline.outputs.report import rows_of, summarise
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from pipeline.sampling.replay import with_rest
from schemas.config import RunConfig
from schemas.errors import BackendError, UserError
from schemas.records import Finished, LabelledSolution, Problem, Rollout
from schemas.sources import EARLIER, GRADE, Source, gathered, judge_source, rollout_source

MINE = """
import asyncio
from pipeline.annotators.monte_carlo import answer_vote, vote_of
from pipeline.inputs.segment import prefix_of
from schemas.records import Vote
from schemas.sources import GRADE, Source, check_source, rollout_source
from verifiers.base import Finding

class Mine:
    needs_gold = True

    def __init__(self, rollouts=4):
        self.rollouts = rollouts
        self.sources = {**rollout_source("mine"), **GRADE}

    async def annotate(self, context, solution):
        prefixes = [prefix_of(solution.text, solution.steps, i) for i in range(1, len(solution.steps))]
        asked = (context.roller.roll(prefix, self.rollouts, "monte_carlo") for prefix in prefixes)
        drawn = await asyncio.gather(*asked)
        return [*(vote_of(i, rollouts, "mine") for i, rollouts in enumerate(drawn)), answer_vote(solution)]

class Undeclared(Mine):
    def __init__(self):
        self.rollouts, self.sources = 4, GRADE

class AsksOtherwise(Mine):
    async def annotate(self, context, solution):
        return [Vote(step=0, source="mine", asks="valid", p=0.0)]

class Beyond(Mine):
    async def annotate(self, context, solution):
        return [Vote(step=99, source="mine", asks="solvable", p=0.0)]

class Raises(Mine):
    async def annotate(self, context, solution):
        if context.problem.text == "p 1":
            raise KeyError("lost")
        return await super().annotate(context, solution)

class ReturnsNothing(Mine):
    async def annotate(self, context, solution):
        return None

class NoSources:
    needs_gold = False
    async def annotate(self, context, solution):
        return []

class WrongSources(Mine):
    sources = {"mine": "rollouts"}
    def __init__(self): pass

class SaysPolicy(Mine):
    def __init__(self):
        self.rollouts, self.sources = 4, {"monte_carlo": Source(kind="judge", asks="valid"), **GRADE}

class Good:
    name = "good"
    sources = check_source(name)
    def check(self, context):
        return Finding("fails" if context.step.endswith("bad") else "holds", "as it says")

class Breaks(Good):
    def check(self, context):
        raise ValueError("no idea")

class SaysYes(Good):
    def check(self, context):
        return True

class OtherName(Good):
    sources = check_source("other")

def three(): return 3
def fails(): raise RuntimeError("no licence")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of an outsider, in a folder of its own."""
    name = f"mine_{abs(hash(request.node.name))}"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / f"{name}.py").write_text(MINE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path / "outside")
    return name


def config(folder: Path, name: str, *annotate: dict[str, Any], **sections: Any) -> RunConfig:
    problems = folder / "problems.jsonl"
    lines = (f'{{"text": "p {i}", "answer": "right", "answer_kind": "text"}}\n' for i in range(6))
    problems.write_text("".join(lines))
    plain = {
        "name": name,
        "root": str(folder),
        "problems": {"source": "jsonl", "path": str(problems)},
        "policy": {"kind": "simulated", "slip": 0.2, "n_steps": 4},
        "annotate": annotate,
    }
    return RunConfig.model_validate(plain | sections)


def run(settings: RunConfig) -> RunStore:
    store = RunStore.open(settings)
    read_problems(store)
    asyncio.run(run_shard(store, 0))
    return store


def sealed(settings: RunConfig) -> list[LabelledSolution]:
    store = run(settings)
    seal(store)
    return list(rows_of(store))


def python(module: str, what: str = "Mine", **more: Any) -> dict[str, Any]:
    return {"kind": "python", "factory": f"{module}:{what}", **more}


def test_a_copy_of_monte_carlo_labels_as_the_original_does(tmp_path: Path, mine: str) -> None:
    ours = sealed(config(tmp_path, "ours", {"kind": "monte_carlo", "rollouts": 4}))
    theirs = sealed(config(tmp_path, "theirs", python(mine, options={"rollouts": 4})))
    assert len(ours) == len(theirs) >= 6
    assert {label.label for row in ours for label in row.labels} == {0, 1, None}
    for one, other in zip(ours, theirs, strict=True):
        renamed = [
            vote.model_copy(update={"source": vote.source.replace("mine", "monte_carlo")})
            for vote in other.votes
        ]
        assert renamed == list(one.votes)
        for a, b in zip(one.labels, other.labels, strict=True):
            told = {
                name: getattr(b, name).replace("mine", "monte_carlo") for name in ("decided_by", "reason")
            }
            assert b.model_copy(update=told) == a
        assert (one.first_error, one.kept) == (other.first_error, other.kept)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("Undeclared", r"annotator 'python': votes of source 'mine', which nobody declared: .*Source\(kind="),
        ("AsksOtherwise", "asks 'valid', but the source is declared with asks='solvable'"),
        ("Beyond", "is on step 99 of 4"),
        ("ReturnsNothing", "annotate returned NoneType, not a list of Vote"),
        ("NoSources", "has no `sources`; it needs sources, needs_gold, annotate"),
        ("WrongSources", "`sources` must map names to schemas.sources.Source"),
        ("three", "returned int, which has no `sources`"),
        ("fails", r"RuntimeError: no licence \(.*line \d+\)"),
        ("nothing_of_that_name", "has no function"),
    ],
)
def test_what_keeps_no_protocol_is_refused_in_one_line(
    tmp_path: Path, mine: str, what: str, said: str
) -> None:
    with pytest.raises(UserError, match=said) as refused:
        run(config(tmp_path, "r", python(mine, what)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("SaysYes", "check returned bool, not a Finding"),
        ("OtherName", "must declare 'good', its name, and nothing else"),
        ("three", "has no `name`"),
    ],
)
def test_what_is_no_verifier_is_refused(tmp_path: Path, mine: str, what: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(config(tmp_path, "r", {"kind": "verify", "verifiers": [f"{mine}:{what}"]}))


def test_a_problem_at_which_an_outsiders_annotator_raises_is_owed(tmp_path: Path, mine: str) -> None:
    store = run(config(tmp_path, "r", python(mine, "Raises")))
    (owed,) = store.owed(0)
    assert owed.problem.text == "p 1"
    (failure,) = records.failures(store.path)
    assert failure.reason.startswith(f"annotator '{mine}:Raises': KeyError: 'lost' (")
    assert len(list(store.journal(0))) == 5


def test_a_verifier_from_outside_votes_beside_ours(tmp_path: Path, mine: str) -> None:
    verifiers = {"kind": "verify", "verifiers": ["arithmetic", f"{mine}:Good"]}
    rows = sealed(config(tmp_path, "r", verifiers))
    votes = [(vote, row.solution.steps[vote.step]) for row in rows for vote in row.votes]
    assert {vote.source for vote, _ in votes} == {"arithmetic", "good", "answer"}
    for vote, step in votes:
        if vote.source == "good":
            assert vote.p == float(not step.text.split("\n")[0].endswith("bad")) or step.text.count("\n")
    with pytest.raises(BackendError, match="ValueError: no idea"):
        run(config(tmp_path, "broken", {"kind": "verify", "verifiers": [f"{mine}:Breaks"]}))


def test_a_sealed_run_is_read_without_whoever_voted(tmp_path: Path, mine: str) -> None:
    settings = config(tmp_path, "r", python(mine), {"kind": "judge", "votes": 1})
    before = sealed(settings)
    (tmp_path / "outside" / f"{mine}.py").unlink()
    del sys.modules[mine]
    store = RunStore.reopen(settings)
    manifest = seal(store)
    assert list(rows_of(store)) == before
    assert manifest.declared["mine"] == Source(kind="rollouts", asks="solvable", by="policy")
    assert summarise(store)["sources"]["mine"]["votes"] > 0
    with pytest.raises(UserError, match="no module"):
        run(settings)


def test_an_edited_module_is_noticed_as_an_edited_prompt_is(tmp_path: Path, mine: str) -> None:
    settings = config(tmp_path, "r", python(mine), {"kind": "verify", "verifiers": [f"{mine}:Good"]})
    run(settings)
    (tmp_path / "outside" / f"{mine}.py").write_text(MINE + "\n# another version\n")
    with pytest.raises(UserError, match=rf"factory {mine}:Mine: its files changed \(digest"):
        RunStore.open(settings)


def test_what_has_not_voted_yet_may_be_mended(tmp_path: Path, mine: str) -> None:
    """Also with another declaration, and after it has drawn rollouts: a first slip does not lock the name."""
    file, settings = tmp_path / "outside" / f"{mine}.py", config(tmp_path, "r", python(mine))
    file.write_text(MINE.replace('rollout_source("mine")', 'rollout_source("another")'))
    with pytest.raises(UserError, match="votes of source 'mine', which nobody declared"):
        run(settings)
    del sys.modules[mine]
    file.write_text(MINE)
    store = run(settings)
    assert not list(store.owed(0))
    assert store.sources() == {**GRADE, **rollout_source("mine")}


def test_other_declarations_than_a_run_began_with_are_refused(tmp_path: Path) -> None:
    store = run(config(tmp_path, "r", {"kind": "monte_carlo", "rollouts": 2}))
    assert store.sources() == {**GRADE, **rollout_source("monte_carlo")}
    with pytest.raises(UserError, match=r"was started with source 'monte_carlo' as .*'rollouts'.*'judge'"):
        store.declare({**GRADE, **judge_source("monte_carlo")})


def test_one_name_has_one_declaration(tmp_path: Path, mine: str) -> None:
    both = ({"kind": "monte_carlo"}, python(mine, "SaysPolicy"))
    with pytest.raises(UserError, match="'python' declares the source 'monte_carlo', and annotator 'monte_c"):
        run(config(tmp_path, "r", *both))
    with pytest.raises(UserError, match="so their votes could not be told apart"):
        gathered([("a", judge_source("x")), ("b", judge_source("x"))])
    assert gathered([("a", GRADE), ("b", GRADE)]) == GRADE


JUDGES = (
    {"kind": "judge", "votes": 2, "policy": {"kind": "simulated", "slip": 0.3, "n_steps": 4}},
    {"kind": "judge", "name": "strict", "votes": 2, "policy": {"kind": "simulated", "slip": 0.9}},
)
PROVERS = (
    {"kind": "prover", "rollouts": 3, "policy": {"kind": "simulated", "slip": 0.9, "n_steps": 4}},
    {"kind": "prover", "name": "strong", "rollouts": 3, "policy": {"kind": "simulated", "slip": 0.0}},
)


@pytest.mark.parametrize("pair", [JUDGES, PROVERS], ids=["judges", "provers"])
def test_two_of_a_kind_stand_in_one_run(tmp_path: Path, pair: tuple[dict[str, Any], ...]) -> None:
    together = run(config(tmp_path, "both", *pair))
    alone = [run(config(tmp_path, f"alone{i}", one)) for i, one in enumerate(pair)]
    kind = pair[0]["kind"]
    for item, *single in zip(*(store.journal(0) for store in (together, *alone)), strict=True):
        votes = [vote for candidate in item.candidates for vote in candidate.votes]
        apart = [vote for one in single for candidate in one.candidates for vote in candidate.votes]
        assert {str(vote) for vote in votes} == {str(vote) for vote in apart}
        assert set(item.tokens) - {"propose"} == {kind, f"{kind}:{pair[1]['name']}"}
    manifest = seal(together)
    if kind == "prover":
        assert manifest.trust is not None
        assert set(manifest.trust.rollouts) == {"prover", "strong"}
    # The stored replies of each are told apart when the run is graded again.
    again = asyncio.run(regrade_shard(together, 0, advance=lambda: None))
    assert (again.changed, again.same, again.missing) == (0, 6, 0)


def test_every_annotator_of_ours_declares_what_it_was_known_as(tmp_path: Path) -> None:
    """A run from before declarations is read as one of today: SCAN's counts are rollouts of the policy."""
    own = {"policy": {"kind": "simulated"}}
    kinds = [{"kind": kind} for kind in ("monte_carlo", "bisection", "scan", "judge")]
    every = ["arithmetic", "algebra", "constraints", "logic", "code", "tables"]
    settings = config(
        tmp_path, "r", *kinds, {"kind": "prover", **own}, {"kind": "verify", "verifiers": every}
    )
    found = gathered((part.called, part.annotator.sources) for part in annotators(settings))
    assert found == {name: EARLIER[name] for name in found}
    assert {*found, "omegaprm"} == {*EARLIER, "judge:judge_processbench"}
    pooled = {name for name, source in found.items() if source.by == "policy"}
    assert pooled == {"monte_carlo", "scan", "bisection"}


def test_who_needs_a_gold_answer_abstains_without_one(tmp_path: Path, mine: str) -> None:
    settings = config(tmp_path, "r", python(mine), {"kind": "judge", "votes": 1})
    problem = Problem(text="no answer is known")
    item, _ = asyncio.run(label_problem(problem, annotators_of(settings, SimulatedPolicy(n_steps=3))))
    for candidate in item.candidates:
        votes = [vote for vote in candidate.votes if vote.source == "mine"]
        assert [(vote.step, vote.asks, vote.p) for vote in votes] == [
            (step, "solvable", None) for step in range(len(candidate.solution.steps) - 1)
        ]
        assert {vote.why for vote in votes} == {"the problem has no gold answer"}


def test_an_annotator_asks_its_own_policy_and_what_that_draws_is_kept_apart() -> None:
    from pipeline.sampling.roller import Roller
    from schemas.config import PromptConfig

    policy, other = SimulatedPolicy(n_steps=3), SimulatedPolicy(n_steps=3)
    roller = Roller(policy, PromptConfig(), Problem(text="p", answer="right"), seed=0)
    context = Context(roller, roller.of(other, "python:mine"))
    asyncio.run(context.own.roll("", 2, "values"))
    assert (policy.completions, other.completions) == (0, 2)
    assert {rollout.purpose for rollout in roller.taken} == {"python:mine:values"}
    assert Context(roller).own is roller


def test_what_a_named_judge_said_is_no_answer_to_be_graded() -> None:
    """It was read as a verdict; only completions of the problem are graded again."""
    reply = Rollout(
        problem_id="p", purpose="judge:strict", prefix="", text="No error.", outcome="correct", stopped="stop"
    )
    item = Finished(problem=Problem(id="p", text="p", answer="3"))
    _, (kept,) = with_rest(item, [], [reply])
    assert kept == reply
    _, (graded,) = with_rest(item, [], [reply.model_copy(update={"purpose": "mine"})])
    assert graded.outcome == "unknown"
