"""A temporary server starts early only where nothing can point Prefect elsewhere."""

import os
import sys
from pathlib import Path

import pytest

from flows.server import _nothing_is_set


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of one's own, and no word about Prefect."""
    for name in [name for name in os.environ if name.upper().startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_starts_early_where_nothing_is_set(untold: Path) -> None:
    (untold / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert _nothing_is_set()


@pytest.mark.parametrize(
    "name", ["PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "prefect_api_url"]
)
def test_a_variable_is_heeded(untold: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:  # noqa: ARG001
    monkeypatch.setenv(name, "local")
    assert not _nothing_is_set()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("home/profiles.toml", "active = 'mine'"),
        ("prefect.toml", "[api]"),
        ("pyproject.toml", "[tool.prefect.api]"),
        (".env", "prefect_api_url=http://x"),
    ],
)
def test_a_file_is_heeded(untold: Path, file: str, text: str) -> None:
    (untold / file).parent.mkdir(exist_ok=True)
    (untold / file).write_text(text)
    assert not _nothing_is_set()
