"""Lines of JSON on stderr."""

import json
from pathlib import Path

import pytest

from flows.cli import main

Capture = pytest.CaptureFixture[str]


def test_errors_are_json_where_that_was_asked_for(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPMINT_LOG", "json")
    assert main(["status", str(tmp_path / "nothing")]) == 2
    said = json.loads(capsys.readouterr().err)
    assert said["level"] == "error"
    assert "nothing" in said["message"]
