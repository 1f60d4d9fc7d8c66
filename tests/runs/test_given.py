"""Given solutions in a run: they are labelled beside what others propose, and may become more."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.labelling.regrade import regrade_shard
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.methods.tree import is_own
from pipeline.outputs.report import rows_of
from pipeline.policies.simulated import solution_text
from pipeline.runs import given_files, records
from pipeline.runs.given_files import GivenFile
from pipeline.runs.run_store import RunStore
from schemas.config import OmegaConfig, RunConfig, load_config, parse_config
from schemas.errors import UserError
from schemas.records import LabelledSolution, Problem

Row = dict[str, Any]
TEXTS = [solution_text(states) for states in ([True, True, True], [True, False, False], [False, False, True])]


def rows(n: int, **more: Any) -> list[Row]:
    """Rows of `n` problems, each with one solution."""
    return [
        {
            "problem": f"problem {k}",
            "answer": "right",
            "answer_kind": "text",
            "solution": TEXTS[k % 3],
            **more,
        }
        for k in range(n)
    ]


def write(folder: Path, given: list[Row]) -> None:
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))


def config(folder: Path, name: str = "r", **changes: Any) -> RunConfig:
    data = {
        "name": name,
        "root": str(folder / "runs"),
        "shards": 2,
        "problems": {"path": str(folder / "p.jsonl")},
        "policy": {"kind": "simulated", "n_steps": 3, "slip": 0.3},
        "prompt": {"max_tokens": 1000},
        "propose": {"kind": "given"},
        "annotate": [{"kind": "monte_carlo", "rollouts": 4}, {"kind": "verify"}],
    }
    return RunConfig.model_validate(data | changes)


def run(asked: RunConfig, *, most: int | None = None) -> RunStore:
    store = RunStore.open(asked)
    read_problems(store)
    for shard in range(asked.shards):
        asyncio.run(run_shard(store, shard, most=most))
    if most is None:
        seal(store)
    return store


def found(store: RunStore) -> list[LabelledSolution]:
    return list(rows_of(store))


def test_given_solutions_are_labelled_and_nothing_is_proposed(tmp_path: Path) -> None:
    write(tmp_path, rows(6, generator="gpt", first_error=-1))
    store = run(config(tmp_path))
    labelled = found(store)
    assert sorted(row.solution.text for row in labelled) == sorted(TEXTS * 2)
    assert {row.solution.policy.kind for row in labelled} == {"given"}
    assert {row.solution.policy.model for row in labelled} == {"gpt"}
    # Graded by the gold answer, and rolled out from each step by the run's policy.
    assert {row.solution.text: row.solution.outcome for row in labelled} == dict(
        zip(TEXTS, ["correct", "incorrect", "correct"], strict=True)
    )
    assert {row["purpose"] for shard in range(2) for row in store.rollouts(shard)} == {"monte_carlo"}
    # The labels that came along stand beside ours, and nobody counted them.
    assert all(row.gold and row.gold.first_error == -1 for row in labelled)
    assert {vote.source for row in labelled for vote in row.votes} == {"monte_carlo", "arithmetic", "answer"}


def test_gold_labels_vote_where_they_are_asked(tmp_path: Path) -> None:
    given = [{"problem": f"q {k}", "steps": ["a", "b", "c"], "label": 1} for k in range(4)]
    write(tmp_path, given)
    asked = config(tmp_path, propose={"kind": "given", "gold_votes": True}, annotate=[])
    assert not asked.asks_policy
    store = run(asked)
    assert store.sources()["gold"].kind == "judge"
    for row in found(store):
        assert [(v.step, v.p) for v in row.votes if v.source == "gold"] == [(0, 1.0), (1, 0.0)]
        right, wrong = row.labels[0].p, row.labels[1].p
        assert right is not None
        assert wrong is not None
        assert wrong < 0.5 < right
    without = run(config(tmp_path, "other", annotate=[]))
    assert not found(without)  # without a gold answer, a judge, or a verifier nobody could label


def test_where_only_verifiers_vote_no_model_is_opened(tmp_path: Path) -> None:
    write(tmp_path, [{"problem": "q", "steps": ["3 + 4 = 8.", "So it is 8."]}])
    nowhere = {"kind": "transformers", "model": str(tmp_path / "no such model")}
    store = run(config(tmp_path, policy=nowhere, annotate=[{"kind": "verify"}]))
    [row] = found(store)
    assert row.first_error == 0
    assert "policy.model" not in store.inputs()


MIXED: Row = {
    "propose": [
        {"kind": "given"},
        {"kind": "sample", "n": 3},
        {"kind": "omegaprm", "rollouts": 4, "searches": 3},
    ]
}


def test_proposers_stand_side_by_side_and_equal_texts_are_one(tmp_path: Path) -> None:
    given = [row for row in rows(4) for _ in range(2)]  # each solution twice
    write(tmp_path, given)
    store = run(config(tmp_path, **MIXED))
    labelled = found(store)
    keys = [(row.problem.id, row.solution.text) for row in labelled]
    assert len(keys) == len(set(keys))
    kinds = {row.solution.policy.kind for row in labelled}
    assert kinds == {"given", "simulated"}
    items = [item for shard in range(2) for item in store.journal(shard)]
    for item in items:
        [one] = [c for c in item.candidates if c.solution.policy.kind == "given"]
        assert one.drawn >= 2
        assert item.given
    purposes = {row["purpose"] for shard in range(2) for row in store.rollouts(shard)}
    assert purposes == {"propose", "omegaprm", "monte_carlo"}


@pytest.mark.parametrize("changes", [{}, MIXED], ids=["alone", "beside others"])
def test_a_run_that_stopped_ends_as_one_that_did_not(tmp_path: Path, changes: Row) -> None:
    write(tmp_path, rows(8))
    stopped = config(tmp_path, **changes)
    run(stopped, most=1)
    assert found(run(stopped)) == found(run(config(tmp_path, "whole", **changes)))


def test_a_new_solution_of_a_problem_is_labelled_and_nothing_is_drawn_twice(tmp_path: Path) -> None:
    write(tmp_path, rows(6))
    store = run(config(tmp_path))
    before = {row["seed"] for shard in range(2) for row in store.rollouts(shard)}
    more = {**rows(1)[0], "solution": TEXTS[1]}
    write(tmp_path, [*rows(6), more, *rows(8)[6:]])
    grown = RunStore.open(config(tmp_path))
    read_problems(grown)
    stale = [name for shard in range(2) for name in grown.stale(shard)]
    [problem] = [p for shard in range(2) for p in grown.posed(shard) if p.text == "problem 0"]
    assert stale == [problem.id]
    grown = run(config(tmp_path))
    after = {row["seed"] for shard in range(2) for row in grown.rollouts(shard)}
    assert before <= after
    whole = run(config(tmp_path, "whole"))
    assert found(grown) == found(whole)
    assert len(found(grown)) == 9


def test_rows_in_another_order_change_nothing(tmp_path: Path) -> None:
    both = [*rows(3), *({**row, "solution": TEXTS[(k + 1) % 3]} for k, row in enumerate(rows(3)))]
    write(tmp_path, both)
    store = run(config(tmp_path))
    items = [list(store.journal(shard)) for shard in range(2)]
    write(tmp_path, both[::-1])
    again = run(config(tmp_path))
    assert [list(again.journal(shard)) for shard in range(2)] == items


def test_a_corrected_gold_answer_keeps_the_solutions(tmp_path: Path) -> None:
    write(tmp_path, rows(4))
    run(config(tmp_path))
    changed = rows(4)
    changed[1]["answer"] = "wrong"
    write(tmp_path, changed)
    store = RunStore.open(config(tmp_path))
    read_problems(store)
    for shard in range(2):
        names = set(store.stale(shard))
        asyncio.run(regrade_shard(store, shard, only=names, advance=lambda: None))
    assert not [name for shard in range(2) for name in store.stale(shard)]
    seal(store)
    [row] = [row for row in found(store) if row.problem.text == "problem 1"]
    assert (row.solution.text, row.solution.outcome) == (TEXTS[1], "correct")
    assert len(found(store)) == 4


def test_bad_rows_are_quarantined_and_the_others_go_on(tmp_path: Path) -> None:
    write(
        tmp_path, [*rows(2), {"problem": "problem 9"}, {**rows(1)[0], "solution": None, "steps": ["a", ""]}]
    )
    store = run(config(tmp_path))
    bad = records.quarantined(store.path)
    assert [(one.row, one.field) for one in bad] == [(3, "solution"), (4, "solution")]
    assert len(found(store)) == 2


def test_a_changed_file_of_given_solutions_is_found(tmp_path: Path) -> None:
    write(tmp_path, rows(4))
    store = run(config(tmp_path))
    path = next(p for p in (given_files.file_of(store.path, shard) for shard in range(2)) if p.stat().st_size)
    path.write_bytes(path.read_bytes().replace(b"step", b"stop"))
    assert any(path.name in fault for fault in store.damage())
    with pytest.raises(UserError, match=r"given\.jsonl.*stepmint check"):
        run(config(tmp_path))


def test_only_places_are_kept_in_memory(tmp_path: Path) -> None:
    write(tmp_path, [{**rows(1)[0], "solution": f"{'x' * 1000} {k}"} for k in range(50)])
    store = RunStore.open(config(tmp_path, shards=1))
    read_problems(store)
    file = store.given(0)
    [problem] = store.posed(0)
    held = {name: value for name, value in vars(file).items() if name != "_path"}
    assert len(repr(held)) < 2_000
    assert len(file.of(problem.id).candidates) == 50
    assert file.of("another") == given_files.Given()
    assert GivenFile(tmp_path / "nowhere").key(problem.id) == ""


WRITERS: Row = {
    "propose": [
        {"kind": "given"},
        {"kind": "sample", "n": 2},
        {"kind": "sample", "name": "careful", "policy": {"kind": "simulated", "n_steps": 3, "slip": 0.1}},
    ]
}


def test_several_policies_write_solutions(tmp_path: Path) -> None:
    write(tmp_path, rows(8))
    store = run(config(tmp_path, **WRITERS))
    written = {row.solution.policy.model for row in found(store)}
    assert {"slip=0.1,recover=0.0,n_steps=3", "slip=0.3,recover=0.0,n_steps=3"} < written
    drawn = [row for shard in range(2) for row in store.rollouts(shard)]
    assert {row["purpose"] for row in drawn} == {"propose", "writer:careful:propose", "monte_carlo"}
    assert not is_own("writer:careful:propose")  # its successes say nothing about the run's policy
    # Stopped and taken up again, and graded again from the store, it is the same.
    run(config(tmp_path, "stopped", **WRITERS), most=1)
    assert found(run(config(tmp_path, "stopped", **WRITERS))) == found(store)
    for shard in range(2):
        done = asyncio.run(regrade_shard(store, shard, advance=lambda: None))
        assert (done.changed, done.missing) == (0, 0)


def test_writers_leave_other_runs_as_they_were() -> None:
    plain = RunConfig.model_validate({"name": "r"})
    # Digests of runs from before there were lists of proposers.
    assert plain.digest() == "165631025d14db22"
    assert plain.model_copy(update={"propose": OmegaConfig()}).digest() == "bd295b5858f05f81"
    listed = RunConfig.model_validate({"name": "r", "propose": [{"kind": "sample"}]})
    assert listed.digest() == plain.digest()
    assert plain.policies().keys() == {"policy"}
    own = {"kind": "sample", "policy": {"kind": "simulated"}}
    alone = RunConfig.model_validate({"name": "r", "propose": own})
    assert alone.policies().keys() == {"propose.sample.policy"}
    assert alone.digest() != plain.digest()


@pytest.mark.parametrize(
    ("propose", "said"),
    [
        ([], "an empty list proposes no solution"),
        ([{"kind": "sample"}, {"kind": "sample", "n": 3}], '2 sections of kind "sample" without a policy'),
        ([{"kind": "given"}, {"kind": "given"}], '2 sections of kind "given" without a policy'),
        (
            [{"kind": "sample"}, {"kind": "sample", "policy": {"kind": "simulated"}}],
            "2 samplers are called 'sample': give each its own `name`",
        ),
    ],
)
def test_proposers_that_could_not_be_told_apart_are_refused(propose: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_config({"name": "r", "propose": propose}, "mine.toml")


def test_one_of_several_proposers_is_set_by_its_kind_or_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "r"\n[[propose]]\nkind = "given"\n[[propose]]\nkind = "sample"\n')
    several = load_config(file, ("propose.sample.n=5",)).proposers
    assert [getattr(one, "n", None) for one in several] == [None, 5]
    with pytest.raises(UserError, match="write propose.KIND.key"):
        load_config(file, ("propose.n=5",))


def test_rows_that_contradict_each_other_are_not_decided_by_their_order(tmp_path: Path) -> None:
    """Of the same solution with two labels, and with two outcomes, is kept what all rows say."""
    steps = {"problem": "Q", "answer": "5", "steps": ["a", "b", "c"]}
    given = [
        {**steps, "label": 2, "final_answer_correct": True},
        {**steps, "label": 1, "final_answer_correct": False},
        {**steps, "label": 2, "final_answer_correct": True},
        {**steps},
    ]
    for order in (given, given[1:] + given[:1], given[::-1]):
        write(tmp_path, order)
        store = RunStore.open(config(tmp_path, f"r{order.index(given[0])}"))
        read_problems(store)
        files = [GivenFile(given_files.file_of(store.path, shard)) for shard in range(2)]
        problem = Problem(text="Q", answer="5", answer_kind="number").id
        [one] = [one for file in files for one in file.of(problem).candidates]
        assert one.gold is not None
        assert (one.gold.labels, one.gold.first_error) == ((1, None, None), None)
        assert (one.solution.outcome, one.drawn) == ("unknown", 4)
