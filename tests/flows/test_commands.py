"""The commands on a run: what they print, as text and as JSON, and how they end."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from flows.arguments import parser
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.outputs.export import FORMATS
from pipeline.runs import problem_files
from pipeline.runs.run_store import RunStore
from pipeline.storage.journal_packing import unpack
from schemas.config import load_config
from tests.flows.conftest import answer

Capture = pytest.CaptureFixture[str]


def test_status_counts(sealed: Path, capsys: Capture) -> None:
    code, out, _ = answer(capsys, "status", sealed, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["sealed"]
    assert sum(shard["done"] for shard in found["shards"]) == found["problems"] == 12
    assert found["tokens"]["monte_carlo"] > 0
    assert "12 of 12 problems done" in answer(capsys, "status", sealed)[1]


def test_status_of_an_open_run_is_incomplete(sealed: Path, tmp_path: Path, capsys: Capture) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(sealed, moved)
    journal = moved / "journal" / "00000.jsonl"
    unpack(journal)
    journal.write_bytes(journal.read_bytes()[:-20])
    code, out, _ = answer(capsys, "status", moved, "--json")
    assert code == 1
    assert json.loads(out)["owed"] == 1


def test_show_first_errors(sealed: Path, capsys: Capture) -> None:
    code, out, _ = answer(capsys, "show", sealed, "--first-errors", "-n", "2", "--json")
    rows = json.loads(out)["rows"]
    assert code == 0
    assert len(rows) == 2
    assert all("bad" in row["steps"][row["first_error"]] for row in rows)
    code, out, _ = answer(capsys, "show", sealed, "--id", rows[0]["solution_id"][:8])
    assert f"first error: step {rows[0]['first_error']}" in out
    assert "WRONG" in out
    # At 80 columns a step has its own line, and who voted stands below it.
    assert any(line.endswith(rows[0]["steps"][0]) for line in map(str.rstrip, out.splitlines()))


def test_fuse_makes_new_labels_from_the_same_votes(sealed: Path, tmp_path: Path, capsys: Capture) -> None:
    copy = tmp_path / "renamed"
    shutil.copytree(sealed, copy)
    before = json.loads(answer(capsys, "status", copy, "--json")[1])
    code, out, _ = answer(capsys, "fuse", copy, "--json")
    same = json.loads(out)
    code, out, _ = answer(capsys, "fuse", copy, "--set", "fusion.accept=1.0", "--json")
    strict = json.loads(out)
    assert code == 0
    assert strict["labelled_steps"] < same["labelled_steps"]
    assert strict["rollouts"] == same["rollouts"]
    assert json.loads(answer(capsys, "status", copy, "--json")[1]) == before


def test_a_part_of_a_run_is_sealed_when_asked_and_says_so(run_file: Path, capsys: Capture) -> None:
    config = load_config(run_file)
    store = RunStore.open(config)
    read_problems(store)
    asyncio.run(run_shard(store, 0, most=3))
    owed = problem_files.total(store.path) - 3
    code, _, err = answer(capsys, "fuse", store.path)
    assert (code, f"{owed} problems are still owed" in err, "--partial" in err) == (2, True, True)
    code, out, err = answer(capsys, "fuse", store.path, "--partial", "--json")
    assert (code, json.loads(out)["problems"], json.loads(out)["owed"]) == (1, 3, owed)
    assert f"note: {owed} problems are still owed: only a part of the run is sealed" in err
    assert f"{owed} more problems" in answer(capsys, "publish", store.path, "me/x", "--dry-run")[1]
    for shard in range(config.shards):
        asyncio.run(run_shard(store, shard))
    assert seal(store).owed == 0


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_export_offers_every_format(name: str, sealed: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "rows.jsonl"
    code, printed, _ = answer(capsys, "export", sealed, "--format", name, "--out", out, "--json")
    assert code == 0
    assert len(out.read_text().splitlines()) == json.loads(printed)["written"] > 0


METHODS = next(a for a in parser()._actions if a.dest == "command").choices["derive"]._actions[-3].choices


def test_the_command_offers_every_method() -> None:
    from typing import get_args

    from schemas.derive import DeriveSettings

    union = get_args(get_args(DeriveSettings)[0])
    assert sorted(METHODS) == sorted(one.model_fields["method"].default for one in union)


@pytest.mark.parametrize("method", sorted({*METHODS} - {"unit_tests"}))  # the run's problems have none
def test_derive(method: str, sealed: Path, tmp_path: Path, capsys: Capture) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "values.parquet"
    code, printed, _ = answer(capsys, "derive", sealed, method, "--out", out, "--json")
    found = json.loads(printed)
    table = pq.read_table(out)
    assert code == 0
    assert found["rows"] == table.num_rows > 0
    assert table.schema.metadata[b"stepmint_method"] == method.encode()
    assert table.schema.metadata[b"stepmint_dataset_digest"].decode() == found["dataset_digest"]
    before = out.read_bytes()
    assert f"rows of {method} written to" in answer(capsys, "derive", sealed, method, "--out", out)[1]
    assert out.read_bytes() == before


def test_derive_writes_beside_the_run(sealed: Path, tmp_path: Path, capsys: Capture) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sealed, copy)
    assert answer(capsys, "derive", copy, "fork", "--set", "least_std=0.5")[0] == 0
    assert sorted(path.name for path in (copy / "derived").iterdir()) == ["fork.parquet", "fork.sha256"]


def test_derive_needs_a_sealed_run(sealed: Path, tmp_path: Path, capsys: Capture) -> None:
    copy = tmp_path / "open"
    shutil.copytree(sealed, copy)
    (copy / "manifest.json").unlink()
    code, _, err = answer(capsys, "derive", copy, "fork")
    assert code == 2
    assert "not sealed yet" in err
    code, _, err = answer(capsys, "derive", sealed, "signals", "--set", "policy={kind='server', model='m'}")
    assert code == 2
    assert "no log-probabilities" in err
    assert not (copy / "derived").exists()
    assert not (sealed / "derived").exists()


def test_publish_dry_run_prints_the_card(sealed: Path, capsys: Capture) -> None:
    code, out, _ = answer(capsys, "publish", sealed, "me/demo", "--dry-run")
    assert code == 0
    assert "config_name: steps" in out


def test_plan_is_a_table_or_json(run_file: Path, capsys: Capture) -> None:
    stated = ("--pass-rate", "0.3", "--tokens-per-solution", "100", "--tokens-per-second", "500")
    code, out, _ = answer(capsys, "plan", run_file, *stated, "--price-per-hour", "2", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["origin"] == "pass_rate"
    assert found["tokens"]["low"] < found["tokens"]["value"] < found["tokens"]["high"]
    assert found["cost"]["value"] == pytest.approx(found["tokens"]["value"] / 500 / 3600 * 2)
    code, out, _ = answer(capsys, "plan", run_file, "--pilot", "5")
    assert code == 0
    assert re.search(r"tokens +[\d,]+ +[\d,]+ +[\d,]+", out)
    assert "predicted for 12 problems from 5 of this run, labelled and kept" in out
    code, out, _ = answer(capsys, "status", run_file.parent / "runs" / "demo")
    assert code == 1
    assert "5 of 12 problems done" in out


def test_a_run_stops_for_its_budget_says_so_and_goes_on(run_file: Path, capsys: Capture) -> None:
    limits = ("--no-prefect", "--set", "budget.per_problem=1500", "--set")
    code, out, _ = answer(capsys, "run", run_file, *limits, "budget.run=6000", "--json")
    first = json.loads(out)
    assert code == 0
    assert 0 < first["budget"]["beyond"] < 12
    assert first["problems"] + first["budget"]["beyond"] == 12
    assert first["tokens"]["total"] <= 6000
    folder = first["path"]
    code, out, _ = answer(capsys, "status", folder)
    assert code == 0
    assert f"stopped for its budget: {first['budget']['beyond']} problems lie beyond" in out
    code, out, _ = answer(capsys, "run", run_file, *limits, "budget.run=90000")
    assert code == 0
    assert "stopped for its budget" not in out
    found = json.loads(answer(capsys, "status", folder, "--json")[1])
    assert found["sealed"]
    assert found["budget"] == {"per_problem": 1500, "run": 90000, "cut": 0, "beyond": 0}
    assert sum(found["tokens"].values()) > first["tokens"]["total"]
