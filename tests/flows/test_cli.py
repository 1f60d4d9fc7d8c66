"""The command line: exit codes, one-line errors, and what stdout and stderr hold."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from flows.arguments import parser
from flows.cli import _set_logging, main
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.outputs.export import FORMATS
from pipeline.runs import problem_files
from pipeline.runs.run_store import RunStore
from pipeline.storage.journal_packing import unpack
from schemas.config import load_config
from schemas.text import shown

Capture = pytest.CaptureFixture[str]


def answer(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_help_imports_nothing_heavy() -> None:
    heavy = ("prefect", "torch", "pyarrow", "sympy", "transformers", "z3", "rich", "numpy", "datasets")
    found = f"[name for name in {heavy} if name in sys.modules]"
    code = f"import sys; from flows.cli import main; main(['--help']); sys.exit(str({found}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    assert "examples:" in done.stdout


def test_every_command_has_an_example(capsys: Capture) -> None:
    names = next(a for a in parser()._actions if a.dest == "command").choices
    assert names is not None
    for name in names:
        code, out, _ = answer(capsys, name, "--help")
        assert code == 0
        assert f"stepmint {name}" in out.split("example:")[1]


def test_a_librarys_warning_is_one_line_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    _set_logging(verbose=False)
    said = warnings.formatwarning("scores mean\nnothing, see http://me:pass@host", UserWarning, "score.py", 3)
    assert said == "stepmint: warning: scores mean nothing, see http://***@host\n"


def test_version(capsys: Capture) -> None:
    assert re.fullmatch(r"stepmint \d+\.\d+.*\n", answer(capsys, "--version")[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "invalid choice"),
        (["run", "missing.toml"], "no such run file"),
        (["run", "{file}", "--set", "monte_carlo.rollouts=0"], "monte_carlo.rollouts"),
        (["run", "{file}", "--set", "annotate.monte_carlo.rolouts=4"], "rolouts"),
        (["run", "{file}", "--set", "seed"], "expected section.key=value"),
        (["status", "missing"], "not a run"),
        (["show", "missing"], "not a run"),
        (["show", "{sealed}", "--id", "zzz"], "begins with 'zzz'"),
        (["show", "{sealed}", "-n", "0"], "at least 1"),
        (["show", "{sealed}", "-n", "many"], "invalid int"),
        (["fuse", "{sealed}", "--set", "seed=3"], "fuse changes only [fusion]"),
        (["fuse", "{sealed}", "--set", "fusion.accept=2"], "fusion.accept"),
        (["export", "{sealed}", "--format", "csv", "--out", "x"], "neither one of trl"),
        (["export", "{sealed}", "--format", "trl", "--out", "/missing/x"], "does not exist"),
        (
            ["export", "{sealed}", "--format", "trl", "--out", "{sealed}/run.toml"],
            "among the files of the run",
        ),
        (
            ["export", "{sealed}", "--format", "trl", "--out", "{sealed}/shards/x"],
            "among the files of the run",
        ),
        (["derive", "{sealed}", "fork", "--out", "{sealed}/manifest.json"], "among the files of the run"),
        (["run", "{sealed}/journal"], "is a folder, and not of a run"),
        (["derive", "missing", "fork"], "not a run"),
        (["derive", "{sealed}", "magic"], "invalid choice"),
        (["derive", "{sealed}", "fork", "--set", "gama=0.9"], "derive fork: gama"),
        (["derive", "{sealed}", "fork", "--set", "gamma=2"], "derive fork: gamma"),
        (["derive", "{sealed}", "progress", "--set", "least=lots"], "derive progress: least"),
        (["evaluate", "missing"], "no such folder; `stepmint train RUN`"),
        (["verify", "missing"], "no such file"),
        (["verify", "{file}"], "not valid JSON"),
        (["verify", "{file}", "--workers", "0"], "--workers of at least 1"),
        (["verify", "{file}", "--only", "maybe"], "invalid choice"),
        (["train", "missing"], "no such run file"),
        (["plan", "missing.toml"], "no such run file"),
        (["plan", "{file}", "--pilot", "1"], "at least 2 problems"),
        (["plan", "{file}", "--pass-rate", "0.3"], "needs --tokens-per-solution"),
        (["plan", "{file}", "--pass-rate", "3", "--tokens-per-solution", "9"], "a share from 0 to 1"),
        (["run", "{file}", "--set", "budget.run=1"], "in each of 2 shards"),
        (["run", "{file}", "--dry-run", "--set", "prompt.template=missing"], "neither a file nor one of"),
        (["run", "{file}", "--dry-run", "--set", "prompt.template=judge_processbench"], "is a judge's"),
        (["run", "{file}", "--dry-run", "--set", 'judge.prompts=["none"]'], "neither a file nor one of"),
        (["plan", "{file}", "--set", 'judge.prompts=["embedded_solve"]'], "how a judge's reply is read"),
        (["synthesize", "{file}", "--set", "prompt.template=missing"], "neither a file nor one of"),
        (["run", "{file}", "--dry-run", "--set", 'problems.path=""'], "problems.path is empty"),
        (
            ["run", "{file}", "--dry-run", "--set", "policy={{kind='vllm', model='/no/model'}}"],
            "policy.model: /no/model: no such folder",
        ),
        (["run", "{file}", "--dry-run", "--set", 'prompt.separator=""'], "prompt.separator"),
        (
            [
                "run",
                "{file}",
                "--dry-run",
                "--set",
                "problems.source=jsonl",
                "--set",
                "problems.path=none.jsonl",
            ],
            "none.jsonl: no such file; a relative path is looked for beside",
        ),
    ],
)
def test_what_the_person_can_fix_is_one_line(
    arguments: list[str], said: str, run_file: Path, sealed: Path, capsys: Capture
) -> None:
    code, out, err = answer(capsys, *(a.format(file=run_file, sealed=sealed) for a in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("stepmint: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_judge_that_could_never_be_read_is_said_and_shows_in_the_exit_code(
    run_file: Path, capsys: Capture
) -> None:
    settings = [
        "--set",
        "name=unread",
        "--set",
        "judge.votes=1",
        "--set",
        "judge.prompts=['judge_processbench']",
    ]
    for command in (["synthesize", run_file, *settings], ["fuse", run_file.parent / "runs" / "unread"]):
        code, out, err = answer(capsys, *command, "--json")
        assert code == 1
        assert json.loads(out)["unread"] == ["judge:judge_processbench"]
        assert "stepmint: error: judge:judge_processbench abstained in every one of" in err
        assert "the labels stand on" in err


def test_what_an_outsiders_annotator_prints_is_not_among_the_json(
    run_file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_file.parent / "talkative.py").write_text(
        "from schemas.sources import judge_source\n"
        "class Talkative:\n"
        "    needs_gold, sources = False, judge_source('talkative')\n"
        "    async def annotate(self, context, solution):\n"
        "        print('looking at', solution.id)\n"
        "        return []\n"
    )
    monkeypatch.chdir(run_file.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with run_file.open("a") as file:
        file.write('\n[[annotate]]\nkind = "python"\nfactory = "talkative:Talkative"\n')
    code, out, err = answer(capsys, "plan", run_file, "--pilot", "2", "--json")
    assert code == 0
    assert json.loads(out)["sampled"] == 2
    assert "looking at" in err


def test_dry_run_does_nothing(run_file: Path, capsys: Capture) -> None:
    code, out, _ = answer(capsys, "run", run_file, "--dry-run", "--set", "monte_carlo.rollouts=3", "--json")
    found = json.loads(out)
    assert code == 0
    assert [one["rollouts"] for one in found["config"]["annotate"] if one["kind"] == "monte_carlo"] == [3]
    assert found["stages"] == ["synthesize"]
    assert not (run_file.parent / "runs").exists()


def test_dry_run_prints_a_run_file_that_can_be_run(run_file: Path, capsys: Capture) -> None:
    from schemas.config import load_config

    _, out, _ = answer(capsys, "run", run_file, "--dry-run")
    again = run_file.with_name("again.toml")
    again.write_text(out)
    assert load_config(again) == load_config(run_file)


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


def test_a_dry_run_of_a_judge_prints_its_settings(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n[policy]\nkind = "simulated"\n[[annotate]]\nkind = "judge"\n')
    code, out, _ = answer(capsys, "run", file, "--dry-run")  # the judge has no policy of its own
    assert code == 0
    assert tomllib.loads(out)["annotate"][0]["prompts"] == ["judge_processbench"]


def test_what_a_model_wrote_cannot_steer_the_terminal() -> None:
    assert shown("a\x1b[2Jb\u202ec\td\n[red]e") == "a\ufffd[2Jb\ufffdc\td\n[red]e"


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


def test_doctor_asks_nobody(capsys: Capture) -> None:
    code, out, _ = answer(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["core"]["stepmint"]
    assert found["cores"] >= 1
    assert found["sandbox"]["available"] == (found["sandbox"]["missing"] == "nothing")
    assert answer(capsys, "doctor")[0] == 0


ROW = {
    "id": "tom",
    "problem": "Tom has 14 apples and gets 5 more.",
    "steps": ["14 + 5 = 19", "19 * 2 = 39", "So 77 it is. \x1b[31m"],
}


def test_verify_prints_one_object_a_step(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW), encoding="utf-8")
    code, out, err = answer(capsys, "verify", path, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (1, "")
    assert [(line["id"], line["step"], line["verdict"]) for line in lines] == [
        ("tom", 0, "holds"),
        ("tom", 1, "fails"),
        ("tom", 2, "abstains"),
    ]
    assert all(set(line) == {"id", "step", "verdict", "findings"} for line in lines)
    names = {"span", "claim", "verdict", "reason", "by"}
    assert all(set(finding) == names for line in lines for finding in line["findings"])
    assert [finding["by"] for finding in lines[2]["findings"]] == ["provenance"]
    assert answer(capsys, "verify", path, "--json", "--only", "fails")[1].count("\n") == 1


def test_verify_shows_reasons_and_a_rate(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW), encoding="utf-8")
    code, out, _ = answer(capsys, "verify", path)
    assert code == 1
    assert "arithmetic: 19 * 2 is 38, not 39" in out
    assert "77 stands neither in the problem nor in an earlier step" in out
    assert re.search(r"3 steps: 1 holds, 1 fails, 1 abstains; [\d,]+ steps/s", out)
    assert "\x1b[31m" not in out


def test_rows_sent_to_standard_output_are_all_that_stands_there(sealed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "export", str(sealed), "--format", "trl", "--out"]
    subprocess.run([*command, str(tmp_path / "asked")], check=True, capture_output=True)
    with (tmp_path / "sent").open("wb") as out:
        done = subprocess.run([*command, "/dev/stdout"], check=True, stdout=out, stderr=subprocess.PIPE)
    assert (tmp_path / "sent").read_bytes() == (tmp_path / "asked").read_bytes() != b""
    assert b"rows written to /dev/stdout" in done.stderr
