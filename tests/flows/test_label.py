"""`stepmint label`: from a file of solutions to a sealed run, without a run file."""

import json
import re
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from schemas.config import JudgeConfig, VerifyConfig, load_config

ROWS = [
    {
        "problem": f"Ann has {k} pens and buys 4. How many?",
        "answer": str(k + 4),
        "steps": [f"{k} + 4 = {k + 4 + k % 2}.", f"#### {k + 4 + k % 2}"],
    }
    for k in range(6)
]


COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    continues = False
    """Whether it continues a begun answer."""


class _Judge(BaseHTTPRequestHandler):
    """A chat model that finds no mistake."""

    server: _Server

    def do_GET(self) -> None:
        self._send({"data": [{"id": "judge"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt, *begun = [message["content"] for message in asked["messages"]]
        text = f"a sentence of its own, {asked.get('seed')}"
        if "boxed" in prompt:
            text = "All is well. \\boxed{-1}"
        if "Count" in prompt:
            text = COUNT.removeprefix("".join(begun)) if self.server.continues else COUNT
        message = {"role": "assistant", "content": text}
        choices = [
            {"index": i, "finish_reason": "stop", "message": message} for i in range(asked.get("n", 1))
        ]
        self._send({"choices": choices})

    def _send(self, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[_Server]:
    """The model's server."""
    server = _Server(("127.0.0.1", 0), _Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def judge(server: _Server) -> str:
    """Its address."""
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six solutions in the working folder; of every second one the sum is wrong."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_a_file_is_labelled_by_verifiers_and_again_for_nothing(
    data: Path, prefect: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", data.name, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["problems"], figures["solutions"]) == (6, 6)
    assert Path(figures["path"]) == Path("runs/my-sums")
    config = load_config(data.parent / "runs/my-sums/run.toml")
    assert config.annotators(VerifyConfig)[0].verifiers == ("arithmetic", "algebra")
    assert main(["label", data.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dataset_digest"] == figures["dataset_digest"]
    assert main(["show", "runs/my-sums", "--first-errors", "--json", "-n", "9"]) == 0
    shown = json.loads(capsys.readouterr().out)["rows"]
    assert len(shown) == 3


def test_a_judge_reads_the_solutions(data: Path, judge: str, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [
        "label",
        "--no-prefect",
        data.name,
        "--judge",
        judge,
        "--limit",
        "3",
        "--out",
        "deep/mine",
        "--json",
    ]
    assert main([*wanted, "--set", "annotate.judge.votes=2"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert Path(figures["path"]) == Path("deep/mine")
    assert (figures["solutions"], figures["rollouts"]) == (3, 6)
    [asked] = load_config(Path("deep/mine/run.toml")).annotators(JudgeConfig)
    assert asked.policy is not None
    assert (asked.policy.model, asked.policy.chat) == ("judge", True)
    # Other settings would be another run.
    assert main(wanted) == 2
    refused = capsys.readouterr().err
    assert "annotate.judge.votes=2, not 4" in refused
    assert "--out FOLDER" in refused  # a name follows from the file, so a second way needs a folder


def test_a_dry_run_prints_a_run_file_that_does_the_same(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"problem": "p", "premises": ["x"], "said": "```python\nprint(1)\n```", "gold": "1"}
    (data.parent / "code.jsonl").write_text(json.dumps(row) + "\n")
    asked = ["label", "code.jsonl", "--solution", "said", "--answer", "gold", "--dry-run"]
    assert main([*asked, "--set", "propose.gold_votes=true"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Made by `stepmint label`")
    assert not Path("runs").exists()
    file = tomllib.loads(text)
    assert file["problems"] == {"path": "code.jsonl", "source": "file", "fields": {"answer": "gold"}}
    assert file["propose"] == {"kind": "given", "column": "said", "gold_votes": True}
    assert file["annotate"] == [
        {"kind": "verify", "verifiers": ["arithmetic", "algebra", "constraints", "logic", "code"]}
    ]
    (data.parent / "mine.toml").write_text(text)
    assert main(["run", "mine.toml", "--dry-run", "--json"]) == 0


@pytest.mark.parametrize(
    ("problem", "step", "asked"),
    [
        ("( [ { }", "( ; stack: (", True),
        ("( [ { }", "We push a bracket.", False),
        ("Count.", "3 + 4 = 7", False),
    ],
)
def test_rules_are_asked_where_one_decides_something(
    data: Path, capsys: pytest.CaptureFixture[str], problem: str, step: str, asked: bool
) -> None:
    (data.parent / "tasks.jsonl").write_text(json.dumps({"problem": problem, "steps": [step]}) + "\n")
    assert main(["label", "tasks.jsonl", "--dry-run"]) == 0
    [verify] = tomllib.loads(capsys.readouterr().out)["annotate"]
    assert ("rules" in verify["verifiers"]) == asked


MARKED = "### Step 1\\n\\nWe add.\\n\\n$$\\n3 + 4 = 7\\n$$\\n\\n**Final Answer**\\n\\n\\\\boxed{7}"


@pytest.mark.parametrize(
    ("solution", "more", "split"),
    [
        (MARKED, [], True),
        (MARKED, ["--set", 'prompt.separator="\\n\\n"'], False),
        # GSM8K's style: a step a line, and the answer after `####`.
        ("3 + 4 = 7.\\nSo 7.\\n\\n#### 7", [], False),
        ("<think>\\n# a\\n\\nb\\n</think>\\n3 + 4 = 7.\\nSo 7.", [], False),
    ],
)
def test_markup_is_cut_by_rules(
    data: Path, capsys: pytest.CaptureFixture[str], solution: str, more: list[str], split: bool
) -> None:
    row = json.dumps({"problem": "What is 3 + 4?", "solution": "X"}).replace("X", solution)
    (data.parent / "chat.jsonl").write_text(row + "\n")
    assert main(["label", "chat.jsonl", "--dry-run", *more]) == 0
    prompt = tomllib.loads(capsys.readouterr().out).get("prompt", {})
    assert ("split" in prompt) == split


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jsonl"], r"none\.jsonl: no such file"),
        (["empty.jsonl"], "no usable problem; the first of 1 bad rows: .*no steps: expected `steps`"),
        (["my sums.jsonl", "--model", "m"], "--model names the judge's model: give its server"),
        (["my sums.jsonl", "--judge", "http://127.0.0.1:9/v1"], "127.0.0.1:9/v1: cannot be reached"),
        (["my sums.jsonl", "--solution", "steps", "--text", "no"], "no column 'no'"),
        (["my sums.jsonl", "--limit", "0"], r"problems\.limit: .* 1"),
        (["empty.jsonl"], r"name its column with `column` under \[propose\] \(`stepmint label`: --solution"),
        # Without a server it would be the embedded model, which can judge nobody's solutions.
        (["my sums.jsonl", "--set", "annotate.judge.votes=8"], "an annotator without a model: .* --judge"),
        (["my sums.jsonl", "--set", "propose.n=2"], '`n` belongs to kind = "sample"'),
    ],
)
def test_what_cannot_be_used_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (data.parent / "empty.jsonl").write_text('{"problem": "p"}\n')
    assert main(["label", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_a_policy_that_cannot_continue_is_refused(
    data: Path, judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", data.name, "--policy", judge]) == 2
    assert (
        "judge does not continue a begun answer, as rollouts need: leave --policy out"
        in capsys.readouterr().err
    )


def test_rollouts_are_asked_for_as_solutions_are(
    data: Path, server: _Server, judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.continues = True
    assert main(["label", data.name, "--policy", judge, "--dry-run"]) == 0
    file = tomllib.loads(capsys.readouterr().out)
    assert file["policy"] == {"kind": "server", "model": "judge", "base_url": judge, "chat": True}
    # The default prompt is that of the embedded model, which no other model was trained on.
    assert file["prompt"]["template"] == "solve"
    assert [one["kind"] for one in file["annotate"]] == ["verify", "monte_carlo"]
