"""`stepmint init`: what it finds out about data and servers, and that the file it writes runs."""

import json
import re
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from schemas.config import MonteCarloConfig, load_config

ROWS = [{"question": f"What is {i} + 4?", "answer": f"{i} + 4 = {i + 4}\n#### {i + 4}"} for i in range(5)]
BAD = [{"question": "What is 1 + 4?", "answer": "I do not know"}, {"question": "", "answer": "\n#### 2"}]
COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"


class Clerk(ThreadingHTTPServer):
    """A server on loopback whose model adds, counts, and judges; `chat`, `bare` and `continues` are its
    abilities."""

    daemon_threads = True

    def __init__(self, *, chat: bool = True, bare: bool = True, continues: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.abilities = {"/v1/chat/completions": chat, "/v1/completions": bare}
        self.continues, self.models, self.asked = continues, ["adder"], list[str]()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> "Clerk":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()

    def write(self, prompt: str, begun: str, index: int) -> str:
        """What it writes after a begun answer."""
        if "boxed" in prompt:
            return "All is well. \\boxed{-1}"
        whole = COUNT if "Count" in prompt else f"a sentence of its own, number {index}"
        if found := re.search(r"What is (\d+) \+ 4", prompt):
            total = int(found[1]) + 4 + (index % 2 if not begun else 0)
            whole = f"We add {found[1]} and 4.\n{found[1]} + 4 = {total}\n#### {total}"
        if begun and not self.continues:
            return whole
        return whole.removeprefix(begun) if whole.startswith(begun) else "\n#### 0"


class _Handler(BaseHTTPRequestHandler):
    server: Clerk

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(self.path)
        if not self.server.abilities[self.path]:
            self._send(404, {"error": {"message": "no such path"}})
            return
        if chat := "messages" in asked:
            prompt, begun = (
                asked["messages"][0]["content"],
                "".join(m["content"] for m in asked["messages"][1:]),
            )
        else:
            prompt, end, begun = asked["prompt"].partition("Solution:\n")
            if not end:
                prompt, _, begun = asked["prompt"].partition("\n\n")
        texts = [self.server.write(prompt, begun, asked.get("seed", 0) + i) for i in range(asked.get("n", 1))]
        choices = [{"message": {"content": text}} if chat else {"text": text} for text in texts]
        self._send(
            200, {"choices": [{**one, "index": i, "finish_reason": "stop"} for i, one in enumerate(choices)]}
        )

    def _send(self, status: int, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five problems, two bad rows, in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, *BAD]))
    return path


def found(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """What the command says with --json."""
    assert main(["init", *args, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_the_file_for_a_server_runs(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Clerk() as clerk:
        said = found(capsys, "sums.jsonl", "--server", clerk.url)
        assert said["problems"]["taken"] == "text from `question`, answer from `answer` after `####`"
        assert (said["problems"]["usable"], said["problems"]["set_aside"]) == (5, 2)
        assert said["problems"]["gold_answers"] == {"number": 5}
        assert sorted(said["problems"]["reasons"]) == [
            "answer: no answer found: expected a solution that ends in `#### answer`",
            "question: expected the problem's text, found str ''",
        ]
        solved = said["solved"]
        assert [step["text"].split("\n")[0] for step in solved["steps"]][0] == "We add 0 and 4."
        assert solved["outcome"] in ("correct", "incorrect")
        sources = {vote["source"] for step in solved["steps"] for vote in step["votes"]}
        assert sources == {"judge:judge_processbench", "arithmetic", "answer"}  # one look, without rollouts
        file = tomllib.loads((data.parent / "sums.toml").read_text())
        assert file["policy"] == {"kind": "server", "model": "adder", "base_url": clerk.url, "chat": True}
        assert file["problems"]["fields"] == {"text": "question", "answer": "answer"}
        assert main(["run", "--no-prefect", "sums.toml", "--json"]) == 0
        figures = json.loads(capsys.readouterr().out)
    assert figures["problems"] == 5
    assert figures["labelled_steps"] > 0


@pytest.mark.parametrize(
    ("abilities", "chat", "rolls"),
    [
        ({}, True, True),
        ({"chat": False}, False, True),
        ({"bare": False}, True, True),
        ({"bare": False, "continues": False}, True, False),
    ],
)
def test_a_server_is_asked_as_it_can_be(
    data: Path, capsys: pytest.CaptureFixture[str], abilities: dict[str, bool], chat: bool, rolls: bool
) -> None:
    with Clerk(**abilities) as clerk:
        found(capsys, "sums.jsonl", "--server", clerk.url)
    config = load_config(data.parent / "sums.toml")
    assert config.policy.chat is chat
    assert bool(config.annotators(MonteCarloConfig)) is rolls


def test_a_judge_of_its_own(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Clerk() as clerk, Clerk(continues=False) as judge:
        found(capsys, "sums.jsonl", "--server", clerk.url, "--judge-server", judge.url)
        assert len(judge.asked) > 1
    file = tomllib.loads((data.parent / "sums.toml").read_text())
    annotators = {one["kind"]: one for one in file["annotate"]}  # as docs/configuration.md writes them
    assert list(annotators) == ["monte_carlo", "judge", "verify"]
    assert annotators["judge"]["policy"]["base_url"] == judge.url


def test_without_a_server_the_file_runs_and_says_what_to_change(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "sums.jsonl", "--out", "deep/mine.toml"]) == 2  # no such folder
    (data.parent / "deep").mkdir()
    assert main(["init", "sums.jsonl", "--out", "deep/mine.toml"]) == 0
    assert "IT SOLVES NOTHING" in (data.parent / "deep/mine.toml").read_text()
    said = capsys.readouterr().out
    assert "5 usable, 2 set aside" in said
    assert "its simulated policy only ever answers `right` or `wrong`; replace its [policy]" in said
    # It runs to its end; its answer is no number, so nothing can be graded, and the exit code says so.
    assert main(["run", "--no-prefect", "deep/mine.toml", "--json"]) == 1
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert "sums.jsonl row 1, answer '" in err
    assert "`right` or `wrong`: nothing is graded. Replace [policy], or write the answer `right`" in err
    assert (figures["problems"], figures["solutions"], figures["unread"]) == (5, 10, ["answer"])


def test_a_file_that_is_there_is_kept(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = data.parent / "sums.toml"
    mine.write_text("mine")
    assert main(["init", "sums.jsonl"]) == 2
    assert "sums.toml: exists already: name another file with --out, or replace it" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    found(capsys, "sums.jsonl", "--force")
    assert load_config(mine).name == "sums"


def test_what_cannot_be_used_is_one_line_and_writes_nothing(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data.parent / "two.jsonl").write_text('{"question": "a", "problem": "b", "answer": "1"}\n')
    with Clerk() as clerk, Clerk(chat=False, bare=False) as mute:
        clerk.models = ["a", "b"]
        for arguments, said in [
            (["none.jsonl"], "none.jsonl: no such file"),
            (["two.jsonl"], "both 'problem' and 'question' could hold the problem"),
            (
                ["sums.jsonl", "--answer", "gold"],
                "no column 'gold', which [problems] fields names for answer",
            ),
            (["sums.jsonl", "--server", clerk.url], "serves a, b: name one with --model"),
            (["sums.jsonl", "--server", mute.url], "adder cannot be used: chat = true:"),
            (["sums.jsonl", "--server", "http://127.0.0.1:9/v1"], "http://127.0.0.1:9/v1: cannot be reached"),
            (["sums.jsonl", "--server", "nowhere"], "nowhere"),
        ]:
            assert main(["init", *arguments]) in (1, 2)
            error = capsys.readouterr().err
            assert said in error
            assert error.count("\n") == 1
    assert not list(data.parent.glob("*.toml"))
    found(capsys, "two.jsonl", "--text", "question")
    assert tomllib.loads((data.parent / "two.toml").read_text())["problems"]["fields"]["text"] == "question"
