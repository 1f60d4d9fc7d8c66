"""How figures look: what could not be measured is said, and is no zero."""

import json
import shutil
from pathlib import Path

import pytest

from flows import display
from flows.cli import main
from pipeline.labelling.sealing import seal
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import read_config


def test_never_saying_wrong_stands_in_place_of_the_f1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = {"value": None, "low": None, "high": None}
    first = {
        "solutions": 9,
        "too_long": 2,
        "note": "never says wrong at 0.5",
        "acc_err": 0.0,
        "acc_cor": None,
    }
    found = {"first_error": {**first, "f1": {"value": 0.0, "low": 0.0, "high": 0.0}}, "auroc": nothing}
    display.evaluate({"evaluation": {"math.jsonl": found}})
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "first error / f1 never says wrong at 0.5" in rows
    assert "first error / too long 2" in rows
    assert "first error / acc cor none" in rows
    assert "auroc none" in rows
    assert not [row for row in rows if "note" in row]


def arm(f1: dict[str, float | None], **figures: object) -> dict[str, object]:
    nothing = {"value": None, "low": None, "high": None}
    columns = dict.fromkeys(("label_f1", "step_precision", "step_recall", "ece"), nothing)
    return {"decided": 1234, "f1": f1, **columns, **figures}


def test_the_agreement_with_people_is_a_line_for_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"value": 0.5, "low": 0.25, "high": 0.75}
    arms = {"judge:a": arm(known, ece=known), "fused": arm({"value": None, "low": None, "high": None})}
    counts = {"problems": 9, "wrong": 6, "right": 8, "wrong_steps": 7, "steps": 50, "solutions": 14}
    part = {**counts, "arms": arms}
    found = {**part, "by": {"processbench": 14}, "without": 3, "by_dataset": {"gsm8k": part, "math": part}}
    figures = ("problems", "solutions", "steps", "labelled_steps", "quarantined", "rollouts")
    nothing = {"skipped": {}, "merged": 0, "ungraded": 0, "tokens": {"total": 0}, "sources": {}}
    nothing["consensus"] = {"kept": 5, "dropped": {"mc_incomplete": 9}}
    display.report({**dict.fromkeys(figures, 1), **nothing, "fidelity": found})
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "dropped by consensus: mc_incomplete 9" in rows
    assert "labels against processbench:" in rows
    assert "source decided F1 [95%] label F1 P R ECE" in rows
    assert "judge:a 1,234 0.50 [0.25, 0.75] none none none 0.50" in rows
    assert "fused 1,234 none none none none none" in rows
    assert (
        "14 solutions of 9 problems, 6 of them wrong; 7 of 50 labelled steps wrong; 3 solutions without gold "
        "labels"
    ) in rows
    assert "math, 14 solutions decided F1 [95%]" in rows
    assert rows.count("judge:a 1,234 0.50 [0.25, 0.75]") == 2
    # PRM800K's rows that were given up on have labels, and no first error.
    display.report({**dict.fromkeys(figures, 1), **nothing, "fidelity": {**found, "solutions": 16}})
    said = " ".join(capsys.readouterr().out.split())
    assert "16 solutions of 9 problems, 6 of them wrong, 2 without a known first error; 7 of 50" in said
    display.report({**dict.fromkeys(figures, 1), **nothing})
    assert "no solution has gold labels" in capsys.readouterr().out


def test_report_prints_the_figures_of_a_sealed_run(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r"
    shutil.copytree(labelled, path)
    assert main(["report", str(path)]) == 2
    assert "not sealed yet" in capsys.readouterr().err
    seal(RunStore(path, read_config(path)))
    assert main(["report", str(path)]) == 0
    assert "monte_carlo" in capsys.readouterr().out
    assert main(["report", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["solutions"] > 9
