"""Every ready run file is complete and can be run as it stands: `--dry-run` says so."""

import os
from pathlib import Path

import pytest

from flows.cli import main

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("STEPMINT_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda file: file.stem)
def test_a_ready_run_file_is_complete(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "$STEPMINT_DATA" in file.read_text(encoding="utf-8"):
        if not DATA.is_dir():
            pytest.skip("STEPMINT_DATA is not there")
        monkeypatch.setenv("STEPMINT_DATA", str(DATA))
    assert main(["run", str(file), "--dry-run"]) == 0, capsys.readouterr().err
