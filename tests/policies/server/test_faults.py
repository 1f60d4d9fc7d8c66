"""Runs on a server that goes wrong, then repaired: every problem is done, with the rows of a good server.

The short form of `python -m benchmarks faults.server`, which knows every kind of fault.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fault_kinds import CHAT, FAULTS, FROM_THE_START
from benchmarks.faults_server import SECRET, compare, label, rows, run_file
from benchmarks.faulty import FaultyServer
from flows import display
from flows.status import status_of
from pipeline.policies.server import policy as policies
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from schemas.config import parse_config

PROBLEMS = 8
KINDS = [
    "400 for no reason",
    "401 midway",
    "a redirect elsewhere",
    "half JSON",
    "ignores n",
    "more choices",
    "empty texts",
    "1e11 tokens",
    "finish_reason eos_token",
    "refuses n",
    "refuses max_tokens",
    "refuses large seeds",
    "ignores stop",
    "the prefix is echoed",
    "the answer is started again",
]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as found:
        yield found


@pytest.fixture(scope="module")
def root(server: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    for chat in (False, True):
        assert label(run_file(server.url, folder, f"good-{chat}", PROBLEMS, chat=chat))["owed"] == 0
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_repair_the_same_command_does_what_is_owed(
    kind: str, server: FaultyServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPMINT_FAULTY_KEY", SECRET)
    chat = kind in CHAT
    data = run_file(server.url, root, kind.replace(" ", "-"), PROBLEMS, chat=chat)
    server.set(kind, since=0 if kind in FROM_THE_START else 12)
    first = label(data)
    assert server.hit
    assert bool(first["error"] or first["reasons"]) == bool(first["owed"])
    assert SECRET not in first["error"]
    server.set()
    second = label(data)
    assert (second["owed"], second["error"]) == (0, "")
    assert compare(rows(root, data["name"]), rows(root, f"good-{chat}")) == "bytes"


def test_a_limit_on_requests_is_waited_for(server: FaultyServer, root: Path) -> None:
    server.set(limit_per_s=15)
    found = label(run_file(server.url, root, "limited", PROBLEMS))
    assert (found["owed"], found["error"]) == (0, "")
    assert compare(rows(root, "limited"), rows(root, "good-False")) == "bytes"


def test_mixed_faults_lose_nothing(server: FaultyServer, root: Path) -> None:
    slow = ("drips", "hangs", "slow headers", "endless headers", "refuses return_token_ids")
    server.set(*(name for name in FAULTS if name not in CHAT and name not in slow), share=0.3)
    data = run_file(server.url, root, "mixed", PROBLEMS)
    label(data)
    server.set()
    assert label(data)["owed"] == 0
    assert compare(rows(root, "mixed"), rows(root, "good-False")) == "bytes"


def test_what_was_drawn_before_the_failure_is_not_asked_for_again(server: FaultyServer, root: Path) -> None:
    server.set()
    label(run_file(server.url, root, "counted", PROBLEMS))
    whole = server.calls
    server.set("400 for no reason", since=whole - 6)
    data = run_file(server.url, root, "cut-short", PROBLEMS)
    before = label(data)
    assert 0 < before["owed"] < PROBLEMS
    assert "nonsense" in str(before["reasons"])
    unfinished = root / "runs" / "cut-short" / "journal" / "00000.unfinished"
    assert unfinished.stat().st_size
    good, probes = server.calls - server.hit, 5
    server.set()
    assert label(data)["owed"] == 0
    assert server.calls <= whole - good + 2 * probes
    assert not unfinished.exists()


def test_the_manifest_and_the_status_tell_the_prompt_tokens_of_every_session(
    server: FaultyServer, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.set("400 for no reason", since=20)
    data = run_file(server.url, root, "tokens", PROBLEMS)
    assert label(data)["owed"]
    read = server.calls - server.hit
    server.set()
    assert label(data)["owed"] == 0
    read += server.calls
    manifest = read_manifest(root / "runs" / "tokens")
    assert manifest is not None
    assert manifest.prompt_tokens == 9 * read  # the server says that every prompt has nine
    display.status(status_of(RunStore(root / "runs" / "tokens", parse_config(data, "tokens"))))
    assert f"prompt tokens: {9 * read:,}\n" in capsys.readouterr().out


def test_the_key_goes_to_no_one_else() -> None:
    assert policies.ServerPolicy("http://a/v1", "m").endpoints.all[0].idle[0][1].follow_redirects is False
