"""The command line: exit codes, one-line errors, and what stdout and stderr hold."""

import json
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from flows.arguments import parser
from flows.cli import _set_logging
from schemas.config import load_config
from schemas.text import shown
from tests.flows.conftest import answer

Capture = pytest.CaptureFixture[str]


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


@pytest.mark.usefixtures("prefect")
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
    _, out, _ = answer(capsys, "run", run_file, "--dry-run")
    again = run_file.with_name("again.toml")
    again.write_text(out)
    assert load_config(again) == load_config(run_file)


def test_a_dry_run_of_a_judge_prints_its_settings(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n[policy]\nkind = "simulated"\n[[annotate]]\nkind = "judge"\n')
    code, out, _ = answer(capsys, "run", file, "--dry-run")  # the judge has no policy of its own
    assert code == 0
    assert tomllib.loads(out)["annotate"][0]["prompts"] == ["judge_processbench"]


def test_what_a_model_wrote_cannot_steer_the_terminal() -> None:
    assert shown("a\x1b[2Jb\u202ec\td\n[red]e") == "a\ufffd[2Jb\ufffdc\td\n[red]e"


def test_doctor_asks_nobody(capsys: Capture) -> None:
    code, out, _ = answer(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["core"]["stepmint"]
    assert found["cores"] >= 1
    assert found["sandbox"]["available"] == (found["sandbox"]["missing"] == "nothing")
    assert answer(capsys, "doctor")[0] == 0


def test_rows_sent_to_standard_output_are_all_that_stands_there(
    sealed: Path, tmp_path: Path, capsys: Capture
) -> None:
    command = ["export", str(sealed), "--format", "trl", "--out"]
    assert answer(capsys, *command, tmp_path / "asked")[0] == 0
    with (tmp_path / "sent").open("wb") as out:
        sent = [sys.executable, "-m", "flows.cli", *command, "/dev/stdout"]
        done = subprocess.run(sent, check=True, stdout=out, stderr=subprocess.PIPE)
    assert (tmp_path / "sent").read_bytes() == (tmp_path / "asked").read_bytes() != b""
    assert b"rows written to /dev/stdout" in done.stderr
