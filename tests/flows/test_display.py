"""What commands print of texts that models, servers and files wrote."""

import logging
from collections import Counter
from typing import Any

import pytest

from flows import display
from flows.cli import _complain, _set_logging
from schemas.manifest import SourceCount

Capture = pytest.CaptureFixture[str]
HOSTILE = "\x1b[2J\x9b31m[red]x[/] [/nothing]\u202e\x07"


def printed(capsys: Capture) -> str:
    found = capsys.readouterr()
    return found.out + found.err


def solution() -> dict[str, object]:
    vote = {"step": 0, "source": HOSTILE, "p": 0.5, "n": 1, "correct": 0}
    return {
        "solution_id": HOSTILE, "first_error": None, "answer": HOSTILE, "outcome": "unknown", "kept": False,
        "consensus": HOSTILE, "problem": HOSTILE, "steps": [HOSTILE], "labels": [1], "p": [0.5],
        "votes": [vote], "decided_by": [HOSTILE], "reason": [HOSTILE],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("show", {"rows": [solution()]}),
        ("evaluate", {"evaluation": {HOSTILE: {HOSTILE: HOSTILE}}, "training": {HOSTILE: 1}}),
        ("publish", {"card": HOSTILE}),
        ("export", {"written": 1, "left_out": 1, "format": "trl", "out": HOSTILE}),
        ("doctor", {HOSTILE: {HOSTILE: HOSTILE}}),
        ("derive", {"settings": {"a": HOSTILE}, "rows": 1, "method": "quality", "out": HOSTILE}),
        (
            "verify",
            {
                "file": HOSTILE,
                "counts": {"fails": 1},
                "kinds": Counter({(HOSTILE, "fails"): 1}),
                "skipped": [HOSTILE],
                "lines": [
                    {
                        "id": HOSTILE,
                        "verdict": "fails",
                        "text": HOSTILE,
                        "step": 0,
                        "findings": [{"verdict": "fails", "span": (0, 3), "by": "a", "reason": HOSTILE}],
                    }
                ],
            },
        ),
        (
            "status",
            {
                "run": HOSTILE, "sealed": False, "problems": 1, "owed": 0, "tokens": {},
                "shards": [{"shard": 0, "done": 1, "owed": 0, "failed": 0, "beyond": 0}],
                "budget": {"beyond": 0, "cut": 0}, "damaged": [HOSTILE], "reasons": {HOSTILE: 2},
                "quarantined": [{"file": HOSTILE, "row": 1, "reason": f"line\n{HOSTILE}"}],
            },
        ),
    ],
)  # fmt: skip
def test_no_command_prints_control_characters_or_reads_markup(
    command: str, result: dict[str, object], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("NO_COLOR", "1")
    getattr(display, command)(result)
    text = printed(capsys)
    assert "[red]x[/] [/nothing]" in text
    assert all(c in "\n\t" or c.isprintable() for c in text)


def test_a_report_says_why_sources_abstained_and_how_often(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    figures: dict[str, Any] = dict.fromkeys(
        ("problems", "solutions", "steps", "labelled_steps", "quarantined", "merged", "ungraded"), 0
    )
    figures |= {"rollouts": 7, "skipped": {}, "consensus": {"dropped": {}}, "tokens": {"total": 0}}
    judge = SourceCount(votes=9, abstained=5, denied=3, reasons={"it is cut off": 4, HOSTILE + "x" * 900: 1})
    checks = SourceCount(votes=9, denied=None)  # sealed before its votes were counted
    counts = {name: one.model_dump() for name, one in (("judge:a", judge), ("logic", checks))}
    display.report({**figures, "sources": counts})
    lines = [line.split() for line in printed(capsys).splitlines()]
    assert ["completions", "7"] in lines
    assert [line for line in lines if line[:1] in (["source"], ["judge:a"], ["logic"])] == [
        ["source", "votes", "no", "abstained"],
        ["judge:a", "9", "3", "5"],
        ["logic", "9", "none", "0"],
        ["judge:a", "it", "is", "cut", "off", "4"],
    ]
    assert max(sum(map(len, line)) for line in lines) < 230


def test_an_error_is_one_harmless_line(capsys: Capture) -> None:
    assert _complain(f"the server said\r\n{HOSTILE}", 2) == 2
    line = printed(capsys)
    assert line.startswith("stepmint: the server said ")
    assert line.count("\n") == 1
    assert line.strip().isprintable()


def test_logged_lines_are_harmless(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flows", "pipeline", "verifiers"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])
    _set_logging(verbose=True)
    logging.getLogger("pipeline").warning("a judge said %s", HOSTILE)
    assert printed(capsys).replace("\n", "").isprintable()
