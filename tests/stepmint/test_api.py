"""What each function gives for what a person may hand it."""

import asyncio
from pathlib import Path

import pytest

import stepmint
from pipeline.labelling.sealing import seal
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import config_here

ANN = {"problem": "Ann has 3 pens and buys 4. How many has she?", "answer": 7}
VERIFY = [{"kind": "verify", "verifiers": ["arithmetic"]}]
SIMULATED = {"kind": "simulated", "slip": 0.3, "n_steps": 4}


def test_label_proposes_where_no_solution_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = stepmint.label(
        [{"problem": "p", "answer": "right"}],
        annotate=[{"kind": "monte_carlo", "rollouts": 4}],
        policy=SIMULATED,
        propose={"kind": "sample", "n": 3},
    )
    assert all(isinstance(row, stepmint.LabelledSolution) for row in rows)
    assert {vote.source for row in rows for vote in row.votes} == {"monte_carlo", "answer"}
    assert not list(tmp_path.iterdir()), "files are left behind"


def test_label_works_inside_a_running_event_loop() -> None:
    async def cell() -> list[stepmint.LabelledSolution]:
        return stepmint.label([("p", ["2 + 3 = 6."])], annotate=VERIFY)

    assert asyncio.run(cell())[0].first_error == 0


def test_a_policy_is_needed_only_where_one_is_asked() -> None:
    with pytest.raises(stepmint.UserError, match="policy: these problems and annotators need a model"):
        stepmint.label([ANN], annotate=VERIFY)
    with pytest.raises(stepmint.UserError, match="policy: these"):
        stepmint.label([{**ANN, "steps": ["3 + 4", "= 7"]}], annotate=[{"kind": "monte_carlo"}])


def test_verify_says_what_the_command_says() -> None:
    found = stepmint.verify([{**ANN, "id": "x", "steps": ["3 + 4 = 7.", "7 + 1 = 9."]}, "2 * 3 = 6."])
    assert [(one["id"], one["step"], one["verdict"]) for one in found] == [
        ("x", 0, "holds"),
        ("x", 1, "fails"),
        ("1", 0, "holds"),
    ]


def test_verify_by_verifiers_of_ones_own() -> None:
    class Shouting:
        name = "shouting"

        def check(self, context: stepmint.StepContext) -> stepmint.Finding:
            if context.step.isupper():
                return stepmint.Finding("fails", "it shouts")
            return stepmint.Finding("abstains", "nothing to say")

    steps = ["2 + 3 = 5.", "2 + 3 = 5 AND THAT IS SO.", "Hm."]
    found = stepmint.verify([("p", steps)], verifiers=["arithmetic", Shouting()])
    assert [one["verdict"] for one in found] == ["holds", "fails", "abstains"]
    assert found[1]["findings"][1] == {
        "span": [0, len(steps[1])],
        "claim": steps[1],
        "verdict": "fails",
        "reason": "it shouts",
        "by": "shouting",
    }
    with pytest.raises(stepmint.UserError, match="'magic': expected arithmetic, .* or a Verifier"):
        stepmint.verify([("p", steps)], verifiers=["magic"])


@pytest.mark.parametrize(("settings", "label"), [({}, 0), ({"reject": 0.0}, None)])
def test_fuse_labels_anew(settings: dict[str, float], label: int | None) -> None:
    rows = stepmint.label([("p", "2 + 3 = 6.")], annotate=VERIFY)
    again = stepmint.fuse(rows, **settings)
    assert again[0].labels[0].label == label
    assert again[0].votes == rows[0].votes


def test_fuse_refuses_what_is_no_probability() -> None:
    with pytest.raises(stepmint.UserError, match="fusion.accept"):
        stepmint.fuse([], accept=7)


def test_a_run_is_read_and_not_changed(labelled: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in labelled.rglob("*") if path.is_file())
    view = stepmint.open_run(labelled)
    assert view.manifest is None
    assert view.config.shards == 2
    rollouts = list(view.rollouts())
    assert {rollout.purpose for rollout in rollouts} == {"propose", "monte_carlo"}
    for read in (lambda: list(view), lambda: list(view.batches()), view.report):
        with pytest.raises(stepmint.UserError, match="not sealed yet"):
            read()
    assert sorted((p, p.stat().st_mtime_ns) for p in labelled.rglob("*") if p.is_file()) == before


def test_a_sealed_run_gives_its_rows_and_figures(labelled: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "moved"
    shutil.copytree(labelled, folder)
    seal(RunStore(folder, config_here(folder)))
    view = stepmint.open_run(str(folder))
    rows = list(view)
    assert view.manifest
    assert len(rows) == view.manifest.solutions == view.report()["solutions"] > 0
    assert (view.config.name, repr(view)) == ("moved", f"RunView({str(folder)!r})")
    named = [batch.to_pydict() for batch in view.batches(["labels", "solution_id"])]
    assert [{*batch} for batch in named] == [{"solution_id", "labels"}] * 2
    ids = [name for batch in named for name in batch["solution_id"]]
    assert ids == [row.solution.id for row in rows]
    whole = [row for batch in view.batches() for row in batch.to_pylist()]
    assert whole == stepmint.to_dicts(rows)
    with pytest.raises(stepmint.UserError, match="no column 'label': expected some of solution_id, "):
        view.batches(["label"])
    assert [row["solution_id"] for row in stepmint.to_dicts(rows)] == [row.solution.id for row in rows]


def test_no_run_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(stepmint.UserError, match="not a run"):
        stepmint.open_run(tmp_path)


def test_no_prm_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(stepmint.UserError, match="not a PRM of `stepmint train`: prm.json: No such file"):
        stepmint.PRM.load(tmp_path)
